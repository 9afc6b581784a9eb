//! The second wall between a secret and whatever is recorded or shown: the gate has taken the secrets
//! of a call's requests out of every response, and here they are taken out of everything that leaves
//! the call, in whatever way they came to it.

use std::sync::Arc;

use ringfence_capability::memory::{Change, Writes};
use ringfence_event::{Asked, Content, Denial, Failure, Media, Note, Outcome};
use ringfence_sandbox::{Ended, Sink};
use ringfence_vault::Redactor;
use serde_json::Value;

/// Takes the secrets out of what a call says on its way.
pub(crate) struct Redacting {
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) sink: Arc<dyn Sink>,
}

impl Sink for Redacting {
    fn note(&self, mut note: Note) {
        match &mut note {
            Note::Progress { message, .. } => option(&self.redactor, message),
            Note::Log { message, .. } => text(&self.redactor, message),
            Note::Content { content: part } => content(&self.redactor, part),
        }
        self.sink.note(note);
    }
}

/// Takes the secrets out of what is left of a call.
pub(crate) fn ended(redactor: &Redactor, ended: &mut Ended) {
    if redactor.is_empty() {
        return;
    }
    outcome(redactor, &mut ended.outcome);
    for denial in &mut ended.denials {
        asked(redactor, denial);
    }
    if let Some(state) = &mut ended.state {
        bytes(redactor, state);
    }
    ended.writes = std::mem::take(&mut ended.writes)
        .into_iter()
        .map(|((scope, mut key), mut change)| {
            text(redactor, &mut key);
            if let Change::Set(value) = &mut change {
                bytes(redactor, value);
            }
            ((scope, key), change)
        })
        .collect::<Writes>();
}

fn outcome(redactor: &Redactor, outcome: &mut Outcome) {
    match outcome {
        Outcome::Succeeded { output } => {
            output.content.iter_mut().for_each(|part| content(redactor, part));
            if let Some(structured) = &mut output.structured {
                value(redactor, structured);
            }
        }
        Outcome::Failed { failure: Failure { message, path, .. } }
        | Outcome::Invalid { failure: Failure { message, path, .. } } => {
            text(redactor, message);
            option(redactor, path);
        }
        Outcome::Trapped { message } | Outcome::HostError { message } => text(redactor, message),
        Outcome::NeedsInput { question } => {
            text(redactor, &mut question.message);
            value(redactor, &mut question.schema);
        }
        // A person's words.
        Outcome::Declined { .. }
        | Outcome::Denied
        | Outcome::LimitReached { .. }
        | Outcome::Cancelled
        | Outcome::OutcomeUnknown => {}
    }
}

fn content(redactor: &Redactor, content: &mut Content) {
    match content {
        Content::Text { text: shown } => text(redactor, shown),
        Content::Image(Media { mime, data })
        | Content::Audio(Media { mime, data })
        | Content::File(Media { mime, data }) => {
            text(redactor, mime);
            bytes(redactor, data);
        }
        Content::Link(link) => {
            text(redactor, &mut link.uri);
            option(redactor, &mut link.name);
            option(redactor, &mut link.mime);
        }
    }
}

fn asked(redactor: &Redactor, denial: &mut Denial) {
    match &mut denial.asked {
        Asked::Function { name, .. } => text(redactor, name),
        Asked::File { path, .. } => text(redactor, path),
        Asked::Http { method, url } | Asked::Secret { method, url, .. } => {
            text(redactor, method);
            text(redactor, url);
        }
        Asked::Memory { bucket, .. } => text(redactor, bucket),
        Asked::Socket { address } | Asked::Bind { address } => text(redactor, address),
        Asked::Config { key } => text(redactor, key),
    }
    // A line that would allow a thing repeats what was asked.
    denial.remedies.iter_mut().for_each(|remedy| {
        text(redactor, &mut remedy.table);
        text(redactor, &mut remedy.allow);
    });
}

