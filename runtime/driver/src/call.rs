//! A direct call: one function, without a session and without a model.

use std::{path::PathBuf, sync::Arc};

use ringfence_capability::fs::Scratch;
use ringfence_catalog::{ToolFolder, model_name};
use ringfence_event::{
    Asked, Body, CallId, CallLimits, CallResult, Denial, DenialCode, Digest, FileOwner,
    FunctionName, Hold, IdempotencyKey, Intent, Limit, ModelFailure, Money, Outcome, Remedy, Scope,
    Stream, TenantId, Timestamp, TokenUsage, ToolName, TraceContext, Usage,
};
use ringfence_model::ModelError;
use ringfence_policy::{Approval as Approved, CallRequest, Decision, Held, Permit, ToolPolicy};
use ringfence_sandbox::{Answer, Call, Cancel, Sink};
use ringfence_session::{Approval, Totals};
use ringfence_store::{Append, Batch, BudgetChange, MemoryLimits, MemoryWrite, NewEvent};

use crate::{
    Agent, Caller, Error, Installed, Refusal, Runtime,
    admit::{Entry, Phase, Slot},
    buckets::{self, CallBuckets},
    budget::{self, Amounts, Ledger, Reserved},
    entropy, redact, revoke,
    root::register_flags,
    runtime::Inner,
    tool::Unusable,
};

/// Which tool to call.
#[derive(Clone, Debug)]
pub enum ToolRef {
    /// One that is in the lock file.
    Accepted(ToolName),
    /// A folder or a component, as it lies there: accepted for this process only.
    Local(PathBuf),
}

/// A direct call.
#[derive(Clone, Debug)]
pub struct DirectCall {
    /// The tool.
    pub tool: ToolRef,
    /// The function; `None` where the tool has but one.
    pub function: Option<FunctionName>,
    /// The arguments, one JSON object.
    pub arguments: String,
    /// The idempotency key; `None`: the call's id, and no other call is the same.
    pub key: Option<IdempotencyKey>,
    /// The trace that whoever calls is in; `None`: one of its own begins.
    pub trace: Option<TraceContext>,
}

impl Runtime {
    /// Makes a direct call. It draws on nothing but its own limits; what happens is recorded in the
    /// tenant's stream. For `pure` and `read` functions the answer does not wait for the record;
    /// [`Runtime::flush`] does.
    ///
    /// Said again under the same key by the same user while it is under way, it is the same call: all who
    /// said it learn how it ended, and whoever cancels it cancels it for all. It is ended when the last of
    /// them goes away. Said again after its end it is made again, with the same key for its tool.
    ///
    /// # Errors
    /// When there is no such tool or function, or the host fails before the call begins; and
    /// [`Error::Lost`] when it began, and its end could not be recorded.
    pub async fn call(
        &self,
        caller: &Caller,
        call: DirectCall,
        cancel: &Cancel,
        sink: Arc<dyn Sink>,
    ) -> Result<CallResult, Error> {
        self.call_before(caller, call, None, cancel, sink).await
    }

    /// The same, for somebody who waits for it until `not_after`: if it has not begun by then, it does
    /// not begin.
    ///
    /// # Errors
    /// As for [`call`](Self::call), and [`Refusal::Late`](crate::Refusal::Late) when it has not begun.
    pub async fn call_before(
        &self,
        caller: &Caller,
        call: DirectCall,
        not_after: Option<Timestamp>,
        cancel: &Cancel,
        sink: Arc<dyn Sink>,
    ) -> Result<CallResult, Error> {
        match call.key.clone() {
            Some(key) => self.call_once(caller, key, call, not_after, cancel, sink).await,
            None => self.call_now(caller, call, not_after, cancel, sink).await,
        }
    }

    /// Makes a direct call, whatever others are under way.
    pub(crate) async fn call_now(
        &self,
        caller: &Caller,
        call: DirectCall,
        not_after: Option<Timestamp>,
        cancel: &Cancel,
        sink: Arc<dyn Sink>,
    ) -> Result<CallResult, Error> {
        let entry = self.0.enter(&caller.tenant, not_after)?;
        let id = CallId::direct(entropy::id()?);
        let scratch = self.0.scratches.of_call(&caller.tenant, &id);
        let entered = Entered { entry, id, not_after };
        let result = self.call_as(entered, &scratch, caller, call, cancel, sink).await;
        if scratch.is_open() {
            // The call is over and told as it was. What is left here is removed at the next start.
            let _ = tokio::task::spawn_blocking(move || scratch.remove()).await;
        }
        result
    }

