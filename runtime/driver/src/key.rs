//! API keys: made, listed, ended, replaced. The secret of one is told once, and nobody keeps it.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ringfence_event::{
    Body, Digest, Key, KeyId, KeyScope, RunId, SessionId, Stream, TenantId, Timestamp, UserId,
};
use ringfence_store::{Append, Batch, KeyChange, NewEvent, StoredKey};

use crate::{Caller, Error, Runtime, Saying, drive::Driver, entropy, journal};

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

    /// Ends what was begun with a key of a tenant that is revoked: each run that has not ended, whoever drives it,
    /// and no other run of its session. How many that are.
    ///
    /// # Errors
    /// When the store fails. One session that does not take it does not keep it from the others.
    pub async fn end_runs_of(&self, tenant: &TenantId, key: &KeyId) -> Result<usize, Error> {
        let (runtime, of, by) = (self.clone(), tenant.clone(), key.clone());
        let begun = tokio::task::spawn_blocking(move || runtime.runs_of(&of, &by)).await;
        let begun = begun.unwrap_or_else(|_| Err(Error::input("reading the sessions failed")))?;
        let (mut ended, mut failed) = (0, None);
        for (caller, session, run) in begun {
            let saying = Saying::Cancel { run: Some(run) };
            match self.tell_session(&caller, &session, &caller.user, saying).await {
                Ok(_) => ended += 1,
                // It has ended meanwhile.
                Err(Error::Refused(_) | Error::NoSuchSession { .. }) => {}
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(ended), Err)
    }

    /// The runs of a tenant's open sessions that were begun with a key and have not ended.
    fn runs_of(
        &self,
        tenant: &TenantId,
        key: &KeyId,
    ) -> Result<Vec<(Caller, SessionId, RunId)>, Error> {
        let store = self.0.store()?;
        let mut found = vec![];
        let mut last: Option<(TenantId, SessionId)> = None;
        loop {
            let after = last.as_ref().map(|(tenant, session)| (tenant, session));
            let page = store.unfinished(after, journal::PAGE)?;
            // They come in the order of their tenants.
            let Some(end) = page.last().filter(|_| page[0].tenant <= *tenant) else {
                return Ok(found);
            };
            last = Some((end.tenant.clone(), end.session.clone()));
            for open in page.into_iter().filter(|open| open.tenant == *tenant) {
                let caller = Caller { tenant: open.tenant, user: open.user };
                // One that is damaged goes on nowhere.
                let Ok(session) = journal::fold(store, &caller, &open.session) else { continue };
                for run in session.runs() {
                    if run.status().is_open() && run.api_key() == Some(key) {
                        found.push((caller.clone(), open.session.clone(), run.id()));
                    }
                }
            }
        }
    }

    /// Ends the runs of a session that is about to be gone on with whose keys were revoked: whoever revoked one
    /// may have done so while nobody drove them.
    pub(crate) fn end_of_revoked(
        &self,
        caller: &Caller,
        driver: &mut Driver<'_>,
    ) -> Result<(), Error> {
        let runs = driver.session().runs().iter().filter(|run| run.status().is_open());
        let begun: Vec<(RunId, KeyId)> =
            runs.filter_map(|run| Some((run.id(), run.api_key()?.clone()))).collect();
        if begun.is_empty() {
            return Ok(());
        }
        driver.recover()?;
        let keys = self.keys(&caller.tenant)?;
        let is_revoked = |id: &KeyId| keys.iter().any(|key| key.id == *id && key.revoked.is_some());
        for (run, key) in begun {
            if is_revoked(&key) {
                driver.end(run)?;
            }
        }
        Ok(())
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
