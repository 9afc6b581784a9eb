//! The random bytes of the host itself: ids and seeds.

use crate::Error;

/// 128 random bits.
pub(crate) fn id() -> Result<[u8; 16], Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Error::Entropy)?;
    Ok(bytes)
}

/// The seed of a call's random bytes.
pub(crate) fn seed() -> Result<u64, Error> {
    getrandom::u64().map_err(Error::Entropy)
}

/// A W3C trace id.
pub(crate) fn trace() -> Result<String, Error> {
    Ok(format!("{:032x}", u128::from_be_bytes(id()?)))
}
