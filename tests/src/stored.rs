//! The memory of a scene.

use std::{collections::BTreeMap, sync::Mutex};

use ringfence_capability::memory::{BoxFuture, Buckets, PAGE, Unavailable, Used};
use ringfence_event::Scope;

/// What was stored before the call.
#[derive(Default)]
pub struct Stored(pub Mutex<BTreeMap<(Scope, String), Vec<u8>>>);

impl Buckets for Stored {
    fn get<'a>(
        &'a self,
        scope: Scope,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Unavailable>> {
        Box::pin(async move { Ok(self.0.lock().unwrap().get(&(scope, key.to_owned())).cloned()) })
    }

    fn keys<'a>(
        &'a self,
        scope: Scope,
        after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<String>, Unavailable>> {
        let stored = self.0.lock().unwrap();
        let keys = stored
            .keys()
            .filter(|(of, key)| *of == scope && after.is_none_or(|after| key.as_str() > after));
        let page = keys.map(|(_, key)| key.clone()).take(PAGE).collect();
        Box::pin(async { Ok(page) })
    }

    fn used(&self, scope: Scope) -> BoxFuture<'_, Result<Used, Unavailable>> {
        let stored = self.0.lock().unwrap();
        let mut used = Used::default();
        for ((of, key), value) in &*stored {
            let bytes = (key.len() + value.len()) as u64;
            used.tenant_bytes += bytes;
            if *of == scope {
                (used.bytes, used.keys) = (used.bytes + bytes, used.keys + 1);
            }
        }
        Box::pin(async move { Ok(used) })
    }

    fn size<'a>(
        &'a self,
        scope: Scope,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Unavailable>> {
        let stored = self.0.lock().unwrap();
        let size =
            stored.get(&(scope, key.to_owned())).map(|value| (key.len() + value.len()) as u64);
        Box::pin(async move { Ok(size) })
    }
}
