//! The commits that one consumer has not seen yet: live while it keeps up, from the store when it does
//! not. The journal is the queue, so that nothing is held in memory for whoever is slow, and a restart
//! goes on where the last process was.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ringfence_event::{Commit, TenantId};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};

use crate::{
    cursor::{Cursors, Held},
    metric::Metrics,
    source::Source,
};

/// How many commits wait for a consumer in memory. It reads the others from the store.
const WAITING: usize = 64;
/// How many rows are looked at in one go: some milliseconds, whosever they are.
const PAGE: u32 = 256;
/// How many commits are delivered together at most.
const TOGETHER: usize = 64;
/// How often it is kept how far a consumer has come: what is delivered again after a crash is what
/// came within it.
const KEEP: Duration = Duration::from_millis(500);
/// How long it takes until a store or a folder that failed is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// The hub's side of a tail.
pub(crate) struct Lane {
    /// Whose commits; `None`: everybody's.
    tenant: Option<TenantId>,
    commits: mpsc::Sender<Commit>,
    state: Arc<State>,
}

/// What both sides see.
#[derive(Default)]
struct State {
    /// Something was left out since it was looked at last.
    lags: AtomicBool,
    arrived: Notify,
}

/// Up to which place the hub has told everybody everything.
pub(crate) type Told = Arc<AtomicU64>;

/// The consumer's side.
pub(crate) struct Tail {
    name: String,
    tenant: Option<TenantId>,
    source: Arc<dyn Source>,
    cursors: Arc<dyn Cursors>,
    metrics: Metrics,
    commits: mpsc::Receiver<Commit>,
    state: Arc<State>,
    told: Told,
    stop: watch::Receiver<bool>,
    /// Everything up to there is delivered.
    position: u64,
    kept: u64,
    kept_at: Instant,
    behind: bool,
    /// The store could not be read when it was asked last.
    is_broken: bool,
    /// Another process delivered when it was asked last.
    is_elsewhere: bool,
    _held: Option<Held>,
}

/// What is to be delivered next.
pub(crate) struct Batch {
    pub(crate) commits: Vec<Commit>,
    /// Up to where it is everything.
    pub(crate) position: u64,
}

/// What a lane and its tail are made of.
pub(crate) struct Wiring {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) cursors: Arc<dyn Cursors>,
    pub(crate) metrics: Metrics,
    pub(crate) told: Told,
    pub(crate) stop: watch::Receiver<bool>,
}

impl Lane {
    /// Tells a commit that is not before any other that was told.
    pub(crate) fn tell(&self, commit: &Commit) {
        let mine = |tenant: &TenantId| commit.events.iter().any(|event| event.tenant == *tenant);
        if self.tenant.as_ref().is_none_or(mine) && self.commits.try_send(commit.clone()).is_err() {
            self.lag();
        }
    }

    /// Something was left out.
    pub(crate) fn lag(&self) {
        self.state.lags.store(true, Ordering::SeqCst);
        self.state.arrived.notify_one();
    }
}

/// A lane and its tail, which begins at `start` if it has no place of its own.
pub(crate) fn lane(
    name: &str,
    tenant: Option<&TenantId>,
    start: u64,
    wiring: Wiring,
) -> (Lane, Tail) {
    let (sender, commits) = mpsc::channel(WAITING);
    let (state, tenant) = (Arc::<State>::default(), tenant.cloned());
    let lane = Lane { tenant: tenant.clone(), commits: sender, state: state.clone() };
    let Wiring { source, cursors, metrics, told, stop } = wiring;
    let tail = Tail {
        name: name.to_owned(),
        tenant,
        source,
        cursors,
        metrics,
        commits,
        state,
        told,
        stop,
        position: start,
        kept: start,
        kept_at: Instant::now(),
        behind: true,
        is_broken: false,
        is_elsewhere: false,
        _held: None,
    };
    (lane, tail)
}

impl Tail {
    /// Waits until no other process delivers for this consumer, and finds out how far they have come.
    /// Says whether that was so before everything was to end.
    pub(crate) async fn open(&mut self) -> bool {
        loop {
            match self.try_open().await {
                Ok(true) => return true,
                Ok(false) => self.is_elsewhere = true,
                Err(error) => {
                    tracing::error!(sink = self.name, %error, "cannot find out how far a sink has come");
                }
            }
            if self.pause(AGAIN).await {
                return false;
            }
        }
    }