    async fn call_as(
        &self,
        entered: Entered,
        scratch: &Arc<Scratch>,
        caller: &Caller,
        call: DirectCall,
        cancel: &Cancel,
        sink: Arc<dyn Sink>,
    ) -> Result<CallResult, Error> {
        let inner = &*self.0;
        let Entered { entry, id, not_after } = entered;
        let current = inner.current();
        register_flags(&inner.host, &current, &caller.tenant)?;
        let installed = self.find_for(&entry, caller, &call.tool).await?;
        let function = pick(&installed, call.function.as_ref())?;
        let key = call.key.unwrap_or_else(|| IdempotencyKey(id.to_string()));
        let mut record = Record::new(inner, caller, call.trace)?;
        record.add(Body::CallProposed {
            call: id.clone(),
            function: model_name(&installed.manifest.name, &function.name),
            arguments: call.arguments.clone(),
        });
        let (store, now) = (inner.store()?, inner.config.clock.now());
        let budget = current.grants.tenant_budget(&caller.tenant);
        let mut ledger = Ledger::new(&caller.tenant, id.as_str(), budget, Totals::default());
        budget::admit(inner, caller)?;
        let fuel = ledger.left(store, Limit::Fuel, now)?;
        let left = CallLimits { fuel, ..CallLimits::UNBOUNDED };
        let context = Context { limits: Some(&left), now, ..Context::default() };
        let (permit, slot) = loop {
            let decided =
                decide(inner, caller, &installed, &function.name, &call.arguments, &context);
            let waited = match decided {
                Ok(permit) => {
                    let waited = turn(&entry, &permit, not_after, cancel).await?;
                    waited.map(|slot| (permit, slot)).map_err(|end| ended_before(id.clone(), end))
                }
                Err(not_run) => Err(not_run.of(id.clone())),
            };
            match waited {
                // Decided anew if the operator's file was read again while it waited.
                Ok((permit, _))
                    if inner.policy(&caller.tenant, &installed).version() != permit.version() => {}
                Ok(turn) => break turn,
                Err((body, result)) => {
                    record.add(body);
                    record.later().await?;
                    return Ok(result);
                }
            }
        };
        let amounts = Amounts::from([(Limit::Calls, 1), (Limit::Fuel, permit.limits().fuel)]);
        match ledger.reserve(store, id.as_str(), amounts, now).await? {
            Reserved::Done => {}
            // Whoever asked is not kept waiting for others.
            Reserved::Later(stopped) | Reserved::Spent(stopped) => {
                return Err(stopped.error(inner, caller));
            }
        }
        let intent = intent(inner, &installed, &permit, key)?;
        let durable = permit.effect().needs_durable_intent();
        record.add(Body::CallIntended { call: id.clone(), intent: Box::new(intent.clone()) });
        record.add(Body::CallStarted { call: id.clone() });
        if durable {
            record.now().await?;
        }
        let memory = CallBuckets::new(inner.store()?.clone(), caller, id.as_str(), None);
        let ended = run_permitted(
            inner,
            &installed,
            permit,
            &id,
            &intent,
            &call.arguments,
            None,
            &memory,
            scratch,
            cancel,
            sink,
        )
        .await;
        drop(slot);
        ledger.release(id.as_str());
        let totals =
            Totals { calls: 1, fuel: ended.result.usage.fuel_total(), ..Totals::default() };
        record.budgets = ledger.settlement(&totals, inner.config.clock.now());
        // A direct call's session ends with it, and what it wrote there.
        let mut kept = ended.writes;
        kept.retain(|(scope, _), _| *scope != Scope::Session);
        let mut result = ended.result;
        let finished = |result: &CallResult| Body::CallFinished {
            call: id.clone(),
            result: Box::new(result.clone()),
        };
        if !kept.is_empty() {
            let (writes, changes) = memory.changes(kept);
            let before = record.events.clone();
            for change in changes {
                let (scope, key, bytes) = (change.scope, change.key, change.bytes);
                record.add(Body::MemoryWritten { call: id.clone(), scope, key, bytes });
            }
            record.add(finished(&result));
            let policy = ended.policy;
            match record.remember(writes, buckets::limits(&policy)).await {
                Err(Error::Store(ringfence_store::Error::MemoryFull { scope })) => {
                    buckets::end_full(&policy, scope, &mut result);
                    record.events = before;
                }
                stored => return stored.map(|()| result).map_err(Error::lost),
            }
        }
        record.add(finished(&result));
        let stored = if durable { record.now().await } else { record.later().await };
        stored.map(|()| result).map_err(Error::lost)
    }

