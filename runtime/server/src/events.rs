//! Streams of events: read from the journal where the reader stands, so that nothing is lost and nothing
//! comes twice, across reconnects and restarts. A stream holds one page at a time, however slowly it is
//! read.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use ringfence::{
    Caller, Delta, Listening,
    event::{Body as Fact, Commit, Event, SessionId, StepId, UserId},
};
use ringfence_observe::CloudEvent;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{broadcast, watch},
    time::Instant,
};

use crate::{
    answer::{Answer, Documented, Reply, Whole},
    keys::Principal,
    problem::{Code, Problem},
    state::State,
    works::{Kind, Work},
};

/// How many events are read at one time.
const PAGE: u32 = 64;

/// How many rows of the journal, whosever they are, are looked at for a page of a tenant's.
const ROWS: u32 = 256;

/// How many pieces of replies are kept for a reader who has yet to read what stands before them.
const HEARD_MAX: usize = 256;

/// A place in a stream, as its `id` says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// A session's: the event's `seq`. A tenant's: what was stored together.
    pub(crate) row: u64,
    /// A tenant's: how many events of that row were read; 0: all.
    pub(crate) within: u64,
}

impl Place {
    /// One behind everything up to there.
    pub(crate) fn after(row: u64) -> Self {
        Self { row, within: 0 }
    }

    /// `7`, or `7.2`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            plain
                .then(|| text.parse::<u64>().ok().filter(|number| i64::try_from(*number).is_ok()))?
        };
        match text.split_once('.') {
            None => Some(Self::after(number(text)?)),
            Some((row, within)) => Some(Self { row: number(row)?, within: number(within)? }),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.within {
            0 => write!(f, "{}", self.row),
            within => write!(f, "{}.{within}", self.row),
        }
    }
}

/// How the events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Form {
    /// As the journal has them.
    #[default]
    Event,
    /// As CloudEvents 1.0.
    Cloudevent,
}

impl Form {
    /// The one place where an event becomes what a reader gets.
    fn write(self, event: &Event) -> Result<String, Problem> {
        let text = match self {
            Self::Event => serde_json::to_string(event),
            Self::Cloudevent => Ok(CloudEvent::of(event).json()),
        };
        text.map_err(|error| Problem::internal(error.to_string()))
    }

    fn value(self, event: &Event) -> Result<serde_json::Value, Problem> {
        let value = match self {
            Self::Event => serde_json::to_value(event),
            Self::Cloudevent => serde_json::to_value(CloudEvent::of(event)),
        };
        value.map_err(|error| Problem::internal(error.to_string()))
    }
}

/// A piece of a reply while it comes: without a place, and not to be read again. What counts is
/// `model.completed`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct DeltaView<'a> {
    ephemeral: bool,
    step: StepId,
    text: &'a str,
}

/// What a reader was not sent.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Gap {
    /// Why.
    reason: GapReason,
    /// Ask for the events behind this place to get them.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// The stream goes on behind this place.
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<String>,
}

/// Why events were not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum GapReason {
    /// The reader was too far behind.
    Slow,
    /// Pieces of replies, which are kept nowhere: the whole reply follows.
    DeltasDropped,
    /// What stands there is damaged and cannot be read; its operator's log says more.
    Damaged,
}

/// What is read.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// The events of one session.
    Session(Caller, SessionId),
    /// All of a tenant, or of one user of it.
    Tenant(Caller, Option<UserId>),
}

/// What was read of it.
struct Found {
    /// Each event with its place.
    events: Vec<(Place, Event)>,
    /// The place behind all that was looked at.
    next: Place,
    /// Whether some of that is damaged.
    is_damaged: bool,
}

impl Source {
    /// Events behind a place.
    fn page(&self, state: &State, after: Place) -> Result<Found, Problem> {
        match self {
            Self::Session(caller, id) => {
                let events = state.runtime.events(caller, id, after.row.saturating_add(1), PAGE)?;
                let events: Vec<_> =
                    events.into_iter().map(|event| (Place::after(event.seq), event)).collect();
                let next = events.last().map_or(after, |(place, _)| *place);
                Ok(Found { events, next, is_damaged: false })
            }
            Self::Tenant(caller, only) => {
                // A row of which some were read is read again.
                let from = if after.within > 0 { after.row.saturating_sub(1) } else { after.row };
                let page = state.runtime.committed(from, Some(&caller.tenant), ROWS)?;
                // What stands behind it is not lost with it.
                for what in &page.damaged {
                    state.log.failed("reading a tenant's events", what);
                }
                let mut events = vec![];
                for Commit { position: row, events: stored } in page.commits {
                    let last = stored.len() as u64;
                    for (within, event) in (1..).zip(&*stored) {
                        let place = Place { row, within: if within == last { 0 } else { within } };
                        let was_read = row == after.row && within <= after.within;
                        let is_seen = only.as_ref().is_none_or(|only| event.user == *only);
                        if !was_read && is_seen {
                            events.push((place, event.clone()));
                        }
                    }
                }
                let next = Place::after(page.position.max(after.row));
                Ok(Found { events, next, is_damaged: !page.damaged.is_empty() })
            }
        }
    }

