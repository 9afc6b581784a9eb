//! Admission: what every piece of work passes before it begins. What comes from outside (direct calls,
//! inputs, tools that are added) is refused at once, with a time at which to try again, when its tenant's
//! rate or queue is used up or the host's queue is; what it leads to (calls of a session, requests to a
//! model, compiling) waits for its turn. Where tenants wait for the same thing, [`fair`] says who goes
//! next. Knows nothing of what the work is.

mod fair;
mod place;
mod refusal;
mod tenant;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{
            AtomicU32,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use ringfence_event::{ModelName, TenantId, Timestamp};
use ringfence_store::OpenSession;
use tokio::sync::{Notify, watch};

pub use place::PlaceLoad;
pub(crate) use place::{Place, Slot};
pub use refusal::Refusal;
pub(crate) use tenant::Tenant;

use self::{
    fair::Fair,
    place::Kind,
    tenant::{Limits, lock},
};
use crate::{Clock, Config};

/// The names of the places, as they are shown.
pub(crate) const CALLS: &str = "calls";
pub(crate) const RUNS: &str = "runs";
pub(crate) const COMPILES: &str = "compiles";

/// How far the end of the runtime is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Work is taken.
    Open,
    /// None is; what runs goes on.
    Draining,
    /// What still runs is left as it is.
    Leaving,
}

/// The one door of a runtime.
pub(crate) struct Admission {
    clock: Clock,
    rules: Mutex<Arc<Config>>,
    tenants: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    calls: Arc<Place>,
    runs: Arc<Place>,
    compiles: Arc<Place>,
    models: Mutex<HashMap<ModelName, Arc<Place>>>,
    /// What waits of all tenants' work from outside.
    waiting: AtomicU32,
    /// What of it is under way or waits. No channel: it changes twice with each call.
    inside: AtomicU32,
    /// Told when the last of it is over while the runtime ends.
    empty: Notify,
    phase: watch::Sender<Phase>,
}

impl Admission {
    /// `bytes`: what all calls together may come to hold.
    pub(crate) fn new(config: Arc<Config>, bytes: u64) -> Self {
        Self {
            clock: config.clock.clone(),
            calls: Place::new(Kind::Calls, config.concurrent_calls, bytes),
            runs: Place::new(Kind::Runs, config.concurrent_runs, 0),
            compiles: Place::new(Kind::Other, config.concurrent_compiles, 0),
            rules: Mutex::new(config),
            tenants: RwLock::default(),
            models: Mutex::default(),
            waiting: AtomicU32::new(0),
            inside: AtomicU32::new(0),
            empty: Notify::new(),
            phase: watch::Sender::new(Phase::Open),
        }
    }

    /// What is known of a tenant.
    pub(crate) fn tenant(&self, id: &TenantId) -> Arc<Tenant> {
        let known = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = known.get(id) {
            return tenant.clone();
        }
        drop(known);
        let mut all = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        let who = u32::try_from(all.len()).unwrap_or(u32::MAX);
        let limits = limits(&lock(&self.rules), id);
        let new = || Arc::new(Tenant::new(id.clone(), who, limits));
        all.entry(id.clone()).or_insert_with(new).clone()
    }

    /// Takes work from outside, or refuses it: by its tenant's rate, or because the runtime takes none.
    /// Work that nobody waits for any more is not begun either.
    pub(crate) fn enter(
        self: &Arc<Self>,
        id: &TenantId,
        not_after: Option<Timestamp>,
    ) -> Result<Entry, Refusal> {
        if *self.phase.borrow() != Phase::Open {
            return Err(Refusal::Draining);
        }
        let tenant = self.tenant(id);
        if self.is_late(not_after) {
            return Err(Refusal::Late);
        }
        if let Some((rate, line)) = tenant.limits().share.rate
            && let Err(retry_after_ms) = tenant.take_turn(rate, self.clock.now())
        {
            tenant.over_rate.fetch_add(1, Relaxed);
            let (tenant, file) = (id.clone(), lock(&self.rules).file_name());
            return Err(Refusal::Rate { tenant, rate, file, line, retry_after_ms });
        }
        self.come_in(tenant)
    }

    /// Takes work that was taken before, and goes on after a restart: no rate counts it again.
    pub(crate) fn enter_again(self: &Arc<Self>, id: &TenantId) -> Result<Entry, Refusal> {
        self.come_in(self.tenant(id))
    }

    fn come_in(self: &Arc<Self>, tenant: Arc<Tenant>) -> Result<Entry, Refusal> {
        tenant.inside.fetch_add(1, Relaxed);
        self.inside.fetch_add(1, SeqCst);
        let entry = Entry { admission: self.clone(), tenant };
        // Whoever drains counts those who are in; who came in between goes out again.
        match *self.phase.borrow() {
            Phase::Open => Ok(entry),
            Phase::Draining | Phase::Leaving => Err(Refusal::Draining),
        }
    }

