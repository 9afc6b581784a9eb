//! How long is waited between tries: twice as long each time, and not as long as others who began at the
//! same time.

use std::time::Duration;

/// The waits of one thing that is tried again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: Duration,
    most: Duration,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, most: Duration) -> Self {
        Self { next: first, most }
    }

    /// How long to wait now: between half and all of what it has come to.
    pub(crate) fn wait(&mut self) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(self.most);
        // Without random bytes nobody else waits as long either way.
        let share = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
        whole.mul_f64(0.5 + share / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_longer_up_to_the_most() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::new(seconds(1), seconds(10));
        for whole in [1, 2, 4, 8, 10, 10] {
            let (wait, whole) = (backoff.wait(), seconds(whole));
            assert!(whole / 2 <= wait && wait <= whole, "{wait:?} of {whole:?}");
        }
    }
}
