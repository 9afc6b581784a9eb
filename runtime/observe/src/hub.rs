//! One task that follows the commits of this process, counts them, and passes them on to whoever takes
//! them.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt as _;
use ringfence_event::{Commit, Event, Followed, TenantId};
use tokio::{sync::watch, time::MissedTickBehavior};

use crate::{
    log,
    metric::{Counted, Metrics},
    source::{Follow, Source},
    tail::{Lane, Told},
};

/// How often it is looked whether another process has committed something.
const LOOK: Duration = Duration::from_millis(500);
/// How many rows are read at a time.
const PAGE: u32 = 256;

pub(crate) struct Hub {
    source: Arc<dyn Source>,
    metrics: Metrics,
    counted: Counted,
    /// Those that take everything.
    all: Vec<Lane>,
    by_tenant: HashMap<TenantId, Vec<Lane>>,
    told: Told,
    payloads: bool,
    /// What this process has committed is counted up to there.
    counted_to: u64,
}

impl Hub {
    pub(crate) fn new(
        source: Arc<dyn Source>,
        metrics: Metrics,
        counted: Counted,
        told: Told,
        payloads: bool,
    ) -> Self {
        let counted_to = told.load(Ordering::SeqCst);
        let (all, by_tenant) = Default::default();
        Self { source, metrics, counted, all, by_tenant, told, payloads, counted_to }
    }

    pub(crate) fn add(&mut self, tenant: Option<&TenantId>, lane: Lane) {
        match tenant {
            None => self.all.push(lane),
            Some(tenant) => self.by_tenant.entry(tenant.clone()).or_default().push(lane),
        }
    }

    /// Follows until everything is to end.
    pub(crate) async fn run(
        mut self,
        mut follow: Box<dyn Follow>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What was there at the last look, and must have been told by this one if it is ours.
        let mut seen = self.told.load(Ordering::SeqCst);
        while !*stop.borrow() {
            tokio::select! {
                followed = follow.next() => match followed {
                    Followed::Commit(commit) => self.committed(&commit),
                    Followed::Lagged => self.lagged().await,
                },
                _ = look.tick() => seen = self.look(seen).await,
                // Whoever could say so is gone.
                changed = stop.changed() => if changed.is_err() { return },
            }
        }
        // What is committed by now is counted, and told to who takes it, without a turn for others.
        while let Some(followed) = tokio::task::unconstrained(follow.next()).now_or_never() {
            match followed {
                Followed::Commit(commit) => self.committed(&commit),
                Followed::Lagged => self.lagged().await,
            }
        }
    }

    fn happened(&mut self, event: &Event) {
        self.counted.count(event);
        log::event(event, self.payloads);
    }

    fn committed(&mut self, commit: &Commit) {
        if commit.position > self.counted_to {
            commit.events.iter().for_each(|event| self.happened(event));
            self.counted_to = commit.position;
        }
        if commit.position <= self.told.load(Ordering::SeqCst) {
            return;
        }
        self.all.iter().for_each(|lane| lane.tell(commit));
        // A commit is one tenant's.
        let tenant = commit.events.first().map(|event| &event.tenant);
        let lanes = tenant.and_then(|tenant| self.by_tenant.get(tenant));
        lanes.into_iter().flatten().for_each(|lane| lane.tell(commit));
        self.told.store(commit.position, Ordering::SeqCst);
    }

    /// Commits came faster than they were taken: they are counted from the store, and whoever takes them
    /// reads them there.
    async fn lagged(&mut self) {
        self.metrics.own.lagged.add(1, &[]);
        loop {
            let (source, after) = (self.source.clone(), self.counted_to);
            let page =
                tokio::task::spawn_blocking(move || source.committed(after, None, PAGE)).await;
            let Ok(Ok(page)) = page else {
                tracing::error!("what was committed cannot be read: some of it is not counted");
                break;
            };
            let events = page.commits.iter().flat_map(|commit| &*commit.events);
            events.for_each(|event| self.happened(event));
            self.counted_to = page.position;
            if page.is_last {
                break;
            }
        }
        self.lanes_lag(self.counted_to);
    }

    /// Looks whether another process has committed something: it is read by whoever takes it, and counted
    /// where it was done.
    async fn look(&mut self, seen: u64) -> u64 {
        let source = self.source.clone();
        let last = tokio::task::spawn_blocking(move || source.position()).await;
        let Ok(Ok(last)) = last else { return seen };
        if self.told.load(Ordering::SeqCst) < seen {
            self.lanes_lag(seen);
        }
        last
    }

    fn lanes_lag(&self, position: u64) {
        let lanes = self.all.iter().chain(self.by_tenant.values().flatten());
        lanes.for_each(Lane::lag);
        self.told.fetch_max(position, Ordering::SeqCst);
    }
}
