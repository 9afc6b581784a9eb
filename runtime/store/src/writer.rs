//! The one thread that writes. Jobs that wait together share one transaction and one wait for the
//! disk; each has a savepoint, so that one that fails does not fail the others.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use rusqlite::ErrorCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{Error, health::Health, open, writing::Writing};

/// How many jobs share a transaction: enough that the wait for the disk no longer counts, few
/// enough that the first is not kept waiting for the last.
const GROUP_MAX: usize = 256;

/// How many jobs may wait. Beyond, whoever brings more waits: a slow disk slows its writers down
/// instead of filling memory.
const WAITING_MAX: u32 = 4096;

/// How much of the bytes of waiting jobs is counted as one: 64 MiB may wait in all.
const UNIT_BYTES: usize = 4096;

/// What a job takes of the room at least, so that not more than [`WAITING_MAX`] wait.
const UNITS_MIN: u32 = 4;

/// What a store has written since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Transactions: each waited for the disk once.
    pub transactions: u64,
    /// Rows that were added, changed or removed in them.
    pub rows: u64,
    /// Jobs that are handed over and not yet told what became of them.
    pub waiting: u64,
}

/// [`Written`], as the writing thread counts it.
#[derive(Debug, Default)]
struct Counts {
    transactions: AtomicU64,
    rows: AtomicU64,
    waiting: AtomicU64,
    health: Health,
}

/// A part of a transaction.
trait Job: Send {
    /// Does it; says why not.
    fn run(&mut self, writing: &Writing) -> Result<(), Error>;

    /// Tells whoever asked, once it is certain what became of the transaction.
    fn settle(self: Box<Self>, transaction: Result<(), Error>);
}

struct Task<W, T, F> {
    work: Option<W>,
    done: Option<Result<T, Error>>,
    tell: F,
    /// Held until the job is settled.
    _room: Option<OwnedSemaphorePermit>,
}

impl<W, T, F> Job for Task<W, T, F>
where
    W: FnOnce(&Writing) -> Result<T, Error> + Send,
    T: Send,
    F: FnOnce(Result<T, Error>) + Send,
{
    fn run(&mut self, writing: &Writing) -> Result<(), Error> {
        let Some(work) = self.work.take() else { return Ok(()) };
        let done = work(writing);
        let result = done.as_ref().map(|_| ()).map_err(Clone::clone);
        self.done = Some(done);
        result
    }

    fn settle(self: Box<Self>, transaction: Result<(), Error>) {
        // A job that was not reached fails with its transaction.
        let done = self.done.unwrap_or(Err(Error::Stopped));
        (self.tell)(transaction.and(done));
    }
}

/// The way to the writing thread. Dropped, it waits until everything is written.
pub(crate) struct Writer {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<thread::JoinHandle<()>>,
    room: Arc<Semaphore>,
    /// The first failure of a job that nobody waited for.
    unseen: Arc<Mutex<Option<Error>>>,
    counts: Arc<Counts>,
}

impl Writer {
    pub(crate) fn start(path: PathBuf) -> Result<Self, Error> {
        let (sender, jobs) = mpsc::channel();
        let source = path.clone();
        let counts = Arc::<Counts>::default();
        let counted = counts.clone();
        let thread = thread::Builder::new()
            .name("ringfence-store".into())
            .spawn(move || write_all(&path, &jobs, &counted))
            .map_err(|error| Error::Io { path: source, source: Arc::new(error) })?;
        Ok(Self {
            jobs: Some(sender),
            thread: Some(thread),
            room: Arc::new(Semaphore::new((WAITING_MAX * UNITS_MIN) as usize)),
            unseen: Arc::default(),
            counts,
        })
    }

    pub(crate) fn written(&self) -> Written {
        let Counts { transactions, rows, waiting, .. } = &*self.counts;
        let [transactions, rows, waiting] =
            [transactions, rows, waiting].map(|count| count.load(Ordering::Relaxed));
        Written { transactions, rows, waiting }
    }

    /// Whether the last transaction was kept.
    pub(crate) fn health(&self) -> &Health {
        &self.counts.health
    }

