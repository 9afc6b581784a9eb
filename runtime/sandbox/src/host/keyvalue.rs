//! `wasi:keyvalue` over `capability::memory`: a bucket is a scope.

use std::sync::Arc;

use ringfence_capability::memory::{Memory, MemoryError};
use ringfence_event::{Limit, Scope};
use wasmtime::{Result, component::Resource};

use crate::{
    bindings::wasi::keyvalue::{atomics, batch, store},
    state::State,
};

/// An open bucket.
#[derive(Clone, Copy, Debug)]
#[expect(unreachable_pub, reason = "the generated bindings re-export it, and take nothing less")]
pub struct Bucket(Scope);

/// Where listings of this call go on: the interface's cursor is a number, the store's is a key.
#[derive(Debug, Default)]
pub(crate) struct Cursors(Vec<String>);

/// The most listings a call may have under way.
const CURSORS: usize = 4096;

type Answer<T> = std::result::Result<T, store::Error>;

/// What the guest sees of an error; a limit is a trap.
fn answer<T>(result: std::result::Result<T, MemoryError>) -> Result<Answer<T>> {
    Ok(match result {
        Ok(value) => Ok(value),
        Err(MemoryError::Limit(limit)) => return Err(limit.into()),
        Err(MemoryError::Denied) => Err(store::Error::AccessDenied),
        Err(other) => Err(store::Error::Other(other.to_string())),
    })
}

impl State {
    fn memory(&self) -> std::result::Result<Arc<Memory>, MemoryError> {
        self.opened.as_ref().map(|opened| opened.memory.clone()).ok_or(MemoryError::Denied)
    }

    fn scope(&self, bucket: &Resource<Bucket>) -> Result<Scope> {
        Ok(self.table.get(bucket)?.0)
    }
}

impl store::Host for State {
    fn open(&mut self, name: String) -> Result<Answer<Resource<Bucket>>> {
        match answer(self.memory().and_then(|memory| memory.open(&name)))? {
            Ok(scope) => Ok(Ok(self.table.push(Bucket(scope))?)),
            Err(error) => Ok(Err(error)),
        }
    }
}

impl store::HostBucket for State {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<Answer<Option<Vec<u8>>>> {
        let scope = self.scope(&bucket)?;
        answer(match self.memory() {
            Ok(memory) => memory.get(scope, &key).await,
            Err(error) => Err(error),
        })
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> Result<Answer<()>> {
        let scope = self.scope(&bucket)?;
        answer(match self.memory() {
            Ok(memory) => memory.set(scope, &key, value).await,
            Err(error) => Err(error),
        })
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Answer<()>> {
        let scope = self.scope(&bucket)?;
        answer(match self.memory() {
            Ok(memory) => memory.delete(scope, &key).await,
            Err(error) => Err(error),
        })
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Result<Answer<bool>> {
        let value = self.get(bucket, key).await?;
        Ok(value.map(|value| value.is_some()))
    }

    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> Result<Answer<store::KeyResponse>> {
        let scope = self.scope(&bucket)?;
        let after = match cursor {
            None => None,
            Some(cursor) => {
                let known = usize::try_from(cursor).ok().and_then(|at| self.cursors.0.get(at));
                let Some(known) = known else {
                    return Ok(Err(store::Error::Other("no such cursor".to_owned())));
                };
                Some(known.clone())
            }
        };
        let page = match self.memory() {
            Ok(memory) => memory.keys(scope, after.as_deref()).await,
            Err(error) => Err(error),
        };
        let (keys, next) = match answer(page)? {
            Ok(page) => page,
            Err(error) => return Ok(Err(error)),
        };
        let cursor = match next {
            None => None,
            Some(_) if self.cursors.0.len() >= CURSORS => {
                return Ok(Err(store::Error::Other("too many listings in one call".to_owned())));
            }
            Some(next) => {
                self.cursors.0.push(next);
                Some(self.cursors.0.len() as u64 - 1)
            }
        };
        Ok(Ok(store::KeyResponse { keys, cursor }))
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for State {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> Result<Answer<u64>> {
        let scope = self.scope(&bucket)?;
        answer(match self.memory() {
            Ok(memory) => memory.increment(scope, &key, delta).await,
            Err(error) => Err(error),
        })
    }
}

impl batch::Host for State {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Answer<Vec<Option<(String, Vec<u8>)>>>> {
        let scope = self.scope(&bucket)?;
        let memory = match answer(self.memory())? {
            Ok(memory) => memory,
            Err(error) => return Ok(Err(error)),
        };
        let mut found = Vec::new();
        let mut bytes = 0_u64;
        for key in keys {
            match answer(memory.get(scope, &key).await)? {
                Ok(value) => {
                    // All of it is held here until it is handed over at once.
                    bytes +=
                        key.len() as u64 + value.as_ref().map_or(0, |value| value.len() as u64);
                    if bytes > self.meter.limits().lift {
                        return Err(self.meter.stop(Limit::Lift).into());
                    }
                    found.push(value.map(|value| (key, value)));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(found))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        pairs: Vec<(String, Vec<u8>)>,
    ) -> Result<Answer<()>> {
        for (key, value) in pairs {
            let bucket = Resource::new_borrow(bucket.rep());
            if let Err(error) = store::HostBucket::set(self, bucket, key, value).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Result<Answer<()>> {
        for key in keys {
            let bucket = Resource::new_borrow(bucket.rep());
            if let Err(error) = store::HostBucket::delete(self, bucket, key).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(()))
    }
}
