//! Driving a session: one task that asks the machine what is to be done, starts what is not under
//! way, and tells the machine what came of it.

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use ringfence_capability::fs::Scratch;
use ringfence_catalog::{model_name, resolve};
use ringfence_event::{
    CallId, CallLimits, CallResult, DenialCode, Digest, Digester, Event, FunctionName,
    IdempotencyKey, Intent, Limit, ModelFailure, ModelFailureClass, ModelReply, ModelRequest,
    Money, Note, Outcome, RunId, StepId, TokenUsage, ToolName, TraceContext, Usage,
    estimated_tokens,
};
use ringfence_policy::Permit;
use ringfence_sandbox::{Answer, Cancel, Sink};
use ringfence_session::{
    Approval, Command, Definition, Effect, Ending, Refused, Run, Session, called_off,
};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::MissedTickBehavior,
};

use crate::{
    Agent, Caller, Error, Installed, RunEnded,
    admit::{Phase, Slot},
    buckets::{self, CallBuckets},
    budget::{Amounts, Reserved, Stopped},
    call::{self, Context, NotRun, Over, no_such_function, refused, run_permitted},
    inbox::InboxCommand,
    journal::Journal,
    plan,
    question::{Counted, Question, Used},
    run::is_over,
    runtime::Inner,
    tool::Unusable,
    turn::Turns,
};

/// How often the inbox is looked at and what is recorded is shown, while a run is under way: a
/// person who cancels from another terminal waits no longer than this.
const BEAT: Duration = Duration::from_millis(50);

/// What is reserved for a reply whose length nobody limits: more than models write at once.
const REPLY_TOKENS: u64 = 16_384;

/// What a driver drives for.
pub(crate) enum Until {
    /// The run of the input that was said under this key has ended, or nothing goes on before a person
    /// answers.
    Run(String),
    /// No run is under way, or nothing goes on before a person answers.
    Idle,
}

/// What a task of the driver comes back with.
enum Done {
    Reply(StepId, Result<ModelReply, (ModelFailure, TokenUsage)>),
    Call(CallId, Box<Over>),
    Loaded(ToolName, Result<(), Unusable>),
    Turn(CallId, Option<Slot>),
}

/// What became of a task that was begun.
enum Begun {
    /// It goes on in another thread.
    Running(AbortHandle),
    /// It is over; without a result if it took the host with it.
    Over(Option<Done>),
}

type Decided = Result<(Arc<Installed>, Permit), NotRun>;

/// One session under way.
pub(crate) struct Driver<'a> {
    inner: &'a Arc<Inner>,
    caller: &'a Caller,
    agent: &'a Agent,
    definition: Definition,
    journal: Journal,
    tasks: JoinSet<Done>,
    asking: Option<Question>,
    /// The calls that run, and the tasks they run in.
    running: HashMap<CallId, (Cancel, tokio::task::Id)>,
    /// The tools that are on their way: compiling one may take long, and the run is to be cancelled
    /// and to end at its time meanwhile.
    loading: HashSet<ToolName>,
    /// What came of those that did not arrive, until somebody is told.
    unusable: HashMap<ToolName, Unusable>,
    /// What was decided and has not started yet.
    permits: HashMap<CallId, (Arc<Installed>, Permit)>,
    /// The calls that wait for their turn among all tenants' calls, or have it.
    turns: Turns,
    notes: mpsc::UnboundedSender<(CallId, Note)>,
    heard: mpsc::UnboundedReceiver<(CallId, Note)>,
    scratch: Arc<Scratch>,
    recovered: bool,
    /// Something that was begun was over at once.
    goes_on: bool,
    digester: Digester,
}

impl<'a> Driver<'a> {
    pub(crate) fn new(
        inner: &'a Arc<Inner>,
        caller: &'a Caller,
        agent: &'a Agent,
        definition: Definition,
        journal: Journal,
    ) -> Self {
        let (notes, heard) = mpsc::unbounded_channel();
        let scratch = inner.scratches.of_session(&caller.tenant, journal.session().id());
        let turns = Turns::new(inner.admit.clone(), inner.admit.tenant(&caller.tenant));
        Self {
            inner,
            caller,
            agent,
            definition,
            journal,
            tasks: JoinSet::new(),
            asking: None,
            running: HashMap::new(),
            loading: HashSet::new(),
            unusable: HashMap::new(),
            permits: HashMap::new(),
            turns,
            notes,
            heard,
            scratch,
            recovered: false,
            goes_on: false,
            digester: Digester::default(),
        }
    }

