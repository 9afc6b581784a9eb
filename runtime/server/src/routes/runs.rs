//! Runs: begun, looked at step by step, cancelled. A run goes on whoever watches it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use ringfence::{
    Agent, Busy, Caller, Input, Refusal, Run, RunEnded, Saying, Session, Step,
    event::{AgentName, Body, CallId, Event, RunId, SessionId, Timestamp, TraceContext},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};

use super::{Page, Paging, SessionPath, owner, session, session_beside};
use crate::{
    answer::{Begun, Shown},
    api::{Api, Operation},
    edge,
    keys::Principal,
    problem::{Code, Problem},
    request::{Asked, Json, NoBody, Nothing},
    state::State,
    view::{CallView, RunView, StepView},
    works::Kind,
};

const IN_SESSION: &[Code] = &[Code::NoSuchSession, Code::BadCursor];

const LIST: Operation =
    Operation::get("/v1/sessions/{session}/runs", "list-runs", "The runs of a session.")
        .fails(IN_SESSION);
const START: Operation = Operation::post(
    "/v1/sessions/{session}/runs",
    "start-run",
    "Says something to the agent of a session. The run goes on though the client goes away.",
)
.makes()
.fails(&[
    Code::NoSuchSession,
    Code::NoSuchAgent,
    Code::AgentUnusable,
    Code::ToolUnusable,
    Code::Busy,
    Code::Driven,
    Code::Closed,
    Code::OtherInput,
    Code::OtherAgent,
    Code::EmptyInput,
    Code::RateLimited,
    Code::QueueFull,
    Code::Spent,
    Code::NotNow,
]);
const GET: Operation = Operation::get("/v1/sessions/{session}/runs/{run}", "get-run", "A run.")
    .fails(&[Code::NoSuchSession, Code::NoSuchRun]);
const CANCEL: Operation = Operation::post(
    "/v1/sessions/{session}/runs/{run}/cancel",
    "cancel-run",
    "Cancels a run, whichever process drives it.",
)
.fails(&[Code::NoSuchSession, Code::NoSuchRun, Code::NoRun, Code::NotNow]);
const RESUME: Operation = Operation::post(
    "/v1/sessions/{session}/resume",
    "resume-session",
    "Goes on with what is unfinished in a session that nobody drives.",
)
.fails(&[
    Code::NoSuchSession,
    Code::NoRun,
    Code::Driven,
    Code::AgentUnusable,
    Code::ToolUnusable,
    Code::RateLimited,
    Code::QueueFull,
    Code::NotNow,
]);
const STEPS: Operation = Operation::get(
    "/v1/sessions/{session}/runs/{run}/steps",
    "list-steps",
    "The steps of a run, with their calls.",
)
.fails(&[Code::NoSuchSession, Code::NoSuchRun, Code::BadCursor]);
const STEP: Operation = Operation::get(
    "/v1/sessions/{session}/runs/{run}/steps/{step}",
    "get-step",
    "A step with its calls.",
)
.fails(&[Code::NoSuchSession, Code::NoSuchRun, Code::NoSuchStep]);
const CALLS: Operation =
    Operation::get("/v1/sessions/{session}/calls", "list-calls", "The calls of a session.")
        .fails(IN_SESSION);
const CALL: Operation =
    Operation::get("/v1/sessions/{session}/calls/{call}", "get-call", "A call of a session.")
        .fails(&[Code::NoSuchSession, Code::NoSuchCall]);

pub(super) fn add(api: Api) -> Api {
    api.add(LIST, list)
        .add(START, start_run)
        .add(GET, get)
        .add(CANCEL, cancel)
        .add(RESUME, resume)
        .add(STEPS, steps)
        .add(STEP, step)
        .add(CALLS, calls)
        .add(CALL, call)
}

#[derive(Debug, Deserialize, JsonSchema)]
struct RunPath {
    session: SessionId,
    run: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct StepPath {
    session: SessionId,
    run: u32,
    step: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct CallPath {
    pub(super) session: SessionId,
    pub(super) call: CallId,
}

/// What is done while a run is under way.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum WhenBusy {
    /// The input is refused.
    #[default]
    Reject,
    /// It waits for its turn.
    Queue,
    /// The run under way is cancelled.
    Interrupt,
}

/// Something that is to be said to an agent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NewRun {
    /// What.
    input: String,
    /// What is done while a run is under way; `reject` if nothing is said.
    #[serde(default)]
    busy: WhenBusy,
    /// When nobody waits for the answer any more, in milliseconds since 1970: a run that has not begun by
    /// then does not begin.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9_007_199_254_740_991_u64))]
    not_after: Option<u64>,
}

