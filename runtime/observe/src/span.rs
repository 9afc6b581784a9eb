//! Spans, folded from the events of the journal. Times are those of the events and ids follow from their
//! places, so that whoever folds them again, after a restart or in another process, makes the same spans.

pub(crate) mod attribute;
mod call;
mod made;
mod run;

use std::collections::{BTreeMap, HashMap};

use opentelemetry_proto::tonic::trace::v1::Span;
use ringfence_event::{
    AgentName, Body, CallId, Digest, Event, ModelName, RunId, Stream, TenantId, TraceContext,
};

use self::{call::OpenCall, run::OpenRun};
use crate::{config::ModelIdentity, source::SourceError};

/// How many events are read at a time to find where something began.
const PAGE: u32 = 128;
/// How many events before the end of a direct call its beginning is looked for; calls of a tenant that ran
/// beside it stand in between.
const DIRECT_BACK: u64 = 4096;
/// How many lists are kept open at most. What is left out is read again when something of it ends.
const OPEN_MAX: usize = 10_000;

/// Earlier events of a list of a tenant, from a place on, up to a number.
pub(crate) type History<'a> =
    &'a dyn Fn(&TenantId, &Stream, u64, u32) -> Result<Vec<Event>, SourceError>;

/// What spans say beside what their events do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Telling {
    pub(crate) models: BTreeMap<ModelName, ModelIdentity>,
    /// Whether they carry what was said, asked and returned.
    pub(crate) payloads: bool,
}

/// What has begun and not ended, of all lists.
pub(crate) struct Spans {
    telling: Telling,
    lists: HashMap<(TenantId, Stream), List>,
    /// Counts events, to tell which list was not looked at for longest.
    clock: u64,
}

/// What has begun and not ended in one list.
#[derive(Default)]
struct List {
    agent: Option<AgentName>,
    runs: BTreeMap<RunId, OpenRun>,
    calls: HashMap<CallId, OpenCall>,
    /// The place of the last event: one that comes again makes nothing.
    last: u64,
    touched: u64,
}

impl Spans {
    pub(crate) fn new(telling: Telling) -> Self {
        Self { telling, lists: HashMap::new(), clock: 0 }
    }

    /// The spans that end with an event. What began before anything was folded is read from `history`.
    pub(crate) fn add(
        &mut self,
        event: &Event,
        history: History<'_>,
    ) -> Result<Vec<Span>, SourceError> {
        let key = (event.tenant.clone(), event.stream.clone());
        self.clock += 1;
        let mut list = self.lists.remove(&key).unwrap_or_default();
        if event.seq <= list.last {
            self.lists.insert(key, list);
            return Ok(vec![]);
        }
        if let Err(error) = list.find_beginning(event, &self.telling, history) {
            self.lists.insert(key, list);
            return Err(error);
        }
        let spans = list.add(event, &self.telling);
        (list.last, list.touched) = (event.seq, self.clock);
        // What nothing is open of is not kept: most sessions never go on.
        if !(list.runs.is_empty() && list.calls.is_empty()) {
            self.lists.insert(key, list);
        }
        if self.lists.len() > OPEN_MAX {
            self.forget();
        }
        Ok(spans)
    }

    /// Forgets the half of the lists that nothing happened in for longest.
    fn forget(&mut self) {
        let mut touched: Vec<u64> = self.lists.values().map(|list| list.touched).collect();
        touched.sort_unstable();
        let middle = touched[touched.len() / 2];
        self.lists.retain(|_, list| list.touched >= middle);
    }
}

impl List {
    /// Reads where what an event belongs to began, if that is not known.
    fn find_beginning(
        &mut self,
        event: &Event,
        telling: &Telling,
        history: History<'_>,
    ) -> Result<(), SourceError> {
        let Event { tenant, stream, seq, body, .. } = event;
        match (stream, body.run()) {
            (Stream::Session(_), Some(run)) if *seq > 1 => {
                if self.agent.is_none() {
                    let first = history(tenant, stream, 1, 1)?;
                    first.iter().for_each(|first| self.told_agent(first));
                }
                let begins = matches!(body, Body::MessageAdded { .. });
                if begins || self.runs.contains_key(&run) || is_after_end(body) {
                    return Ok(());
                }
                let is_beginning = |earlier: &Event| matches!(&earlier.body, Body::MessageAdded { run: begun, .. } if *begun == run);
                let Some(from) = find_back(event, u64::MAX, &is_beginning, history)? else {
                    return Ok(());
                };
                self.refold(event, from, telling, history, &|earlier| {
                    earlier.body.run() == Some(run)
                })
            }
            (Stream::Tenant(_), _) => {
                let Some(call) = call::of(body) else { return Ok(()) };
                let begins = matches!(body, Body::CallProposed { .. });
                if begins || self.calls.contains_key(call) || !call::goes_on(body) {
                    return Ok(());
                }
                let is_beginning = |earlier: &Event| {
                    matches!(earlier.body, Body::CallProposed { .. })
                        && call::of(&earlier.body) == Some(call)
                };
                let Some(from) = find_back(event, DIRECT_BACK, &is_beginning, history)? else {
                    return Ok(());
                };
                self.refold(event, from, telling, history, &|earlier| {
                    call::of(&earlier.body) == Some(call)
                })
            }
            _ => Ok(()),
        }
    }

