//! What admission knows of one tenant: what it may have of what all share, and how much of its work waits.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
};

use ringfence_event::{TenantId, Timestamp};
use ringfence_policy::{Rate, TenantShare};

use super::fair::Who;

/// A tenant. One for as long as the runtime is open: there are as many as there are credentials.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(super) id: TenantId,
    /// Its number, which is shorter than its name.
    pub(super) who: Who,
    limits: Mutex<Limits>,
    bucket: Mutex<Bucket>,
    /// What of its work from outside waits for a turn.
    waiting: AtomicU32,
    /// What of it is under way or waits.
    pub(super) inside: AtomicU32,
    /// What was refused for its rate.
    pub(super) over_rate: AtomicU64,
}

/// What it may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) share: TenantShare,
    /// How much of its work may wait.
    pub(super) queue: u32,
    /// Whether there are others, so that no tenant may take everything.
    pub(super) is_one_of_several: bool,
}

impl Tenant {
    pub(super) fn new(id: TenantId, who: Who, limits: Limits) -> Self {
        Self {
            id,
            who,
            limits: Mutex::new(limits),
            bucket: Mutex::default(),
            waiting: AtomicU32::new(0),
            inside: AtomicU32::new(0),
            over_rate: AtomicU64::new(0),
        }
    }

    pub(crate) fn id(&self) -> &TenantId {
        &self.id
    }

    /// How much of its work from outside is under way or waits.
    pub(crate) fn inside(&self) -> u32 {
        self.inside.load(Relaxed)
    }

    /// What was refused for its rate.
    pub(crate) fn over_rate(&self) -> u64 {
        self.over_rate.load(Relaxed)
    }

    pub(super) fn limits(&self) -> Limits {
        *lock(&self.limits)
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        *lock(&self.limits) = limits;
    }

    /// Takes one of what its rate gives; otherwise says in how many milliseconds there is one again.
    pub(super) fn take_turn(&self, rate: Rate, now: Timestamp) -> Result<(), u64> {
        lock(&self.bucket).take(rate, now)
    }

    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// One more of its work waits, unless so much does already.
    pub(super) fn queue(&self, most: u32) -> bool {
        let more = |waiting: u32| (waiting < most).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    pub(super) fn leave_queue(&self) {
        self.waiting.fetch_sub(1, Relaxed);
    }
}

/// What is left of a rate: by the generic cell rate algorithm, which keeps one time and no timer.
#[derive(Debug, Default)]
struct Bucket {
    /// The time at which all that was taken has come in again, in nanoseconds.
    full_at: u128,
}

impl Bucket {
    fn take(&mut self, rate: Rate, now: Timestamp) -> Result<(), u64> {
        const NANOS: u128 = 1_000_000;
        let (now, window) = (u128::from(now.0) * NANOS, u128::from(rate.window_ms) * NANOS);
        let each = (window / u128::from(rate.count)).max(1);
        // A rate that was lowered by a reload is not one that is overdrawn for long.
        let full_at = self.full_at.clamp(now, now + window) + each;
        match full_at.checked_sub(now + window) {
            None | Some(0) => {
                self.full_at = full_at;
                Ok(())
            }
            Some(early) => Err(u64::try_from(early.div_ceil(NANOS)).unwrap_or(u64::MAX)),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_gives_so_many_in_its_window() {
        let mut bucket = Bucket::default();
        let rate: Rate = "4 per s".parse().expect("a rate");
        let mut take = |at: u64| bucket.take(rate, Timestamp(at));
        for at in [1_000, 1_000, 1_001, 1_002] {
            assert_eq!(take(at), Ok(()));
        }
        assert_eq!(take(1_003), Err(247), "and says when there is one again");
        assert_eq!(take(1_249), Err(1));
        assert_eq!(take(1_250), Ok(()));
        assert_eq!(take(1_250), Err(250));
        // After a long time as many as at the beginning, and no more.
        let taken = (0..10).filter(|_| take(100_000).is_ok()).count();
        assert_eq!(taken, 4);
    }

    #[test]
    fn a_rate_holds_over_a_long_time() {
        for (text, seconds, most) in [("100 per s", 10, 1_100), ("7 per min", 600, 77)] {
            let (mut bucket, rate) = (Bucket::default(), text.parse::<Rate>().expect("a rate"));
            let times = (0..seconds * 1_000).map(|ms| Timestamp(1_000_000 + ms));
            let taken = times.filter(|now| bucket.take(rate, *now).is_ok()).count();
            assert!((most - rate.count as usize - 1..=most).contains(&taken), "{text}: {taken}");
        }
    }
}
