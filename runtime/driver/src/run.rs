//! Driving a session: one task that asks the machine what is to be done, starts what is not under
//! way, and tells the machine what came of it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use ringfence_agent::Place;
use ringfence_capability::fs::Scratch;
use ringfence_catalog::{model_name, resolve};
use ringfence_event::{
    CallId, CallLimits, CallResult, Digest, Event, FunctionName, FunctionSpec, Intent, ModelReply,
    Note, Outcome, Parameters, SessionId, StepId, Timestamp, ToolName, Usage,
};
use ringfence_model::ModelError;
use ringfence_policy::Permit;
use ringfence_sandbox::{Cancel, Sink};
use ringfence_session::{Command, Definition, Effect, Refused, RunLimits, RunStatus};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, JoinSet},
    time::{Instant, MissedTickBehavior},
};

use crate::{
    Agent, Caller, Error, Installed, Runtime,
    buckets::{self, CallBuckets},
    call::{self, NotRun, Over, no_such_function, run_permitted},
    entropy,
    journal::Journal,
    runtime::Inner,
    session::{InboxCommand, own},
    tool::Unusable,
};

/// How often the inbox is looked at and what is recorded is shown, while a run is under way: a
/// person who cancels from another terminal waits no longer than this.
const BEAT: Duration = Duration::from_millis(50);

/// What a run starts with.
#[derive(Clone, Debug)]
pub struct Input {
    /// What is said to the agent.
    pub text: String,
    /// The session to say it in; `None`: a new one.
    pub session: Option<SessionId>,
}

/// How a run ended, or what it waits for.
#[derive(Clone, Debug)]
pub struct RunEnded {
    /// Its session.
    pub session: SessionId,
    /// Where it stands.
    pub status: RunStatus,
    /// The final answer of a run that completed.
    pub answer: Option<String>,
    /// Why a run failed.
    pub failure: Option<String>,
    /// How many things its calls were refused, whole or in part.
    pub denials: usize,
}