    /// A slot for a call of a session, if one is free and nobody waits.
    pub(crate) fn call_now(&self, tenant: &Arc<Tenant>, bytes: u64) -> Option<Slot> {
        self.calls.try_take(tenant, bytes)
    }

    /// Waits for a slot for a call of a session. How much can wait here follows from how many runs there
    /// are, and how many calls of one run side by side.
    pub(crate) async fn call(&self, tenant: &Arc<Tenant>, bytes: u64) -> Option<Slot> {
        self.calls.wait(tenant, bytes).await
    }

    /// Waits for a slot for a request to a model: one a run waits here at most.
    pub(crate) async fn model(&self, tenant: &Arc<Tenant>, name: &ModelName) -> Option<Slot> {
        let place = self.model_place(name);
        match place.try_take(tenant, 0) {
            Some(slot) => Some(slot),
            None => place.wait(tenant, 0).await,
        }
    }

    /// Waits for a slot to load and compile a tool in.
    pub(crate) async fn compile(&self, tenant: &Arc<Tenant>) -> Option<Slot> {
        match self.compiles.try_take(tenant, 0) {
            Some(slot) => Some(slot),
            None => self.compiles.wait(tenant, 0).await,
        }
    }

    /// The same sessions in turns of their tenants, each as many as its weight says.
    pub(crate) fn in_turns(&self, sessions: Vec<OpenSession>) -> Vec<OpenSession> {
        let mut fair = Fair::default();
        for open in sessions {
            let tenant = self.tenant(&open.tenant);
            fair.push(tenant.who, tenant.limits().share.weight.unwrap_or(1), 1, open);
        }
        std::iter::from_fn(|| fair.pop()).map(|(_, open)| open).collect()
    }

    /// The operator's limits are these from now on. What waits is looked at anew; what runs goes on.
    pub(crate) fn reload(&self, config: &Arc<Config>) {
        *lock(&self.rules) = config.clone();
        let all = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        all.values().for_each(|tenant| tenant.set_limits(limits(config, &tenant.id)));
        self.runs.resize(config.concurrent_runs);
        self.compiles.resize(config.concurrent_compiles);
        for (name, place) in &*lock(&self.models) {
            if let Some(model) = config.models.get(name) {
                place.resize(model.concurrent_requests);
            }
        }
        self.each_place(|_, place| place.look_again(all.values()));
    }

    /// How far the end is.
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// How far the end is; waited for by what would go on for long.
    pub(crate) fn ending(&self) -> Ending {
        Ending(self.phase.subscribe())
    }

