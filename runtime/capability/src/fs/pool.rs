//! Threads for a file system that may not answer: so many and no more, however many calls wait for
//! it. Whoever waits can go away; what was not begun by then is not begun.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::FsResult;

/// How long a thread without work stays: much longer than it takes to start one.
const IDLE: Duration = Duration::from_secs(10);

/// Threads of one root: some requests under way at one time, and some lost to a server that hangs.
const THREADS: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// The threads of one root. Cheap to clone; all clones are the same threads.
#[derive(Clone)]
pub struct Pool(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), wake: Condvar::new() }))
    }
}

impl Pool {
    /// Begins something. Once nobody waits for it any more it is not begun; what was begun goes on.
    pub fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> FsResult<T> + Send + 'static,
    ) -> Acting<T> {
        let (tell, told) = oneshot::channel();
        self.later(move || {
            if !tell.is_closed() {
                // Whoever waited may have gone away meanwhile.
                let _ = tell.send(work());
            }
        });
        Acting(Act::Under(told))
    }

    /// Does something that nobody waits for.
    pub(super) fn later(&self, work: impl FnOnce() + Send + 'static) {
        let mut state = self.0.lock();
        state.jobs.push_back(Box::new(work));
        if state.idle >= state.jobs.len() || state.threads == THREADS {
            self.0.wake.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = self.0.clone();
        let started = thread::Builder::new().name("ringfence-files".to_owned()).spawn(move || {
            while let Some(job) = shared.next() {
                // A job that panics costs whoever waits for it its answer, and not the thread.
                let _ = catch_unwind(AssertUnwindSafe(job));
            }
        });
        if started.is_err() {
            let mut state = self.0.lock();
            state.threads -= 1;
            if state.threads == 0 {
                // Nobody is there to do it: whoever waits hears that nothing comes.
                state.jobs.clear();
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job; `None` once there was none for a while.
    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            let waited = self.wake.wait_timeout(state, IDLE);
            let (after, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = after;
            state.idle -= 1;
            if waited.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return None;
            }
        }
    }
}

/// Something that is done already, or is waited for.
#[derive(Debug)]
pub struct Acting<T>(Act<T>);

#[derive(Debug)]
enum Act<T> {
    Done(Option<FsResult<T>>),
    Under(oneshot::Receiver<FsResult<T>>),
}

/// Nothing in it is pinned.
impl<T> Unpin for Acting<T> {}

impl<T> Acting<T> {
    pub(super) fn done(result: FsResult<T>) -> Self {
        Self(Act::Done(Some(result)))
    }

    /// What came of it, if it is done; else what is to be waited for.
    ///
    /// # Errors
    /// That.
    pub fn at_once(mut self) -> Result<FsResult<T>, Self> {
        match &mut self.0 {
            Act::Done(result) => result.take().ok_or(self),
            Act::Under(_) => Err(self),
        }
    }
}

impl<T> Future for Acting<T> {
    type Output = FsResult<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<FsResult<T>> {
        let gone = |why| Err(io::Error::other(why).into());
        match &mut self.0 {
            Act::Done(result) => {
                Poll::Ready(result.take().unwrap_or_else(|| gone("it was asked for twice")))
            }
            Act::Under(told) => Pin::new(told)
                .poll(context)
                .map(|told| told.unwrap_or_else(|_| gone("the file system's threads are gone"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        task::Waker,
    };

    use super::*;

    /// H2: what hangs has its threads and no more, and nobody who waits for it is kept.
    #[test]
    fn h2_what_hangs_holds_so_many_threads_and_nobody_else() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (hung, other) = (Pool::default(), Pool::default());
            let gate = Arc::new((Mutex::new(false), Condvar::new()));
            let begun = Arc::new(AtomicUsize::new(0));
            let mut waiting = Vec::new();
            for _ in 0..100 {
                let (gate, begun) = (gate.clone(), begun.clone());
                let mut hangs = hung.start(move || {
                    begun.fetch_add(1, SeqCst);
                    let open = gate.0.lock().unwrap();
                    drop(gate.1.wait_while(open, |open| !*open).unwrap());
                    Ok(())
                });
                let polled = Pin::new(&mut hangs).poll(&mut Context::from_waker(Waker::noop()));
                assert!(polled.is_pending());
                waiting.push(hangs);
            }
            assert_eq!(other.start(|| Ok(7)).await.unwrap(), 7, "another root is not held");
            // Whoever waited goes away: what was not begun is not begun any more.
            drop(waiting);
            *gate.0.lock().unwrap() = true;
            gate.1.notify_all();
            assert_eq!(hung.start(|| Ok(8)).await.unwrap(), 8);
            assert!(begun.load(SeqCst) <= THREADS);
            let panics = hung.start(|| -> FsResult<u8> { panic!("as it was told") });
            assert!(panics.await.is_err());
            assert_eq!(hung.start(|| Ok(9)).await.unwrap(), 9);
        });
    }
}