    async fn try_open(&mut self) -> std::io::Result<bool> {
        let (cursors, name, start) = (self.cursors.clone(), self.name.clone(), self.position);
        let source = self.source.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let Some(held) = cursors.hold(&name)? else { return Ok(None) };
            let found = cursors.load(&name)?;
            // A store that was put back to an earlier day has no such place.
            let last = source.position().map_err(std::io::Error::other)?;
            let position = match found {
                Some(found) if found <= last => found,
                Some(found) => {
                    tracing::error!(
                        sink = name,
                        found,
                        last,
                        "the store has not come so far: it goes on from now"
                    );
                    start
                }
                None => start,
            };
            // So that what is committed from now on is delivered, whatever becomes of this process.
            cursors.save(&name, position)?;
            Ok(Some((held, position)))
        });
        let opened: std::io::Result<_> = opened.await.map_err(std::io::Error::other)?;
        let Some((held, position)) = opened? else { return Ok(false) };
        (self.position, self.kept, self._held) = (position, position, Some(held));
        Ok(true)
    }

    /// The next commits; `None` once everything is to end and nothing is left.
    pub(crate) async fn next(&mut self) -> Option<Batch> {
        loop {
            if self.state.lags.swap(false, Ordering::SeqCst) {
                self.behind = true;
                self.metrics.own.lagged.add(1, &[]);
            }
            if self.behind {
                if let Some(batch) = self.read().await {
                    return Some(batch);
                }
                continue;
            }
            // Looked at before the queue: everything up to there is in the queue, or was left out.
            let told = self.told.load(Ordering::SeqCst);
            if let Some(batch) = self.live() {
                return Some(batch);
            }
            if self.state.lags.load(Ordering::SeqCst) {
                continue;
            }
            // Nothing of this consumer's is up to there.
            self.position = self.position.max(told);
            if self.kept != self.position && self.kept_at.elapsed() >= KEEP {
                self.keep().await;
            }
            if *self.stop.borrow() {
                match self.is_at_end().await {
                    true => return None,
                    false => self.behind = true,
                }
                continue;
            }
            tokio::select! {
                commit = self.commits.recv() => match commit {
                    Some(commit) => if let Some(batch) = self.with(commit) { return Some(batch) },
                    // The hub is gone, and with it whoever could tell of more.
                    None => if self.pause(AGAIN).await { self.behind = true },
                },
                () = self.state.arrived.notified() => {}
                _ = self.stop.changed() => {}
                () = tokio::time::sleep(KEEP), if self.kept != self.position => {}
                () = tokio::time::sleep(10 * KEEP) => {}
            }
        }
    }

    /// Everything of a batch is delivered.
    pub(crate) async fn done(&mut self, position: u64) {
        self.position = self.position.max(position);
        if self.kept_at.elapsed() >= KEEP {
            self.keep().await;
        }
    }

    /// Keeps how far it has come.
    pub(crate) async fn keep(&mut self) {
        let (cursors, name, position) = (self.cursors.clone(), self.name.clone(), self.position);
        let kept = tokio::task::spawn_blocking(move || cursors.save(&name, position)).await;
        match kept.map_err(std::io::Error::other).and_then(|kept| kept) {
            Ok(()) => self.kept = self.position,
            // What was delivered since is delivered again if the process ends before it can be kept.
            Err(error) => {
                tracing::error!(sink = self.name, %error, "cannot keep how far a sink has come");
            }
        }
        self.kept_at = Instant::now();
    }

    /// Whether everything that is there is delivered, as far as anybody knows.
    pub(crate) fn is_done(&self) -> bool {
        !self.is_broken && self.lag() == 0
    }

    /// Whether another process delivers.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.is_elsewhere
    }

    /// How many commits stand behind what is delivered, of all tenants.
    pub(crate) fn lag(&self) -> u64 {
        self.told.load(Ordering::SeqCst).saturating_sub(self.position)
    }

    /// Waits, unless everything is to end; says whether it is.
    pub(crate) async fn pause(&mut self, time: Duration) -> bool {
        if *self.stop.borrow() {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(time) => {}
            // A hub that is gone ends everything.
            _ = self.stop.changed() => {}
        }
        *self.stop.borrow()
    }

    async fn is_at_end(&self) -> bool {
        let source = self.source.clone();
        let last = tokio::task::spawn_blocking(move || source.position()).await;
        // A store that cannot be read has no more.
        last.ok().and_then(Result::ok).is_none_or(|last| last <= self.position)
    }

    async fn read(&mut self) -> Option<Batch> {
        let (source, tenant, after) = (self.source.clone(), self.tenant.clone(), self.position);
        let page =
            tokio::task::spawn_blocking(move || source.committed(after, tenant.as_ref(), PAGE));
        let page = match page.await {
            Ok(Ok(page)) => page,
            Ok(Err(error)) => {
                tracing::error!(sink = self.name, %error, "cannot read what was committed");
                self.is_broken = true;
                if self.pause(AGAIN).await {
                    // Nothing more can be delivered; the next process goes on.
                    self.behind = false;
                }
                return None;
            }
            Err(_) => {
                self.behind = !self.pause(AGAIN).await;
                return None;
            }
        };
        self.is_broken = false;
        for what in &page.damaged {
            self.metrics.own.damaged.add(1, &[]);
            tracing::error!(
                sink = self.name,
                what,
                "what was committed is damaged and passed over"
            );
        }
        self.behind = !page.is_last;
        if page.commits.is_empty() {
            self.position = page.position;
            return None;
        }
        Some(Batch { commits: page.commits, position: page.position })
    }

    fn live(&mut self) -> Option<Batch> {
        let first = self.commits.try_recv().ok()?;
        self.with(first)
    }

    /// A commit with those that wait behind it, without those that were read before.
    fn with(&mut self, first: Commit) -> Option<Batch> {
        let mut commits = vec![];
        let mut next = Some(first);
        while let Some(commit) = next.take() {
            if commit.position > self.position {
                commits.push(commit);
            }
            if commits.len() < TOGETHER {
                next = self.commits.try_recv().ok();
            }
        }
        let position = commits.last()?.position;
        Some(Batch { commits, position })
    }
}
