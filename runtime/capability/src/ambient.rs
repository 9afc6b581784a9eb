//! Clock and random bytes of one call. Both come from the recorded intent where a replay must see
//! the same: random always from the seed, the clock of a `pure` call from its start.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringfence_event::{Effect, Timestamp};

/// What a call sees of the time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Timestamp,
    began: Option<Instant>,
}

impl Clock {
    /// The clock of a call that starts now; it stands still if the call is `pure`.
    #[must_use]
    pub fn new(start: Timestamp, effect: Effect) -> Self {
        Self { start, began: (effect != Effect::Pure).then(Instant::now) }
    }

    /// Time since 1970, as the call sees it.
    #[must_use]
    pub fn wall(&self) -> Duration {
        let start = Duration::from_millis(self.start.0);
        match self.began {
            None => start,
            Some(_) => SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(start),
        }
    }

    /// Time since the call began.
    #[must_use]
    pub fn monotonic(&self) -> Duration {
        self.began.map_or(Duration::ZERO, |began| began.elapsed())
    }

    /// Whether it stands still.
    #[must_use]
    pub fn stands_still(&self) -> bool {
        self.began.is_none()
    }
}

/// Random bytes from a seed: BLAKE3 in its extendable-output mode.
pub struct Random(blake3::OutputReader);

impl Random {
    /// The stream of this seed and purpose: different purposes never share bytes.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("ringfence 2026 random bytes of a call");
        hasher.update(&seed.to_le_bytes());
        hasher.update(purpose.as_bytes());
        Self(hasher.finalize_xof())
    }

    /// The next bytes of the stream.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    /// The next eight bytes.
    pub fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bytes_follow_from_the_seed() {
        let draw = |seed, purpose| Random::new(seed, purpose).next_u64();
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn only_a_pure_call_stands_still() {
        let start = Timestamp(1_000);
        let pure = Clock::new(start, Effect::Pure);
        assert_eq!((pure.wall(), pure.monotonic()), (Duration::from_secs(1), Duration::ZERO));
        let read = Clock::new(start, Effect::Read);
        assert!(read.wall() > Duration::from_secs(1_000_000_000));
        assert!(!read.stands_still());
    }
}
