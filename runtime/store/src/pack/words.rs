//! The words that take a byte or two. The place of a word is part of the store's format: none is taken
//! out or moved, new ones come at the end.

use std::{collections::HashMap, sync::OnceLock};

/// The place of a word.
pub(super) fn number(text: &str) -> Option<usize> {
    static PLACES: OnceLock<HashMap<&str, usize>> = OnceLock::new();
    let places = PLACES
        .get_or_init(|| WORDS.iter().enumerate().map(|(place, word)| (*word, place)).collect());
    // Most texts that are none are longer than all words.
    if text.len() > WORD_BYTES_MAX { None } else { places.get(text).copied() }
}

/// The word at a place.
pub(super) fn word(place: usize) -> Option<&'static str> {
    WORDS.get(place).copied()
}

/// The length of the longest.
const WORD_BYTES_MAX: usize = 22;

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "kind", "data", "call", "step", "run", "at", "seq", "usage", "result", "output", "outcome",
    "denials", "succeeded", "content", "type", "text", "fuel", "host-work", "memory-peak-bytes",
    "handles-peak", "wall-us", "host-calls", "bytes-read", "bytes-written", "storage-bytes",
    "egress-bytes", "output-bytes", "log-bytes", "requests", "random-bytes", "step.started",
    "model.requested", "model.completed", "call.proposed", "call.intended", "call.started",
    "call.finished", "step.finished", "model", "request", "parts", "instructions", "functions",
    "messages", "parameters", "reply", "calls", "id", "function", "arguments", "tokens", "input",
    "intent", "tool", "effect", "key", "component", "definitions", "policy", "engine", "limits",
    "memory", "time", "logs", "egress", "handles", "storage", "random", "lift", "seed", "start",
    "pure", "read", "idempotent", "unsafe", "message.added", "run.started", "run.completed",
    "session.created", "agent", "agent-digest", "structured", "cost", "cached", "message",
    "failure", "path", "note", "log", "level", "info", "warn", "memory.written", "scope",
    "session.closed", "run.queued", "run.resumed", "run.waiting", "run.retry-scheduled",
    "run.stopping", "run.failed", "run.cancelled", "run.limit-reached", "model.failed",
    "conversation.compacted", "call.invalid", "call.denied", "call.hold", "call.approved",
    "call.declined", "input.asked", "input.answered", "call.retry-scheduled", "call.note",
    "call.outcome-unknown", "call.reconciled", "budget.warned", "plan.updated", "tool.added",
    "tool.accepted", "tool.removed", "grant.changed", "failed", "invalid", "denied", "declined",
    "needs-input", "limit-reached", "trapped", "cancelled", "host-error", "outcome-unknown", "on",
    "attempt", "limit", "spent", "of", "reopens", "reason", "by", "value", "question", "state",
    "denial", "hold", "rules", "binding", "expires", "on-expiry", "decline", "approve", "session",
    "user", "tenant", "global", "approval", "reconcile", "retry", "class", "retry-after-ms",
    "rate-limited", "unavailable", "cut", "unusable", "too-long", "refused", "no-turn", "host",
    "compaction", "through", "summary", "plan", "title", "status", "pending", "in-progress", "done",
    "total", "progress", "debug", "trace", "error", "image", "audio", "file", "link", "mime", "uri",
    "name", "invalid-input", "bytes", "lines", "schema", "properties", "object", "string", "number",
    "integer", "boolean", "array", "required", "description", "code", "asked", "remedies", "steps",
    "money", "local",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_one_place() {
        for (place, text) in WORDS.iter().enumerate() {
            assert_eq!((number(text), word(place)), (Some(place), Some(*text)));
        }
        assert_eq!((number("nobody-says-this"), word(WORDS.len())), (None, None));
    }
}