    /// No new work is taken from now on, or what runs is left.
    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.send_modify(|now| *now = phase.max(*now));
    }

    /// How much work from outside is under way or waits.
    pub(crate) fn inside(&self) -> u32 {
        self.inside.load(SeqCst)
    }

    /// Waits until none is, once the runtime ends.
    pub(crate) async fn empty(&self) {
        loop {
            let empty = self.empty.notified();
            tokio::pin!(empty);
            // Listening first, looking second: what is over in between is heard.
            empty.as_mut().enable();
            if self.inside() == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Does something with each place, by its name.
    pub(crate) fn each_place(&self, mut act: impl FnMut(&str, &Arc<Place>)) {
        act(CALLS, &self.calls);
        act(RUNS, &self.runs);
        act(COMPILES, &self.compiles);
        let models = lock(&self.models);
        let mut models: Vec<_> = models.iter().map(|(name, place)| (name, place.clone())).collect();
        models.sort_by(|a, b| a.0.cmp(b.0));
        models.iter().for_each(|(name, place)| act(&format!("model.{name}"), place));
    }

    /// Every tenant that anything was asked for.
    pub(crate) fn tenants(&self) -> Vec<Arc<Tenant>> {
        let all = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = all.values().cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    fn model_place(&self, name: &ModelName) -> Arc<Place> {
        let mut models = lock(&self.models);
        if let Some(place) = models.get(name) {
            return place.clone();
        }
        let slots = lock(&self.rules).models.get(name).map_or(1, |model| model.concurrent_requests);
        let place = Place::new(Kind::Other, slots, 0);
        models.insert(name.clone(), place.clone());
        place
    }

    fn is_late(&self, not_after: Option<Timestamp>) -> bool {
        not_after.is_some_and(|at| self.clock.now() > at)
    }
}

/// Tells when the end comes nearer.
pub(crate) struct Ending(watch::Receiver<Phase>);

impl Ending {
    /// Waits until it is nearer than this.
    pub(crate) async fn beyond(&mut self, phase: Phase) -> Phase {
        let nearer = self.0.wait_for(|now| *now > phase).await.map(|now| *now);
        match nearer {
            Ok(now) => now,
            // There is no runtime any more that could end.
            Err(_) => std::future::pending().await,
        }
    }
}

/// What a tenant may have by the operator's file.
fn limits(config: &Config, id: &TenantId) -> Limits {
    let share = config.grants.tenant_share(id);
    let queue = share.queue.map_or(Config::TENANT_QUEUE, |(queue, _)| queue);
    let is_one_of_several = config.grants.tenants().nth(1).is_some();
    Limits { share, queue, is_one_of_several }
}

/// Work from outside that was taken. It is over when this is dropped.
pub(crate) struct Entry {
    admission: Arc<Admission>,
    tenant: Arc<Tenant>,
}

impl Entry {
    /// A slot for a direct call, if one is free and nobody waits.
    pub(crate) fn call_now(&self, bytes: u64) -> Option<Slot> {
        self.admission.calls.try_take(&self.tenant, bytes)
    }

    /// A slot for a direct call that may come to hold so many bytes.
    pub(crate) async fn call(
        &self,
        bytes: u64,
        not_after: Option<Timestamp>,
    ) -> Result<Slot, Refusal> {
        self.slot(&self.admission.calls, bytes, not_after).await
    }

    /// A slot for a run, if one is free and nobody waits.
    pub(crate) fn run_now(&self) -> Option<Slot> {
        self.admission.runs.try_take(&self.tenant, 0)
    }

    /// A slot for a run.
    pub(crate) async fn run(&self, not_after: Option<Timestamp>) -> Result<Slot, Refusal> {
        self.slot(&self.admission.runs, 0, not_after).await
    }

    /// A slot for a run that goes on after a restart, whenever it comes.
    pub(crate) async fn run_again(&self) -> Result<Slot, Refusal> {
        let mut ending = self.admission.ending();
        tokio::select! {
            biased;
            _ = ending.beyond(Phase::Open) => Err(Refusal::Draining),
            slot = self.admission.runs.wait(&self.tenant, 0) => slot.ok_or(Refusal::Draining),
        }
    }

    async fn slot(
        &self,
        place: &Arc<Place>,
        bytes: u64,
        not_after: Option<Timestamp>,
    ) -> Result<Slot, Refusal> {
        if let Some(slot) = place.try_take(&self.tenant, bytes) {
            return Ok(slot);
        }
        let admission = &self.admission;
        let _queued = self.queue(place)?;
        let mut ending = admission.ending();
        let late = async { admission.clock.until(not_after.unwrap_or_default()).await };
        let slot = tokio::select! {
            biased;
            _ = ending.beyond(Phase::Open) => return Err(Refusal::Draining),
            () = late, if not_after.is_some() => return Err(Refusal::Late),
            slot = place.wait(&self.tenant, bytes) => slot,
        };
        match slot {
            Some(slot) if !admission.is_late(not_after) => Ok(slot),
            Some(_) => Err(Refusal::Late),
            None => Err(Refusal::Draining),
        }
    }

    /// Counts this work among what waits until that is dropped, for a tool that is on its way.
    pub(crate) fn queue_to_load(&self) -> Result<Queued<'_>, Refusal> {
        // One may always load a tool: else nobody whose work never waits could use any.
        let most = self.tenant.limits().queue.max(1);
        self.queue_up_to(&self.admission.compiles, most)
    }

    /// Counts an input among what waits until that is dropped, for a run that is driven.
    pub(crate) fn queue_to_run(&self) -> Result<Queued<'_>, Refusal> {
        self.queue(&self.admission.runs)
    }

    /// Counts this work among what waits, unless so much does already.
    fn queue(&self, place: &Arc<Place>) -> Result<Queued<'_>, Refusal> {
        self.queue_up_to(place, self.tenant.limits().queue)
    }

    fn queue_up_to(&self, place: &Arc<Place>, most: u32) -> Result<Queued<'_>, Refusal> {
        let (tenant, admission) = (&*self.tenant, &*self.admission);
        let limits = tenant.limits();
        let refuse = |refusal| {
            place.count_refused(tenant.who);
            Err(refusal)
        };
        let is_first = tenant.waiting() == 0;
        if !tenant.queue(most) {
            let retry_after_ms =
                Refusal::bounded(place.expected_ms(Some(tenant), tenant.waiting()));
            let (id, file) = (tenant.id.clone(), lock(&admission.rules).file_name());
            let line = limits.share.queue.map(|(_, line)| line);
            let queue = limits.queue;
            return refuse(Refusal::Queue { tenant: id, queue, file, line, retry_after_ms });
        }
        let waiting = admission.waiting.fetch_add(1, Relaxed);
        let queued = Queued { admission, tenant };
        // Of each tenant one may wait, however much others have waiting.
        if waiting >= lock(&admission.rules).queue && !is_first {
            let retry_after_ms = Refusal::bounded(place.expected_ms(None, waiting));
            return refuse(Refusal::Host { retry_after_ms });
        }
        Ok(queued)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.tenant.inside.fetch_sub(1, Relaxed);
        let is_last = self.admission.inside.fetch_sub(1, SeqCst) == 1;
        if is_last && self.admission.phase() != Phase::Open {
            self.admission.empty.notify_waiters();
        }
    }
}

/// Work that waits for its turn.
pub(crate) struct Queued<'a> {
    admission: &'a Admission,
    tenant: &'a Tenant,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.tenant.leave_queue();
        self.admission.waiting.fetch_sub(1, Relaxed);
    }
}
