//! `wasi:random`: bytes from the call's seed, counted against its own limit.

use ringfence_capability::Random;
use wasmtime::Result;
use wasmtime_wasi::p2::bindings::random::{insecure, insecure_seed, random};

use crate::state::State;

/// The streams of one call. The insecure one is as good as the other; it is apart so that what a
/// guest draws from one does not change the other.
pub(crate) struct Streams {
    seed: u64,
    // Made when first drawn from: most calls never do, and making one costs as much as a call's
    // other preparations together.
    secure: Option<Random>,
    insecure: Option<Random>,
}

impl Streams {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, secure: None, insecure: None }
    }

    fn secure(&mut self) -> &mut Random {
        self.secure.get_or_insert_with(|| Random::new(self.seed, "random"))
    }

    fn insecure(&mut self) -> &mut Random {
        self.insecure.get_or_insert_with(|| Random::new(self.seed, "insecure"))
    }

    fn insecure_seed(&self) -> (u64, u64) {
        let mut random = Random::new(self.seed, "insecure-seed");
        (random.next_u64(), random.next_u64())
    }
}

fn bytes(random: &mut Random, length: u64) -> Vec<u8> {
    // The meter has let `length` pass, and its limit fits into memory.
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    random.fill(&mut bytes);
    bytes
}

impl random::Host for State {
    fn get_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.meter.random(length)?;
        Ok(bytes(self.random.secure(), length))
    }

    fn get_random_u64(&mut self) -> Result<u64> {
        self.meter.random(8)?;
        Ok(self.random.secure().next_u64())
    }
}

impl insecure::Host for State {
    fn get_insecure_random_bytes(&mut self, length: u64) -> Result<Vec<u8>> {
        self.meter.random(length)?;
        Ok(bytes(self.random.insecure(), length))
    }

    fn get_insecure_random_u64(&mut self) -> Result<u64> {
        self.meter.random(8)?;
        Ok(self.random.insecure().next_u64())
    }
}

impl insecure_seed::Host for State {
    fn insecure_seed(&mut self) -> Result<(u64, u64)> {
        Ok(self.random.insecure_seed())
    }
}