/// What the answer waits for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Waits {
    /// Whether it waits until the run has ended, or waits for a person.
    wait: bool,
    /// Whether the run is cancelled if the client goes away before that; only with `wait=true`.
    cancel_on_disconnect: bool,
}

/// An agent that the tenant may start.
pub(super) fn agent(
    state: &State,
    principal: &Principal,
    name: &AgentName,
) -> Result<Agent, Problem> {
    let found = state.runtime.agent_of(principal.tenant(), name)?;
    found.ok_or_else(|| Problem::new(Code::NoSuchAgent, format!("there is no agent `{name}`")))
}

/// A run that is to begin.
pub(super) struct Starting {
    pub(super) caller: Caller,
    pub(super) session: SessionId,
    /// Whether the session is made with it.
    pub(super) is_new: bool,
    pub(super) agent: Agent,
    pub(super) input: String,
    pub(super) busy: Busy,
    pub(super) key: Option<String>,
    pub(super) not_after: Option<Timestamp>,
    /// Until when it is waited for that it begins, or is in line behind another run.
    pub(super) until: Instant,
    pub(super) trace: Option<TraceContext>,
}

/// A run that was begun.
pub(super) struct Started {
    pub(super) run: RunId,
    pub(super) cancel: Option<ringfence::Cancel>,
    ending: Option<JoinHandle<Result<RunEnded, Problem>>>,
}

/// Begins a run; it is durable when this returns, and goes on in a task of its own.
pub(super) async fn start(
    state: &State,
    principal: &Principal,
    starting: Starting,
) -> Result<Started, Problem> {
    let Starting { caller, session: id, is_new, agent, input, busy, key, not_after, until, trace } =
        starting;
    let key = match key {
        Some(key) => key,
        None => new_key()?,
    };
    // Said before under this key: it is the same run, unless it is another input.
    let said = {
        let (runtime, caller, id) = (state.runtime.clone(), caller.clone(), id.clone());
        let said = move || match runtime.session(&caller, &id) {
            // Nothing was said in what is yet to be made.
            Err(ringfence::Error::NoSuchSession { .. }) if is_new => Ok(None),
            said => said.map(Some),
        };
        state.reading.read(principal.tenant(), said).await??
    };
    if let Some(run) = said.as_ref().and_then(|said| said.run_of(&key)) {
        return match run.input() == input {
            true => Ok(Started { run: run.id(), cancel: None, ending: None }),
            false => {
                Err(ringfence::Error::from(ringfence::Refused::OtherInput { run: run.id() }).into())
            }
        };
    }
    let api_key = principal.key.id.clone();
    let work = state.works.begin(Kind::Run, Some(&api_key), principal.tenant());
    let cancel = work.cancel.clone();
    let (tell, mut told) = oneshot::channel();
    let task = {
        let state = state.clone();
        async move {
            let mut tell = Some(tell);
            let is_recorded = AtomicBool::new(false);
            let mut show = |event: &Event| {
                if let Body::MessageAdded { run, key: Some(of), .. } = &event.body
                    && *of == key
                    && let Some(tell) = tell.take()
                {
                    is_recorded.store(true, Relaxed);
                    work.is_recorded();
                    // Whoever began it may have gone away; the run goes on.
                    let _ = tell.send(*run);
                }
            };
            let input = Input {
                text: input,
                session: Some(id),
                makes_session: is_new,
                busy,
                key: Some(key.clone()),
                not_after,
                trace,
                api_key: Some(api_key),
            };
            let mut is_late = false;
            let ended = {
                let running = state.runtime.run(&caller, &agent, input, &work.cancel, &mut show);
                tokio::pin!(running);
                loop {
                    tokio::select! {
                        biased;
                        ended = &mut running => break ended,
                        // What only waited for a slot is taken back: nobody waits for it any more.
                        () = tokio::time::sleep_until(until), if !is_late => {
                            is_late = true;
                            if !is_recorded.load(Relaxed) {
                                work.cancel.cancel();
                            }
                        }
                    }
                }
            };
            drop(work);
            ended.map_err(|error| {
                if matches!(error, ringfence::Error::NotTaken(Refusal::Cancelled)) && is_late {
                    return edge::too_long(&state);
                }
                let problem = Problem::from(error);
                if let Some(why) = &problem.internal {
                    state.log.failed("a run", why);
                }
                problem
            })
        }
    };
    let mut ending = tokio::spawn(task);
    tokio::select! {
        biased;
        Ok(run) = &mut told => Ok(Started { run, cancel: Some(cancel), ending: Some(ending) }),
        ended = &mut ending => {
            let ended = ended.map_err(|error| Problem::internal(error.to_string()))??;
            Ok(Started { run: ended.run, cancel: None, ending: None })
        }
    }
}