    /// The place behind everything that is there.
    fn end(&self, state: &State) -> Result<Place, Problem> {
        Ok(Place::after(match self {
            Self::Session(caller, id) => state.runtime.last_seq(caller, id)?,
            Self::Tenant(..) => state.runtime.position()?,
        }))
    }
}

/// A page of events.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct EventPage {
    /// In their order.
    #[schemars(with = "Vec<Event>")]
    events: Vec<serde_json::Value>,
    /// Where the next page begins: its `after`.
    next: String,
    /// Whether there was nothing behind these when they were read.
    is_all: bool,
    /// Whether something between them is damaged and left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_damaged: bool,
}

/// Events, as a stream or as a page.
pub(crate) enum Events {
    Stream(Box<Response>),
    Page(EventPage),
}

impl Answer for Events {
    fn document(generator: &mut SchemaGenerator) -> Vec<Documented> {
        let text: Schema = schemars::json_schema!({
            "type": "string",
            "description": "Server-sent events: `id` is the place, `event` the kind, `data` the event. `event: gap` says which events a slow reader was not sent. `event: model.delta`, without an `id`, is a piece of a reply while it comes: ephemeral, and never sent again. Comments are heartbeats.",
        });
        let content = vec![
            ("text/event-stream", text),
            ("application/json", generator.subschema_for::<EventPage>()),
        ];
        let description = "The events: a stream, or one page where `accept` is `application/json`.";
        vec![Documented { status: 200, description, content, has_location: false }]
    }

    fn reply(self) -> Result<Reply, Problem> {
        match self {
            Self::Stream(response) => Ok(Reply::Going(*response)),
            Self::Page(page) => {
                let body = serde_json::to_vec(&page)
                    .map_err(|error| Problem::internal(error.to_string()))?;
                Ok(Reply::Whole(Whole { status: 200, location: None, body }))
            }
        }
    }
}