    /// A tool that can be called. While it is on its way this work counts among what waits.
    async fn find_for(
        &self,
        entry: &Entry,
        caller: &Caller,
        tool: &ToolRef,
    ) -> Result<Arc<Installed>, Error> {
        let loaded = match tool {
            ToolRef::Local(_) => None,
            ToolRef::Accepted(name) => self.0.tools.loaded(name),
        };
        if let Some(installed) = loaded {
            return Ok(installed);
        }
        let _queued = entry.queue_to_load()?;
        let mut ending = self.0.admit.ending();
        tokio::select! {
            biased;
            _ = ending.beyond(Phase::Draining) => Err(Refusal::Draining.into()),
            found = self.find(&caller.tenant, tool) => found,
        }
    }

    /// A tool that can be called.
    pub(crate) async fn find(
        &self,
        tenant: &TenantId,
        tool: &ToolRef,
    ) -> Result<Arc<Installed>, Error> {
        match tool {
            ToolRef::Local(path) => {
                let folder = ToolFolder::load(path)?;
                let manifest = match folder.manifest_text.is_empty() {
                    true => self.0.current().grants.bare_manifest(folder.manifest.name.clone()),
                    false => folder.manifest.clone(),
                };
                let source = path.display().to_string();
                let admit = (&*self.0.admit, &self.0.admit.tenant(tenant));
                let installed =
                    Installed::load(&self.0.engine, admit, folder, manifest, &source).await?;
                Ok(Arc::new(installed))
            }
            ToolRef::Accepted(name) => {
                self.0.tool(tenant, name).await.map_err(|unusable| match unusable {
                    Unusable::NotInstalled => Error::input(format!(
                        "there is no tool `{name}`: `ringfence tool add FOLDER` adds one"
                    )),
                    Unusable::Changed(difference) => Error::Changed(difference),
                    Unusable::Broken(error) => error,
                })
            }
        }
    }
}

/// A direct call that was taken.
struct Entered {
    entry: Entry,
    id: CallId,
    not_after: Option<Timestamp>,
}

/// The turn of a call that was decided. What it waits counts as its own time; how it ends if that is
/// over, or somebody cancels, is told.
async fn turn(
    entry: &Entry,
    permit: &Permit,
    not_after: Option<Timestamp>,
    cancel: &Cancel,
) -> Result<Result<Slot, Outcome>, Error> {
    let bytes = permit.limits().memory;
    if let Some(slot) = entry.call_now(bytes) {
        return Ok(Ok(slot));
    }
    Ok(tokio::select! {
        biased;
        () = cancel.requested() => Err(Outcome::Cancelled),
        slot = entry.call(bytes, not_after) => Ok(slot?),
        () = tokio::time::sleep(permit.limits().time()) => {
            Err(Outcome::LimitReached { limit: Limit::Time })
        }
    })
}

/// A call that ended while it waited for its turn.
fn ended_before(call: CallId, outcome: Outcome) -> (Body, CallResult) {
    let result = CallResult { outcome, denials: vec![], usage: Usage::default() };
    (Body::CallFinished { call, result: Box::new(result.clone()) }, result)
}

