//! Room for calls: places in the pool, and the memory that all running calls together may come to
//! hold. A call waits for both before it begins, so that neither is ever found used up in its middle.

use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};

/// Memory is given out in pieces of this size.
const PIECE: u64 = 1 << 20;

/// What is taken if nothing else is said and nothing can be learned about the machine.
const UNKNOWN: u64 = 4 << 30;

/// The room of an engine.
pub(crate) struct Room {
    slots: Semaphore,
    memory: Semaphore,
    /// All of it, in pieces.
    pieces: u32,
}

/// A call's share; given back when it is dropped.
pub(crate) struct Share<'a> {
    _slot: SemaphorePermit<'a>,
    _memory: SemaphorePermit<'a>,
}

/// A call that would not find room if nothing else ran.
#[derive(Debug, thiserror::Error)]
#[error(
    "the call's memory limit is more than this host has for all calls: lower `limits.memory` of \
     the tool, or raise `memory` under [host]"
)]
pub(crate) struct TooLarge;

/// Why there is no share.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoShare {
    #[error(transparent)]
    TooLarge(TooLarge),
    #[error("the engine is closed")]
    Closed(#[from] AcquireError),
}

impl Room {
    pub(crate) fn new(slots: u32, memory: Option<u64>) -> Self {
        let memory = memory.unwrap_or_else(|| machine().map_or(UNKNOWN, |all| all / 2));
        let pieces = u32::try_from(memory.div_ceil(PIECE)).unwrap_or(u32::MAX).clamp(1, 1 << 28);
        Self {
            slots: Semaphore::new(slots as usize),
            memory: Semaphore::new(pieces as usize),
            pieces,
        }
    }

    /// All of it, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.pieces) * PIECE
    }

    /// Waits until there is room for a call that may hold so many bytes. In the order of asking: a
    /// large call is not overtaken for ever by small ones.
    pub(crate) async fn share(&self, bytes: u64) -> Result<Share<'_>, NoShare> {
        let pieces = u32::try_from(bytes.div_ceil(PIECE)).unwrap_or(u32::MAX);
        if pieces > self.pieces {
            return Err(NoShare::TooLarge(TooLarge));
        }
        let memory = self.memory.acquire_many(pieces).await?;
        Ok(Share { _slot: self.slots.acquire().await?, _memory: memory })
    }
}

/// What this machine, or the container that it is, has in bytes.
fn machine() -> Option<u64> {
    let all = std::fs::read_to_string("/proc/meminfo").ok()?;
    let all = all.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let all = all.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)?;
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    // Without a limit there stands `max`.
    let container = container.and_then(|max| max.trim().parse::<u64>().ok());
    Some(container.map_or(all, |max| max.min(all)))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// M6: what fits is let in, what does not waits until something went, in its order.
    #[test]
    fn m6_memory_is_given_out_once() {
        let room = Room::new(8, Some(100 << 20));
        let share = |mib: u64| room.share(mib << 20).now_or_never();
        let first = share(60).unwrap().unwrap();
        assert!(share(41).is_none());
        let second = share(40).unwrap().unwrap();
        assert!(share(1).is_none());
        drop(first);
        let third = share(60).unwrap().unwrap();
        drop((second, third));
        assert!(share(100).unwrap().is_ok());
        assert!(matches!(share(101).unwrap(), Err(NoShare::TooLarge(_))));
        let none: Vec<_> = (0..8).map(|_| share(0).unwrap().unwrap()).collect();
        assert!(share(0).is_none(), "a slot is needed too");
        drop(none);
    }

    #[test]
    fn the_machine_has_memory() {
        assert!(machine().is_some_and(|all| all > 64 << 20));
    }
}
