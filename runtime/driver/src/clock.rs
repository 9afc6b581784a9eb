//! The time that events are recorded with and that timers wait for.
//!
//! The system's clock can be set by anybody while a program runs: a retry that is due in a second
//! would come in an hour. So the time goes on from when the clock was made, by the clock that nobody
//! sets, and follows the system's in what it drifts, not in what it jumps.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use ringfence_event::Timestamp;
use tokio::sync::watch;

/// As far as a clock that is kept in step by the network can be from ours between two looks.
const DRIFT_MS: u64 = 2_000;

/// What a runtime takes the time from.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System(Arc<Mutex<Anchor>>),
    Manual(watch::Sender<u64>),
}

/// A moment by both clocks.
struct Anchor {
    wall_ms: u64,
    at: Instant,
}

impl Anchor {
    fn now_ms(&self) -> u64 {
        let since = u64::try_from(self.at.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.wall_ms.saturating_add(since)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

impl Clock {
    /// The system's time.
    #[must_use]
    pub fn system() -> Self {
        let anchor = Anchor { wall_ms: wall_ms(), at: Instant::now() };
        Self(Source::System(Arc::new(Mutex::new(anchor))))
    }

    /// A time that stands still until [`advance`](Self::advance) turns it on: for tests of what waits.
    #[must_use]
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(watch::channel(start.0).0))
    }

    /// Turns a manual clock on; one that goes by itself stays as it is.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
            now.send_modify(|now| *now = now.saturating_add(by));
        }
    }

    /// What time it is. Never earlier than it was.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::Manual(now) => Timestamp(*now.borrow()),
            Source::System(anchor) => {
                let mut anchor = anchor.lock().unwrap_or_else(PoisonError::into_inner);
                let (ours, wall) = (anchor.now_ms(), wall_ms());
                if wall > ours && wall - ours <= DRIFT_MS {
                    *anchor = Anchor { wall_ms: wall, at: Instant::now() };
                    return Timestamp(wall);
                }
                Timestamp(ours)
            }
        }
    }

    /// Returns when it is that time.
    pub(crate) async fn until(&self, at: Timestamp) {
        match &self.0 {
            Source::System(_) => {
                let left = at.0.saturating_sub(self.now().0);
                tokio::time::sleep(Duration::from_millis(left)).await;
            }
            Source::Manual(now) => {
                let mut now = now.subscribe();
                // The sender is in `self`, so it is there for as long as this is waited for.
                let _ = now.wait_for(|now| *now >= at.0).await;
            }
        }
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_goes_when_it_is_turned() {
        let clock = Clock::manual(Timestamp(1_000));
        let other = clock.clone();
        let waiting = tokio::spawn(async move { other.until(Timestamp(1_500)).await });
        clock.advance(Duration::from_millis(499));
        assert!(!waiting.is_finished());
        clock.advance(Duration::from_millis(1));
        waiting.await.unwrap();
        assert_eq!(clock.now(), Timestamp(1_500));
    }

    #[test]
    fn a_jump_of_the_system_clock_is_not_followed() {
        let check = |ahead: i64, follows: bool| {
            let wall = wall_ms().saturating_add_signed(-ahead);
            let anchor = Anchor { wall_ms: wall, at: Instant::now() };
            let clock = Clock(Source::System(Arc::new(Mutex::new(anchor))));
            let seen = clock.now().0;
            assert_eq!(seen.abs_diff(wall_ms()) < 1_000, follows, "{ahead}");
        };
        check(0, true);
        check(1_500, true);
        check(3_600_000, false);
        check(-3_600_000, false);
    }
}
