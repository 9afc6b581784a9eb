//! What must hold after each start, however the process before it ended.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use ringfence::{
    Caller, Runtime, Session,
    event::{Body, CallId, Event, Outcome, SessionId},
};

/// More events than a run of the script has.
const EVENTS_MAX: u32 = 10_000;

/// What the ledger says of the calls of one kind: how many lines each key has.
type Lines = BTreeMap<String, u32>;

/// What is known of a session from outside.
pub(crate) struct Outside<'a> {
    /// What its processes have shown, by place.
    pub(crate) shown: &'a BTreeMap<u64, Event>,
    /// The lines of the ledger.
    pub(crate) ledger: &'a [String],
}

/// The session as its journal tells it, if the journal keeps what it must.
pub(crate) fn check(runtime: &Runtime, id: &SessionId, outside: &Outside<'_>) -> Result<Session> {
    let caller = Caller::local();
    let events = runtime.events(&caller, id, 1, EVENTS_MAX)?;
    for (event, seq) in events.iter().zip(1..) {
        ensure!(event.seq == seq, "event {seq} is missing or there twice");
    }
    for (seq, shown) in outside.shown {
        let stored = events.iter().find(|event| event.seq == *seq);
        ensure!(
            stored == Some(shown),
            "event {seq} was shown as {shown:?} and is stored as {stored:?}"
        );
    }
    Session::fold(id.clone(), &events).context("the journal does not fold")?;
    let session = runtime.session(&caller, id)?;
    let keys = keys(&events)?;
    let started: BTreeSet<&CallId> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::CallStarted { call } => Some(call),
            _ => None,
        })
        .collect();
    for effect in ["unsafe", "idempotent"] {
        for (key, lines) in lines(outside.ledger, effect)? {
            let call = keys.get(&key).with_context(|| {
                format!("something {effect} happened under {key}, which no call was intended with")
            })?;
            ensure!(started.contains(call), "{call} left a line and was never started");
            ensure!(
                effect == "idempotent" || lines == 1,
                "{call} is unsafe and happened {lines} times"
            );
        }
    }
    Ok(session)
}

/// What must hold once the run is over: what succeeded did happen.
pub(crate) fn check_end(session: &Session, ledger: &[String]) -> Result<()> {
    let (paid, noted) = (lines(ledger, "unsafe")?, lines(ledger, "idempotent")?);
    for call in session.runs().iter().flat_map(|run| run.calls()) {
        let Some(Outcome::Succeeded { .. }) = call.outcome() else {
            bail!("{} ended as {}", call.id(), call.status());
        };
        let key = call.intent().map(|intent| intent.key.0.clone()).unwrap_or_default();
        let lines = match call.function() {
            "ledger_pay" => paid.get(&key),
            "ledger_note" => noted.get(&key),
            _ => continue,
        };
        ensure!(lines.is_some(), "{} succeeded and left no line: it was lost", call.id());
    }
    Ok(())
}

/// Whether the call has left its line.
pub(crate) fn happened(session: &Session, call: &CallId, ledger: &[String]) -> Result<bool> {
    let mut calls = session.runs().iter().flat_map(|run| run.calls());
    let call = calls.find(|known| known.id() == call).context("a call that waits is known")?;
    let key = call.intent().map(|intent| intent.key.0.clone()).unwrap_or_default();
    Ok(lines(ledger, "unsafe")?.contains_key(&key))
}

/// The call of each key. A call that is intended again has the key that it had.
fn keys(events: &[Event]) -> Result<BTreeMap<String, CallId>> {
    let mut keys: BTreeMap<String, CallId> = BTreeMap::new();
    for event in events {
        let Body::CallIntended { call, intent } = &event.body else { continue };
        if let Some(other) = keys.insert(intent.key.0.clone(), call.clone()) {
            ensure!(other == *call, "{call} and {other} have one key");
        }
        let of_call = keys.values().filter(|known| *known == call).count();
        ensure!(of_call == 1, "{call} was tried under {of_call} keys");
    }
    Ok(keys)
}

fn lines(ledger: &[String], effect: &str) -> Result<Lines> {
    let mut lines = Lines::new();
    for line in ledger {
        let words: Vec<&str> = line.split(' ').collect();
        let [kind, key, _] = words[..] else { bail!("the ledger has a broken line: {line:?}") };
        if kind == effect {
            *lines.entry(key.to_owned()).or_default() += 1;
        }
    }
    Ok(lines)
}
