//! The random bytes of the host itself: ids and seeds.

use ringfence_event::TraceContext;

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

/// A trace that begins here.
pub(crate) fn trace() -> Result<TraceContext, Error> {
    id().map(TraceContext::from_random)
}