fn pick<'a>(
    installed: &'a Installed,
    name: Option<&FunctionName>,
) -> Result<&'a ringfence_catalog::Function, Error> {
    let functions = &installed.entry.functions;
    let found = match (name, &functions[..]) {
        (Some(name), _) => installed.entry.function(name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    found.ok_or_else(|| {
        let names: Vec<&str> = functions.iter().map(|function| function.name.as_str()).collect();
        let tool = &installed.manifest.name;
        let problem = match name {
            Some(name) => format!("tool `{tool}` has no function `{name}`"),
            None => format!("which function of tool `{tool}`?"),
        };
        Error::input(format!("{problem}; it has {}", names.join(", ")))
    })
}

/// What a call is decided in, beside who asks and what is installed.
#[derive(Default)]
pub(crate) struct Context<'a> {
    /// What is left above the call.
    pub(crate) limits: Option<&'a CallLimits>,
    /// The agent, whose rules apply too.
    pub(crate) agent: Option<&'a Agent>,
    /// A person's yes, if there is one.
    pub(crate) approval: Option<&'a Approval>,
    /// What the run has cost so far.
    pub(crate) spent: Money,
    /// What time it is.
    pub(crate) now: Timestamp,
}

/// Why a call does not run.
pub(crate) enum NotRun {
    /// A person must say yes first.
    Held(Box<Hold>),
    /// Refused whole.
    Denied(Vec<Denial>),
    /// The arguments do not fit.
    Invalid(ringfence_event::Failure),
    /// The tool was accepted and cannot be loaded: the host's to mend.
    Broken(String),
}

impl NotRun {
    fn of(self, call: CallId) -> (Body, CallResult) {
        let usage = Usage::default();
        match self {
            Self::Denied(denials) => {
                let result =
                    CallResult { outcome: Outcome::Denied, denials: denials.clone(), usage };
                (Body::CallDenied { call, denials }, result)
            }
            // A direct call belongs to no session, so it cannot wait for a person.
            Self::Held(hold) => {
                let Hold { rules, binding, .. } = *hold;
                let asked = asked(&binding.tool, &binding.function);
                Self::Denied(vec![Denial::new(DenialCode::NeedsApproval, asked, rules)]).of(call)
            }
            Self::Invalid(failure) => {
                let outcome = Outcome::Invalid { failure: failure.clone() };
                (
                    Body::CallInvalid { call, failure },
                    CallResult { outcome, denials: vec![], usage },
                )
            }
            Self::Broken(message) => {
                let outcome = Outcome::HostError { message };
                let result = CallResult { outcome, denials: vec![], usage };
                (Body::CallFinished { call, result: Box::new(result.clone()) }, result)
            }
        }
    }
}

/// Policy, then the schema: who may not call a function learns nothing of its arguments.
pub(crate) fn decide(
    inner: &Inner,
    caller: &Caller,
    installed: &Installed,
    name: &FunctionName,
    arguments: &str,
    context: &Context<'_>,
) -> Result<Permit, NotRun> {
    let policy = inner.policy(&caller.tenant, installed);
    let decision = policy.decide(&CallRequest {
        user: &caller.user,
        function: name,
        arguments: Digest::of(arguments.as_bytes()),
        arguments_text: arguments,
        limits: context.limits,
        rules: context.agent.map(|agent| &agent.definition.holds),
        spent: context.spent,
        // A yes for the session is recorded with each call that it is taken for.
        approval: context.approval.map(|yes| Approved::Call(&yes.hold.binding)),
    });
    let (permit, held) = match decision {
        Decision::Permit(permit) => (permit, None),
        Decision::Hold(permit, held) => (permit, Some(held)),
        Decision::Denial(denial) => return Err(NotRun::Denied(vec![denial])),
    };
    match installed.entry.function(name).map(|function| function.check_arguments(arguments)) {
        Some(Ok(_)) => {}
        Some(Err(failure)) => return Err(NotRun::Invalid(failure)),
        None => {
            let name = model_name(&installed.manifest.name, name);
            return Err(NotRun::Denied(vec![no_such_function(&name)]));
        }
    }
    // Nobody is asked about what cannot run.
    match held {
        None => Ok(permit),
        Some(held) => Err(NotRun::Held(Box::new(held_by(*held, context)))),
    }
}

/// A hold as it is recorded: with the time at which it ends.
fn held_by(held: Held, context: &Context<'_>) -> Hold {
    let expires = held.expires_ms.map(|ms| Timestamp(context.now.0.saturating_add(ms)));
    Hold {
        rules: held.rules,
        binding: held.binding,
        expires,
        on_expiry: held.on_expiry,
        scope: held.scope,
    }
}

