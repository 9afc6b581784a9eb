//! Memory buckets: what the driver fills in, and the writes of one call, which land together with
//! its outcome or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_event::{Access, Scope};
use ringfence_policy::Permit;

use crate::{DenialLog, Meter, cost, meter::LimitReached};

/// A future as a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The most bytes of a key.
pub const KEY_BYTES: usize = 256;

/// The keys of one page of [`Buckets::keys`].
pub const PAGE: usize = 256;

/// The memory of one tenant, user, agent and session, behind the buckets' names. The driver fills
/// it in over the store: bound to the call's session, agent, user and tenant when the call is made,
/// so that nothing a guest says can name another's.
pub trait Buckets: Send + Sync {
    /// The value of a key.
    fn get<'a>(
        &'a self,
        scope: Scope,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, Unavailable>>;

    /// Up to [`PAGE`] keys after `after`, in order.
    fn keys<'a>(
        &'a self,
        scope: Scope,
        after: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Vec<String>, Unavailable>>;

    /// What the bucket holds.
    fn used(&self, scope: Scope) -> BoxFuture<'_, Result<Used, Unavailable>>;

    /// The bytes that a key and its value take.
    fn size<'a>(
        &'a self,
        scope: Scope,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<u64>, Unavailable>>;
}

/// How much a bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Bytes of its keys and values.
    pub bytes: u64,
    /// Its keys.
    pub keys: u64,
    /// Bytes of all buckets of the tenant.
    pub tenant_bytes: u64,
}

/// The store did not answer. The reason is the host's to log, not the guest's to see.
#[derive(Debug, thiserror::Error)]
#[error("memory is not available")]
pub struct Unavailable;

/// Why an act on a bucket did not happen.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The permit does not open it; the denial is recorded.
    #[error("denied")]
    Denied,
    /// A limit was met.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// The store did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The key is empty or longer than [`KEY_BYTES`].
    #[error("a key is 1 to 256 bytes")]
    Key,
    /// It does not fit into the bucket, or into all of the tenant's; the denial is recorded.
    #[error("the memory is full")]
    Full,
    /// The value under the key is not a number in decimal digits.
    #[error("the value is not a number")]
    NotANumber,
}

/// One change of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key has this value.
    Set(Vec<u8>),
    /// The key is gone.
    Delete,
    /// The number under the key grows. What other calls added meanwhile is kept.
    Increment {
        /// By how much.
        by: u64,
        /// What it comes to as the call sees it.
        sum: u64,
    },
}

/// What a call wrote: to be committed with its outcome.
pub type Writes = BTreeMap<(Scope, String), Change>;

/// The memory of one call: what is stored, under what this call has written.
pub struct Memory {
    permit: Arc<Permit>,
    buckets: Arc<dyn Buckets>,
    meter: Arc<Meter>,
    denials: Arc<DenialLog>,
    written: Mutex<Written>,
}

/// What a call has written so far.
#[derive(Default)]
struct Written {
    writes: Writes,
    /// By scope, what was stored when the call first wrote there, and how its writes change that.
    growth: BTreeMap<Scope, (Used, Growth)>,
}

/// By how much a bucket grows.
#[derive(Clone, Copy, Default)]
struct Growth {
    bytes: i64,
    keys: i64,
}

impl Memory {
    pub(crate) fn new(
        permit: Arc<Permit>,
        buckets: Arc<dyn Buckets>,
        meter: Arc<Meter>,
        denials: Arc<DenialLog>,
    ) -> Self {
        Self { permit, buckets, meter, denials, written: Mutex::default() }
    }

    /// Opens a bucket by name.
    pub fn open(&self, name: &str) -> Result<Scope, MemoryError> {
        self.act(name)?;
        self.permit.bucket(name, Access::Read).map_err(|denial| self.deny(denial))
    }

    /// The value of a key.
    pub async fn get(&self, scope: Scope, key: &str) -> Result<Option<Vec<u8>>, MemoryError> {
        self.act(key)?;
        check_key(key)?;
        let written = self.written().writes.get(&(scope, key.to_owned())).cloned();
        let value = match written {
            Some(Change::Set(value)) => Some(value),
            Some(Change::Delete) => None,
            Some(Change::Increment { sum, .. }) => Some(digits(sum)),
            None => self.buckets.get(scope, key).await?,
        };
        if let Some(value) = &value {
            self.meter.read(value.len() as u64)?;
        }
        Ok(value)
    }

    /// Sets a key, if it fits into what the bucket and the tenant may hold.
    pub async fn set(&self, scope: Scope, key: &str, value: Vec<u8>) -> Result<(), MemoryError> {
        self.write(scope, key, Change::Set(value)).await
    }

    /// Removes a key; nothing happens if there is none.
    pub async fn delete(&self, scope: Scope, key: &str) -> Result<(), MemoryError> {
        self.write(scope, key, Change::Delete).await
    }