    pub(crate) fn session(&self) -> &Session {
        self.journal.session()
    }

    /// Makes the session if it is new, and takes up what another process left: to be done before
    /// anything else is recorded.
    pub(crate) fn recover(&mut self) -> Result<(), Error> {
        if std::mem::replace(&mut self.recovered, true) {
            return Ok(());
        }
        if self.session().agent().is_none() {
            let (agent, agent_digest) = (self.definition.name.clone(), self.definition.digest);
            return self.record(Command::Create { agent, agent_digest });
        }
        // Cancelled while nobody drove it: then nothing of it starts again.
        self.read_inbox()?;
        self.record(Command::Recover)
    }

    /// What is recorded from now on follows from a request in this trace.
    pub(crate) fn follow_from(&mut self, trace: TraceContext) {
        self.journal.follow_from(trace);
    }

    /// Keeps the agent's definition with the session.
    pub(crate) fn keep(&mut self, source: Vec<u8>) -> Digest {
        let digest = Digest::of(&source);
        match self.session().source() == Some(digest) {
            true => digest,
            false => self.journal.blob(source),
        }
    }

    /// Makes durable what was recorded so far.
    pub(crate) async fn save(
        &mut self,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<(), Error> {
        self.journal.save(show).await
    }

    pub(crate) async fn drive(
        &mut self,
        until: Until,
        cancel: &Cancel,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<RunEnded, Error> {
        self.recover()?;
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cancelled = false;
        // What was due stays so until it is begun: told once, it is not told again.
        let mut woken = None;
        let mut saved_before = self.journal.saves();
        let mut ending = self.inner.admit.ending();
        let mut phase = Phase::Open;
        while !self.is_done(&until) {
            let goes_on = phase < Phase::Leaving && self.start(show).await?;
            self.warn()?;
            if self.is_done(&until) || !goes_on && self.is_left(phase) {
                break;
            }
            let wake = self.session().wake_at(&self.definition, woken);
            let clock = self.inner.config.clock.clone();
            tokio::select! {
                // Whoever stops a run is heard first, however busy it is.
                biased;
                () = cancel.requested(), if !cancelled => {
                    cancelled = true;
                    self.cancel_all(&until)?;
                }
                now = ending.beyond(phase) => phase = now,
                _ = beat.tick() => {
                    self.journal.reload(self.inner.current());
                    if self.journal.has_mail()? {
                        self.read_inbox()?;
                    }
                    // What is under way longer than a beat is shown meanwhile; a step that is shorter is
                    // stored once, with the request that follows.
                    if saved_before == self.journal.saves() {
                        self.journal.save(show).await?;
                    }
                    saved_before = self.journal.saves();
                }
                Some((call, note)) = self.heard.recv() => {
                    self.late(Command::Noted { call, note })?;
                }
                Some(done) = self.tasks.join_next_with_id() => self.joined(done, show).await?,
                () = async { clock.until(wake.unwrap_or_default()).await }, if wake.is_some() => {
                    woken = wake;
                    self.late(Command::Wake)?;
                }
                () = std::future::ready(()), if goes_on => {}
            }
        }
        self.tasks.shutdown().await;
        self.leave_turns(&[]);
        let is_left = phase >= Phase::Draining && !self.is_done(&until);
        if is_left {
            // Whoever goes on with it is not to take it for a host that died.
            self.late(Command::Leave)?;
        }
        if self.session().run().is_some() {
            let wake = self.session().wake_at(&self.definition, None);
            self.journal.wake(wake);
        }
        self.journal.save(show).await?;
        if is_left {
            return Err(Error::Left { session: self.session().id().clone() });
        }
        self.ended(&until)
    }

    /// Whether the host stops, and nothing goes on here that is to be waited for: of a run that is left,
    /// the calls that are being ended.
    fn is_left(&self, phase: Phase) -> bool {
        match phase {
            Phase::Open => false,
            Phase::Draining => self.tasks.is_empty(),
            Phase::Leaving => self.running.is_empty(),
        }
    }

    /// Whether there is nothing more to drive for.
    fn is_done(&self, until: &Until) -> bool {
        let session = self.session();
        // What is being stopped is seen to its end: nobody else could say how it ended.
        if session.run().is_some_and(|run| run.stopping().is_some()) {
            return false;
        }
        match until {
            Until::Run(key) => session.run_of(key).is_none_or(|run| is_over(session, run)),
            Until::Idle => session.run().is_none_or(|run| run.status().is_waiting_for_somebody()),
        }
    }

    fn ended(&self, until: &Until) -> Result<RunEnded, Error> {
        let session = self.session();
        let run = match until {
            Until::Run(key) => session.run_of(key),
            Until::Idle => session.run().or_else(|| session.runs().last().map(AsRef::as_ref)),
        };
        Ok(RunEnded::of(session, run.ok_or(Refused::NoRun)?))
    }

    /// Whoever cancels means the run that is waited for, and those before it.
    fn cancel_all(&mut self, until: &Until) -> Result<(), Error> {
        if let Until::Run(key) = until
            && let Some(run) = self.session().run_of(key).map(Run::id)
        {
            let before: Vec<_> = self.session().queued().map(Run::id).collect();
            for queued in before.into_iter().filter(|queued| *queued <= run) {
                self.late(Command::Cancel { run: Some(queued) })?;
            }
        }
        self.late(Command::Cancel { run: None })
    }

    /// Ends a run, if it has not ended.
    pub(crate) fn end(&mut self, run: RunId) -> Result<(), Error> {
        self.late(Command::Cancel { run: Some(run) })
    }

    pub(crate) fn record(&mut self, command: Command) -> Result<(), Error> {
        self.journal.record(&self.definition, command)
    }

    /// Records what may have come too late: then nothing is to be recorded.
    fn late(&mut self, command: Command) -> Result<(), Error> {
        match self.record(command) {
            Err(Error::Refused(Refused::NotNow { .. } | Refused::NoRun)) => Ok(()),
            other => other,
        }
    }

    /// Starts everything that should be under way and is not. Says whether more is to be started at
    /// once: something that was begun is over already, and who waits to be heard comes before the next.
    async fn start(&mut self, show: &mut (dyn FnMut(&Event) + Send)) -> Result<bool, Error> {
        loop {
            if self.asking.as_ref().is_some_and(|asked| self.session().is_asking(asked.step)) {
                // Nothing else is to be done while the model is asked.
                self.leave_turns(&[]);
                return Ok(false);
            }
            let mut changed = false;
            let effects = self.session().pending(&self.definition, self.journal.now());
            self.leave_turns(&effects);
            for effect in effects {
                changed = match effect {
                    Effect::AskModel { step, request } => {
                        let reserved = self.reserve_for(step, &request).await?;
                        if reserved != Reserved::Done {
                            matches!(reserved, Reserved::Spent(_))
                        } else if !self.request(step, &request)? {
                            true
                        } else {
                            let traceparent = self.journal.traceparent(step.run);
                            // Nothing is sent to a vendor before what it follows from is durable.
                            self.journal.save(show).await?;
                            // What that commit told of budgets is said before the reply to it.
                            self.warn()?;
                            let model = self.inner.model(&request.model)?;
                            let (inner, tenant) = (self.inner.clone(), self.turns.tenant().clone());
                            let deltas = inner.deltas.of(self.caller, self.session().id(), step);
                            let used = Arc::<Used>::default();
                            let heard = Counted { used: used.clone(), deltas };
                            let task = async move {
                                let _slot = inner.admit.model(&tenant, &request.model).await;
                                heard.used.send(&request);
                                let traceparent = Some(traceparent.as_str());
                                let reply =
                                    model.complete_within(&request, &heard, traceparent).await;
                                Done::Reply(step, reply.map_err(call::model_failure))
                            };
                            match self.begin(task, true).await {
                                Begun::Running(task) => {
                                    self.asking = Some(Question::new(step, used, task));
                                }
                                Begun::Over(Some(done)) => self.finished(done, show).await?,
                                Begun::Over(None) => self.unanswered(step, panicked(), &used)?,
                            }
                            true
                        }
                    }
                    // Calls are decided in their order, whatever tool is there first.
                    Effect::Check { .. } if !self.loading.is_empty() => false,
                    Effect::Check { call, function, arguments, fuel_left, approval, spent } => {
                        let yes = Yes { approval, spent };
                        self.check(call, &function, &arguments, fuel_left, &yes).await?
                    }
                    Effect::Run { call, intent, arguments, approval, answer } => {
                        let spent = self.session().run().map(|run| run.totals().cost);
                        let yes = Yes { approval, spent: spent.unwrap_or_default() };
                        self.run_call(call, intent, arguments, &yes, answer, show).await?
                    }
                    Effect::Stop { call } => {
                        if let Some((cancel, _)) = self.running.get(&call) {
                            cancel.cancel();
                        }
                        false
                    }
                    Effect::CallOff { step } => {
                        // What it has used is told when its task has ended.
                        let asked = self.asking.as_ref().filter(|asked| asked.step == step);
                        asked.inspect(|asked| asked.call_off());
                        false
                    }
                };
                if changed {
                    break;
                }
            }
            if !changed {
                return Ok(false);
            }
            if std::mem::take(&mut self.goes_on) {
                return Ok(true);
            }
        }
    }

    /// Begins a task here, and sends it to another thread when it has to wait: a reply or a call that is
    /// over at once takes less time than the way there and back. A guest that goes on for long waits for
    /// the others with each tick of the engine's epoch.
    async fn begin(
        &mut self,
        task: impl Future<Output = Done> + Send + 'static,
        here: bool,
    ) -> Begun {
        let mut task = Box::pin(task);
        if here {
            let first = poll_fn(|context| {
                let poll = || task.as_mut().poll(context);
                Poll::Ready(catch_unwind(AssertUnwindSafe(poll)))
            });
            match first.await {
                Ok(Poll::Pending) => {}
                Ok(Poll::Ready(done)) => {
                    self.goes_on = true;
                    return Begun::Over(Some(done));
                }
                // What it was is dropped here; nobody polls it again.
                Err(_) => {
                    self.goes_on = true;
                    return Begun::Over(None);
                }
            }
        }
        Begun::Running(self.tasks.spawn(task))
    }

    /// Records that a model is about to be asked. Says whether it is to be: the rest of a budget may be too
    /// small for it, and then the run ends.
    fn request(&mut self, step: StepId, request: &ModelRequest) -> Result<bool, Error> {
        let (digest, parts) = self.digester.of(request);
        let input = estimated(request);
        self.record(Command::ModelRequested { step, request: digest, parts, input })?;
        let is_asked = self.session().is_asking(step);
        if !is_asked {
            self.journal.ledger().0.release(&step.to_string());
        }
        Ok(is_asked)
    }

    /// Reserves of the tenant's budget what a request may come to cost.
    async fn reserve_for(
        &mut self,
        step: StepId,
        request: &ModelRequest,
    ) -> Result<Reserved, Error> {
        if !self.journal.ledger().0.is_open() {
            return Ok(Reserved::Done);
        }
        let input = estimated(request);
        let output = request.parameters.output_tokens.unwrap_or(REPLY_TOKENS);
        let choices =
            [Some(&self.definition.model), self.definition.fallback.as_ref().map(|f| &f.model)];
        let choice = choices.into_iter().flatten().find(|choice| choice.name == request.model);
        let tokens = TokenUsage { input, output, cached: 0 };
        let cost = choice.and_then(|choice| choice.price).map(|price| price.of(tokens));
        let amounts = Amounts::from([
            (Limit::Tokens, tokens.total()),
            (Limit::Money, cost.unwrap_or_default().nanos()),
        ]);
        self.reserve(&step.to_string(), amounts).await
    }

    /// Reserves of the tenant's budget. If what is not spent is too little for it, the run ends.
    async fn reserve(&mut self, what: &str, amounts: Amounts) -> Result<Reserved, Error> {
        let (ledger, store, now) = self.journal.ledger();
        let reserved = ledger.reserve(store, what, amounts, now).await?;
        // What others have is tried again with the next beat: they give back what they do not spend.
        if let Reserved::Spent(Stopped { limit, spent, .. }) = reserved {
            self.late(Command::Spent { limit, spent })?;
        }
        Ok(reserved)
    }

    /// Tells the session of budgets of the tenant that are nearly spent.
    fn warn(&mut self) -> Result<(), Error> {
        for Stopped { limit, spent, .. } in self.journal.take_warnings() {
            self.late(Command::Warned { limit, spent })?;
        }
        Ok(())
    }

    /// Decides a proposed call. Says whether anything came of it.
    async fn check(
        &mut self,
        call: CallId,
        name: &str,
        arguments: &str,
        fuel: u64,
        yes: &Yes,
    ) -> Result<bool, Error> {
        let session = self.session().id().clone();
        let totals = self.session().totals();
        let (ledger, store, now) = self.journal.ledger();
        if let Some(Stopped { limit, spent, .. }) =
            ledger.has_too_many_calls(store, &totals, now)?
        {
            return self.late(Command::Spent { limit, spent }).map(|()| true);
        }
        // A call reserves the least of its own limit and what each level above has left.
        let fuel = match ledger.left(store, Limit::Fuel, now)? {
            // Told as spent when it is reserved, with at least what nothing can run on.
            0 => fuel.min(1),
            left => fuel.min(left),
        };
        let Some(decided) = self.decide(name, arguments, fuel, yes) else { return Ok(false) };
        let command = match decided {
            Err(NotRun::Denied(denials)) => Command::Denied { call, denials },
            Err(NotRun::Invalid(failure)) => Command::Invalid { call, failure },
            Err(NotRun::Held(hold)) => Command::Held { call, hold },
            Err(NotRun::Broken(message)) => {
                return self.over(call, Outcome::HostError { message }).map(|()| true);
            }
            Ok((installed, permit)) => {
                let amounts = Amounts::from([(Limit::Fuel, permit.limits().fuel)]);
                match self.reserve(call.as_str(), amounts).await? {
                    Reserved::Done => {}
                    reserved => return Ok(matches!(reserved, Reserved::Spent(_))),
                }
                let arguments = Digest::of(arguments.as_bytes());
                let key = IdempotencyKey::derive(&session, &call, &arguments);
                let intent = Box::new(call::intent(self.inner, &installed, &permit, key)?);
                self.permits.insert(call.clone(), (installed, permit));
                Command::Permitted { call, intent }
            }
        };
        match self.record(command) {
            // Asked again when a running call gives fuel back.
            Err(Error::Refused(Refused::FuelReserved)) => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// `None` while the tool is on its way: asked again when it is there.
    fn decide(&mut self, name: &str, arguments: &str, fuel: u64, yes: &Yes) -> Option<Decided> {
        let Some((tool, function)) = resolve(name) else {
            return Some(Err(NotRun::Denied(vec![no_such_function(name)])));
        };
        let found = self.find(&tool)?;
        Some(self.decide_found(found, name, (&tool, &function), arguments, fuel, yes))
    }

    /// A tool, or why it cannot be used; `None` while it is on its way.
    fn find(&mut self, tool: &ToolName) -> Option<Result<Arc<Installed>, Unusable>> {
        if let Some(installed) = self.inner.tools.loaded(tool) {
            return Some(Ok(installed));
        }
        if self.inner.tools.entry(tool).is_none() {
            return Some(Err(Unusable::NotInstalled));
        }
        if let Some(unusable) = self.unusable.remove(tool) {
            return Some(Err(unusable));
        }
        if self.loading.insert(tool.clone()) {
            let (inner, tool) = (self.inner.clone(), tool.clone());
            let tenant = self.caller.tenant.clone();
            self.tasks.spawn(async move {
                let loaded = inner.tool(&tenant, &tool).await.map(drop);
                Done::Loaded(tool, loaded)
            });
        }
        None
    }

    fn decide_found(
        &self,
        found: Result<Arc<Installed>, Unusable>,
        name: &str,
        (tool, function): (&ToolName, &FunctionName),
        arguments: &str,
        fuel: u64,
        yes: &Yes,
    ) -> Decided {
        let nobody = || NotRun::Denied(vec![no_such_function(name)]);
        let installed = found.map_err(|unusable| match unusable {
            Unusable::NotInstalled => nobody(),
            Unusable::Changed(difference) => NotRun::Denied(vec![difference.denial(function)]),
            Unusable::Broken(error) => {
                NotRun::Broken(format!("tool `{tool}` cannot be loaded: {error}"))
            }
        })?;
        if installed.entry.function(function).is_none() {
            return Err(nobody());
        }
        let listed = self.agent.definition.check_function(tool, function);
        listed.map_err(|denial| NotRun::Denied(vec![denial]))?;
        let build = (installed.entry.component, installed.entry.definitions);
        let pin = self.session().pin(tool).map(|pin| (pin.component, pin.definitions));
        if pin.is_some_and(|pin| pin != build) {
            return Err(NotRun::Denied(vec![refused(DenialCode::OtherBuild, tool, function)]));
        }
        let left = CallLimits { fuel, ..CallLimits::UNBOUNDED };
        let context = Context {
            limits: Some(&left),
            agent: Some(self.agent),
            approval: yes.approval.as_deref(),
            spent: yes.spent,
            now: self.journal.now(),
        };
        let permit =
            call::decide(self.inner, self.caller, &installed, function, arguments, &context)?;
        Ok((installed, permit))
    }

    /// Starts a call that was decided. After a restart it is decided again: a permit is never
    /// loaded. Says whether anything came of it.
    async fn run_call(
        &mut self,
        call: CallId,
        intent: Arc<Intent>,
        arguments: Arc<str>,
        yes: &Yes,
        answer: Option<ringfence_session::Answer>,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<bool, Error> {
        let Some(slot) = self.turn(&call, intent.limits.memory) else { return Ok(false) };
        let decided = match self.permits.remove(&call) {
            Some(decided) => Ok(decided),
            None => {
                let name = model_name(&intent.tool, &intent.function);
                let Some(decided) = self.decide(&name, &arguments, intent.limits.fuel, yes) else {
                    return Ok(false);
                };
                decided.and_then(|decided| same_as_intended(&decided.1, &intent).map(|()| decided))
            }
        };
        let (installed, permit) = match decided {
            Ok(decided) => decided,
            Err(NotRun::Denied(denials)) => {
                return self.record(Command::Denied { call, denials }).map(|()| true);
            }
            // It had a yes, or needed none, when it was intended: the rules are others now.
            Err(NotRun::Held(_)) => {
                let denial = refused(DenialCode::ChangedSince, &intent.tool, &intent.function);
                let denials = vec![denial];
                return self.record(Command::Denied { call, denials }).map(|()| true);
            }
            Err(NotRun::Invalid(failure)) => {
                self.record(Command::Started { call: call.clone() })?;
                return self.over(call, Outcome::Invalid { failure }).map(|()| true);
            }
            Err(NotRun::Broken(message)) => {
                return self.over(call, Outcome::HostError { message }).map(|()| true);
            }
        };
        let answer = match answer {
            None => None,
            Some(answer) => {
                let state = self.inner.store()?.blob(&self.caller.tenant, &answer.state)?;
                let value = answer.value.map(|value| value.to_string());
                Some(Answer { value, state: state.unwrap_or_default() })
            }
        };
        self.record(Command::Started { call: call.clone() })?;
        if intent.effect.needs_durable_intent() {
            // A crash must find what may not be repeated, or only with the same key.
            self.journal.save(show).await?;
        }
        let cancel = Cancel::new();
        let buckets = self.buckets()?;
        let sink = Arc::new(Notes { call: call.clone(), notes: self.notes.clone() });
        let (inner, scratch) = (self.inner.clone(), self.scratch.clone());
        let (id, of_call) = (call.clone(), cancel.clone());
        let task = async move {
            let over = run_permitted(
                &inner, &installed, permit, &id, &intent, &arguments, answer, &buckets, &scratch,
                &of_call, sink,
            );
            let over = Box::new(over.await);
            drop(slot);
            Done::Call(id, over)
        };
        match self.begin(task, self.is_single_call()).await {
            Begun::Running(task) => {
                self.running.insert(call, (cancel, task.id()));
            }
            Begun::Over(Some(done)) => self.finished(done, show).await?,
            Begun::Over(None) => self.call_panicked(call)?,
        }
        Ok(true)
    }

    /// A slot for a call, before anything says that it started; `None` while it waits for its turn: asked
    /// again when that has come.
    fn turn(&mut self, call: &CallId, bytes: u64) -> Option<Slot> {
        let (slot, waiting) = self.turns.take(call, bytes);
        if let Some(waiting) = waiting {
            let id = call.clone();
            let task = self.tasks.spawn(async move { Done::Turn(id, waiting.await) });
            self.turns.waits(call, task);
        }
        slot
    }

    /// Calls that waited for their turn and are not to start any more give back what was reserved for them.
    fn leave_turns(&mut self, effects: &[Effect]) {
        for call in self.turns.keep(effects) {
            self.permits.remove(&call);
            self.journal.ledger().0.release(call.as_str());
        }
    }

    /// Whether no other call of the step waits to run beside it.
    fn is_single_call(&self) -> bool {
        let step = self.session().run().and_then(|run| run.steps().last());
        step.is_some_and(|step| step.calls().len() == 1)
    }

    fn buckets(&self) -> Result<CallBuckets, Error> {
        let store = self.inner.store()?.clone();
        let agent = Some(&self.definition.name);
        Ok(CallBuckets::new(store, self.caller, self.session().id().as_str(), agent))
    }

    /// A task of another thread has ended.
    async fn joined(
        &mut self,
        joined: Result<(tokio::task::Id, Done), tokio::task::JoinError>,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<(), Error> {
        let error = match joined {
            Ok((_, done)) => return self.finished(done, show).await,
            Err(error) => error,
        };
        // A question that was called off; or the host panicked around a call, which costs the call and
        // not the session.
        let lost = self.running.iter().find(|(_, (_, task))| *task == error.id());
        if let Some(call) = lost.map(|(call, _)| call.clone()) {
            return self.call_panicked(call);
        }
        match self.asking.take_if(|asked| asked.is(error.id())) {
            Some(Question { step, used, .. }) => {
                let failure = if error.is_panic() { panicked() } else { called_off() };
                self.unanswered(step, failure, &used)
            }
            None => Ok(()),
        }
    }

    async fn finished(
        &mut self,
        done: Done,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<(), Error> {
        self.hear()?;
        match done {
            Done::Reply(step, reply) => {
                self.journal.ledger().0.release(&step.to_string());
                self.asking.take_if(|asked| asked.step == step);
                self.late(Command::ModelReplied { step, reply })
            }
            Done::Loaded(tool, loaded) => {
                self.loading.remove(&tool);
                if let Err(unusable) = loaded {
                    self.unusable.insert(tool, unusable);
                }
                Ok(())
            }
            Done::Turn(call, slot) => {
                self.turns.came(&call, slot);
                Ok(())
            }
            Done::Call(call, mut over) => {
                // What a limit of the run stopped ends by that limit, as what had not begun does.
                let stopping = self.session().run().and_then(Run::stopping);
                if let Some(Ending::LimitReached(limit, _)) = stopping
                    && over.result.outcome == Outcome::Cancelled
                {
                    over.result.outcome = Outcome::LimitReached { limit };
                }
                self.journal.ledger().0.release(call.as_str());
                self.running.remove(&call);
                self.settle(call, *over, show).await
            }
        }
    }

    /// Records what calls said so far: what was said before a call ended stands before its end.
    fn hear(&mut self) -> Result<(), Error> {
        while let Ok((call, note)) = self.heard.try_recv() {
            self.late(Command::Noted { call, note })?;
        }
        Ok(())
    }

    /// A call that took the host with it.
    fn call_panicked(&mut self, call: CallId) -> Result<(), Error> {
        self.hear()?;
        self.journal.ledger().0.release(call.as_str());
        self.running.remove(&call);
        let message = "the host failed while the call ran".to_owned();
        self.over(call, Outcome::HostError { message })
    }

    /// A question without a reply: what it has used is spent all the same.
    fn unanswered(
        &mut self,
        step: StepId,
        failure: ModelFailure,
        used: &Used,
    ) -> Result<(), Error> {
        self.journal.ledger().0.release(&step.to_string());
        self.late(Command::ModelReplied { step, reply: Err((failure, used.tokens())) })
    }

    /// Records how a call ended, with what it wrote to memory; or what it asks.
    async fn settle(
        &mut self,
        call: CallId,
        over: Over,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<(), Error> {
        let Over { mut result, policy, writes, state } = over;
        if let (Outcome::NeedsInput { question }, Some(state)) = (&result.outcome, state) {
            let question = question.clone();
            if let Err(why) = ringfence_catalog::check_question(&question.schema) {
                let message = format!("the tool's question is unusable: {why}");
                let outcome = call::failed(message);
                let result = Box::new(CallResult { outcome, ..result });
                let (memory, plan) = (vec![], None);
                return self.record(Command::Finished { call, result, memory, plan });
            }
            // The tool's own, kept for it and shown to nobody.
            let state = self.journal.blob(state);
            let (denials, usage) = (result.denials, Box::new(result.usage));
            let asked = Command::Asked { call: call.clone(), question, state, denials, usage };
            return match self.record(asked) {
                // The run is being ended: nobody will answer.
                Err(Error::Refused(Refused::NotNow { .. })) => self.over(call, Outcome::Cancelled),
                other => other,
            };
        }
        let mut full = None;
        let now = self.journal.now();
        let again = self.session().retries(&self.definition, now, &call, &result).is_some();
        if !writes.is_empty() && !again {
            let tool = self.session().tool_of(&call).cloned();
            let plan = plan::written(tool.as_ref(), &writes);
            let (writes, memory) = self.buckets()?.changes(writes);
            let result = Box::new(result.clone());
            let finished = Command::Finished { call: call.clone(), result, memory, plan };
            let limits = buckets::limits(&policy);
            let stored =
                self.journal.remember(&self.definition, finished, writes, limits, show).await;
            match stored {
                Err(Error::Store(ringfence_store::Error::MemoryFull { scope })) => {
                    full = Some(scope);
                }
                stored => return stored,
            }
        }
        if let Some(scope) = full {
            buckets::end_full(&policy, scope, &mut result);
        }
        let result = Box::new(result);
        self.record(Command::Finished { call, result, memory: vec![], plan: None })
    }

    fn over(&mut self, call: CallId, outcome: Outcome) -> Result<(), Error> {
        let result = CallResult { outcome, denials: vec![], usage: Usage::default() };
        let result = Box::new(result);
        self.record(Command::Finished { call, result, memory: vec![], plan: None })
    }

    pub(crate) fn read_inbox(&mut self) -> Result<(), Error> {
        for inboxed in self.journal.inbox()? {
            // A later version's command: not this one's to understand, and not to be lost.
            let Some(command) = InboxCommand::parse(&inboxed.command) else { continue };
            let before = command.trace().map(|trace| self.journal.follow_from(trace));
            let recorded = self.record(command.command());
            if let Some(before) = before {
                self.journal.follow_from(before);
            }
            match recorded {
                // Somebody else was faster, or it ended meanwhile: whoever said it was told what was
                // so then, and sees in the journal what came of it.
                Ok(()) | Err(Error::Refused(_)) => {}
                Err(error) => return Err(error),
            }
            self.journal.done(inboxed.id);
        }
        Ok(())
    }
}

/// A question that took the host with it.
fn panicked() -> ModelFailure {
    ModelFailure {
        class: ModelFailureClass::Host,
        message: "the host failed while the model was asked".to_owned(),
        retry_after_ms: None,
    }
}

/// How many tokens a request has, roughly.
fn estimated(request: &ModelRequest) -> u64 {
    estimated_tokens(request.bytes())
}

/// What speaks for a call when it is decided.
struct Yes {
    approval: Option<Arc<Approval>>,
    spent: Money,
}

/// What was intended before a crash is what may run after it: not another component, not another
/// effect, not under other grants.
fn same_as_intended(permit: &Permit, intent: &Intent) -> Result<(), NotRun> {
    let now = (permit.component(), permit.definitions(), permit.version(), permit.effect());
    if now == (intent.component, intent.definitions, intent.policy, intent.effect) {
        return Ok(());
    }
    let denial = refused(DenialCode::ChangedSince, &intent.tool, &intent.function);
    Err(NotRun::Denied(vec![denial]))
}

/// What a call of a session says, on its way to the driver.
struct Notes {
    call: CallId,
    notes: mpsc::UnboundedSender<(CallId, Note)>,
}

impl Sink for Notes {
    fn note(&self, note: Note) {
        // Nobody listens any more when the session is over; then the note has no place either.
        let _ = self.notes.send((self.call.clone(), note));
    }
}