fn new_key() -> Result<String, Problem> {
    Ok(format!("{:032x}", u128::from_be_bytes(random()?)))
}

/// The id of a session that is to be made.
pub(super) fn new_session() -> Result<SessionId, Problem> {
    Ok(SessionId::from_random(random()?))
}

fn random() -> Result<[u8; 16], Problem> {
    let mut bytes = [0; 16];
    match getrandom::fill(&mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(Problem::internal(error.to_string())),
    }
}

async fn start_run(
    asked: Asked<SessionPath, Waits, Json<NewRun>>,
) -> Result<Begun<RunView>, Problem> {
    let trace = asked.trace();
    let Asked { state, principal, path, query, body: Json(new), until, gone, once, place, .. } =
        asked;
    if query.cancel_on_disconnect && !query.wait {
        let said = "`cancel-on-disconnect` is for a client that waits: add `wait=true`";
        return Err(Problem::new(Code::BadQuery, said));
    }
    let (caller, summary, _) = session_beside(&state, &principal, &path.session).await?;
    let agent = agent(&state, &principal, &summary.agent)?;
    let starting = Starting {
        caller,
        session: path.session.clone(),
        is_new: false,
        agent,
        input: new.input,
        busy: match new.busy {
            WhenBusy::Reject => Busy::Reject,
            WhenBusy::Queue => Busy::Queue,
            WhenBusy::Interrupt => Busy::Interrupt,
        },
        key: once.map(|once| once.key),
        not_after: new.not_after.map(Timestamp),
        until: until.at,
        trace,
    };
    // For a slot, and then for its end.
    place.only_waits();
    let Started { run, cancel, ending } = start(&state, &principal, starting).await?;
    if let Some(ending) = ending.filter(|_| query.wait) {
        if query.cancel_on_disconnect
            && let Some(cancel) = cancel
        {
            let gone = gone.clone();
            tokio::spawn(async move {
                gone.requested().await;
                cancel.cancel();
            });
        }
        ending.await.map_err(|error| Problem::internal(error.to_string()))??;
    }
    let (_, _, session) = session_beside(&state, &principal, &path.session).await?;
    let found = find(&session, run.0)?;
    let status = found.status();
    Ok(Begun {
        location: format!("/v1/sessions/{}/runs/{}", path.session, run.0),
        what: RunView::of(&session, found),
        goes_on: status.is_open() && !status.is_waiting_for_somebody(),
    })
}

/// Goes on with a session in a task of its own, if there is something to go on with. Whoever asked for that
/// did not begin its run: it does not end with their key.
pub(super) fn go_on(state: &State, caller: Caller, id: SessionId) {
    let work = state.works.begin(Kind::Run, None, &caller.tenant);
    let state = state.clone();
    tokio::spawn(async move {
        let ended = state.runtime.resume(&caller, &id, &work.cancel, &mut |_| {}).await;
        drop(work);
        match ended {
            // Nothing to do, or somebody does it.
            Ok(_) | Err(ringfence::Error::Refused(_) | ringfence::Error::Driven { .. }) => {}
            Err(error) => {
                let problem = Problem::from(error);
                let why = problem.internal.unwrap_or_else(|| problem.code.title().to_owned());
                state.log.failed("a session that was to go on", &why);
            }
        }
    });
}

/// The same, once it is sure that it goes on here: a refusal is whoever asks for it's.
async fn resumed(state: &State, caller: Caller, id: SessionId) -> Result<(), Problem> {
    let work = state.works.begin(Kind::Run, None, &caller.tenant);
    let (tell, mut told) = oneshot::channel();
    let running = {
        let state = state.clone();
        async move {
            let mut tell = Some(tell);
            let mut begins = || {
                if let Some(tell) = tell.take() {
                    // Whoever asked may have gone away.
                    let _ = tell.send(());
                }
            };
            let (runtime, cancel) = (&state.runtime, &work.cancel);
            let show = &mut |_: &Event| {};
            let ended = runtime.resume_telling(&caller, &id, cancel, &mut begins, show).await;
            let ended = ended.map_err(Problem::from);
            if let Err(Problem { internal: Some(why), .. }) = &ended {
                state.log.failed("a session that was to go on", why);
            }
            ended
        }
    };
    let mut running = tokio::spawn(running);
    tokio::select! {
        biased;
        Ok(()) = &mut told => Ok(()),
        ended = &mut running => {
            ended.map_err(|error| Problem::internal(error.to_string()))?.map(drop)
        }
    }
}

fn find(session: &Session, run: u32) -> Result<&Run, Problem> {
    let mut runs = session.runs().iter();
    let found = runs.find(|found| found.id().0 == run).map(Arc::as_ref);
    found.ok_or_else(|| Problem::new(Code::NoSuchRun, format!("there is no run {run}")))
}