fn value(redactor: &Redactor, json: &mut Value) {
    match json {
        Value::String(shown) => text(redactor, shown),
        Value::Array(items) => items.iter_mut().for_each(|item| value(redactor, item)),
        Value::Object(fields) => {
            *fields = std::mem::take(fields)
                .into_iter()
                .map(|(mut key, mut field)| {
                    text(redactor, &mut key);
                    value(redactor, &mut field);
                    (key, field)
                })
                .collect();
        }
        // A secret of nothing but digits is a number here.
        Value::Number(number) => {
            let mut shown = number.to_string();
            text(redactor, &mut shown);
            if shown != number.to_string() {
                *json = Value::String(shown);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn option(redactor: &Redactor, text_or_none: &mut Option<String>) {
    if let Some(shown) = text_or_none {
        text(redactor, shown);
    }
}

fn text(redactor: &Redactor, text: &mut String) {
    let shown = redactor.text(text);
    if *shown != **text {
        *text = shown.into_owned();
    }
}

fn bytes(redactor: &Redactor, bytes: &mut Vec<u8>) {
    let shown = redactor.bytes(bytes);
    if *shown != **bytes {
        *bytes = shown.into_owned();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use ringfence_event::{
        Access, DenialCode, FailureKind, Level, Link, Output, Remedy, Scope, Usage,
    };
    use ringfence_vault::{Secret, Zeroizing};
    use serde_json::json;

    use super::*;

    const TOKEN: &str = "correct/horse=42";

    #[derive(Default)]
    struct Heard(Mutex<Vec<Note>>);

    impl Sink for Heard {
        fn note(&self, note: Note) {
            self.0.lock().unwrap().push(note);
        }
    }

    fn redactor() -> Redactor {
        let redactor = Redactor::default();
        for (name, value) in [("TOKEN", TOKEN), ("PIN", "12345678")] {
            let value = Zeroizing::new(value.as_bytes().to_vec());
            redactor.learn(Secret::new(name.parse().unwrap(), value).ok().unwrap());
        }
        redactor
    }

    fn failed(message: String) -> Outcome {
        let path = Some(message.clone());
        Outcome::Failed {
            failure: Failure { kind: FailureKind::Failed, message, path, retry_after_ms: None },
        }
    }

    /// Every text that a call can leave behind, with a secret in each.
    #[test]
    fn no_text_of_a_call_keeps_a_secret() {
        let token = || TOKEN.to_owned();
        let media = || Media { mime: token(), data: token().into_bytes() };
        let parts = [
            Content::Text { text: format!("a {TOKEN} b") },
            Content::Image(media()),
            Content::Audio(media()),
            Content::File(media()),
            Content::Link(Link { uri: token(), name: Some(token()), mime: Some(token()) }),
        ];
        let structured = json!({ TOKEN: [TOKEN, 12345678, 7, null, true, { "a": TOKEN }] });
        let output = Output { content: parts.to_vec(), structured: Some(structured) };
        let asked = [
            Asked::Function { tool: None, function: None, name: token() },
            Asked::File { path: token(), access: Access::Read },
            Asked::Http { method: token(), url: token() },
            Asked::Secret {
                name: "TOKEN".parse().unwrap(),
                method: token(),
                url: token(),
                fault: None,
            },
            Asked::Memory { bucket: token(), access: Access::Read },
            Asked::Socket { address: token() },
            Asked::Config { key: token() },
        ];
        let remedy = Remedy {
            owner: ringfence_event::FileOwner::Operator,
            file: "ringfence.toml".into(),
            line: None,
            table: token(),
            allow: token(),
        };
        let denial = |asked| Denial::new(DenialCode::NotNeeded, asked, vec![remedy.clone()]);
        let writes = || {
            let set = |value: String| Change::Set(value.into_bytes());
            Writes::from([
                ((Scope::User, token()), set(token())),
                ((Scope::User, "other".into()), set(format!("x{TOKEN}y"))),
                ((Scope::Tenant, token()), Change::Delete),
            ])
        };
        let redactor = redactor();
        let outcomes = [
            Outcome::Succeeded { output },
            failed(token()),
            Outcome::Trapped { message: token() },
            Outcome::HostError { message: token() },
        ];
        for outcome in outcomes {
            let mut left = Ended {
                state: None,
                outcome,
                denials: asked.clone().map(denial).to_vec(),
                usage: Usage::default(),
                writes: writes(),
            };
            assert!(format!("{left:?}").contains(TOKEN));
            ended(&redactor, &mut left);
            let shown = format!("{left:?}");
            assert!(!shown.contains(TOKEN), "{shown}");
            assert!(!shown.contains(&format!("{:?}", TOKEN.as_bytes())[1..20]), "{shown}");
            assert!(!shown.contains("12345678"), "{shown}");
            assert!(shown.contains("[redacted:TOKEN]"), "{shown}");
            assert_eq!(left.writes.len(), 3);
            // What is recorded is read again: it is still what it was but for that.
            let json = serde_json::to_string(&left.outcome).unwrap();
            assert_eq!(serde_json::from_str::<Outcome>(&json).unwrap(), left.outcome);
        }
        let heard = Arc::new(Heard::default());
        let sink = Redacting { redactor: Arc::new(redactor), sink: heard.clone() };
        sink.note(Note::Log { level: Level::Info, message: token() });
        sink.note(Note::Progress { done: 1, total: None, message: Some(token()) });
        for content in parts {
            sink.note(Note::Content { content });
        }
        let shown = format!("{:?}", heard.0.lock().unwrap());
        assert!(!shown.contains(TOKEN) && shown.contains("[redacted:TOKEN]"), "{shown}");
    }
}
