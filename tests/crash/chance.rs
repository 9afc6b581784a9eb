//! Chance from a seed: the same seed kills after the same lines.

use std::fs::File;
use std::io::Read as _;

use anyhow::Result;

/// A seed that nobody chose.
pub(crate) fn fresh_seed() -> Result<u64> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from(u32::from_be_bytes(bytes)))
}

/// SplitMix64: small, and good enough to choose moments.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// A number from 0 up to and without `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}
