//! `wasi:config`: linked, and shut in this version.

use ringfence_capability::cost;
use wasmtime::Result;

use crate::{bindings::wasi::config::store, state::State};

impl State {
    fn shut_config(&self, key: &str) -> store::Error {
        if let Some(opened) = &self.opened {
            opened.deny_config(key);
        }
        store::Error::Upstream("denied".to_owned())
    }
}

impl store::Host for State {
    fn get(&mut self, key: String) -> Result<std::result::Result<Option<String>, store::Error>> {
        self.meter.charge((key.len() as u64).saturating_mul(cost::BYTE))?;
        Ok(Err(self.shut_config(&key)))
    }

    fn get_all(&mut self) -> Result<std::result::Result<Vec<(String, String)>, store::Error>> {
        Ok(Err(self.shut_config("*")))
    }
}
