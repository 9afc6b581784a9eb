//! The Messages API of Anthropic. User and assistant take turns there; results are the user's.

use std::collections::BTreeSet;

use ringfence_event::{ModelFailure, ModelRequest, ProposedCall, TokenUsage};
use serde_json::{Value, json};

use super::{
    Flow,
    draft::{Draft, End},
    unusable,
    wire::{self, WireMessage},
};
use crate::{Deltas, VendorConfig};

/// The version of the API that this is written for.
pub(super) const VERSION: &str = "2023-06-01";

/// What a reply may take if nobody says: the protocol wants a number.
const OUTPUT_TOKENS: u64 = 4096;

pub(super) fn body(request: &ModelRequest, config: &VendorConfig, output: Option<u64>) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    let mut called = BTreeSet::new();
    for message in wire::messages(&request.messages) {
        let (role, blocks) = match message {
            WireMessage::User(text) => ("user", text_block(text).into_iter().collect()),
            WireMessage::Assistant { text, calls } => {
                called.extend(calls.iter().map(|call| call.function.clone()));
                let calls = calls.into_iter().map(|call| {
                    json!({
                        "type": "tool_use",
                        "id": call.id,
                        "name": call.function,
                        "input": serde_json::from_str::<Value>(&call.arguments).unwrap_or_default(),
                    })
                });
                ("assistant", text_block(text).into_iter().chain(calls).collect())
            }
            WireMessage::Result { id, succeeded, text } => {
                let mut block = json!({ "type": "tool_result", "tool_use_id": id });
                if !text.is_empty() {
                    block["content"] = text.into();
                }
                if !succeeded {
                    block["is_error"] = true.into();
                }
                ("user", vec![block])
            }
        };
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend::<Vec<Value>>(blocks),
            _ if blocks.is_empty() => {}
            _ => turns.push((role, blocks)),
        }
    }
    let messages =
        turns.into_iter().map(|(role, content)| json!({ "role": role, "content": content }));
    let mut body = json!({
        "model": config.name,
        "messages": messages.collect::<Vec<_>>(),
        "max_tokens": output.unwrap_or(OUTPUT_TOKENS),
        "stream": true,
    });
    if !request.instructions.is_empty() {
        body["system"] = (*request.instructions).into();
    }
    if !request.functions.is_empty() {
        let tools = request.functions.iter().map(|function| {
            json!({
                "name": function.name,
                "description": function.description,
                "input_schema": wire::schema(&function.input_schema),
            })
        });
        body["tools"] = tools.collect();
    } else if !called.is_empty() {
        // A conversation with calls is refused if no function is defined, so they are, and none of
        // them can be called.
        let tools = called
            .into_iter()
            .map(|name| json!({ "name": name, "input_schema": { "type": "object" } }));
        body["tools"] = tools.collect();
        body["tool_choice"] = json!({ "type": "none" });
    }
    body
}

/// A text; an empty one is refused there.
fn text_block(text: &str) -> Option<Value> {
    (!text.trim().is_empty()).then(|| json!({ "type": "text", "text": text }))
}

/// The next event of a stream.
pub(super) fn event(
    event: &Value,
    draft: &mut Draft,
    deltas: &dyn Deltas,
) -> Result<Flow, ModelFailure> {
    let number = event["index"].as_u64().unwrap_or_default();
    match event["type"].as_str().unwrap_or_default() {
        "message_start" => usage(&event["message"]["usage"], draft),
        "content_block_start" => {
            let block = &event["content_block"];
            match block["type"].as_str().unwrap_or_default() {
                "tool_use" => {
                    let call = call(block);
                    // Its input comes in pieces; what stands here is none, or all of it.
                    let has_input =
                        block["input"].as_object().is_some_and(|input| !input.is_empty());
                    let arguments = if has_input { call.arguments } else { String::new() };
                    draft.begin(number, ProposedCall { arguments, ..call });
                }
                "text" => said(block["text"].as_str().unwrap_or_default(), draft, deltas),
                _ => {}
            }
        }
        "content_block_delta" => {
            let delta = &event["delta"];
            match delta["type"].as_str().unwrap_or_default() {
                "text_delta" => said(delta["text"].as_str().unwrap_or_default(), draft, deltas),
                "input_json_delta" => {
                    let part = delta["partial_json"].as_str().unwrap_or_default();
                    // Of what the vendor's own tools do nothing is kept.
                    if let Some(call) = draft.call(number) {
                        call.arguments.push_str(part);
                    }
                }
                _ => {}
            }
        }
        "message_delta" => {
            usage(&event["usage"], draft);
            draft.stop =
                event["delta"]["stop_reason"].as_str().map(str::to_owned).or(draft.stop.take());
        }
        "message_stop" => {
            let reason = draft.stop.take();
            draft.end = Some(end(reason.as_deref()));
            return Ok(Flow::Last);
        }
        _ => {}
    }
    Ok(Flow::More)
}

/// An answer that is no stream.
pub(super) fn whole(answer: &Value, draft: &mut Draft) -> Result<(), ModelFailure> {
    usage(&answer["usage"], draft);
    let content = answer["content"].as_array();
    let content = content.ok_or_else(|| unusable("the answer has no `content`"))?;
    for (number, block) in (0..).zip(content) {
        match block["type"].as_str().unwrap_or_default() {
            "text" => draft.text.push_str(block["text"].as_str().unwrap_or_default()),
            "tool_use" => drop(draft.begin(number, call(block))),
            _ => {}
        }
    }
    draft.end = Some(end(answer["stop_reason"].as_str()));
    Ok(())
}

fn said(part: &str, draft: &mut Draft, deltas: &dyn Deltas) {
    if !part.is_empty() {
        draft.text.push_str(part);
        deltas.text(part);
    }
}

fn call(block: &Value) -> ProposedCall {
    let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
    let arguments = match &block["input"] {
        Value::Null => String::new(),
        input => input.to_string(),
    };
    ProposedCall { id: text("id"), function: text("name"), arguments }
}

fn end(reason: Option<&str>) -> End {
    match reason {
        Some("max_tokens" | "model_context_window_exceeded") => End::TooLong,
        Some("refusal") => End::Refused(String::new()),
        _ => End::Done,
    }
}

/// Counts so far. What an event does not say stays as it was.
fn usage(usage: &Value, draft: &mut Draft) {
    if !usage.is_object() {
        return;
    }
    let count = |key: &str| usage[key].as_u64();
    let mut tokens = draft.tokens.unwrap_or_default();
    // Here `input_tokens` are those behind what is cached.
    if let Some(input) = count("input_tokens") {
        let read = count("cache_read_input_tokens").unwrap_or_default();
        let written = count("cache_creation_input_tokens").unwrap_or_default();
        let input = input.saturating_add(read).saturating_add(written);
        tokens = TokenUsage { input, cached: read, ..tokens };
    }
    tokens.output = count("output_tokens").unwrap_or(tokens.output);
    draft.tokens = Some(tokens);
}
