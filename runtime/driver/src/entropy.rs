//! The clock and the random bytes of the host itself: ids, seeds and the times of events.

use std::time::{SystemTime, UNIX_EPOCH};

use ringfence_event::Timestamp;

use crate::Error;

/// Now.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

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
