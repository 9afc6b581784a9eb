//! Chat completions, as OpenAI publishes them and Ollama, vLLM, llama.cpp and others speak them.

use ringfence_event::{ModelFailure, ModelRequest, ProposedCall, TokenUsage};
use serde_json::{Value, json};

use super::{
    Flow,
    draft::{Draft, End},
    failure, unusable,
    wire::{self, WireMessage},
};
use crate::{Deltas, VendorConfig};

/// Servers of OpenAI itself, which have another name for the most tokens of a reply.
const OWN_HOSTS: [&str; 2] = ["api.openai.com", ".openai.azure.com"];

pub(super) fn body(request: &ModelRequest, config: &VendorConfig, output: Option<u64>) -> Value {
    let mut messages = Vec::new();
    if !request.instructions.is_empty() {
        messages.push(json!({ "role": "system", "content": request.instructions }));
    }
    messages.extend(wire::messages(&request.messages).into_iter().map(message));
    let mut body = json!({
        "model": config.name,
        "messages": messages,
        "stream": true,
        "stream_options": { "include_usage": true },
    });
    if !request.functions.is_empty() {
        let tools = request.functions.iter().map(|function| {
            json!({ "type": "function", "function": {
                "name": function.name,
                "description": function.description,
                "parameters": wire::schema(&function.input_schema),
            } })
        });
        body["tools"] = tools.collect();
    }
    if let Some(output) = output {
        body[output_key(config.url.host_str().unwrap_or_default())] = output.into();
    }
    body
}

/// What the most tokens of a reply are called there.
fn output_key(host: &str) -> &'static str {
    match OWN_HOSTS.iter().any(|own| host.ends_with(own)) {
        true => "max_completion_tokens",
        false => "max_tokens",
    }
}

fn message(message: WireMessage<'_>) -> Value {
    match message {
        WireMessage::User(text) => json!({ "role": "user", "content": text }),
        WireMessage::Assistant { text, calls } => {
            let mut message = json!({ "role": "assistant" });
            if !text.is_empty() {
                message["content"] = text.into();
            }
            if !calls.is_empty() {
                let calls = calls.into_iter().map(|call| {
                    json!({ "id": call.id, "type": "function", "function": {
                        "name": call.function,
                        "arguments": call.arguments,
                    } })
                });
                message["tool_calls"] = calls.collect();
            }
            message
        }
        WireMessage::Result { id, text, .. } => {
            json!({ "role": "tool", "tool_call_id": id, "content": text })
        }
    }
}

/// The next event of a stream.
pub(super) fn event(
    event: &Value,
    draft: &mut Draft,
    deltas: &dyn Deltas,
) -> Result<Flow, ModelFailure> {
    if let Some(failure) = failure::in_answer(event) {
        return Err(failure);
    }
    usage(event, draft);
    // The event with the usage has no choice.
    let Some(choice) = event.pointer("/choices/0") else { return Ok(Flow::More) };
    let delta = &choice["delta"];
    if let Some(part) = delta["content"].as_str().filter(|part| !part.is_empty()) {
        draft.text.push_str(part);
        deltas.text(part);
    }
    refusal(delta, draft);
    for call in delta["tool_calls"].as_array().into_iter().flatten() {
        let text = |path: &str| call.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (id, name) = (text("/id"), text("/function/name"));
        let number = call["index"].as_u64().unwrap_or_else(|| {
            // Whoever does not count says a call whole, or goes on with the last one.
            let last = draft.calls.len() as u64;
            if id.is_empty() && name.is_empty() { last.saturating_sub(1) } else { last }
        });
        // Some count every call as the first: another id with a name is another call.
        let is_new = draft.call(number).is_none_or(|call| {
            !id.is_empty() && !name.is_empty() && !call.id.is_empty() && call.id != id
        });
        let begun = match draft.call(number) {
            Some(begun) if !is_new => begun,
            _ => draft.begin(number, empty()),
        };
        for (field, given) in [(&mut begun.id, id), (&mut begun.function, name)] {
            if field.is_empty() {
                given.clone_into(field);
            }
        }
        begun.arguments.push_str(&arguments(call));
    }
    finish(choice, draft);
    Ok(Flow::More)
}

/// An answer that is no stream.
pub(super) fn whole(answer: &Value, draft: &mut Draft) -> Result<(), ModelFailure> {
    usage(answer, draft);
    let choice = answer.pointer("/choices/0");
    let choice = choice.ok_or_else(|| unusable("the answer has no `choices`"))?;
    let message = &choice["message"];
    if let Some(text) = message["content"].as_str() {
        text.clone_into(&mut draft.text);
    }
    for (number, call) in (0..).zip(message["tool_calls"].as_array().into_iter().flatten()) {
        let text = |path: &str| call.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let (id, function) = (text("/id").to_owned(), text("/function/name").to_owned());
        draft.begin(number, ProposedCall { id, function, arguments: arguments(call) });
    }
    refusal(message, draft);
    finish(choice, draft);
    Ok(())
}

fn empty() -> ProposedCall {
    ProposedCall { id: String::new(), function: String::new(), arguments: String::new() }
}

/// The text of arguments, or of the object that some servers have in its place.
fn arguments(call: &Value) -> String {
    match call.pointer("/function/arguments") {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

fn refusal(message: &Value, draft: &mut Draft) {
    let Some(part) = message["refusal"].as_str().filter(|part| !part.is_empty()) else { return };
    match &mut draft.end {
        Some(End::Refused(why)) => why.push_str(part),
        end => *end = Some(End::Refused(part.to_owned())),
    }
}

fn finish(choice: &Value, draft: &mut Draft) {
    let Some(reason) = choice["finish_reason"].as_str() else { return };
    let end = match reason {
        "length" => End::TooLong,
        "content_filter" => End::Refused("a content filter stopped the reply".to_owned()),
        _ => End::Done,
    };
    // What it said when it refused says more than that it was done.
    if !matches!(draft.end, Some(End::Refused(_))) {
        draft.end = Some(end);
    }
}

fn usage(event: &Value, draft: &mut Draft) {
    let usage = &event["usage"];
    if !usage.is_object() {
        return;
    }
    let count = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    draft.tokens = Some(TokenUsage {
        input: count("/prompt_tokens"),
        cached: count("/prompt_tokens_details/cached_tokens"),
        output: count("/completion_tokens"),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openai_itself_has_another_name_for_the_most_tokens() {
        for (host, key) in [
            ("api.openai.com", "max_completion_tokens"),
            ("mine.openai.azure.com", "max_completion_tokens"),
            ("127.0.0.1", "max_tokens"),
            ("ai.example", "max_tokens"),
        ] {
            assert_eq!(output_key(host), key, "{host}");
        }
    }
}
