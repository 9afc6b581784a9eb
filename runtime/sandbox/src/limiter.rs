//! Memory, tables and instances of a call, over all instances of its component.

use std::sync::Arc;

use ringfence_capability::Meter;
use ringfence_event::Limit;
use wasmtime::ResourceLimiter;

use crate::engine::{CORE_INSTANCES, MEMORIES, TABLES};

/// What one table element takes: a pointer.
const TABLE_ELEMENT: u64 = 8;

/// What a core instance is counted as: its globals, and what its functions are known by to others.
/// The engine does not say how much that is; most take a tenth of it.
const INSTANCE: u64 = 256 << 10;

/// Counts what is held and refuses what would go past the call's memory limit.
pub(crate) struct Limiter {
    meter: Arc<Meter>,
    held: u64,
    peak: u64,
    /// What the last growth added, to be undone if the engine could not do it.
    last: u64,
}

impl Limiter {
    pub(crate) fn new(meter: Arc<Meter>) -> Self {
        Self { meter, held: 0, peak: 0, last: 0 }
    }

    /// The most that was held at one time, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }

    /// An error, not a refusal: a guest that is refused memory aborts, and that would be filed as a
    /// trap of its own.
    fn grow(&mut self, bytes: u64) -> wasmtime::Result<bool> {
        let held = self.held.saturating_add(bytes);
        if held > self.meter.limits().memory {
            return Err(self.meter.stop(Limit::Memory).into());
        }
        self.last = bytes;
        self.held = held;
        self.peak = self.peak.max(held);
        Ok(true)
    }

    fn undo(&mut self) {
        self.held = self.held.saturating_sub(std::mem::take(&mut self.last));
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // Past the memory's own maximum the guest is told no, as everywhere.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow(desired.saturating_sub(current) as u64)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.grow((desired.saturating_sub(current) as u64).saturating_mul(TABLE_ELEMENT))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.undo();
        Ok(())
    }

    /// As many as the memory limit has room for: a call that may hold little may not be many.
    fn instances(&self) -> usize {
        let fit = (self.meter.limits().memory / INSTANCE).min(u64::from(CORE_INSTANCES));
        usize::try_from(fit).unwrap_or(CORE_INSTANCES as usize)
    }

    fn tables(&self) -> usize {
        TABLES as usize
    }

    fn memories(&self) -> usize {
        MEMORIES as usize
    }
}
