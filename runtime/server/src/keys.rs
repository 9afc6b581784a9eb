//! Who a request is from: the API key that it came with, and nothing else. All keys are held in memory,
//! by the hash of their secret, and looked for in the store whenever that has changed.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{Duration, Instant},
};

use ringfence::{
    Caller, KeySecret, Runtime,
    event::{Digest, Key, KeyId, KeyScope, TenantId, Timestamp, UserId},
};

use crate::problem::{Code, Problem};

/// What is known of keys for longer than this is not gone by: one may have been ended since. A revoked
/// key is to be out within a second, whatever the store's state.
const FRESH: Duration = Duration::from_millis(900);

/// How long the keys are not read again for the sake of one that is not among them.
const PAUSE: Duration = Duration::from_millis(20);

/// The keys as the store had them last.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    known: RwLock<Arc<Known>>,
    /// Held by whoever reads them.
    refreshing: Mutex<()>,
    /// When it was last seen that they still are what the store has.
    looked: Mutex<Option<Instant>>,
    /// When they were read.
    read: Mutex<Option<Instant>>,
    /// Those that were there and are not any more, until their runs are ended.
    revoked: Mutex<Vec<(TenantId, KeyId)>>,
}

#[derive(Debug, Default)]
struct Known {
    by_secret: HashMap<Digest, Arc<Key>>,
    by_id: HashMap<KeyId, Arc<Key>>,
    version: Option<i64>,
}

/// Who a request is from.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub(crate) key: Arc<Key>,
    /// Whose work it is, and on whose behalf what it makes is.
    pub(crate) caller: Caller,
}

impl Principal {
    /// The one user whose things it may see; `None`: those of all users of its tenant.
    pub(crate) fn only(&self) -> Option<&UserId> {
        self.key.user.as_ref()
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.caller.tenant
    }

    /// A refusal if the key is not for this.
    pub(crate) fn require(&self, scope: KeyScope) -> Result<(), Problem> {
        match self.key.has(scope) {
            true => Ok(()),
            false => {
                let said = format!("the API key is not for `{scope}`: it needs that scope");
                Err(Problem::new(Code::OutOfScope, said))
            }
        }
    }
}

impl Keys {
    /// Reads the keys anew, if anything was stored since they were read.
    pub(crate) fn refresh(&self, runtime: &Runtime) -> Result<(), ringfence::Error> {
        self.refresh_from(|| runtime.data_version(), || runtime.known_keys())
    }

