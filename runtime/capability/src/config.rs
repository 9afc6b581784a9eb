//! Configuration values: what the operator set for the keys that the manifest asks.

use std::sync::Arc;

use ringfence_policy::Permit;

use crate::{DenialLog, Meter, cost, meter::LimitReached};

/// Why a value was not read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The permit does not open it; the denial is recorded.
    #[error("denied")]
    Denied,
    /// A limit was met.
    #[error(transparent)]
    Limit(#[from] LimitReached),
}

/// The configuration of one call.
#[derive(Clone)]
pub struct Configuration {
    permit: Arc<Permit>,
    meter: Arc<Meter>,
    denials: Arc<DenialLog>,
}

impl Configuration {
    pub(crate) fn new(permit: Arc<Permit>, meter: Arc<Meter>, denials: Arc<DenialLog>) -> Self {
        Self { permit, meter, denials }
    }

    /// The value of a key. There is no key without a value: what the operator has not set is denied
    /// like what the manifest does not ask, so that somebody learns of it.
    pub fn get(&self, key: &str) -> Result<String, ConfigError> {
        let length = (key.len() as u64).saturating_mul(cost::BYTE);
        self.meter.charge(cost::CONFIG_CALL.saturating_add(length))?;
        let value = self.permit.config(key).map_err(|denial| self.deny(denial))?;
        self.meter.read(value.len() as u64)?;
        Ok(value.to_owned())
    }

    /// The keys that are both asked and set, with their values. Denied where there is none.
    pub fn all(&self) -> Result<Vec<(String, String)>, ConfigError> {
        self.meter.charge(cost::CONFIG_CALL)?;
        let open = self.permit.config_all().map_err(|denial| self.deny(denial))?;
        self.meter.read(open.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())?;
        Ok(open.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }

    fn deny(&self, denial: ringfence_event::Denial) -> ConfigError {
        self.denials.record(denial);
        ConfigError::Denied
    }
}
