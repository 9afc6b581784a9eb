//! The secrets of one call: read when a request needs them, put into the one header they are for,
//! and kept out of what comes back.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use ringfence_event::{SecretFault, SecretName};
use ringfence_policy::{Permit, SecretHeader};
use ringfence_vault::{Redactor, Secret, Vault};
use tokio::sync::Semaphore;

/// How many threads wait for files and keyrings at one time: a source that hangs holds up those who
/// need secrets, and nobody else.
const READERS: usize = 8;

/// Where secrets are read. One a process.
#[derive(Clone)]
pub(crate) struct Secrets {
    vault: Vault,
    readers: Arc<Semaphore>,
}

impl Secrets {
    pub(crate) fn new(vault: Vault) -> Self {
        Self { vault, readers: Arc::new(Semaphore::new(READERS)) }
    }

    pub(crate) fn of_call(&self, permit: Arc<Permit>) -> CallSecrets {
        CallSecrets { secrets: self.clone(), permit, redactor: Arc::default() }
    }
}

/// What one call may have put into its requests.
#[derive(Clone)]
pub(crate) struct CallSecrets {
    secrets: Secrets,
    permit: Arc<Permit>,
    redactor: Arc<Redactor>,
}

impl CallSecrets {
    /// What keeps the secrets that were read out of everything that leaves.
    pub(crate) fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// Whether the tool has any: only then is what it receives looked through.
    pub(crate) fn any(&self) -> bool {
        self.permit.secrets().next().is_some()
    }

    /// Reads all secrets of the tool as they are now and sets the headers that are to have one. The
    /// others are read too: a server that was told one before may say it in answer to anything.
    pub(crate) async fn put_in(
        &self,
        wanted: &[SecretHeader],
        headers: &mut HeaderMap,
    ) -> Result<(), (SecretName, SecretFault)> {
        for (name, read) in self.read().await {
            match read {
                Ok(secret) => {
                    for slot in wanted.iter().filter(|slot| slot.name == name) {
                        let (header, value) = header(slot, &secret)
                            .ok_or((name.clone(), SecretFault::NotPrintable))?;
                        headers.insert(header, value);
                    }
                    self.redactor.learn(secret);
                }
                Err(fault) if wanted.iter().any(|slot| slot.name == name) => {
                    return Err((name, fault));
                }
                // Nothing of it is sent now; what was sent before was learnt then.
                Err(_) => {}
            }
        }
        // Whatever happened above: with all of them or not at all.
        match wanted.iter().find(|slot| !headers.contains_key(slot.header.as_str())) {
            Some(slot) => Err((slot.name.clone(), SecretFault::Missing)),
            None => Ok(()),
        }
    }

    async fn read(&self) -> Vec<(SecretName, Result<Secret, SecretFault>)> {
        let mut places: Vec<_> = Vec::new();
        for name in self.permit.secrets() {
            if !places.iter().any(|(known, _)| known == name) {
                places.extend(self.permit.secret(name).map(|place| (name.clone(), place)));
            }
        }
        let names: Vec<SecretName> = places.iter().map(|(name, _)| name.clone()).collect();
        let vault = self.secrets.vault.clone();
        let reader = self.secrets.readers.clone().acquire_owned().await;
        let read = tokio::task::spawn_blocking(move || {
            let _reader = reader;
            let read = |(name, place)| {
                let secret = vault.read(&name, &place);
                (name, secret)
            };
            places.into_iter().map(read).collect()
        });
        // A source that panics is a broken one.
        let broken = |name| (name, Err(SecretFault::Unreadable));
        read.await.unwrap_or_else(|_| names.into_iter().map(broken).collect())
    }
}

/// A header with its secret, in memory that is overwritten when the request is done with.
fn header(slot: &SecretHeader, secret: &Secret) -> Option<(HeaderName, HeaderValue)> {
    let name: HeaderName = slot.header.parse().ok()?;
    let value = Bytes::from_owner(secret.within(&slot.before, &slot.after));
    let mut value = HeaderValue::from_maybe_shared(value).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// Takes secrets out of headers or trailers. A name that has one in it goes with its value.
pub(crate) fn redact_headers(redactor: &Redactor, headers: &mut HeaderMap) {
    let hidden: Vec<HeaderName> = headers
        .keys()
        .filter(|name| redactor.text(name.as_str()) != name.as_str())
        .cloned()
        .collect();
    for name in hidden {
        headers.remove(name);
    }
    for value in headers.values_mut() {
        let shown = redactor.bytes(value.as_bytes());
        if *shown != *value.as_bytes() {
            // A mark is printable ASCII, so this does not fail.
            *value = HeaderValue::from_bytes(&shown)
                .unwrap_or_else(|_| HeaderValue::from_static("[redacted]"));
        }
    }
}
