//! `ringfence session`: the list, and cancelling and closing from outside.

use std::time::Duration;

use anyhow::Result;
use ringfence::{
    Caller, Runtime, SessionSummary,
    event::{SessionId, Wait},
};
use serde_json::json;

use crate::{
    answer,
    args::{Global, SessionVerb},
    config,
    exit::Exit,
    observe, resume,
    screen::Screen,
    show,
    table::Table,
    text::{cut, moment},
    transfer,
};

/// How much of an id names a session in a list: enough for a lifetime of sessions.
pub(crate) const ID_CHARS: usize = 12;
/// How often it is looked whether a run was cancelled, and how many times: a process that drives it
/// looks at its inbox every 50 ms, and has stopped its calls well within a second.
const LOOK: (Duration, u32) = (Duration::from_millis(50), 40);

/// Carries out one verb.
pub(crate) async fn session(
    global: &Global,
    verb: SessionVerb,
    screen: &mut Screen,
) -> Result<Exit> {
    let config = config::load(global)?;
    let caller = config::known_caller(global, &config)?;
    let runtime = Runtime::open(config)?;
    match verb {
        SessionVerb::List { limit } => list(&runtime, &caller, limit, screen),
        SessionVerb::Show { id } => {
            let id = runtime.find_session(&caller, &id)?;
            show::show(&runtime, &caller, &id, screen)
        }
        SessionVerb::Cancel { id } => {
            let id = runtime.find_session(&caller, &id)?;
            cancel(&runtime, &caller, &id, screen).await
        }
        SessionVerb::Resume { all: true, .. } => {
            let observer = observe::start_if_set(&runtime).await?;
            let exit = resume::all(global, &runtime, screen).await;
            observe::stop(observer).await;
            exit
        }
        SessionVerb::Resume { id, all: false } => {
            let id = match id {
                Some(id) => runtime.find_session(&caller, &id)?,
                None => runtime.newest_unfinished(&caller)?,
            };
            let observer = observe::start_if_set(&runtime).await?;
            let exit = resume::one(&runtime, &caller, &id, screen).await;
            observe::stop(observer).await;
            exit
        }
        SessionVerb::Export { id, file, force } => {
            let id = runtime.find_session(&caller, &id)?;
            transfer::export(&runtime, &caller, &id, (file, force), screen)
        }
        SessionVerb::Import { file } => transfer::import(&runtime, &caller, file, screen).await,
        SessionVerb::Answer { id, answer: json, call, decline: _, shown } => {
            let id = runtime.find_session(&caller, &id)?;
            answer::answer(&runtime, &caller, &id, (call, json, shown), screen).await
        }
        SessionVerb::Reconcile { id, call, how } => {
            let id = runtime.find_session(&caller, &id)?;
            answer::reconcile(&runtime, &caller, &id, (call, how), screen).await
        }
        SessionVerb::Close { id } => {
            let id = runtime.find_session(&caller, &id)?;
            runtime.close_session(&caller, &id).await?;
            match screen.json {
                true => screen.out.json(&json!({ "session": id, "closed": true })),
                false => screen.out.line("the session is closed"),
            }
            Ok(Exit::Done)
        }
    }
}

fn list(runtime: &Runtime, caller: &Caller, limit: u32, screen: &mut Screen) -> Result<Exit> {
    let sessions = runtime.sessions(caller, limit)?;
    if screen.json {
        let objects: Vec<_> = sessions
            .iter()
            .map(|session| {
                json!({
                    "session": session.id,
                    "user": session.user,
                    "agent": session.agent,
                    "created-at": session.created_at,
                    "last-at": session.last_at,
                    "status": session.status,
                    "waits": session.waits,
                    "wake": session.wake,
                    "title": session.title,
                })
            })
            .collect();
        screen.out.json(&objects);
        return Ok(Exit::Done);
    }
    if sessions.is_empty() {
        screen.err.line("no sessions yet: `ringfence run AGENT.toml` begins one");
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["SESSION", "AGENT", "STATUS", "LAST USED", "BEGAN WITH"]);
    for session in sessions {
        table.row([
            session.id.as_str()[..ID_CHARS].to_owned(),
            session.agent.to_string(),
            status(&session),
            moment(session.last_at),
            cut(session.title.as_deref().unwrap_or_default(), 50),
        ]);
    }
    table.lines().iter().for_each(|line| screen.out.line(line));
    Ok(Exit::Done)
}

/// Where it stands, and what it waits for.
fn status(session: &SessionSummary) -> String {
    let status = session.status.as_deref().unwrap_or_default();
    match (session.waits, session.wake) {
        (None, _) => status.to_owned(),
        (Some(Wait::Retry), Some(at)) => format!("{status}: retry at {}", moment(at)),
        (Some(wait), _) => format!("{status}: {}", wait.as_str()),
    }
}

async fn cancel(
    runtime: &Runtime,
    caller: &Caller,
    id: &SessionId,
    screen: &mut Screen,
) -> Result<Exit> {
    runtime.cancel_session(caller, id).await?;
    let (pause, times) = LOOK;
    let mut ended = false;
    for _ in 0..times {
        tokio::time::sleep(pause).await;
        ended = runtime.session(caller, id)?.run().is_none();
        if ended {
            break;
        }
    }
    if screen.json {
        screen.out.json(&json!({ "session": id, "requested": true, "ended": ended }));
    } else if ended {
        screen.out.line("the run has ended");
    } else {
        screen.out.line(
            "asked for, and not done yet: it seems that no process drives the run; it is cancelled \
             as soon as one does, such as `ringfence run AGENT.toml --session ID`",
        );
    }
    Ok(Exit::Done)
}
