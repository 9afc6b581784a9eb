//! The engine: one for each process, with the settings that every call shares.

use std::{path::PathBuf, sync::Arc};

use ringfence_event::Digest;
use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy,
    component::Linker,
};

use crate::{Error, cache::Cache, host, pulse::Pulse, room::Room, state::State};

/// What an operator can set about the engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The most calls that run at one time; further ones wait. Each takes address space for four
    /// memories (16 GiB), not memory, until it is used.
    pub concurrent_calls: u32,
    /// The bytes that all running calls together may come to hold, counted by their memory limits;
    /// further calls wait. `None`: half of what the machine has.
    pub memory: Option<u64>,
    /// Where compiled code is kept; `None`: nowhere.
    pub cache: Option<PathBuf>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { concurrent_calls: 64, memory: None, cache: None }
    }
}

impl EngineConfig {
    /// The settings as the engine takes them: for whoever measures against the bare engine.
    #[must_use]
    pub fn wasmtime(&self) -> Config {
        settings(self.concurrent_calls.max(1))
    }
}

/// An engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: wasmtime::Engine,
    linker: Linker<State>,
    pulse: Arc<Pulse>,
    room: Room,
    settings: Digest,
    cache: Option<Cache>,
}

impl Engine {
    /// Sets up an engine.
    pub fn new(config: &EngineConfig) -> Result<Self, Error> {
        let engine =
            wasmtime::Engine::new(&config.wasmtime()).map_err(|error| Error::engine(&error))?;
        let linker = host::linker(&engine).map_err(|error| Error::engine(&error))?;
        let pulse = Pulse::start(engine.weak());
        let pulse = pulse.map_err(|error| Error::Engine { message: error.to_string() })?;
        let hash = compatibility(&engine);
        let cache = config.cache.as_deref().map(|folder| Cache::open(folder, hash)).transpose()?;
        Ok(Self(Arc::new(Inner {
            linker,
            pulse: Arc::new(pulse),
            room: Room::new(config.concurrent_calls.max(1), config.memory),
            settings: hash,
            cache,
            engine,
        })))
    }

    /// A hash of all settings that change what compiled code does: recorded with each intent.
    #[must_use]
    pub fn settings(&self) -> Digest {
        self.0.settings
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.engine
    }

    pub(crate) fn linker(&self) -> &Linker<State> {
        &self.0.linker
    }

    pub(crate) fn pulse(&self) -> &Arc<Pulse> {
        &self.0.pulse
    }

    /// The bytes that all running calls together may come to hold.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.0.room.bytes()
    }

    pub(crate) fn room(&self) -> &Room {
        &self.0.room
    }

    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.0.cache.as_ref()
    }
}

/// Everything about the engine that is not a number of slots.
fn settings(slots: u32) -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        // Budgets are fuel, preemption and cancellation are epochs.
        .consume_fuel(true)
        .epoch_interruption(true)
        // Only WASI 0.3 needs it, and it takes a call from 120 to 500 ns.
        .concurrency_support(false)
        // What a tool of WASI 0.2 does not need is not there to be attacked.
        .gc_support(false)
        .wasm_gc(false)
        .wasm_memory64(false)
        .wasm_stack_switching(false)
        // The same call computes the same bits on every machine.
        .wasm_relaxed_simd(false)
        .cranelift_nan_canonicalization(true)
        // Nothing of one call's stack is left for the next.
        .async_stack_zeroing(true)
        .async_stack_size(2 << 20)
        // Bounds are checked by the code itself, not by pages that fault: what a call grew its memory
        // by would have to be protected again for the next one, and on every processor, which costs
        // two threads more than they gain. Loops over memory pay an eighth for it.
        .signals_based_traps(false)
        .memory_guard_size(0)
        .max_wasm_stack(1 << 20)
        // A trap says what it was, not where: a backtrace costs more than a call, and its tables
        // make compiled code half as large again, which every process that loads it reads.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(slots)));
    config
}

/// What one component may have. The pool has as many for each slot, so that a call which was let in
/// never finds it empty, whatever the others hold. A Python component has some thirty core instances;
/// none of the guest languages has more than one memory.
pub(crate) const CORE_INSTANCES: u32 = 64;
pub(crate) const MEMORIES: u32 = 4;
pub(crate) const TABLES: u32 = 32;

fn pool(slots: u32) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_stacks(slots)
        .total_memories(slots.saturating_mul(MEMORIES))
        .total_tables(slots.saturating_mul(TABLES))
        .total_core_instances(slots.saturating_mul(CORE_INSTANCES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_component_instance_size(1 << 20)
        .max_core_instance_size(1 << 20)
        // A JavaScript engine has a table of 7,688 elements.
        .table_elements(20_000)
        // The most a 32-bit memory can have; what a call may use is its own limit.
        .max_memory_size(4 << 30)
        // What is reset by clearing instead of giving the pages back: most tools touch less.
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(1 << 20)
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(slots.min(64))
        .pagemap_scan(if may_swap() { Enabled::No } else { Enabled::Auto });
    pool
}

/// Whether a page of a slot could be swapped out. The scan that finds which pages a call touched
/// misses such a page, and the next call in the slot would see it.
fn may_swap() -> bool {
    let swaps = std::fs::read_to_string("/proc/swaps");
    // The first line is a heading; without the file nothing is known, and the safe reset is taken.
    swaps.map_or(true, |swaps| swaps.lines().count() > 1)
}

/// What makes compiled code of this engine different from another's, as a digest.
fn compatibility(engine: &wasmtime::Engine) -> Digest {
    use std::hash::{Hash, Hasher};
    /// Collects what is hashed, so that the digest is the same in every process.
    struct Collect(Vec<u8>);
    impl Hasher for Collect {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }
    let mut collect = Collect(env!("CARGO_PKG_VERSION").as_bytes().to_vec());
    engine.precompile_compatibility_hash().hash(&mut collect);
    Digest::of(&collect.0)
}
