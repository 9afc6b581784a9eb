//! What one call asked for and did not get, kept by the host whatever the guest makes of it.

use std::sync::{Mutex, PoisonError};

use ringfence_event::Denial;

/// The most different denials that one call keeps; a guest that asks for more learns nothing new.
const KEPT: usize = 64;

/// The longest text of a denial, in bytes: a long path, a long URL.
const TEXT: usize = 4 << 10;

/// The denials of one call, each once, with how often it was met.
#[derive(Debug, Default)]
pub struct DenialLog(Mutex<Vec<Denial>>);

impl DenialLog {
    /// Keeps a denial.
    pub fn record(&self, denial: Denial) {
        let denial = denial.shortened(TEXT);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |known: &Denial| known.code == denial.code && known.asked == denial.asked;
        // When the list is full, the last one stands for all that follow.
        let index = match kept.iter().position(same) {
            Some(index) => index,
            None if kept.len() < KEPT => {
                kept.push(denial);
                return;
            }
            None => KEPT - 1,
        };
        kept[index].times = kept[index].times.saturating_add(denial.times);
    }

    /// All of them, in the order in which they were first met.
    #[must_use]
    pub fn take(&self) -> Vec<Denial> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use ringfence_event::{Asked, DenialCode};

    use super::*;

    #[test]
    fn the_same_denial_is_kept_once_and_a_flood_is_bounded() {
        let log = DenialLog::default();
        let denial = |n: usize| {
            Denial::new(DenialCode::NotNeeded, Asked::Config { key: n.to_string() }, vec![])
        };
        for _ in 0..3 {
            log.record(denial(0));
        }
        (1..10_000).for_each(|n| log.record(denial(n)));
        let kept = log.take();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].times, 3);
        assert_eq!(kept[KEPT - 1].times, 10_000 - KEPT as u64 + 1);
    }
}