async fn list(asked: Asked<SessionPath, Paging, NoBody>) -> Result<Shown<Page<RunView>>, Problem> {
    let Asked { state, principal, path, query, .. } = asked;
    let (_, _, session) = session(&state, &principal, &path.session)?;
    let all = session.runs().iter().map(|run| RunView::of(&session, run));
    let list = format!("runs/{}", path.session);
    Ok(Shown(Page::of(&state, &principal, &list, &query, all, |run| run.run)?))
}

async fn get(asked: Asked<RunPath, Nothing, NoBody>) -> Result<Shown<RunView>, Problem> {
    let Asked { state, principal, path, .. } = asked;
    let (_, _, session) = session(&state, &principal, &path.session)?;
    Ok(Shown(RunView::of(&session, find(&session, path.run)?)))
}

async fn cancel(asked: Asked<RunPath, Nothing, NoBody>) -> Result<Shown<RunView>, Problem> {
    let Asked { state, principal, path, .. } = asked;
    let (owner, _, before) = session_beside(&state, &principal, &path.session).await?;
    let run = find(&before, path.run)?;
    if run.status().is_open() {
        let saying = Saying::Cancel { run: Some(run.id()) };
        let by = &principal.caller.user;
        state.runtime.tell_session(&owner, &path.session, by, saying).await?;
        // Others may wait behind it.
        go_on(&state, owner, path.session.clone());
    }
    let (_, _, after) = session_beside(&state, &principal, &path.session).await?;
    Ok(Shown(RunView::of(&after, find(&after, path.run)?)))
}

async fn resume(asked: Asked<SessionPath, Nothing, NoBody>) -> Result<Begun<RunView>, Problem> {
    let Asked { state, principal, path, place, .. } = asked;
    let (owner, _, session) = session_beside(&state, &principal, &path.session).await?;
    let run = session.run().ok_or(ringfence::Refused::NoRun).map_err(ringfence::Error::from)?;
    let status = run.status();
    let goes_on = status.is_open() && !status.is_waiting_for_somebody();
    if goes_on {
        place.only_waits();
        resumed(&state, owner, path.session.clone()).await?;
    }
    Ok(Begun {
        location: format!("/v1/sessions/{}/runs/{}", path.session, run.id().0),
        what: RunView::of(&session, run),
        goes_on,
    })
}

async fn steps(asked: Asked<RunPath, Paging, NoBody>) -> Result<Shown<Page<StepView>>, Problem> {
    let Asked { state, principal, path, query, .. } = asked;
    let (_, _, session) = session(&state, &principal, &path.session)?;
    let run = find(&session, path.run)?;
    let all = run.steps().iter().map(|step| StepView::of(step));
    let list = format!("steps/{}/{}", path.session, path.run);
    Ok(Shown(Page::of(&state, &principal, &list, &query, all, StepView::number)?))
}

async fn step(asked: Asked<StepPath, Nothing, NoBody>) -> Result<Shown<StepView>, Problem> {
    let Asked { state, principal, path, .. } = asked;
    let (_, _, session) = session(&state, &principal, &path.session)?;
    let run = find(&session, path.run)?;
    let mut steps = run.steps().iter().map(Arc::as_ref);
    let found: Option<&Step> = steps.find(|step| step.id().step == path.step);
    let found = found
        .ok_or_else(|| Problem::new(Code::NoSuchStep, format!("there is no step {}", path.step)))?;
    Ok(Shown(StepView::of(found)))
}

async fn calls(
    asked: Asked<SessionPath, Paging, NoBody>,
) -> Result<Shown<Page<CallView>>, Problem> {
    let Asked { state, principal, path, query, .. } = asked;
    let (_, _, session) = session(&state, &principal, &path.session)?;
    let runs = session.runs().iter().map(Arc::as_ref);
    let all: Vec<CallView> = runs.flat_map(Run::calls).map(CallView::of).collect();
    let list = format!("calls/{}", path.session);
    Ok(Shown(Page::of(&state, &principal, &list, &query, all, CallView::place)?))
}

async fn call(asked: Asked<CallPath, Nothing, NoBody>) -> Result<Shown<CallView>, Problem> {
    let Asked { state, principal, path, .. } = asked;
    owner(&state, &principal, &path.session)?;
    let (_, _, session) = session(&state, &principal, &path.session)?;
    call_view(&session, &path.call).map(Shown)
}

pub(super) fn call_view(session: &Session, id: &CallId) -> Result<CallView, Problem> {
    let mut calls = session.runs().iter().flat_map(|run| run.calls());
    let found = calls.find(|call| call.id() == id).map(CallView::of);
    found.ok_or_else(|| Problem::new(Code::NoSuchCall, format!("there is no call {id}")))
}