/// Whether a client asks for a stream, for a page, or says nothing of it.
pub(crate) fn accepts(headers: &HeaderMap) -> Option<bool> {
    let all = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let all: Vec<&str> = all.flat_map(|accept| accept.split(',')).collect();
    let names = |kind: &str| {
        all.iter()
            .any(|one| one.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(kind))
    };
    match (names("text/event-stream"), names("application/json")) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

/// Where a reader stands: at the event that it read last, or where its query says.
pub(crate) fn place(headers: &HeaderMap, after: Option<&str>) -> Result<Option<Place>, Problem> {
    let said = |code, name: &str| {
        let said = format!("{name} is the `id` of an event of this stream, such as `7`");
        Problem::new(code, said)
    };
    if let Some(last) = headers.get("last-event-id") {
        let place = last.to_str().ok().and_then(Place::parse);
        return place.map(Some).ok_or_else(|| said(Code::BadHeader, "`last-event-id`"));
    }
    let place =
        after.map(|after| Place::parse(after).ok_or_else(|| said(Code::BadQuery, "`after`")));
    place.transpose()
}

/// One page of events.
pub(crate) fn page(
    state: &State,
    source: &Source,
    after: Place,
    form: Form,
) -> Result<Events, Problem> {
    let Found { events: found, next, is_damaged } = source.page(state, after)?;
    let is_all = next >= source.end(state)?;
    let events = found.iter().map(|(_, event)| form.value(event)).collect::<Result<_, _>>()?;
    Ok(Events::Page(EventPage { events, next: next.to_string(), is_all, is_damaged }))
}

/// What a stream is, beside what it reads.
pub(crate) struct Opening {
    pub(crate) source: Source,
    pub(crate) after: Place,
    pub(crate) form: Form,
    /// Whether it goes on when everything that is there was sent.
    pub(crate) follow: bool,
    /// Kept for as long as the stream is, and dropped with it.
    pub(crate) held: Option<Box<dyn Send + Sync>>,
}

/// Opens a stream of events.
pub(crate) fn stream(
    state: &State,
    principal: &Principal,
    opening: Opening,
) -> Result<Events, Problem> {
    let work = state.works.begin(Kind::Stream, Some(&principal.key.id), principal.tenant());
    let (all, own) = state.works.count(Kind::Stream, principal.tenant());
    if own > state.config.streams_per_tenant {
        let said = "the tenant has as many event streams open as it may";
        return Err(Problem::new(Code::Overloaded, said).retry_after(Duration::from_secs(1)));
    }
    if all > state.config.streams {
        let said = "the service has as many event streams open as it can";
        return Err(Problem::new(Code::ServiceFull, said).retry_after(Duration::from_secs(1)));
    }
    let Opening { source, after, form, follow, held } = opening;
    let reader = Reader {
        // From before the first look: what is stored after it is told.
        changes: state.tide.watch(),
        deltas: match &source {
            Source::Session(caller, session) => Some(state.runtime.deltas(caller, session)),
            Source::Tenant(..) => None,
        },
        heard: VecDeque::new(),
        state: state.clone(),
        source,
        after,
        form,
        follow,
        look: true,
        ready: VecDeque::new(),
        was_level: false,
        quiet_since: Instant::now(),
        work,
        _held: held,
    };
    let pieces = futures_util::stream::unfold(Some(reader), |reader| async move {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(piece)) => Some((Ok::<_, std::io::Error>(piece), Some(reader))),
            Ok(None) => None,
            Err(problem) => {
                let why = problem.internal.clone().unwrap_or_else(|| format!("{:?}", problem.code));
                reader.state.log.failed("an event stream", &why);
                // A client that reads on from where it stands loses nothing.
                let code = problem.code.as_str();
                let piece = format!("event: error\ndata: {{\"code\":\"{code}\"}}\n\n");
                Some((Ok(Bytes::from(piece)), None))
            }
        }
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What stands before the service is to pass on each piece as it comes.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(Events::Stream(Box::new(response)))
}

/// One stream.
struct Reader {
    state: State,
    changes: watch::Receiver<u64>,
    /// Of a session alone.
    deltas: Option<Listening>,
    /// Pieces of replies, each with the step whose reply it is of, and words for those that were missed.
    heard: VecDeque<(Option<StepId>, Bytes)>,
    source: Source,
    /// Everything up to here was handed out, or is ready to be.
    after: Place,
    form: Form,
    follow: bool,
    /// Whether there may be something that was not read.
    look: bool,
    ready: VecDeque<Bytes>,
    /// Whether it had everything once: from then on it can fall behind.
    was_level: bool,
    quiet_since: Instant,
    work: Work,
    _held: Option<Box<dyn Send + Sync>>,
}

impl Reader {
    /// The next piece; nothing at the stream's end.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let cancel = self.work.cancel.clone();
        loop {
            if cancel.is_requested() {
                return Ok(None);
            }
            if let Some(piece) = self.ready.pop_front() {
                self.quiet_since = Instant::now();
                return Ok(Some(piece));
            }
            if self.changes.has_changed().unwrap_or(false) {
                self.changes.mark_unchanged();
                self.look = true;
            }
            // Heard before the look, so that what they follow from is stored by then.
            loop {
                match self.deltas.as_mut().map(Listening::try_recv) {
                    Some(Ok(delta)) => self.hear(&delta)?,
                    Some(Err(broadcast::error::TryRecvError::Lagged(_))) => self.missed()?,
                    Some(Err(_)) | None => break,
                }
            }
            let goes_on = if self.look || !self.heard.is_empty() { self.fill()? } else { false };
            self.look = goes_on;
            if !goes_on {
                // What was asked before they were said is among what was read.
                self.ready.extend(self.heard.drain(..).map(|(_, piece)| piece));
            }
            if goes_on || !self.ready.is_empty() {
                // A long way through what is others' keeps nobody waiting.
                tokio::task::yield_now().await;
                continue;
            }
            if !self.follow {
                return Ok(None);
            }
            let beat = self.quiet_since + self.state.config.heartbeat;
            tokio::select! {
                changed = self.changes.changed() => {
                    if changed.is_err() {
                        return Ok(None);
                    }
                    self.look = true;
                }
                Some(delta) = heard(&mut self.deltas) => match delta {
                    Ok(delta) => self.hear(&delta)?,
                    Err(broadcast::error::RecvError::Lagged(_)) => self.missed()?,
                    Err(broadcast::error::RecvError::Closed) => return Ok(None),
                },
                () = cancel.requested() => return Ok(None),
                () = tokio::time::sleep_until(beat) => {
                    self.quiet_since = Instant::now();
                    return Ok(Some(Bytes::from_static(b":\n\n")));
                }
            }
        }
    }

    /// A piece of a reply.
    fn hear(&mut self, delta: &Delta) -> Result<(), Problem> {
        if self.heard.len() >= HEARD_MAX {
            self.heard.clear();
            return self.missed();
        }
        let view = DeltaView { ephemeral: true, step: delta.step, text: &delta.text };
        let data =
            serde_json::to_string(&view).map_err(|error| Problem::internal(error.to_string()))?;
        let piece = format!("event: model.delta\ndata: {data}\n\n");
        self.heard.push_back((Some(delta.step), piece.into()));
        Ok(())
    }

    /// Pieces came faster than they were read.
    fn missed(&mut self) -> Result<(), Problem> {
        let gap = Gap { reason: GapReason::DeltasDropped, after: None, through: None };
        let gap =
            serde_json::to_string(&gap).map_err(|error| Problem::internal(error.to_string()))?;
        self.heard.push_back((None, format!("event: gap\ndata: {gap}\n\n").into()));
        Ok(())
    }

    /// Reads what is there; says whether there may be more at once.
    fn fill(&mut self) -> Result<bool, Problem> {
        if let Source::Session(..) = self.source
            && self.was_level
        {
            let end = self.source.end(&self.state)?;
            if end.row.saturating_sub(self.after.row) > self.state.config.stream_lag {
                let (after, through) = (self.after.to_string(), end.to_string());
                let (after, told) = (Some(after), Some(through.clone()));
                let gap = Gap { reason: GapReason::Slow, after, through: told };
                let gap = serde_json::to_string(&gap)
                    .map_err(|error| Problem::internal(error.to_string()))?;
                self.ready.push_back(format!("id: {through}\nevent: gap\ndata: {gap}\n\n").into());
                self.after = end;
                return Ok(true);
            }
        }
        let Found { events, next, is_damaged } = self.source.page(&self.state, self.after)?;
        for (place, event) in &events {
            // The pieces of a reply stand before the whole of it, and behind what came before it was asked for.
            if let Fact::ModelCompleted { step, .. } | Fact::ModelFailed { step, .. } = &event.body
            {
                let is_of_it = |of: &Option<StepId>| of.is_none_or(|of| of <= *step);
                while let Some((_, piece)) = self.heard.pop_front_if(|(of, _)| is_of_it(of)) {
                    self.ready.push_back(piece);
                }
            }
            let (kind, data) = (event.body.kind(), self.form.write(event)?);
            self.ready.push_back(format!("id: {place}\nevent: {kind}\ndata: {data}\n\n").into());
        }
        if is_damaged {
            let (after, through) = (Some(self.after.to_string()), Some(next.to_string()));
            let gap = Gap { reason: GapReason::Damaged, after, through };
            let gap = serde_json::to_string(&gap)
                .map_err(|error| Problem::internal(error.to_string()))?;
            self.ready.push_back(format!("id: {next}\nevent: gap\ndata: {gap}\n\n").into());
        }
        let moved = next != self.after;
        self.after = next;
        if events.is_empty() {
            self.was_level = !moved;
        }
        Ok(moved)
    }
}

/// The next piece of a reply, where they are listened to; else never anything.
async fn heard(
    deltas: &mut Option<Listening>,
) -> Option<Result<Arc<Delta>, broadcast::error::RecvError>> {
    Some(deltas.as_mut()?.recv().await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for (text, place) in [
            ("0", Some(Place::after(0))),
            ("7", Some(Place::after(7))),
            ("7.2", Some(Place { row: 7, within: 2 })),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("7.", None),
            (".2", None),
            ("x", None),
            ("99999999999999999999", None),
            ("18446744073709551615", None),
        ] {
            assert_eq!(Place::parse(text), place, "{text}");
            assert!(place.is_none_or(|place| place.to_string() == text), "{text}");
        }
    }

    #[test]
    fn what_a_client_accepts_says_what_it_gets() {
        for (accept, expected) in [
            ("text/event-stream", Some(true)),
            ("application/json, text/event-stream;q=0.5", Some(true)),
            ("application/json", Some(false)),
            ("*/*", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(accepts(&headers), expected, "{accept}");
        }
        assert_eq!(accepts(&HeaderMap::new()), None);
    }
}