    /// Room for one more job of so many bytes, when there is some. One that is larger than all the room
    /// waits until it is alone.
    pub(crate) async fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX);
        let units = units.clamp(UNITS_MIN, WAITING_MAX * UNITS_MIN);
        self.room.clone().acquire_many_owned(units).await.ok()
    }

    /// Hands over a job; the receiver hears of it once it is durable.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        room: Option<OwnedSemaphorePermit>,
        work: impl FnOnce(&Writing) -> Result<T, Error> + Send + 'static,
    ) -> oneshot::Receiver<Result<T, Error>> {
        let (sender, receiver) = oneshot::channel();
        self.hand_over(room, work, move |result| {
            // Whoever asked may have gone away; what is written stays written.
            let _ = sender.send(result);
        });
        receiver
    }

    /// Hands over a job that nobody waits for.
    pub(crate) fn submit_later<T: Send + 'static>(
        &self,
        room: Option<OwnedSemaphorePermit>,
        work: impl FnOnce(&Writing) -> Result<T, Error> + Send + 'static,
    ) {
        let unseen = self.unseen();
        self.hand_over(room, work, move |result| {
            if let Err(error) = result {
                unseen(error);
            }
        });
    }

    /// Keeps the failure of a job that nobody waited for.
    pub(crate) fn unseen(&self) -> impl FnOnce(Error) + Send + 'static {
        let unseen = self.unseen.clone();
        move |error| {
            let mut unseen = unseen.lock().unwrap_or_else(PoisonError::into_inner);
            unseen.get_or_insert(error);
        }
    }

    /// The first failure since this was asked last.
    pub(crate) fn take_unseen(&self) -> Option<Error> {
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Hands over a job; `tell` hears of it on the writing thread, once it is durable.
    pub(crate) fn hand_over<T: Send + 'static>(
        &self,
        room: Option<OwnedSemaphorePermit>,
        work: impl FnOnce(&Writing) -> Result<T, Error> + Send + 'static,
        tell: impl FnOnce(Result<T, Error>) + Send + 'static,
    ) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only after this sender; should it have died, the receiver hears it.
            self.counts.waiting.fetch_add(1, Ordering::Relaxed);
            let _ = jobs.send(Box::new(Task { work: Some(work), done: None, tell, _room: room }));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn write_all(path: &Path, jobs: &mpsc::Receiver<Box<dyn Job>>, counts: &Counts) {
    // Opened with the first job: a process that only reads does not pay for it.
    let mut writing = None;
    let mut stopped = false;
    while let Ok(first) = jobs.recv() {
        let mut group = vec![first];
        group.extend(jobs.try_iter().take(GROUP_MAX - 1));
        let result = if stopped {
            Err(Error::Stopped)
        } else {
            ensure(&mut writing, path).and_then(|writing| write(writing, &mut group, counts))
        };
        if let Err(error) = &result {
            stopped = stopped || is_uncertain(error);
            counts.health.failed(error, stopped);
            // What a failed transaction has left open goes with its connection.
            writing = None;
        }
        let settled = group.len() as u64;
        // Told ahead of the jobs, so that whoever hears of one does not count it any more.
        counts.waiting.fetch_sub(settled, Ordering::Relaxed);
        group.into_iter().for_each(|job| job.settle(result.clone()));
    }
}

fn ensure<'c>(writing: &'c mut Option<Writing>, path: &Path) -> Result<&'c Writing, Error> {
    if writing.is_none() {
        *writing = Some(Writing::new(open::connect(path)?));
    }
    writing.as_ref().ok_or(Error::Stopped)
}

/// One transaction of several jobs. An error is the whole group's.
fn write(writing: &Writing, group: &mut [Box<dyn Job>], counts: &Counts) -> Result<(), Error> {
    let before = writing.total_changes();
    let say = |sql| writing.prepare_cached(sql)?.execute([]).map(|_| ());
    say("BEGIN IMMEDIATE")?;
    writing.look()?;
    if let [job] = group {
        // Alone it needs no place to go back to but the beginning.
        match job.run(writing) {
            Ok(()) => {}
            Err(error) if error.is_of_batch() => {
                writing.forget();
                return Ok(say("ROLLBACK")?);
            }
            Err(error) => return Err(error),
        }
    } else {
        for job in group {
            say("SAVEPOINT job")?;
            match job.run(writing) {
                Ok(()) => {}
                Err(error) if error.is_of_batch() => {
                    writing.forget();
                    say("ROLLBACK TO job")?;
                }
                Err(error) => return Err(error),
            }
            say("RELEASE job")?;
        }
    }
    say("COMMIT")?;
    counts.transactions.fetch_add(1, Ordering::Relaxed);
    let changed = writing.total_changes() - before;
    counts.rows.fetch_add(changed, Ordering::Relaxed);
    if changed > 0 {
        counts.health.wrote();
    }
    Ok(())
}

/// Whether nobody can say what reached the disk. After a failed `fsync` a second try can succeed
/// without having written what the first one lost. A full disk is not of this kind.
fn is_uncertain(error: &Error) -> bool {
    let Error::Database(error) = error else { return false };
    matches!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure | ErrorCode::NotADatabase))
}
