//! The store as the rest of the host sees it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_event::{Digest, Event, Limit, SessionId, Stream, TenantId, Timestamp, UserId, Wait};
use rusqlite::Connection;

use crate::{
    Batch, BucketId, BudgetState, Committed, Error, Fence, InboxId, Inboxed, KeyPage, MemoryUsed,
    OpenSession, Quarantined, Resolved, SessionSummary, append, blob, budget,
    dictionary::{self, Dictionary},
    head, inbox, journal, memory, open, quarantine, session,
    writer::{Writer, Written},
};

/// Everything durable, in one file. Writes go through one thread and are answered when they are
/// durable. Reads look at what is durable, take some microseconds, and are done on the caller's
/// thread.
pub struct Store {
    reader: Mutex<Connection>,
    dictionary: Arc<Dictionary>,
    writer: Writer,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in this file; makes it, and its folder, if there is none. They are readable
    /// by their owner only.
    ///
    /// # Errors
    /// When it cannot be opened, is no store, or is a later version's; then it was not touched.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let reader = open::open(path)?;
        let dictionary = Arc::new(Dictionary::load(&reader)?);
        let writer = Writer::start(path.to_owned())?;
        Ok(Self { reader: Mutex::new(reader), dictionary, writer })
    }

    /// Stores all of a batch or nothing. Answers when it is durable, however long the disk takes.
    /// While too much waits for the disk already (4,096 batches or 64 MiB), it waits with the rest; dropped
    /// then, the batch is not stored. Later, dropping the future does not take it back.
    ///
    /// # Errors
    /// [`Error::Conflict`] when another writer was first, [`Error::BudgetSpent`] and
    /// [`Error::MemoryFull`] when something does not fit, [`Error::Quarantined`] when a list is damaged;
    /// otherwise when it cannot be stored.
    pub async fn commit(&self, batch: Batch) -> Result<Committed, Error> {
        let batch = self.encode(batch)?;
        let room = self.writer.room(batch.bytes()).await;
        let done = self.writer.submit(room, move |connection| append::batch(connection, batch));
        done.await.unwrap_or(Err(Error::Stopped))
    }

    /// As [`commit`](Self::commit), waiting on this thread. Not for use in async code.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    pub fn commit_blocking(&self, batch: Batch) -> Result<Committed, Error> {
        let batch = self.encode(batch)?;
        let done = self.writer.submit(None, move |connection| append::batch(connection, batch));
        done.blocking_recv().unwrap_or(Err(Error::Stopped))
    }

    /// Stores a batch some time soon, together with others. Waits only while too many wait
    /// already. What becomes of it is told by [`flush`](Self::flush).
    pub async fn commit_later(&self, batch: Batch) {
        let batch = self.encode(batch);
        let bytes = batch.as_ref().map_or(0, append::Encoded::bytes);
        let room = self.writer.room(bytes).await;
        self.writer.submit_later(room, move |connection| append::batch(connection, batch?));
    }

    /// Waits until everything handed over before is durable.
    ///
    /// # Errors
    /// The first failure of [`commit_later`](Self::commit_later) since the last flush.
    pub async fn flush(&self) -> Result<(), Error> {
        self.write(|_| Ok(())).await?;
        self.writer.take_unseen().map_or(Ok(()), Err)
    }

    /// Claims a session for a worker, to append under. Every earlier claim is stale from then on.
    ///
    /// # Errors
    /// [`Error::Quarantined`] when it is damaged; otherwise when it cannot be stored.
    pub async fn claim(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        worker: &str,
    ) -> Result<Fence, Error> {
        let (tenant, session, worker) = (tenant.clone(), session.clone(), worker.to_owned());
        self.write(move |connection| append::claim(connection, &tenant, &session, &worker)).await
    }

    /// Puts a command, as JSON, into the inbox of a session. Under the same key the same command is
    /// put there once: whoever is not sure whether it arrived asks again, also after it was done, and
    /// gets the same id.
    ///
    /// # Errors
    /// [`Error::NoSuchSession`] when the tenant has no such session, [`Error::KeyReused`] when the key
    /// came with another command.
    pub async fn inbox_put(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        at: Timestamp,
        command: String,
        key: Option<&str>,
    ) -> Result<InboxId, Error> {
        let (tenant, session) = (tenant.clone(), session.clone());
        let key = key.map(str::to_owned);
        self.write(move |connection| {
            inbox::put(connection, &tenant, &session, at, &command, key.as_deref())
        })
        .await
    }

    /// The commands that wait for a session, oldest first. One is done by naming it in a
    /// [`Batch`].
    ///
    /// # Errors
    /// When the database fails.
    pub fn inbox(&self, tenant: &TenantId, session: &SessionId) -> Result<Vec<Inboxed>, Error> {
        self.view(|view| inbox::list(view, tenant, session))
    }

    /// Up to `limit` events of a list from the place `from_seq` on, every one checked. A list that
    /// is not there, or is another tenant's, is empty.
    ///
    /// # Errors
    /// [`Error::Corrupt`] with the place of the first event that is missing or damaged. The list is
    /// quarantined then: what stands before that place can be read, nothing is added any more.
    pub fn read(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        from_seq: u64,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let events = self.view(|view| journal::read(view, tenant, stream, from_seq, limit));
        if let Err(Error::Corrupt { stream, seq, what }) = &events {
            let (tenant, stream, seq, what) = (tenant.clone(), stream.clone(), *seq, what.clone());
            let found = Quarantined { tenant, stream, seq, what };
            // Ahead of every claim and commit that this process asks for from now on.
            self.writer.submit_later(None, move |connection| quarantine::put(connection, &found));
        }
        events
    }

    /// The lists in which damage was found, of all tenants.
    ///
    /// # Errors
    /// When the database fails.
    pub fn quarantined(&self) -> Result<Vec<Quarantined>, Error> {
        self.view(quarantine::list)
    }

    /// The place of the last event of a list; 0 when it has none.
    ///
    /// # Errors
    /// When the database fails.
    pub fn last_seq(&self, tenant: &TenantId, stream: &Stream) -> Result<u64, Error> {
        self.view(|view| Ok(head::load(view, tenant, stream)?.seq))
    }

    /// A number that changes whenever anything was stored, by this process or another. Costs next
    /// to nothing, so that it can be asked often; compare it with what this same store said before.
    ///
    /// # Errors
    /// When the database fails.
    pub fn data_version(&self) -> Result<i64, Error> {
        Ok(self.reader().pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// What this store has written since it was opened, and how much waits to be.
    #[must_use]
    pub fn written(&self) -> Written {
        self.writer.written()
    }

    /// A tenant's sessions, or one user's of it; the one used last comes first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sessions(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<SessionSummary>, Error> {
        self.view(|view| session::list(view, tenant, user, limit))
    }

    /// One session of a tenant.
    ///
    /// # Errors
    /// [`Error::NoSuchSession`] when the tenant has no such session.
    pub fn session(&self, tenant: &TenantId, id: &SessionId) -> Result<SessionSummary, Error> {
        self.view(|view| session::get(view, tenant, id))
    }

    /// Up to `limit` sessions of all tenants that have an open run, by tenant and id, behind the one
    /// that `after` names: what a host picks up when it starts.
    ///
    /// # Errors
    /// When the database fails.
    pub fn unfinished(
        &self,
        after: Option<(&TenantId, &SessionId)>,
        limit: u32,
    ) -> Result<Vec<OpenSession>, Error> {
        self.view(|view| session::unfinished(view, after, limit))
    }

    /// A tenant's sessions that wait, or one user's of it, for anything or for `on`; the one that
    /// nothing happened in for longest comes first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn waiting(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        on: Option<Wait>,
    ) -> Result<Vec<SessionSummary>, Error> {
        self.view(|view| session::waiting(view, tenant, user, on))
    }

    /// Up to `limit` sessions of all tenants whose [`Wake`](crate::Wake) is not after `now`; the
    /// earliest comes first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn due(&self, now: Timestamp, limit: u32) -> Result<Vec<OpenSession>, Error> {
        self.view(|view| session::due(view, now, limit))
    }

    /// The earliest [`Wake`](crate::Wake) of any session.
    ///
    /// # Errors
    /// When the database fails.
    pub fn next_wake(&self) -> Result<Option<Timestamp>, Error> {
        self.view(session::next_wake)
    }

    /// How a tenant's budget stands in the window that began then; one that nothing was spent of is
    /// whole.
    ///
    /// # Errors
    /// When the database fails.
    pub fn budget(
        &self,
        tenant: &TenantId,
        limit: Limit,
        window_start: Timestamp,
    ) -> Result<BudgetState, Error> {
        self.view(|view| budget::state(view, tenant, limit, window_start))
    }

    /// The session of one user whose id begins like this. Whether others have such a one makes no
    /// difference.
    ///
    /// # Errors
    /// When the database fails.
    pub fn resolve_session(
        &self,
        tenant: &TenantId,
        user: &UserId,
        prefix: &str,
    ) -> Result<Resolved, Error> {
        self.view(|view| session::resolve(view, tenant, user, prefix))
    }

    /// A tenant's bytes under their digest.
    ///
    /// # Errors
    /// [`Error::CorruptBlob`] when they are not what they were.
    pub fn blob(&self, tenant: &TenantId, digest: &Digest) -> Result<Option<Vec<u8>>, Error> {
        self.view(|view| blob::get(view, tenant, digest.as_bytes()))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When the database fails.
    pub fn memory_get(&self, bucket: &BucketId, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.view(|view| memory::get(view, bucket, key))
    }

    /// Whether a bucket has a key.
    ///
    /// # Errors
    /// When the database fails.
    pub fn memory_exists(&self, bucket: &BucketId, key: &str) -> Result<bool, Error> {
        self.view(|view| Ok(memory::get(view, bucket, key)?.is_some()))
    }

    /// Up to `limit` keys of a bucket behind a cursor, in their order.
    ///
    /// # Errors
    /// When the database fails.
    pub fn memory_keys(
        &self,
        bucket: &BucketId,
        cursor: Option<&str>,
        limit: u32,
    ) -> Result<KeyPage, Error> {
        self.view(|view| memory::keys(view, bucket, cursor, limit))
    }

    /// All keys of a bucket with their values, in the order of the keys.
    ///
    /// # Errors
    /// When the database fails.
    pub fn memory_entries(&self, bucket: &BucketId) -> Result<Vec<(String, Vec<u8>)>, Error> {
        self.view(|view| memory::entries(view, bucket))
    }

    /// How much a bucket holds, and all of its tenant's together.
    ///
    /// # Errors
    /// When the database fails.
    pub fn memory_used(&self, bucket: &BucketId) -> Result<MemoryUsed, Error> {
        self.view(|view| memory::used(view, bucket))
    }

    /// The bytes that an entry takes, its key included.
    ///
    /// # Errors
    /// When the database fails.
    pub fn memory_size(&self, bucket: &BucketId, key: &str) -> Result<Option<u64>, Error> {
        self.view(|view| memory::size(view, bucket, key))
    }

    /// Encodes a batch, on this thread. What comes in it for the second time gets a number, for the
    /// batches after this one.
    fn encode(&self, batch: Batch) -> Result<append::Encoded, Error> {
        let encoded = append::Encoded::new(batch, &self.dictionary)?;
        let again = self.dictionary.again(&encoded.unknown());
        if !again.is_empty() {
            let dictionary = self.dictionary.clone();
            let learn = move |connection: &Connection| dictionary::learn(connection, again);
            self.writer.hand_over(None, learn, move |numbers| {
                // Without numbers, rows are longer, and whoever commits hears of the failure.
                if let Ok(numbers) = numbers {
                    dictionary.learned(numbers);
                }
            });
        }
        Ok(encoded)
    }

    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let room = self.writer.room(0).await;
        self.writer.submit(room, work).await.unwrap_or(Err(Error::Stopped))
    }

    /// Asks something of the database as it is at one time, whatever is written meanwhile.
    fn view<T>(&self, ask: impl FnOnce(&Connection) -> Result<T, Error>) -> Result<T, Error> {
        let reader = self.reader();
        let view = reader.unchecked_transaction()?;
        ask(&view)
    }

    fn reader(&self) -> MutexGuard<'_, Connection> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