    /// One after the other: who began to read first would put back what a later one saw ended.
    fn refresh_from<E>(
        &self,
        version: impl FnOnce() -> Result<i64, E>,
        read: impl FnOnce() -> Result<Vec<(Digest, Key)>, E>,
    ) -> Result<(), E> {
        let _one = self.refreshing.lock().unwrap_or_else(PoisonError::into_inner);
        // They are what the store had then, however long reading them takes.
        let begun = Instant::now();
        // Asked first: what is stored in between is looked for again the next time.
        let version = version()?;
        if self.known().version == Some(version) {
            self.look(begun);
            return Ok(());
        }
        let mut known = Known { version: Some(version), ..Known::default() };
        for (secret, key) in read()? {
            let key = Arc::new(key);
            known.by_id.insert(key.id.clone(), key.clone());
            known.by_secret.insert(secret, key);
        }
        let gone = self.known();
        let gone = gone.by_id.values().filter(|key| !known.by_id.contains_key(&key.id));
        let gone = gone.map(|key| (key.tenant.clone(), key.id.clone()));
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).extend(gone);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
        self.look(begun);
        Ok(())
    }

    /// The keys that were revoked since this was asked last.
    pub(crate) fn take_revoked(&self) -> Vec<(TenantId, KeyId)> {
        std::mem::take(&mut *self.revoked.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The runs of a key could not be ended: it is told again.
    pub(crate) fn revoked_still(&self, tenant: TenantId, key: KeyId) {
        self.revoked.lock().unwrap_or_else(PoisonError::into_inner).push((tenant, key));
    }

    /// Whose request this is, by the value of its `Authorization` header.
    pub(crate) async fn principal(
        &self,
        runtime: &Runtime,
        header: Option<&[u8]>,
        now: Timestamp,
    ) -> Result<Principal, Problem> {
        let Some(secret) = header.and_then(bearer) else {
            let said =
                "send an API key as `Authorization: Bearer KEY`; `ringfence key create` makes one";
            return Err(Problem::new(Code::Unauthenticated, said));
        };
        let digest = KeySecret::digest(secret);
        let mut known = self.known();
        if !self.is_fresh() || !known.by_secret.contains_key(&digest) {
            // It may have been made a moment ago. Whoever tries one key after another has the keys read
            // no more often than this all the same.
            let pause = self.read_ago().map_or(Duration::ZERO, |ago| PAUSE.saturating_sub(ago));
            tokio::time::sleep(pause).await;
            self.refresh(runtime)?;
            known = self.known();
        }
        match known.by_secret.get(&digest).filter(|key| key.is_valid(now)) {
            Some(key) => {
                let user = key.user.clone().unwrap_or_else(UserId::local);
                let caller = Caller { tenant: key.tenant.clone(), user };
                Ok(Principal { key: key.clone(), caller })
            }
            None => {
                let said = "the API key is unknown, has expired or was revoked";
                Err(Problem::new(Code::Unauthenticated, said))
            }
        }
    }

    /// Whether a key opens anything at this time, as far as is known.
    pub(crate) fn is_valid(&self, id: &KeyId, now: Timestamp) -> bool {
        self.known().by_id.get(id).is_some_and(|key| key.is_valid(now))
    }

    fn look(&self, at: Instant) {
        *self.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }

    fn read_ago(&self) -> Option<Duration> {
        let read = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        read.map(|read| read.elapsed())
    }

    fn is_fresh(&self) -> bool {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.is_some_and(|looked| looked.elapsed() < FRESH)
    }

    fn known(&self) -> Arc<Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The token of a `Bearer` credential.
fn bearer(header: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(header).ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn key(n: u8) -> (Digest, Key) {
        let key = Key {
            id: KeyId::from_random([n; 16]),
            tenant: TenantId::local(),
            user: None,
            scopes: vec![KeyScope::Read],
            name: None,
            created: Timestamp(0),
            expires: None,
            revoked: None,
            replaces: None,
        };
        (Digest::of(&[n]), key)
    }

    /// One who reads slowly saw a key that was ended since: it does not come back.
    #[test]
    fn s5_a_slow_look_at_the_keys_puts_back_none_that_was_ended() {
        let keys = Keys::default();
        let (say, said) = mpsc::channel();
        let (release, held) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let keys = &keys;
            scope.spawn(move || {
                let read = || {
                    say.send(()).unwrap();
                    held.recv().unwrap();
                    Ok::<_, ()>(vec![key(1), key(2)])
                };
                keys.refresh_from(|| Ok(1), read)
            });
            said.recv().unwrap();
            let later = scope.spawn(|| keys.refresh_from(|| Ok(2), || Ok::<_, ()>(vec![key(2)])));
            release.send(()).unwrap();
            later.join().unwrap().unwrap();
        });
        assert!(!keys.is_valid(&key(1).1.id, Timestamp(1)));
        assert!(keys.is_valid(&key(2).1.id, Timestamp(1)));
        assert_eq!(keys.take_revoked(), [(TenantId::local(), key(1).1.id)]);
        // What cannot be read leaves what is known, which is gone by for a while.
        assert!(keys.refresh_from(|| Ok(3), || Err("no")).is_err());
        assert!(keys.is_valid(&key(2).1.id, Timestamp(1)));
    }

    #[test]
    fn a_credential_has_a_scheme_and_a_token() {
        for (header, token) in [
            ("Bearer rfk_x", Some("rfk_x")),
            ("bearer  rfk_x", Some("rfk_x")),
            ("Bearer", None),
            ("Bearer ", None),
            ("Basic rfk_x", None),
            ("rfk_x", None),
        ] {
            assert_eq!(bearer(header.as_bytes()), token, "{header}");
        }
        assert_eq!(bearer(b"Bearer \xff"), None);
    }
}
