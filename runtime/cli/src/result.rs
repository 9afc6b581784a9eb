//! How a call's end is told: its output, its outcome in words, its denials, its price.

use ringfence::event::{
    Content, Denial, Failure, FailureKind, Note, Outcome, Output, Usage, neutralise_line,
};

use crate::{
    screen::{Sheet, Tone},
    text::{bytes, count, cut, first_line, micros, millis},
};

/// How much of a line of a tool or a model is shown where there are many.
pub(crate) const LINE_COLUMNS: usize = 100;

/// A denial: what the operator reads, so nothing of it is cut.
pub(crate) fn show_denial(sheet: &mut Sheet, indent: &str, denial: &Denial) {
    let text = denial.to_string();
    let text = sheet.paint(Tone::Bad, neutralise_line(&text));
    sheet.line(format!("{indent}{text}"));
}

/// What a call says while it runs.
pub(crate) fn show_note(sheet: &mut Sheet, indent: &str, note: &Note) {
    match note {
        Note::Progress { done, total, message } => {
            let mut text = match total {
                Some(total) => format!("{indent}{} of {}", count(*done), count(*total)),
                None => format!("{indent}{} so far", count(*done)),
            };
            if let Some(message) = message {
                text += &format!(": {message}");
            }
            sheet.progress(&text);
        }
        Note::Log { level, message } => {
            use ringfence::event::Level::{Debug, Error, Info, Trace, Warn};
            let (word, tone) = match level {
                Trace => ("trace", Tone::Faint),
                Debug => ("debug", Tone::Faint),
                Info => ("info", Tone::Faint),
                Warn => ("warning", Tone::Warning),
                Error => ("error", Tone::Bad),
            };
            let word = sheet.paint(tone, word);
            sheet.line(format!("{indent}{word}: {}", neutralise_line(message)));
        }
        // It comes again with the output.
        Note::Content { .. } => {}
    }
}

/// What a call returned, for a person.
pub(crate) fn output_text(output: &Output) -> String {
    let mut parts: Vec<String> = output.content.iter().map(content_text).collect();
    let has_text = output.content.iter().any(|part| matches!(part, Content::Text { .. }));
    if let (false, Some(structured)) = (has_text, &output.structured) {
        // `Value` prints itself as JSON; with `#` over several lines.
        parts.push(format!("{structured:#}"));
    }
    parts.join("\n")
}

fn content_text(content: &Content) -> String {
    let media = |what, media: &ringfence::event::Media| {
        format!("({what}, {}, {}; --json has it)", media.mime, bytes(media.data.len() as u64))
    };
    match content {
        Content::Text { text } => text.clone(),
        Content::Image(image) => media("image", image),
        Content::Audio(audio) => media("audio", audio),
        Content::File(file) => media("file", file),
        Content::Link(link) => match &link.name {
            Some(name) => format!("{name}: {}", link.uri),
            None => link.uri.clone(),
        },
    }
}

/// The outcome in words, without what was returned.
pub(crate) fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::LimitReached { limit } => format!("stopped by its limit of {limit}"),
        Outcome::Invalid { .. } => "not started, the arguments do not fit".to_owned(),
        Outcome::Denied => "refused, nothing was started".to_owned(),
        Outcome::HostError { .. } => "the host failed".to_owned(),
        Outcome::OutcomeUnknown => "outcome unknown: the host died while it ran".to_owned(),
        other => other.as_str().to_owned(),
    }
}

/// The tone of an outcome.
pub(crate) fn outcome_tone(outcome: &Outcome) -> Tone {
    match outcome {
        Outcome::Succeeded { .. } => Tone::Good,
        Outcome::Cancelled | Outcome::LimitReached { .. } | Outcome::OutcomeUnknown => {
            Tone::Warning
        }
        _ => Tone::Bad,
    }
}

/// What there is to say beyond the outcome's words, on one line; empty where there is nothing.
pub(crate) fn outcome_line(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded { output } => first_line(&output_text(output), LINE_COLUMNS),
        other => match outcome_message(other) {
            Some(message) => cut(&message, 3 * LINE_COLUMNS),
            None => String::new(),
        },
    }
}

/// Why it did not succeed, in full.
pub(crate) fn outcome_message(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Failed { failure } | Outcome::Invalid { failure } => Some(failure_text(failure)),
        Outcome::Trapped { message } | Outcome::HostError { message } => Some(message.clone()),
        _ => None,
    }
}

fn failure_text(failure: &Failure) -> String {
    let mut text = failure.message.clone();
    // A check of the host names the place itself.
    if let Some(path) = failure.path.as_ref().filter(|path| !text.contains(path.as_str())) {
        text += &format!(" (at {path})");
    }
    if failure.kind == FailureKind::Unavailable {
        text += match failure.retry_after_ms {
            Some(ms) => format!(" (try again after {})", millis(ms)),
            None => " (try again later)".to_owned(),
        }
        .as_str();
    }
    text
}

/// What a call cost, on one line: `12.0 ms: fuel 1.2M, …`.
pub(crate) fn cost(usage: &Usage) -> String {
    let mut parts = vec![
        format!("fuel {}", count(usage.fuel)),
        format!("host work {}", count(usage.host_work)),
        format!("memory {}", bytes(usage.memory_peak_bytes)),
    ];
    for (what, number) in
        [("read", usage.bytes_read), ("wrote", usage.bytes_written), ("sent", usage.egress_bytes)]
    {
        if number > 0 {
            parts.push(format!("{what} {}", bytes(number)));
        }
    }
    format!("{}: {}", micros(usage.wall_us), parts.join(", "))
}