/// Why a model did not reply, as the machine is told it.
pub(crate) fn model_failure(error: ModelError) -> (ModelFailure, TokenUsage) {
    (error.failure, error.tokens)
}

fn asked(tool: &ToolName, function: &FunctionName) -> Asked {
    Asked::Function {
        tool: Some(tool.clone()),
        function: Some(function.clone()),
        name: model_name(tool, function),
    }
}

/// The denial of a function that no line allows as things stand.
pub(crate) fn refused(code: DenialCode, tool: &ToolName, function: &FunctionName) -> Denial {
    Denial::new(code, asked(tool, function), vec![])
}

/// The denial of a function that nobody has.
pub(crate) fn no_such_function(name: &str) -> Denial {
    let resolved = ringfence_catalog::resolve(name);
    let (tool, function) = resolved.unzip();
    let remedies = tool.as_ref().map(|tool| Remedy {
        owner: FileOwner::Operator,
        file: ringfence_catalog::LOCK_FILE.to_owned(),
        line: None,
        table: format!("[tool.{tool}]"),
        allow: "ringfence tool add FOLDER".to_owned(),
    });
    let asked = Asked::Function { tool, function, name: name.to_owned() };
    Denial::new(DenialCode::NoSuchFunction, asked, remedies.into_iter().collect())
}

/// What is recorded before a call runs.
pub(crate) fn intent(
    inner: &Inner,
    installed: &Installed,
    permit: &Permit,
    key: IdempotencyKey,
) -> Result<Intent, Error> {
    Ok(Intent {
        tool: permit.tool().clone(),
        function: permit.function().clone(),
        effect: permit.effect(),
        arguments: permit.arguments(),
        key,
        component: installed.entry.component,
        definitions: installed.entry.definitions,
        policy: permit.version(),
        engine: inner.engine.settings(),
        limits: *permit.limits(),
        seed: entropy::seed()?,
        start: inner.config.clock.now(),
    })
}

/// A call that is over, and what it wrote.
pub(crate) struct Over {
    pub(crate) result: CallResult,
    pub(crate) policy: ToolPolicy,
    pub(crate) writes: ringfence_capability::memory::Writes,
    /// With a question: what the tool wants back with the answer.
    pub(crate) state: Option<Vec<u8>>,
}

/// Opens a permit and runs the call. A root that cannot be opened is the host's failure, not the
/// caller's.
#[expect(clippy::too_many_arguments, reason = "everything that makes a call, once")]
pub(crate) async fn run_permitted(
    inner: &Inner,
    installed: &Arc<Installed>,
    permit: Permit,
    id: &CallId,
    intent: &Intent,
    arguments: &str,
    answer: Option<Answer>,
    buckets: &CallBuckets,
    scratch: &Arc<Scratch>,
    cancel: &Cancel,
    sink: Arc<dyn Sink>,
) -> Over {
    let mut policy = inner.policy(permit.tenant(), installed);
    let over = |policy: &ToolPolicy, outcome, denials| {
        let result = CallResult { outcome, denials, usage: Usage::default() };
        Over { result, policy: policy.clone(), writes: Default::default(), state: None }
    };
    let (tenant, user) = (permit.tenant().clone(), permit.user().clone());
    let revoked =
        |is_taken| revoke::denials(inner, installed, (&tenant, &user), &intent.function, is_taken);
    let by = revoke::Basis {
        tenant: tenant.clone(),
        installed: installed.clone(),
        function: intent.function.clone(),
        policy: policy.clone(),
    };
    let Some(running) = inner.calls.begin(&tenant, permit.tool(), by, cancel) else {
        return over(&policy, Outcome::Denied, revoked(false));
    };
    // Asked after it is known to run: whoever reads the operator's file again either finds it there, or
    // has read it by now.
    policy = inner.policy(&tenant, installed);
    if policy.version() != permit.version() {
        return over(&policy, Outcome::Denied, revoked(true));
    }
    let cancel = running.cancel();
    let host = inner.host.with_scratch(scratch.clone());
    let opening = host.open_away(permit, intent.start, intent.seed, Arc::new(buckets.clone()));
    let opened = tokio::select! {
        biased;
        opened = opening => opened.map_err(|error| {
            Outcome::HostError { message: format!("{error}: {}", error.source) }
        }),
        () = cancel.requested() => Err(Outcome::Cancelled),
        () = tokio::time::sleep(intent.limits.time()) => {
            Err(Outcome::LimitReached { limit: Limit::Time })
        }
    };
    let opened = match opened {
        Ok(opened) => opened,
        Err(outcome) => {
            let denials = match outcome {
                Outcome::Cancelled => revoked(running.is_taken()),
                _ => vec![],
            };
            return over(&policy, outcome, denials);
        }
    };
    let call = Call {
        id: id.clone(),
        key: intent.key.clone(),
        function: intent.function.clone(),
        arguments: arguments.to_owned(),
        start: intent.start,
        answer,
    };
    let redactor = opened.redactor().clone();
    let sink = Arc::new(redact::Redacting { redactor: redactor.clone(), sink });
    let mut ended = installed.tool.run(opened, call, cancel, sink).await;
    redact::ended(&redactor, &mut ended);
    check_structured(installed, &intent.function, &mut ended.outcome);
    if ended.outcome == Outcome::Cancelled {
        ended.denials.extend(revoked(running.is_taken()));
    }
    let result = CallResult { outcome: ended.outcome, denials: ended.denials, usage: ended.usage };
    Over { result, policy, writes: ended.writes, state: ended.state }
}

