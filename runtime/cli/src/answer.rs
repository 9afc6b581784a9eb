//! What people answer from outside: approvals, questions of tools, calls of unknown outcome. Nothing
//! is decided here; the library refuses what does not fit.

use anyhow::Result;
use ringfence::{
    Caller, Reconciliation, Runtime, Said, Waiting,
    event::{CallId, Digest, SessionId, Wait, neutralise_line},
};
use serde_json::json;

use crate::{
    args::{ApprovalsVerb, Global, ReconcileHow},
    config,
    exit::Exit,
    failure::Usage,
    screen::{Screen, Sheet},
    table::Table,
    text::{cut, moment},
};

/// How much of arguments and reasons a list shows.
const CELL_COLUMNS: usize = 40;

/// `ringfence approvals`
pub(crate) async fn approvals(
    global: &Global,
    verb: ApprovalsVerb,
    screen: &mut Screen,
) -> Result<Exit> {
    let config = config::load(global)?;
    let caller = config::known_caller(global, &config)?;
    let runtime = Runtime::open(config)?;
    match verb {
        ApprovalsVerb::List => list(&runtime, &caller, screen),
        ApprovalsVerb::Approve { session, call, session_wide, reason, shown } => {
            let id = runtime.find_session(&caller, &session)?;
            let call = the_call(&runtime, &caller, &id, call, Wait::Approval)?;
            let scope = match session_wide {
                true => ringfence::event::ApprovalScope::Session,
                false => ringfence::event::ApprovalScope::Call,
            };
            let said = runtime.approve(&caller, &id, &call, scope, reason, shown).await?;
            tell(&id, &call, said, screen);
            Ok(Exit::Done)
        }
        ApprovalsVerb::Deny { session, call, reason, shown } => {
            let id = runtime.find_session(&caller, &session)?;
            let call = the_call(&runtime, &caller, &id, call, Wait::Approval)?;
            let said = runtime.decline(&caller, &id, &call, reason, shown).await?;
            tell(&id, &call, said, screen);
            Ok(Exit::Done)
        }
    }
}

/// `ringfence session answer`
pub(crate) async fn answer(
    runtime: &Runtime,
    caller: &Caller,
    id: &SessionId,
    (call, json, shown): (Option<CallId>, Option<String>, Option<Digest>),
    screen: &mut Screen,
) -> Result<Exit> {
    let call = the_call(runtime, caller, id, call, Wait::Input)?;
    let value = json.map(|text| serde_json::from_str(&text)).transpose();
    let value = value.map_err(|error| Usage::error(format!("the answer is no JSON: {error}")))?;
    let said = runtime.answer(caller, id, &call, value, shown).await?;
    tell(id, &call, said, screen);
    Ok(Exit::Done)
}

/// `ringfence session reconcile`
pub(crate) async fn reconcile(
    runtime: &Runtime,
    caller: &Caller,
    id: &SessionId,
    (call, how): (CallId, ReconcileHow),
    screen: &mut Screen,
) -> Result<Exit> {
    let how = match how {
        ReconcileHow { happened: Some(text), .. } => Reconciliation::Happened(text),
        ReconcileHow { run_it: true, .. } => Reconciliation::RunIt,
        ReconcileHow { .. } => Reconciliation::GiveUp,
    };
    let said = runtime.reconcile(caller, id, &call, how).await?;
    tell(id, &call, said, screen);
    Ok(Exit::Done)
}

/// How what a session waits for is answered, a line a call, and what goes on with it then.
pub(crate) fn show_verbs(waiting: &[Waiting], sheet: &mut Sheet) {
    for waiting in waiting {
        let Waiting { session, call, .. } = waiting;
        sheet.line(match waiting.wait {
            Wait::Approval => format!(
                "answer with `ringfence approvals approve {session} {call}`, or `deny` for `approve`"
            ),
            Wait::Input => format!(
                "answer with `ringfence session answer {session} --call {call} JSON`, or `--decline` for JSON"
            ),
            Wait::Reconcile => format!(
                "say how it ended with `ringfence session reconcile {session} {call}` and one of \
                 `--happened TEXT`, `--run-it`, `--give-up`"
            ),
            Wait::Retry => continue,
        });
    }
    if let Some(first) = waiting.first() {
        sheet.line(format!("then `ringfence session resume {}` goes on", first.session));
    }
}

fn list(runtime: &Runtime, caller: &Caller, screen: &mut Screen) -> Result<Exit> {
    let all = runtime.waiting(caller)?;
    if screen.json {
        let objects: Vec<_> = all
            .iter()
            .map(|waiting| {
                json!({
                    "session": waiting.session,
                    "call": waiting.call,
                    "wait": waiting.wait,
                    "function": waiting.function,
                    "arguments": waiting.arguments,
                    "hold": waiting.hold,
                    "question": waiting.question,
                    "shown": waiting.shown,
                })
            })
            .collect();
        screen.out.json(&objects);
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        screen.err.line("nothing waits for a person");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["SESSION", "CALL", "FUNCTION", "ARGUMENTS", "WHY", "EXPIRES"]);
    for waiting in &all {
        let expires = waiting.hold.as_ref().and_then(|hold| hold.expires);
        table.row([
            waiting.session.as_str().chars().take(12).collect(),
            waiting.call.to_string(),
            cut(&waiting.function, CELL_COLUMNS),
            cut(&waiting.arguments, CELL_COLUMNS),
            why(waiting),
            expires.map(moment).unwrap_or_default(),
        ]);
    }
    table.lines().iter().for_each(|line| screen.out.line(line));
    Ok(Exit::Done)
}

/// Why a call waits.
fn why(waiting: &Waiting) -> String {
    match (&waiting.hold, &waiting.question) {
        (Some(hold), _) => {
            let place = |rule: &ringfence::event::Remedy| match rule.line {
                Some(line) => format!("{}:{line}", rule.file),
                None => rule.file.clone(),
            };
            let places: Vec<String> = hold.rules.iter().map(place).collect();
            neutralise_line(&format!("held by {}", places.join(", "))).into_owned()
        }
        (None, Some(question)) => cut(&format!("asks: {}", question.message), CELL_COLUMNS),
        (None, None) => "nobody knows how it ended".to_owned(),
    }
}

/// The call that is named, or the only one that waits for this.
fn the_call(
    runtime: &Runtime,
    caller: &Caller,
    id: &SessionId,
    named: Option<CallId>,
    wait: Wait,
) -> Result<CallId> {
    match named {
        Some(call) => Ok(call),
        None => Ok(runtime.waiting_call(caller, id, wait)?),
    }
}

fn tell(id: &SessionId, call: &CallId, said: Said, screen: &mut Screen) {
    let word = match said {
        Said::Recorded => "recorded",
        Said::Delivered => "delivered",
    };
    match (screen.json, said) {
        (true, _) => screen.out.json(&json!({ "session": id, "call": call, "said": word })),
        (false, Said::Recorded) => {
            screen.out.line(format!("recorded; `ringfence session resume {id}` goes on"));
        }
        (false, Said::Delivered) => screen.out.line("given to the process that drives the session"),
    }
}