    /// Folds the events from a place up to one, of those that matter, and lets what ends in them go: it
    /// was told before.
    fn refold(
        &mut self,
        until: &Event,
        mut from: u64,
        telling: &Telling,
        history: History<'_>,
        matters: &dyn Fn(&Event) -> bool,
    ) -> Result<(), SourceError> {
        while from < until.seq {
            let page = history(&until.tenant, &until.stream, from, PAGE)?;
            let Some(last) = page.last().map(|event| event.seq) else { return Ok(()) };
            let earlier = page.iter().take_while(|event| event.seq < until.seq);
            earlier.filter(|event| matters(event)).for_each(|event| drop(self.add(event, telling)));
            from = last + 1;
        }
        Ok(())
    }

    fn told_agent(&mut self, event: &Event) {
        if let Body::SessionCreated { agent, .. } = &event.body {
            self.agent = Some(agent.clone());
        }
    }

    fn add(&mut self, event: &Event, telling: &Telling) -> Vec<Span> {
        self.told_agent(event);
        let run = event.body.run();
        if let (Body::MessageAdded { text, .. }, Some(run)) = (&event.body, run) {
            let input = telling.payloads.then(|| text.clone());
            self.runs.insert(run, OpenRun::new(event, self.agent.clone(), input));
        }
        let mut spans = vec![];
        if let Some(open) = run.and_then(|run| self.runs.get_mut(&run)) {
            spans.extend(open.requested(event, telling));
        }
        spans.extend(self.called(event, telling));
        if let Some(run) = run.filter(|_| run::is_end(&event.body))
            && let Some(open) = self.runs.remove(&run)
        {
            self.calls.retain(|call, _| call.run() != Some(run));
            spans.extend(open.ended(event, telling));
        }
        spans
    }

    /// What an event says of a call.
    fn called(&mut self, event: &Event, telling: &Telling) -> Option<Span> {
        let call = call::of(&event.body)?;
        let run = call.run().and_then(|run| self.runs.get_mut(&run));
        // A call of a session belongs to its run, and to nothing where that is not known.
        if call.run().is_some() && run.is_none() {
            return None;
        }
        if let Body::CallProposed { .. } = event.body {
            let trace = run.map_or_else(|| context(event), |run| run.trace());
            self.calls.insert(call.clone(), OpenCall::new(event, trace));
            return None;
        }
        let mut open = match self.calls.remove(call) {
            Some(open) => open,
            None if call::goes_on(&event.body) => OpenCall::unknown(event),
            None => return None,
        };
        let span = open.went_on(event, run, telling);
        if !call::is_end(&event.body) {
            self.calls.insert(call.clone(), open);
        }
        span
    }
}

/// Whether an event of a run may stand after the run's end, and begins nothing.
fn is_after_end(body: &Body) -> bool {
    matches!(body, Body::CallReconciled { .. } | Body::CallNote { .. })
}

/// The place of the nearest earlier event of a kind, so many places back at the most.
fn find_back(
    event: &Event,
    back: u64,
    is_it: &dyn Fn(&Event) -> bool,
    history: History<'_>,
) -> Result<Option<u64>, SourceError> {
    let least = event.seq.saturating_sub(back).max(1);
    let mut until = event.seq;
    while until > least {
        let from = until.saturating_sub(u64::from(PAGE)).max(least);
        let limit = u32::try_from(until - from).unwrap_or(PAGE);
        let page = history(&event.tenant, &event.stream, from, limit)?;
        if let Some(found) = page.iter().rev().find(|earlier| is_it(earlier)) {
            return Ok(Some(found.seq));
        }
        until = from;
    }
    Ok(None)
}

/// The trace that an event is in. One that says none, or what is none, is in one that follows from its place.
fn context(event: &Event) -> TraceContext {
    let told = event.trace.as_deref().and_then(|trace| trace.parse().ok());
    told.unwrap_or_else(|| {
        let place = format!("{}\n{}", event.stream, event.seq);
        let mut short = [0; 16];
        short.copy_from_slice(&Digest::of(place.as_bytes()).as_bytes()[..16]);
        TraceContext::from_random(short)
    })
}
