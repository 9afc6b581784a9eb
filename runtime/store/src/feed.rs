//! What is committed, told to whoever follows it in this process. Told on the writing thread, in the
//! order of the commits, and never waited for: who is too slow is told so, and reads what they missed.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use ringfence_event::{Commit, Event, Followed};
use tokio::sync::Notify;

/// How many commits may wait for one follower: what comes in a few hundredths of a second at the most.
const WAITING_MAX: usize = 1024;

/// How many bytes of events may wait for one follower, roughly: of large ones a thousand are too much.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Where commits are told.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    /// So that a commit that nobody follows costs one look.
    count: AtomicUsize,
    queues: Mutex<Vec<Weak<Queue>>>,
}

/// The commits of a store while they are made, of all tenants.
#[derive(Debug)]
pub struct Follower {
    feed: Arc<Feed>,
    queue: Arc<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    commits: VecDeque<(Commit, usize)>,
    bytes: usize,
    /// Some were left out behind those that wait.
    lags: bool,
}

impl Feed {
    /// Whether anybody follows.
    pub(crate) fn is_followed(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    pub(crate) fn follow(self: &Arc<Self>) -> Follower {
        let queue = Arc::<Queue>::default();
        lock(&self.queues).push(Arc::downgrade(&queue));
        self.count.fetch_add(1, Ordering::Release);
        Follower { feed: self.clone(), queue }
    }

    /// Tells a commit, which takes so many bytes.
    pub(crate) fn tell(&self, position: u64, events: &Arc<[Event]>, bytes: usize) {
        if events.is_empty() || !self.is_followed() {
            return;
        }
        for queue in lock(&self.queues).iter().filter_map(Weak::upgrade) {
            let mut waiting = lock(&queue.waiting);
            let fits = waiting.commits.len() < WAITING_MAX
                && (waiting.commits.is_empty() || waiting.bytes + bytes <= WAITING_BYTES_MAX);
            if fits && !waiting.lags {
                waiting.bytes += bytes;
                waiting.commits.push_back((Commit { position, events: events.clone() }, bytes));
            } else {
                waiting.lags = true;
            }
            drop(waiting);
            queue.arrived.notify_one();
        }
    }
}

impl Follower {
    /// The next commit, once it is durable. [`Followed::Lagged`] stands in the place of those that did not fit:
    /// all of them can be read from the store when it is told.
    pub async fn next(&mut self) -> Followed {
        loop {
            if let Some(next) = self.try_next() {
                return next;
            }
            self.queue.arrived.notified().await;
        }
    }

    /// The next one, if it is there.
    pub fn try_next(&mut self) -> Option<Followed> {
        let mut waiting = lock(&self.queue.waiting);
        match waiting.commits.pop_front() {
            Some((commit, bytes)) => {
                waiting.bytes -= bytes;
                Some(Followed::Commit(commit))
            }
            None => std::mem::take(&mut waiting.lags).then_some(Followed::Lagged),
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut queues = lock(&self.feed.queues);
        queues.retain(|queue| !std::ptr::eq(queue.as_ptr(), Arc::as_ptr(&self.queue)));
        self.feed.count.store(queues.len(), Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use ringfence_event::{Body, FORMAT, SessionId, Stream, TenantId, Timestamp, UserId};

    use super::*;

    fn event() -> Arc<[Event]> {
        let stream = Stream::Session(SessionId::from_random([7; 16]));
        Arc::new([Event {
            format: FORMAT,
            tenant: TenantId::local(),
            user: UserId::local(),
            stream,
            seq: 1,
            at: Timestamp(1),
            body: Body::SessionClosed {},
            cause: None,
            trace: None,
        }])
    }

    /// Positions until nothing is left; 0 for a lag.
    fn rest(follower: &mut Follower) -> Vec<u64> {
        let next = std::iter::from_fn(|| follower.try_next());
        let position = |followed| match followed {
            Followed::Commit(commit) => commit.position,
            Followed::Lagged => 0,
        };
        next.map(position).collect()
    }

    #[test]
    fn each_follower_is_told_what_comes_after_it() {
        let feed = Arc::<Feed>::default();
        assert!(!feed.is_followed());
        let (mut first, events) = (feed.follow(), event());
        feed.tell(1, &events, 10);
        let mut second = feed.follow();
        feed.tell(2, &events, 10);
        feed.tell(3, &Arc::from([]), 0);
        assert_eq!((rest(&mut first), rest(&mut second)), (vec![1, 2], vec![2]));
        drop((first, second));
        assert!(!feed.is_followed());
    }

    #[test]
    fn who_is_too_slow_is_told_so_once_and_goes_on() {
        let check = |bytes: usize, fit: u64| {
            let feed = Arc::<Feed>::default();
            let (mut slow, events) = (feed.follow(), event());
            for position in 1..=2_000 {
                feed.tell(position, &events, bytes);
            }
            let told = rest(&mut slow);
            assert_eq!(told, (1..=fit).chain([0]).collect::<Vec<_>>(), "{bytes}");
            feed.tell(2_001, &events, bytes);
            assert_eq!(rest(&mut slow), [2_001]);
        };
        check(10, 1_024);
        check(1 << 20, 16);
        // One that is larger than all the room is told alone.
        check(64 << 20, 1);
    }
}