    /// Adds to the number under a key, which counts as 0 where there is none. Returned is the sum
    /// as this call sees it, not what other calls that run meanwhile add; the commit adds `delta`
    /// to what is stored then, so that no call's part of the sum is lost. Where the call set or
    /// deleted the key itself, its own value is what it adds to, and what is committed.
    pub async fn increment(&self, scope: Scope, key: &str, delta: u64) -> Result<u64, MemoryError> {
        let number = match self.get(scope, key).await? {
            None => 0,
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse::<u64>().ok())
                .ok_or(MemoryError::NotANumber)?,
        };
        let sum = number.saturating_add(delta);
        let written = self.written().writes.get(&(scope, key.to_owned())).cloned();
        let change = match written {
            None => Change::Increment { by: delta, sum },
            Some(Change::Increment { by, .. }) => {
                Change::Increment { by: by.saturating_add(delta), sum }
            }
            Some(Change::Set(_) | Change::Delete) => Change::Set(digits(sum)),
        };
        self.write(scope, key, change).await?;
        Ok(sum)
    }

    /// A page of keys after `after`, in order, as this call sees them; and the key after which the
    /// next page goes on, if there is one. A page may be empty and yet be followed by another.
    pub async fn keys(
        &self,
        scope: Scope,
        after: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), MemoryError> {
        self.meter.charge(cost::BUCKET_CALL)?;
        let stored = self.buckets.keys(scope, after).await?;
        let next = if stored.len() >= PAGE { stored.last().cloned() } else { None };
        let mut keys: BTreeSet<String> = stored.into_iter().collect();
        for ((of, key), change) in &self.written().writes {
            let on_page = *of == scope
                && after.is_none_or(|after| key.as_str() > after)
                && next.as_ref().is_none_or(|next| key <= next);
            if on_page {
                match change {
                    Change::Set(_) | Change::Increment { .. } => keys.insert(key.clone()),
                    Change::Delete => keys.remove(key),
                };
            }
        }
        self.meter.read(keys.iter().map(|key| key.len() as u64).sum())?;
        Ok((keys.into_iter().collect(), next))
    }

    /// Charges one act on the key or bucket of this name, which may be as long as a guest likes.
    fn act(&self, name: &str) -> Result<(), MemoryError> {
        let bytes = (name.len() as u64).saturating_mul(cost::BYTE);
        Ok(self.meter.charge(cost::BUCKET_CALL.saturating_add(bytes))?)
    }

    /// Takes what was written.
    #[must_use]
    pub fn take_writes(&self) -> Writes {
        std::mem::take(&mut *self.written()).writes
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a change for the commit.
    async fn write(&self, scope: Scope, key: &str, change: Change) -> Result<(), MemoryError> {
        self.act(key)?;
        self.check_write(scope)?;
        check_key(key)?;
        let after = size(key, &change);
        self.meter.store(after.unwrap_or(key.len() as u64))?;
        let at = (scope, key.to_owned());
        let own = self.written().writes.get(&at).map(|own| size(key, own));
        let before = match own {
            Some(before) => before,
            None => self.buckets.size(scope, key).await?,
        };
        let more = Growth {
            bytes: signed(after.unwrap_or(0)) - signed(before.unwrap_or(0)),
            keys: i64::from(after.is_some()) - i64::from(before.is_some()),
        };
        self.grow(scope, more).await?;
        self.written().writes.insert(at, change);
        Ok(())
    }

    /// Counts what a bucket is to grow by, over what is stored and what this call wrote before. What
    /// other calls write meanwhile is seen when all of it is committed.
    async fn grow(&self, scope: Scope, more: Growth) -> Result<(), MemoryError> {
        if !self.written().growth.contains_key(&scope) {
            self.meter.charge(cost::BUCKET_CALL)?;
            let used = self.buckets.used(scope).await?;
            self.written().growth.insert(scope, (used, Growth::default()));
        }
        let limits = self.permit.memory_limits();
        let mut written = self.written();
        let of_tenant: i64 = written.growth.values().map(|(_, growth)| growth.bytes).sum();
        let Some((used, growth)) = written.growth.get_mut(&scope) else { return Ok(()) };
        let fits = |used: u64, grown: i64, more: i64, limit: u64| {
            more <= 0 || used.saturating_add_signed(grown.saturating_add(more)) <= limit
        };
        if !fits(used.bytes, growth.bytes, more.bytes, limits.bucket_bytes)
            || !fits(used.keys, growth.keys, more.keys, limits.bucket_keys)
            || !fits(used.tenant_bytes, of_tenant, more.bytes, limits.tenant_bytes)
        {
            self.denials.record(self.permit.deny_memory_full(scope));
            return Err(MemoryError::Full);
        }
        growth.bytes = growth.bytes.saturating_add(more.bytes);
        growth.keys = growth.keys.saturating_add(more.keys);
        Ok(())
    }

    fn check_write(&self, scope: Scope) -> Result<(), MemoryError> {
        match self.permit.bucket(scope.as_str(), Access::Write) {
            Ok(_) => Ok(()),
            Err(denial) => Err(self.deny(denial)),
        }
    }

    fn deny(&self, denial: ringfence_event::Denial) -> MemoryError {
        self.denials.record(denial);
        MemoryError::Denied
    }
}

/// A number as it is stored.
fn digits(number: u64) -> Vec<u8> {
    number.to_string().into_bytes()
}

/// What an entry takes when it was changed like this.
fn size(key: &str, change: &Change) -> Option<u64> {
    let value = match change {
        Change::Set(value) => value.len(),
        Change::Delete => return None,
        Change::Increment { sum, .. } => digits(*sum).len(),
    };
    Some((key.len() + value) as u64)
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn check_key(key: &str) -> Result<(), MemoryError> {
    if (1..=KEY_BYTES).contains(&key.len()) { Ok(()) } else { Err(MemoryError::Key) }
}
