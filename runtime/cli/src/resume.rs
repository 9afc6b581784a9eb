//! `ringfence session resume`: one session, or everything that is unfinished.

use anyhow::{Context as _, Result};
use ringfence::{
    AT_ONCE, Caller, OpenSession, Resumed, RunStatus, Runtime,
    event::{SessionId, neutralise_line},
};
use serde_json::{Value, json};

use crate::{
    args::Global,
    exit::Exit,
    failure::{self, Usage},
    follow::Follow,
    screen::{Screen, Tone},
    session::ID_CHARS,
    signal,
};

/// Goes on with a session and shows it as `run` does.
pub(crate) async fn one(
    runtime: &Runtime,
    caller: &Caller,
    id: &SessionId,
    screen: &mut Screen,
) -> Result<Exit> {
    let cancel = signal::cancel_on_request().context("cannot listen for signals")?;
    Follow::new(runtime, caller, &cancel).resume(id, screen).await
}

/// Goes on with all sessions that are unfinished, a line each.
pub(crate) async fn all(global: &Global, runtime: &Runtime, screen: &mut Screen) -> Result<Exit> {
    if global.tenant.is_some() || global.user.is_some() {
        return Err(Usage::error("--all is of all tenants and users: without --tenant and --user"));
    }
    let cancel = signal::cancel_on_request().context("cannot listen for signals")?;
    let (mut told, mut failed) = (false, false);
    runtime
        .resume_all(AT_ONCE, &cancel, &mut |open, resumed| {
            told = true;
            failed |= is_failure(&resumed);
            tell(open, resumed, screen);
        })
        .await?;
    if !told && !screen.json {
        screen.err.line("nothing is unfinished");
    }
    Ok(if failed { Exit::Ended(1) } else { Exit::Done })
}

fn is_failure(resumed: &Resumed) -> bool {
    match resumed {
        Resumed::Ended(ended) => ended.status == RunStatus::Failed,
        Resumed::Elsewhere | Resumed::Left => false,
        Resumed::Failed(_) => true,
    }
}

fn tell(open: &OpenSession, resumed: Resumed, screen: &mut Screen) {
    let OpenSession { tenant, user, session, .. } = open;
    if screen.json {
        let mut object = json!({ "tenant": tenant, "user": user, "session": session });
        match resumed {
            Resumed::Ended(ended) => {
                object["run"] = json!(ended.run);
                object["status"] = ended.status.as_str().into();
                if let RunStatus::Waiting(wait) = ended.status {
                    object["waits"] = wait.as_str().into();
                }
            }
            Resumed::Elsewhere => object["elsewhere"] = true.into(),
            Resumed::Left => object["left"] = true.into(),
            Resumed::Failed(error) => object["error"] = failed(error),
        }
        return screen.out.json(&object);
    }
    let begins: String = session.as_str().chars().take(ID_CHARS).collect();
    let (tone, text) = match resumed {
        Resumed::Ended(ended) => match (ended.status, ended.failure) {
            (RunStatus::Completed, _) => (Tone::Good, "completed".to_owned()),
            (RunStatus::Waiting(wait), _) => {
                (Tone::Warning, format!("waits for a person: {}", wait.as_str()))
            }
            (RunStatus::Failed, Some(why)) => {
                (Tone::Bad, format!("failed: {}", neutralise_line(&why)))
            }
            (status, _) => (Tone::Warning, status.to_string()),
        },
        Resumed::Elsewhere => (Tone::Faint, "another process has it".to_owned()),
        Resumed::Left => (Tone::Faint, "left as it was".to_owned()),
        Resumed::Failed(error) => {
            let said = failed(error);
            let why = said["message"].as_str().unwrap_or_default();
            (Tone::Bad, format!("cannot be gone on with: {}", neutralise_line(why)))
        }
    };
    let text = screen.out.paint(tone, text);
    screen.out.line(format!("{tenant}/{user} {begins}: {text}"));
}

/// An error as every verb tells it with --json.
fn failed(error: ringfence::Error) -> Value {
    failure::object(&error.into())["error"].take()
}
