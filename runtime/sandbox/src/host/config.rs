//! `wasi:config` over `capability::config`. Upstream's errors are two texts; a guest is told no more
//! than that it was denied.

use ringfence_capability::config::{ConfigError, Configuration};
use wasmtime::Result;

use crate::{bindings::wasi::config::store, state::State};

type Answer<T> = std::result::Result<T, store::Error>;

impl State {
    /// Reads something; a limit is a trap.
    fn configured<T>(
        &self,
        read: impl FnOnce(&Configuration) -> std::result::Result<T, ConfigError>,
    ) -> Result<Answer<T>> {
        let read =
            self.opened.as_ref().map_or(Err(ConfigError::Denied), |opened| read(&opened.config));
        match read {
            Ok(value) => Ok(Ok(value)),
            Err(ConfigError::Limit(limit)) => Err(limit.into()),
            Err(ConfigError::Denied) => Ok(Err(store::Error::Upstream("denied".to_owned()))),
        }
    }
}

impl store::Host for State {
    fn get(&mut self, key: String) -> Result<Answer<Option<String>>> {
        self.configured(|config| config.get(&key).map(Some))
    }

    fn get_all(&mut self) -> Result<Answer<Vec<(String, String)>>> {
        self.configured(Configuration::all)
    }
}