/// A tool that promises a schema is held to it.
fn check_structured(installed: &Installed, function: &FunctionName, outcome: &mut Outcome) {
    let Outcome::Succeeded { output } = outcome else { return };
    let Some(function) = installed.entry.function(function) else { return };
    if let Err(message) = function.check_structured(output.structured.as_ref()) {
        *outcome = failed(format!("the tool's output does not fit its own schema: {message}"));
    }
}

/// A call whose tool did not do its part.
pub(crate) fn failed(message: String) -> Outcome {
    Outcome::Failed {
        failure: ringfence_event::Failure {
            kind: ringfence_event::FailureKind::Failed,
            message,
            path: None,
            retry_after_ms: None,
        },
    }
}

/// The events of a direct call on their way into the tenant's stream.
struct Record<'a> {
    inner: &'a Inner,
    caller: &'a Caller,
    trace: TraceContext,
    events: Vec<NewEvent>,
    /// What the tenant's budgets are told with the last of them.
    budgets: Vec<BudgetChange>,
}

impl<'a> Record<'a> {
    fn new(
        inner: &'a Inner,
        caller: &'a Caller,
        trace: Option<TraceContext>,
    ) -> Result<Self, Error> {
        let trace = trace.map_or_else(entropy::trace, Ok)?;
        Ok(Self { inner, caller, trace, events: vec![], budgets: vec![] })
    }

    fn add(&mut self, body: Body) {
        let trace = Some(self.trace.to_string());
        self.events.push(NewEvent { at: self.inner.config.clock.now(), body, cause: None, trace });
    }

    fn batch(&mut self) -> Batch {
        let append = Append {
            stream: Stream::Tenant(self.caller.tenant.clone()),
            tenant: self.caller.tenant.clone(),
            user: self.caller.user.clone(),
            fence: None,
            expected_seq: None,
            events: std::mem::take(&mut self.events),
        };
        Batch { appends: vec![append], budgets: self.budgets.clone(), ..Batch::default() }
    }

    /// Durable before this returns.
    async fn now(&mut self) -> Result<(), Error> {
        let batch = self.batch();
        self.inner.store()?.commit(batch).await?;
        Ok(())
    }

    /// Durable before this returns, with the memory that was written.
    async fn remember(
        &mut self,
        memory: Vec<MemoryWrite>,
        limits: MemoryLimits,
    ) -> Result<(), Error> {
        let batch = Batch { memory, memory_limits: Some(limits), ..self.batch() };
        self.inner.store()?.commit(batch).await?;
        Ok(())
    }

    /// Durable with the next group.
    async fn later(&mut self) -> Result<(), Error> {
        let batch = self.batch();
        self.inner.store()?.commit_later(batch).await;
        Ok(())
    }
}
