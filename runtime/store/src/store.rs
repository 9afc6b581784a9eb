//! The store as the rest of the host sees it.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ringfence_event::{
    CommitPage, Digest, Event, Limit, SessionId, Stream, TenantId, Timestamp, UserId, Wait,
};
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    Batch, BucketId, BudgetState, Claim, Claimed, Committed, Error, Failing, Fence, InboxId,
    Inboxed, KeyPage, MemoryUsed, OpenSession, Quarantined, RequestAnswer, Resolved,
    SessionSummary, StoredKey, append, blob, budget, committed,
    dictionary::{self, Dictionary},
    feed::{Feed, Follower},
    head, inbox, journal, key,
    mail::{self, Mail},
    memory, open, quarantine, request, session,
    writer::{Writer, Written},
    writing::Writing,
};

/// Everything durable, in one file. Writes go through one thread and are answered when they are
/// durable. Reads look at what is durable, take some microseconds, and are done on the caller's
/// thread.
pub struct Store {
    reader: Mutex<Connection>,
    dictionary: Arc<Dictionary>,
    mail: Mail,
    writer: Writer,
    feed: Arc<Feed>,
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
        Ok(Self {
            reader: Mutex::new(reader),
            dictionary,
            mail: Mail::default(),
            writer,
            feed: Arc::default(),
        })
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
        let done = self.submit(room, batch).await;
        done.unwrap_or(Err(Error::Stopped)).map(Wrote::committed)
    }

    /// As [`commit`](Self::commit), waiting on this thread. Not for use in async code.
    ///
    /// # Errors
    /// As for [`commit`](Self::commit).
    pub fn commit_blocking(&self, batch: Batch) -> Result<Committed, Error> {
        let batch = self.encode(batch)?;
        let done = self.submit(None, batch).blocking_recv();
        done.unwrap_or(Err(Error::Stopped)).map(Wrote::committed)
    }

    /// Stores a batch some time soon, together with others. Waits only while too many wait
    /// already. What becomes of it is told by [`flush`](Self::flush).
    pub async fn commit_later(&self, batch: Batch) {
        let batch = self.encode(batch);
        let bytes = batch.as_ref().map_or(0, append::Encoded::bytes);
        let room = self.writer.room(bytes).await;
        let (feed, unseen) = (self.feed.clone(), self.writer.unseen());
        self.writer.hand_over(
            room,
            move |writing| write(batch?)(writing),
            move |done| match done {
                Ok(wrote) => drop(tell(&feed, bytes, wrote)),
                Err(error) => unseen(error),
            },
        );
    }

    /// Hands over a batch; the receiver hears of it once it is durable, after whoever follows.
    fn submit(
        &self,
        room: Option<OwnedSemaphorePermit>,
        batch: append::Encoded,
    ) -> oneshot::Receiver<Result<Wrote, Error>> {
        let (sender, receiver) = oneshot::channel();
        let (feed, bytes) = (self.feed.clone(), batch.bytes());
        self.writer.hand_over(room, write(batch), move |done| {
            // Whoever asked may have gone away; what is written stays written.
            let _ = sender.send(done.map(|wrote| tell(&feed, bytes, wrote)));
        });
        receiver
    }

    /// Follows what is committed from now on, by this process, of all tenants. Whoever follows slowly, or
    /// not at all, keeps nobody from committing.
    #[must_use]
    pub fn follow(&self) -> Follower {
        self.feed.follow()
    }

    /// The place of the last commit, by whichever process; 0 when there is none.
    ///
    /// # Errors
    /// When the database fails.
    pub fn position(&self) -> Result<u64, Error> {
        self.view(committed::position)
    }

    /// What was committed behind a place, by whichever process, in order: of all tenants or of one. At
    /// most `limit` rows of the table are looked at, whosever they are. What is damaged is named and left out.
    ///
    /// # Errors
    /// When the database fails.
    pub fn committed(
        &self,
        after: u64,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<CommitPage, Error> {
        self.view(|view| committed::read((view, &self.dictionary), after, tenant, limit))
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
        let put = self.write(move |connection| {
            inbox::put(connection, &tenant, &session, at, &command, key.as_deref())
        });
        let id = put.await;
        self.mail.came();
        id
    }

    /// Whether commands may wait for a session: as [`inbox`](Self::inbox), but what another process put there in
    /// the last 10 ms may be missed, and it costs next to nothing, so that it can be asked often.
    ///
    /// # Errors
    /// When the database fails.
    pub fn has_mail(&self, tenant: &TenantId, session: &SessionId) -> Result<bool, Error> {
        self.mail.waits(tenant, session, || self.view(mail::sessions))
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
        let events = self
            .view(|view| journal::read((view, &self.dictionary), tenant, stream, from_seq, limit));
        if let Err(Error::Corrupt { stream, seq, what }) = &events {
            let (tenant, stream, seq, what) = (tenant.clone(), stream.clone(), *seq, what.clone());
            let found = Quarantined { tenant, stream, seq, what };
            // Ahead of every claim and commit that this process asks for from now on.
            self.writer.submit_later(None, move |writing| {
                // What is remembered of the list does not say that it is damaged.
                writing.forget();
                quarantine::put(writing, &found)
            });
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

    /// Why nothing is kept at present, as the last transaction told it; `None` while all is well. Costs
    /// next to nothing.
    #[must_use]
    pub fn failing(&self) -> Option<Failing> {
        self.writer.health().failing()
    }

    /// Tries whether something can be written, without changing anything: how it is known again that a
    /// full disk has space.
    ///
    /// # Errors
    /// When nothing can.
    pub async fn probe(&self) -> Result<(), Error> {
        // A page of the file is written anew, as it is.
        let number = open::STORE_FORMAT;
        self.write(move |connection| Ok(connection.pragma_update(None, "user_version", number)?))
            .await?;
        self.writer.health().wrote();
        Ok(())
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
        self.sessions_after(tenant, user, None, limit)
    }

    /// The same behind the session that `after` names with the time at which it was used last. One that
    /// was used since then comes before it, and is left out.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sessions_after(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        after: Option<(Timestamp, &SessionId)>,
        limit: u32,
    ) -> Result<Vec<SessionSummary>, Error> {
        self.view(|view| session::list(view, tenant, user, after, limit))
    }

    /// Waits until everything handed over before is durable, and leaves what became of it to be told by
    /// [`flush`](Self::flush).
    ///
    /// # Errors
    /// When nothing can be written.
    pub async fn flush_point(&self) -> Result<(), Error> {
        self.write(|_| Ok(())).await
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

    /// The API keys of a tenant.
    ///
    /// # Errors
    /// When the database fails, or one of them is damaged.
    pub fn keys(&self, tenant: &TenantId) -> Result<Vec<StoredKey>, Error> {
        self.view(|view| key::list(view, Some(tenant))?.into_iter().collect())
    }

    /// The API keys of all tenants. One that is damaged is left out: it opens nothing, and does not keep
    /// the others from it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn all_keys(&self) -> Result<Vec<StoredKey>, Error> {
        let keys = self.view(|view| key::list(view, None))?;
        Ok(keys.into_iter().filter_map(Result::ok).collect())
    }

    /// Claims a request that is not to be carried out twice.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn claim_request(&self, claim: Claim) -> Result<Claimed, Error> {
        self.write(move |connection| request::claim(connection, &claim)).await
    }

    /// Keeps how a request that was claimed was answered; `None`: nothing came of it, and it may be
    /// made again.
    ///
    /// # Errors
    /// When it cannot be stored.
    pub async fn answer_request(
        &self,
        tenant: &TenantId,
        user: &UserId,
        key: &str,
        answer: Option<RequestAnswer>,
    ) -> Result<(), Error> {
        let (tenant, user, key) = (tenant.clone(), user.clone(), key.to_owned());
        self.write(move |connection| {
            request::answer(connection, (tenant.as_str(), user.as_str(), &key), answer)
        })
        .await
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
            let learn = move |writing: &Writing| dictionary::learn(writing, again);
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
        work: impl FnOnce(&Writing) -> Result<T, Error> + Send + 'static,
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

/// A batch that is written.
enum Wrote {
    /// Told to whoever follows.
    Told(Committed),
    /// Not told to anybody.
    Untold(Box<append::Encoded>, append::Given),
}

impl Wrote {
    fn committed(self) -> Committed {
        match self {
            Self::Told(committed) => committed,
            Self::Untold(batch, given) => batch.committed(given).0,
        }
    }
}

/// The writing of a batch.
fn write(batch: append::Encoded) -> impl FnOnce(&Writing) -> Result<Wrote, Error> {
    move |writing| {
        let given = append::batch(writing, &batch)?;
        Ok(Wrote::Untold(Box::new(batch), given))
    }
}

/// Tells a batch of so many bytes to whoever follows, if anybody does.
fn tell(feed: &Feed, bytes: usize, wrote: Wrote) -> Wrote {
    match wrote {
        Wrote::Untold(batch, given) if feed.is_followed() => {
            let (committed, position) = batch.committed(given);
            feed.tell(position, &committed.events, bytes);
            Wrote::Told(committed)
        }
        wrote => wrote,
    }
}