impl Runtime {
    /// Says something to an agent and drives the run until it ends or waits for a person. `show`
    /// is given each event once it is durable. A run that an earlier process left unfinished in
    /// the session is brought to its end first.
    ///
    /// # Errors
    /// When the agent cannot be run here, the session does not take the input, or the host fails;
    /// what is recorded by then stays, and [`Runtime::run`] in the same session goes on from it.
    pub async fn run(
        &self,
        caller: &Caller,
        agent: &Agent,
        input: Input,
        cancel: &Cancel,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<RunEnded, Error> {
        let inner = &self.0;
        let definition = definition(inner, agent)?;
        if !inner.config.models.contains_key(&definition.model) {
            let (name, file) = (&definition.model, inner.config.file_name());
            let error = agent.definition.wrong(Place::Model, format!("there is no model `{name}`"));
            return Err(error.with_help(format!("[model.{name}] in {file} sets one up")).into());
        }
        inner.model(&definition.model)?;
        let store = inner.store()?.clone();
        let id = match &input.session {
            // A session that is not there, or somebody else's, is not claimed into being.
            Some(id) => own(&store, caller, id)?.id,
            None => SessionId::from_random(entropy::id()?),
        };
        let journal = Journal::open(store, &inner.config.home, caller, &id).await?;
        let (notes, heard) = mpsc::unbounded_channel();
        let mut driver = Driver {
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
            notes,
            scratch: inner.scratches.of_session(&caller.tenant, &id),
        };
        driver.drive(input, cancel, heard, show).await
    }
}

/// What the machine knows of the agent.
fn definition(inner: &Inner, agent: &Agent) -> Result<Definition, Error> {
    let mut functions = Vec::new();
    for (tool, listed) in &agent.definition.tools {
        let Some(entry) = inner.tools.entry(tool) else {
            let message = format!("there is no tool `{tool}`");
            let error = agent.definition.wrong(Place::Tool(listed), message);
            return Err(error.with_help("`ringfence tool add FOLDER` adds one").into());
        };
        if let ringfence_agent::FunctionList::Named(names) = &listed.functions
            && let Some(missing) = names.iter().find(|name| entry.function(name).is_none())
        {
            let message = format!("tool `{tool}` has no function `{missing}`");
            let names: Vec<&str> = entry.functions.iter().map(|f| f.name.as_str()).collect();
            let error = agent.definition.wrong(Place::Tool(listed), message);
            return Err(error.with_help(format!("it has {}", names.join(", "))).into());
        }
        for function in entry.functions.iter().filter(|f| listed.functions.contains(&f.name)) {
            functions.push(FunctionSpec {
                name: model_name(tool, &function.name),
                description: function.description.clone(),
                input_schema: function.input_schema.clone(),
            });
        }
    }
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    let limits = agent.definition.limits;
    Ok(Definition {
        name: agent.definition.name.clone(),
        digest: agent.digest(),
        instructions: agent.instructions.clone(),
        functions,
        model: agent.definition.model.clone(),
        parameters: Parameters::default(),
        limits: RunLimits {
            steps: limits.steps,
            calls: limits.calls,
            tokens: limits.tokens,
            fuel: limits.fuel,
            time_ms: limits.time_ms,
            concurrent_calls: limits.concurrent_calls,
        },
    })
}

/// What a task of the driver comes back with.
enum Done {
    Reply(StepId, Result<ModelReply, ModelError>),
    Call(CallId, Box<Over>),
    Loaded(ToolName, Result<(), Unusable>),
}

/// One session under way.
struct Driver<'a> {
    inner: &'a Arc<Inner>,
    caller: &'a Caller,
    agent: &'a Agent,
    definition: Definition,
    journal: Journal,
    tasks: JoinSet<Done>,
    asking: Option<(StepId, AbortHandle)>,
    /// The calls that run, and the tasks they run in.
    running: HashMap<CallId, (Cancel, tokio::task::Id)>,
    /// The tools that are on their way: compiling one may take long, and the run is to be cancelled
    /// and to end at its time meanwhile.
    loading: HashSet<ToolName>,
    /// What came of those that did not arrive, until somebody is told.
    unusable: HashMap<ToolName, Unusable>,
    /// What was decided and has not started yet.
    permits: HashMap<CallId, (Arc<Installed>, Permit)>,
    notes: mpsc::UnboundedSender<(CallId, Note)>,
    scratch: Arc<Scratch>,
}

