//! API keys: made, listed, ended, replaced. The secret of one is told once, and nobody keeps it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_event::{Body, Digest, Key, KeyId, KeyScope, Stream, TenantId, Timestamp, UserId};
use ringfence_store::{Append, Batch, KeyChange, NewEvent, StoredKey};

use crate::{Caller, Error, Runtime, entropy};

/// What every secret begins with, so that one that lies around can be told for what it is.
const PREFIX: &str = "rfk_";

/// What a new key is to be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// The one user it is for; `None`: for the whole tenant.
    pub user: Option<UserId>,
    /// What it may be used for.
    pub scopes: Vec<KeyScope>,
    /// What people call it.
    pub name: Option<String>,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
}

/// The secret of a key, to be shown once.
pub struct KeySecret(String);

impl KeySecret {
    /// 256 random bits.
    fn new() -> Result<Self, Error> {
        let (one, two) = (entropy::id()?, entropy::id()?);
        let text = URL_SAFE_NO_PAD.encode([one, two].concat());
        Ok(Self(format!("{PREFIX}{text}")))
    }

    /// The secret itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of a secret. It is random and long, so that nothing slower is needed.
    #[must_use]
    pub fn digest(secret: &str) -> Digest {
        Digest::of(secret.as_bytes())
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret")
    }
}

impl Runtime {
    /// What time the runtime goes by.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.config.clock.now()
    }

    /// Makes a key of a tenant. `caller` is whoever does it.
    ///
    /// # Errors
    /// When it is for nothing, ends before it begins, or cannot be stored.
    pub async fn create_key(
        &self,
        caller: &Caller,
        new: NewKey,
    ) -> Result<(Key, KeySecret), Error> {
        let now = self.now();
        self.make_key(caller, new, None, now).await
    }

    /// Makes a key in the place of another, for the same use. That one ends after so many milliseconds,
    /// if it does not end earlier.
    ///
    /// # Errors
    /// When there is no such key, or it is not valid any more.
    pub async fn rotate_key(
        &self,
        caller: &Caller,
        id: &KeyId,
        overlap_ms: u64,
        expires: Option<Timestamp>,
    ) -> Result<(Key, KeySecret), Error> {
        let now = self.now();
        let stored = self.0.store()?.keys(&caller.tenant)?;
        let old = stored.into_iter().map(|stored| stored.key).find(|key| key.id == *id);
        let old = old.filter(|key| key.is_valid(now));
        let old = old.ok_or_else(|| Error::NoSuchKey { key: id.clone() })?;
        let until = Timestamp(now.0.saturating_add(overlap_ms));
        let until = old.expires.map_or(until, |end| end.min(until));
        let new = NewKey { user: old.user, scopes: old.scopes, name: old.name, expires };
        self.make_key(caller, new, Some((old.id, until)), now).await
    }

    async fn make_key(
        &self,
        caller: &Caller,
        new: NewKey,
        replaces: Option<(KeyId, Timestamp)>,
        now: Timestamp,
    ) -> Result<(Key, KeySecret), Error> {
        let NewKey { user, mut scopes, name, expires } = new;
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() {
            return Err(Error::input("a key without a scope opens nothing: name at least one"));
        }
        if expires.is_some_and(|end| end <= now) {
            return Err(Error::input("the key would end before it begins"));
        }
        let secret = KeySecret::new()?;
        let id = KeyId::from_random(entropy::id()?);
        let (old, until) = replaces.unzip();
        let tenant = caller.tenant.clone();
        let key = Key {
            id,
            tenant: tenant.clone(),
            user,
            scopes,
            name,
            created: now,
            expires,
            revoked: None,
            replaces: old.clone(),
        };
        let stored = StoredKey { key: key.clone(), secret: KeySecret::digest(secret.reveal()) };
        let expire = old.clone().zip(until);
        let expire = expire.map(|(key, at)| KeyChange::Expire { tenant, key, now, at });
        let create = KeyChange::Create(Box::new(stored));
        let event = Body::KeyCreated {
            key: key.id.clone(),
            user: key.user.clone(),
            scopes: key.scopes.clone(),
            expires: key.expires,
            replaces: old,
            replaced_until: until,
        };
        self.change_keys(caller, expire.into_iter().chain([create]).collect(), event, now).await?;
        Ok((key, secret))
    }

    /// Ends a key. What was started with it ends too, within a second, in every process.
    ///
    /// # Errors
    /// When the tenant has no such key, or it is not valid any more.
    pub async fn revoke_key(&self, caller: &Caller, id: &KeyId) -> Result<(), Error> {
        let at = self.now();
        let change = KeyChange::Revoke { tenant: caller.tenant.clone(), key: id.clone(), at };
        self.change_keys(caller, vec![change], Body::KeyRevoked { key: id.clone() }, at).await
    }

    /// The keys of a tenant, those that ended too.
    ///
    /// # Errors
    /// When the store fails.
    pub fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, Error> {
        let stored = self.0.store()?.keys(tenant)?;
        Ok(stored.into_iter().map(|stored| stored.key).collect())
    }

    /// The keys of all tenants that have not been ended, each with what is kept of its secret: for a
    /// service to know its clients by. One may still have expired.
    ///
    /// # Errors
    /// When the store fails.
    pub fn known_keys(&self) -> Result<Vec<(Digest, Key)>, Error> {
        let stored = self.0.store()?.all_keys()?.into_iter();
        let known = stored.filter(|stored| stored.key.revoked.is_none());
        Ok(known.map(|stored| (stored.secret, stored.key)).collect())
    }

    async fn change_keys(
        &self,
        caller: &Caller,
        keys: Vec<KeyChange>,
        body: Body,
        at: Timestamp,
    ) -> Result<(), Error> {
        let append = Append {
            stream: Stream::Tenant(caller.tenant.clone()),
            tenant: caller.tenant.clone(),
            user: caller.user.clone(),
            fence: None,
            expected_seq: None,
            events: vec![NewEvent {
                at,
                body,
                cause: None,
                trace: Some(entropy::trace()?.to_string()),
            }],
        };
        let batch = Batch { appends: vec![append], keys, ..Batch::default() };
        match self.0.store()?.commit(batch).await {
            Err(ringfence_store::Error::NoSuchKey { key }) => Err(Error::NoSuchKey { key }),
            done => done.map(drop).map_err(Error::from),
        }
    }
}
