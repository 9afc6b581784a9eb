//! What holds on every store: cases that any of them can be put under, whatever it keeps its data in. A store takes
//! part with two traits, [`Harness`] and [`Subject`], and [`check`] names the cases that do not hold.
//!
//! ```no_run
//! # async fn of(mut mine: impl ringfence_store::kit::Harness) {
//! let failed = ringfence_store::kit::check(&mut mine).await;
//! assert!(failed.is_empty(), "{failed:#?}");
//! # }
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a case fails by panicking, and is told by name"
)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    task::Poll,
};

use ringfence_event::{
    Body, Digest, Event, Limit, RunId, Scope, SessionId, Stream, TenantId, Timestamp, UserId, Wait,
};

use crate::{
    Append, Batch, BucketId, BudgetState, Committed, Conflict, Error, Fence, InboxId, Inboxed,
    KeyPage, MemoryChange, MemoryUsed, MemoryWrite, NewEvent, OpenSession, Resolved,
    SessionSummary, Store,
};

mod journal;
mod kept;
mod sessions;

/// A store as the cases use it. Each method does what the one of [`Store`] does that has its name; reading waits,
/// if it has to, on the caller's thread.
pub trait Subject: Sync {
    /// [`Store::commit`].
    fn commit(&self, batch: Batch) -> impl Future<Output = Result<Committed, Error>> + Send;
    /// [`Store::commit_later`].
    fn commit_later(&self, batch: Batch) -> impl Future<Output = ()> + Send;
    /// [`Store::flush`].
    fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send;
    /// [`Store::claim`].
    fn claim(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        worker: &str,
    ) -> impl Future<Output = Result<Fence, Error>> + Send;
    /// [`Store::inbox_put`].
    fn inbox_put(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        at: Timestamp,
        command: String,
        key: Option<&str>,
    ) -> impl Future<Output = Result<InboxId, Error>> + Send;
    /// [`Store::inbox`].
    fn inbox(&self, tenant: &TenantId, session: &SessionId) -> Result<Vec<Inboxed>, Error>;
    /// [`Store::read`].
    fn read(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        from_seq: u64,
        limit: u32,
    ) -> Result<Vec<Event>, Error>;
    /// [`Store::last_seq`].
    fn last_seq(&self, tenant: &TenantId, stream: &Stream) -> Result<u64, Error>;
    /// [`Store::data_version`].
    fn data_version(&self) -> Result<i64, Error>;
    /// [`Store::sessions`].
    fn sessions(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<SessionSummary>, Error>;
    /// [`Store::session`].
    fn session(&self, tenant: &TenantId, id: &SessionId) -> Result<SessionSummary, Error>;
    /// [`Store::unfinished`].
    fn unfinished(
        &self,
        after: Option<(&TenantId, &SessionId)>,
        limit: u32,
    ) -> Result<Vec<OpenSession>, Error>;
    /// [`Store::waiting`].
    fn waiting(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        on: Option<Wait>,
    ) -> Result<Vec<SessionSummary>, Error>;
    /// [`Store::due`].
    fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<OpenSession>, Error>;
    /// [`Store::next_wake`].
    fn next_wake(&self) -> Result<Option<Timestamp>, Error>;
    /// [`Store::budget`].
    fn budget(
        &self,
        tenant: &TenantId,
        limit: Limit,
        window_start: Timestamp,
    ) -> Result<BudgetState, Error>;
    /// [`Store::resolve_session`].
    fn resolve_session(
        &self,
        tenant: &TenantId,
        user: &UserId,
        prefix: &str,
    ) -> Result<Resolved, Error>;
    /// [`Store::blob`].
    fn blob(&self, tenant: &TenantId, digest: &Digest) -> Result<Option<Vec<u8>>, Error>;
    /// [`Store::memory_get`].
    fn memory_get(&self, bucket: &BucketId, key: &str) -> Result<Option<Vec<u8>>, Error>;
    /// [`Store::memory_exists`].
    fn memory_exists(&self, bucket: &BucketId, key: &str) -> Result<bool, Error>;
    /// [`Store::memory_keys`].
    fn memory_keys(
        &self,
        bucket: &BucketId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<KeyPage, Error>;
    /// [`Store::memory_entries`].
    fn memory_entries(&self, bucket: &BucketId) -> Result<Vec<(String, Vec<u8>)>, Error>;
    /// [`Store::memory_used`].
    fn memory_used(&self, bucket: &BucketId) -> Result<MemoryUsed, Error>;
}

impl Subject for Store {
    fn commit(&self, batch: Batch) -> impl Future<Output = Result<Committed, Error>> + Send {
        Store::commit(self, batch)
    }
    fn commit_later(&self, batch: Batch) -> impl Future<Output = ()> + Send {
        Store::commit_later(self, batch)
    }
    fn flush(&self) -> impl Future<Output = Result<(), Error>> + Send {
        Store::flush(self)
    }
    fn claim(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        worker: &str,
    ) -> impl Future<Output = Result<Fence, Error>> + Send {
        Store::claim(self, tenant, session, worker)
    }
    fn inbox_put(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        at: Timestamp,
        command: String,
        key: Option<&str>,
    ) -> impl Future<Output = Result<InboxId, Error>> + Send {
        Store::inbox_put(self, tenant, session, at, command, key)
    }
    fn inbox(&self, tenant: &TenantId, session: &SessionId) -> Result<Vec<Inboxed>, Error> {
        Store::inbox(self, tenant, session)
    }
    fn read(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        from_seq: u64,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        Store::read(self, tenant, stream, from_seq, limit)
    }
    fn last_seq(&self, tenant: &TenantId, stream: &Stream) -> Result<u64, Error> {
        Store::last_seq(self, tenant, stream)
    }
    fn data_version(&self) -> Result<i64, Error> {
        Store::data_version(self)
    }
    fn sessions(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<SessionSummary>, Error> {
        Store::sessions(self, tenant, user, limit)
    }
    fn session(&self, tenant: &TenantId, id: &SessionId) -> Result<SessionSummary, Error> {
        Store::session(self, tenant, id)
    }
    fn unfinished(
        &self,
        after: Option<(&TenantId, &SessionId)>,
        limit: u32,
    ) -> Result<Vec<OpenSession>, Error> {
        Store::unfinished(self, after, limit)
    }
    fn waiting(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        on: Option<Wait>,
    ) -> Result<Vec<SessionSummary>, Error> {
        Store::waiting(self, tenant, user, on)
    }
    fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<OpenSession>, Error> {
        Store::due(self, now, limit)
    }
    fn next_wake(&self) -> Result<Option<Timestamp>, Error> {
        Store::next_wake(self)
    }
    fn budget(
        &self,
        tenant: &TenantId,
        limit: Limit,
        window_start: Timestamp,
    ) -> Result<BudgetState, Error> {
        Store::budget(self, tenant, limit, window_start)
    }
    fn resolve_session(
        &self,
        tenant: &TenantId,
        user: &UserId,
        prefix: &str,
    ) -> Result<Resolved, Error> {
        Store::resolve_session(self, tenant, user, prefix)
    }
    fn blob(&self, tenant: &TenantId, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        Store::blob(self, tenant, digest)
    }
    fn memory_get(&self, bucket: &BucketId, key: &str) -> Result<Option<Vec<u8>>, Error> {
        Store::memory_get(self, bucket, key)
    }
    fn memory_exists(&self, bucket: &BucketId, key: &str) -> Result<bool, Error> {
        Store::memory_exists(self, bucket, key)
    }
    fn memory_keys(
        &self,
        bucket: &BucketId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<KeyPage, Error> {
        Store::memory_keys(self, bucket, cursor, limit)
    }
    fn memory_entries(&self, bucket: &BucketId) -> Result<Vec<(String, Vec<u8>)>, Error> {
        Store::memory_entries(self, bucket)
    }
    fn memory_used(&self, bucket: &BucketId) -> Result<MemoryUsed, Error> {
        Store::memory_used(self, bucket)
    }
}

/// Makes stores for the cases.
pub trait Harness {
    /// The store.
    type Subject: Subject;

    /// An empty store of its own.
    fn fresh(&mut self) -> Self::Subject;

    /// The same store, as the next process finds it.
    fn reopen(&mut self, store: Self::Subject) -> Self::Subject;
}

/// A case that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The case.
    pub case: &'static str,
    /// What it found.
    pub why: String,
}

/// Runs every case on a store of its own; those that do not hold. Needs a runtime of tokio if the store does.
pub async fn check<H: Harness>(harness: &mut H) -> Vec<Failed> {
    let mut failed = vec![];
    macro_rules! run {
        ($($group:ident::$case:ident,)*) => {$({
            let store = harness.fresh();
            failed.extend(caught(stringify!($case), $group::$case(&store)).await);
        })*};
    }
    run! {
        journal::events_are_read_as_they_were_written,
        journal::places_are_checked,
        journal::a_newer_claim_fences_the_older,
        journal::batches_together_fail_apart,
        kept::memory_changes_with_its_events,
        kept::full_memory_takes_nothing_more,
        kept::keys_come_in_pages,
        kept::blobs_are_kept_by_digest,
        journal::tenants_are_apart,
        sessions::sessions_are_listed_and_found,
        sessions::commands_are_done_once,
        sessions::a_command_with_a_key_comes_once,
        kept::budgets_are_held,
        sessions::what_is_open_is_found,
        journal::later_is_durable_after_a_flush,
        journal::changes_are_seen,
    }
    let opened_again = journal::what_is_acknowledged_is_there_when_opened_again(harness);
    failed.extend(caught("what_is_acknowledged_is_there_when_opened_again", opened_again).await);
    failed
}

/// What a case panics with, if it does.
async fn caught(case: &'static str, run: impl Future<Output = ()>) -> Option<Failed> {
    let mut run = pin!(run);
    std::future::poll_fn(move |context| {
        match catch_unwind(AssertUnwindSafe(|| run.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(())) => Poll::Ready(None),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                Poll::Ready(Some(Failed { case, why: text.unwrap_or_default() }))
            }
        }
    })
    .await
}

/// The id of a session: the same byte all over.
#[must_use]
pub fn id(byte: u8) -> SessionId {
    SessionId::from_random([byte; 16])
}

/// A tenant by name.
#[must_use]
pub fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

/// What begins a session.
#[must_use]
pub fn created() -> Body {
    Body::SessionCreated { agent: "coder".parse().unwrap(), agent_digest: Digest::of(b"coder") }
}

/// A message to the first run.
#[must_use]
pub fn said(text: &str) -> Body {
    Body::MessageAdded {
        run: RunId(1),
        text: text.into(),
        key: None,
        not_after: None,
        agent: None,
        api_key: None,
    }
}

/// An append to a session by nobody in particular, under no claim.
#[must_use]
pub fn append(tenant: &TenantId, session: &SessionId, bodies: Vec<Body>) -> Append {
    let event = |body| NewEvent { at: Timestamp(1_000), body, cause: None, trace: None };
    Append {
        stream: Stream::Session(session.clone()),
        tenant: tenant.clone(),
        user: UserId::local(),
        fence: None,
        expected_seq: None,
        events: bodies.into_iter().map(event).collect(),
    }
}

/// A batch of one append.
#[must_use]
pub fn batch(append: Append) -> Batch {
    Batch { appends: vec![append], ..Batch::default() }
}

/// The places of events.
#[must_use]
pub fn seqs(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

/// A user's memory bucket.
#[must_use]
pub fn bucket(of: &str, owner: &str) -> BucketId {
    BucketId { tenant: tenant(of), scope: Scope::User, owner: owner.into() }
}

fn conflict<T: std::fmt::Debug>(result: Result<T, Error>) -> Conflict {
    match result {
        Err(Error::Conflict(conflict)) => conflict,
        other => panic!("no conflict but {other:?}"),
    }
}

async fn join_all<F: Future + Send>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(move |context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) {
            Poll::Ready(done.iter_mut().map(|done| done.take().unwrap()).collect())
        } else {
            Poll::Pending
        }
    })
    .await
}

fn write(bucket: &BucketId, key: &str, change: MemoryChange) -> MemoryWrite {
    MemoryWrite { bucket: bucket.clone(), key: key.into(), change }
}