impl Driver<'_> {
    async fn drive(
        &mut self,
        input: Input,
        cancel: &Cancel,
        mut notes: mpsc::UnboundedReceiver<(CallId, Note)>,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<RunEnded, Error> {
        if self.journal.session().agent().is_none() {
            let (agent, agent_digest) = (self.definition.name.clone(), self.definition.digest);
            self.record(Command::Create { agent, agent_digest })?;
        }
        let mut said = self.journal.session().run().is_none();
        if said {
            self.record(Command::Input { text: input.text.clone() })?;
        } else {
            self.record(Command::Recover)?;
            // Cancelled while nobody drove it: then nothing of it starts again.
            self.read_inbox()?;
        }
        let mut beat = tokio::time::interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cancelled = false;
        loop {
            self.start(show).await?;
            let open = self.journal.session().run().map(ringfence_session::Run::status);
            match open {
                // Whoever cancels means what is still to come too.
                None if !said && cancelled => break,
                None if !said => {
                    // The run that an earlier process left is over; now to what was said.
                    said = true;
                    self.record(Command::Input { text: input.text.clone() })?;
                    continue;
                }
                None | Some(RunStatus::Waiting) => break,
                Some(_) => {}
            }
            let deadline = self.journal.session().deadline(&self.definition);
            tokio::select! {
                Some(done) = self.tasks.join_next_with_id() => self.finished(done, show).await?,
                Some((call, note)) = notes.recv() => self.late(Command::Noted { call, note })?,
                () = cancel.requested(), if !cancelled => {
                    cancelled = true;
                    self.late(Command::Cancel)?;
                }
                () = until(deadline), if deadline.is_some() => self.late(Command::TimeUp)?,
                _ = beat.tick() => {
                    self.read_inbox()?;
                    self.journal.save(show).await?;
                }
            }
            // What was said before a call ended stands before its end.
            while let Ok((call, note)) = notes.try_recv() {
                self.late(Command::Noted { call, note })?;
            }
        }
        self.tasks.shutdown().await;
        self.journal.save(show).await?;
        Ok(self.ended())
    }

    fn ended(&self) -> RunEnded {
        let session = self.journal.session();
        let run = session.runs().last();
        RunEnded {
            session: session.id().clone(),
            // A run was recorded above, so there is one.
            status: run.map_or(RunStatus::Failed, |run| run.status()),
            answer: run.and_then(|run| run.answer()).map(str::to_owned),
            failure: run.and_then(|run| run.failure()).map(str::to_owned),
            denials: run.map_or(0, |run| {
                run.calls()
                    .filter_map(|call| call.result())
                    .map(|result| result.denials.len())
                    .sum()
            }),
        }
    }

    fn record(&mut self, command: Command) -> Result<(), Error> {
        self.journal.record(&self.definition, command)
    }

    /// Records what may have come too late: then nothing is to be recorded.
    fn late(&mut self, command: Command) -> Result<(), Error> {
        match self.record(command) {
            Err(Error::Refused(Refused::NotNow { .. } | Refused::NoRun)) => Ok(()),
            other => other,
        }
    }

    /// Starts everything that should be under way and is not.
    async fn start(&mut self, show: &mut (dyn FnMut(&Event) + Send)) -> Result<(), Error> {
        loop {
            let pending = self.journal.session().pending(&self.definition);
            let asking = pending.iter().find_map(|effect| match effect {
                Effect::AskModel { step, .. } => Some(*step),
                _ => None,
            });
            if let Some((step, task)) = &self.asking
                && asking != Some(*step)
            {
                task.abort();
                self.asking = None;
            }
            let mut changed = false;
            for effect in pending {
                changed = match effect {
                    Effect::AskModel { step, request } if self.asking.is_none() => {
                        let (digest, parts) = (request.digest(), request.parts());
                        self.record(Command::ModelRequested { step, request: digest, parts })?;
                        // Nothing is sent to a vendor before what it follows from is durable.
                        self.journal.save(show).await?;
                        let model = self.inner.model(&self.definition.model)?;
                        let task = self.tasks.spawn(async move {
                            Done::Reply(step, model.complete(&request).await)
                        });
                        self.asking = Some((step, task));
                        true
                    }
                    Effect::AskModel { .. } => false,
                    // Calls are decided in their order, whatever tool is there first.
                    Effect::Check { .. } if !self.loading.is_empty() => false,
                    Effect::Check { call, function, arguments, fuel_left } => {
                        self.check(call, &function, &arguments, fuel_left)?
                    }
                    Effect::Run { call, intent, arguments } => {
                        self.run_call(call, intent, arguments, show).await?
                    }
                    Effect::Stop { call } => {
                        if let Some((cancel, _)) = self.running.get(&call) {
                            cancel.cancel();
                        }
                        false
                    }
                };
                if changed {
                    break;
                }
            }
            if !changed {
                return Ok(());
            }
        }
    }

    /// Decides a proposed call. Says whether anything came of it.
    fn check(
        &mut self,
        call: CallId,
        name: &str,
        arguments: &str,
        fuel: u64,
    ) -> Result<bool, Error> {
        let session = self.journal.session().id().clone();
        let Some(decided) = self.decide(name, arguments, fuel) else { return Ok(false) };
        let command = match decided {
            Err(NotRun::Denied(denials)) => Command::Denied { call, denials },
            Err(NotRun::Invalid(failure)) => Command::Invalid { call, failure },
            Err(NotRun::Broken(message)) => {
                return self.over(call, Outcome::HostError { message }).map(|()| true);
            }
            Ok((installed, permit)) => {
                let arguments = Digest::of(arguments.as_bytes());
                let key = ringfence_event::IdempotencyKey::derive(&session, &call, &arguments);
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
    fn decide(
        &mut self,
        name: &str,
        arguments: &str,
        fuel: u64,
    ) -> Option<Result<(Arc<Installed>, Permit), NotRun>> {
        let Some((tool, function)) = resolve(name) else {
            return Some(Err(NotRun::Denied(vec![no_such_function(name)])));
        };
        let found = self.find(&tool)?;
        Some(self.decide_found(found, name, (&tool, &function), arguments, fuel))
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
            self.tasks.spawn(async move {
                let loaded = inner.tool(&tool).await.map(drop);
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
    ) -> Result<(Arc<Installed>, Permit), NotRun> {
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
        let left = CallLimits { fuel, ..CallLimits::UNBOUNDED };
        let permit =
            call::decide(self.inner, self.caller, &installed, function, arguments, Some(&left))?;
        Ok((installed, permit))
    }

    /// Starts a call that was decided. After a restart it is decided again: a permit is never
    /// loaded. Says whether anything came of it.
    async fn run_call(
        &mut self,
        call: CallId,
        intent: Arc<Intent>,
        arguments: Arc<str>,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<bool, Error> {
        let decided = match self.permits.remove(&call) {
            Some(decided) => Ok(decided),
            None => {
                let name = model_name(&intent.tool, &intent.function);
                let Some(decided) = self.decide(&name, &arguments, intent.limits.fuel) else {
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
            Err(NotRun::Invalid(failure)) => {
                self.record(Command::Started { call: call.clone() })?;
                return self.over(call, Outcome::Invalid { failure }).map(|()| true);
            }
            Err(NotRun::Broken(message)) => {
                return self.over(call, Outcome::HostError { message }).map(|()| true);
            }
        };
        self.record(Command::Started { call: call.clone() })?;
        if intent.effect.needs_durable_intent() {
            // A crash must find what may not be repeated, or only with the same key.
            self.journal.save(show).await?;
        }
        let cancel = Cancel::new();
        let session = self.journal.session().id().clone();
        let agent = Some(&self.definition.name);
        let store = self.inner.store()?.clone();
        let buckets = CallBuckets::new(store, self.caller, session.as_str(), agent);
        let sink = Arc::new(Notes { call: call.clone(), notes: self.notes.clone() });
        let (inner, scratch) = (self.inner.clone(), self.scratch.clone());
        let (id, of_call) = (call.clone(), cancel.clone());
        let task = self.tasks.spawn(async move {
            let over = run_permitted(
                &inner, &installed, permit, &id, &intent, &arguments, &buckets, &scratch, &of_call,
                sink,
            );
            let over = Box::new(over.await);
            Done::Call(id, over)
        });
        self.running.insert(call, (cancel, task.id()));
        Ok(true)
    }

    async fn finished(
        &mut self,
        done: Result<(tokio::task::Id, Done), tokio::task::JoinError>,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<(), Error> {
        match done {
            Ok((_, Done::Reply(step, reply))) => {
                // A question that was called off may have been answered all the same.
                if self.asking.as_ref().is_some_and(|(asked, _)| *asked == step) {
                    self.asking = None;
                }
                let reply = reply.map_err(|error| error.to_string());
                self.late(Command::ModelReplied { step, reply })
            }
            Ok((_, Done::Loaded(tool, loaded))) => {
                self.loading.remove(&tool);
                if let Err(unusable) = loaded {
                    self.unusable.insert(tool, unusable);
                }
                Ok(())
            }
            Ok((_, Done::Call(call, over))) => {
                self.running.remove(&call);
                self.settle(call, *over, show).await
            }
            // A question that was called off; or the host panicked around a call, which costs the
            // call and not the session.
            Err(error) => {
                let lost = self.running.iter().find(|(_, (_, task))| *task == error.id());
                match lost.map(|(call, _)| call.clone()) {
                    None => self.question_lost(&error),
                    Some(call) => {
                        self.running.remove(&call);
                        let message = "the host failed while the call ran".to_owned();
                        self.over(call, Outcome::HostError { message })
                    }
                }
            }
        }
    }

    /// A question that was called off is over; one that took the host with it has no reply.
    fn question_lost(&mut self, error: &tokio::task::JoinError) -> Result<(), Error> {
        match self.asking.take_if(|(_, task)| task.id() == error.id()) {
            Some((step, _)) if error.is_panic() => {
                let reply = Err("the host failed while the model was asked".to_owned());
                self.late(Command::ModelReplied { step, reply })
            }
            _ => Ok(()),
        }
    }

    /// Records how a call ended, with what it wrote to memory.
    async fn settle(
        &mut self,
        call: CallId,
        over: Over,
        show: &mut (dyn FnMut(&Event) + Send),
    ) -> Result<(), Error> {
        let Over { mut result, policy, writes } = over;
        if !writes.is_empty() {
            let session = self.journal.session().id().clone();
            let store = self.inner.store()?.clone();
            let agent = Some(&self.definition.name);
            let buckets = CallBuckets::new(store, self.caller, session.as_str(), agent);
            let (writes, memory) = buckets.changes(writes);
            let finished =
                Command::Finished { call: call.clone(), result: Box::new(result.clone()), memory };
            let limits = buckets::limits(&policy);
            let stored =
                self.journal.remember(&self.definition, finished, writes, limits, show).await;
            match stored {
                Err(Error::Store(ringfence_store::Error::MemoryFull { scope })) => {
                    buckets::end_full(&policy, scope, &mut result);
                }
                stored => return stored,
            }
        }
        self.record(Command::Finished { call, result: Box::new(result), memory: vec![] })
    }

    fn over(&mut self, call: CallId, outcome: Outcome) -> Result<(), Error> {
        let result = CallResult { outcome, denials: vec![], usage: Usage::default() };
        self.record(Command::Finished { call, result: Box::new(result), memory: vec![] })
    }

    fn read_inbox(&mut self) -> Result<(), Error> {
        for inboxed in self.journal.inbox()? {
            match InboxCommand::parse(&inboxed.command) {
                Some(InboxCommand::Cancel { run }) => {
                    if self.journal.session().run().is_some_and(|open| open.id() == run) {
                        self.late(Command::Cancel)?;
                    }
                }
                // A later version's command: not this one's to understand, and not to be lost.
                None => continue,
            }
            self.journal.done(inboxed.id);
        }
        Ok(())
    }
}

/// What was intended before a crash is what may run after it: not another component, not another
/// effect, not under other grants.
fn same_as_intended(permit: &Permit, intent: &Intent) -> Result<(), NotRun> {
    let now = (permit.component(), permit.definitions(), permit.version(), permit.effect());
    if now == (intent.component, intent.definitions, intent.policy, intent.effect) {
        return Ok(());
    }
    let asked = ringfence_event::Asked::Function {
        tool: Some(intent.tool.clone()),
        function: Some(intent.function.clone()),
        name: model_name(&intent.tool, &intent.function),
    };
    let code = ringfence_event::DenialCode::ChangedSince;
    Err(NotRun::Denied(vec![ringfence_event::Denial::new(code, asked, vec![])]))
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

/// Waits for a point in time.
async fn until(deadline: Option<Timestamp>) {
    let Some(deadline) = deadline else { return };
    let left = Duration::from_millis(deadline.0.saturating_sub(entropy::now().0));
    tokio::time::sleep_until(Instant::now() + left).await;
}
