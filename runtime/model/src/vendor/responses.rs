//! The Responses API of OpenAI. Nothing is kept there: each request carries the whole conversation.

use ringfence_event::{ModelFailure, ModelRequest, ProposedCall, TokenUsage};
use serde_json::{Value, json};

use super::{
    Flow,
    draft::{Draft, End},
    failure, unusable,
    wire::{self, WireMessage},
};
use crate::{Deltas, VendorConfig};

pub(super) fn body(request: &ModelRequest, config: &VendorConfig, output: Option<u64>) -> Value {
    let input = wire::messages(&request.messages).into_iter().flat_map(items);
    let mut body = json!({
        "model": config.name,
        "input": input.collect::<Vec<_>>(),
        "stream": true,
        "store": false,
    });
    if !request.instructions.is_empty() {
        body["instructions"] = (*request.instructions).into();
    }
    if !request.functions.is_empty() {
        let tools = request.functions.iter().map(|function| {
            json!({
                "type": "function",
                "name": function.name,
                "description": function.description,
                "parameters": wire::schema(&function.input_schema),
                // Absent it is on, and then not every schema is taken.
                "strict": false,
            })
        });
        body["tools"] = tools.collect();
    }
    if let Some(output) = output {
        body["max_output_tokens"] = output.into();
    }
    body
}

fn items(message: WireMessage<'_>) -> Vec<Value> {
    match message {
        WireMessage::User(text) => vec![json!({ "role": "user", "content": text })],
        WireMessage::Assistant { text, calls } => {
            let said = (!text.is_empty()).then(|| json!({ "role": "assistant", "content": text }));
            let calls = calls.into_iter().map(|call| {
                json!({
                    "type": "function_call",
                    "call_id": call.id,
                    "name": call.function,
                    "arguments": call.arguments,
                })
            });
            said.into_iter().chain(calls).collect()
        }
        WireMessage::Result { id, text, .. } => {
            vec![json!({ "type": "function_call_output", "call_id": id, "output": text })]
        }
    }
}

/// The next event of a stream.
pub(super) fn event(
    event: &Value,
    draft: &mut Draft,
    deltas: &dyn Deltas,
) -> Result<Flow, ModelFailure> {
    let number = event["output_index"].as_u64().unwrap_or_default();
    let part = event["delta"].as_str().unwrap_or_default();
    match event["type"].as_str().unwrap_or_default() {
        "response.output_text.delta" => {
            draft.text.push_str(part);
            deltas.text(part);
        }
        "response.output_item.added" if event["item"]["type"] == "function_call" => {
            draft.begin(number, call(&event["item"]));
        }
        "response.function_call_arguments.delta" => {
            let call = draft.call(number);
            let call = call.ok_or_else(|| unusable("arguments of a call that did not begin"))?;
            call.arguments.push_str(part);
        }
        // The item as it came to be.
        "response.output_item.done" if event["item"]["type"] == "function_call" => {
            let item = call(&event["item"]);
            match draft.call(number) {
                Some(call) => *call = item,
                None => drop(draft.begin(number, item)),
            }
        }
        "response.completed" | "response.incomplete" | "response.failed" => {
            whole(&event["response"], draft)?;
            return Ok(Flow::Last);
        }
        _ => {}
    }
    Ok(Flow::More)
}

/// A response that is at its end.
pub(super) fn whole(response: &Value, draft: &mut Draft) -> Result<(), ModelFailure> {
    let usage = &response["usage"];
    if usage.is_object() {
        let count = |path: &str| usage.pointer(path).and_then(Value::as_u64).unwrap_or_default();
        draft.tokens = Some(TokenUsage {
            input: count("/input_tokens"),
            cached: count("/input_tokens_details/cached_tokens"),
            output: count("/output_tokens"),
        });
    }
    let mut refused = None;
    // Some servers leave out at the end what they have streamed.
    if let Some(output) = response["output"].as_array().filter(|output| !output.is_empty()) {
        draft.restart();
        for (number, item) in (0..).zip(output) {
            if item["type"] == "function_call" {
                draft.begin(number, call(item));
            }
            for content in item["content"].as_array().into_iter().flatten() {
                match content["type"].as_str().unwrap_or_default() {
                    "output_text" => {
                        draft.text.push_str(content["text"].as_str().unwrap_or_default());
                    }
                    "refusal" => {
                        refused = Some(content["refusal"].as_str().unwrap_or_default().to_owned());
                    }
                    _ => {}
                }
            }
        }
    }
    let why = response.pointer("/incomplete_details/reason").and_then(Value::as_str);
    draft.end = match (response["status"].as_str().unwrap_or_default(), why) {
        ("completed", _) => Some(refused.map_or(End::Done, End::Refused)),
        ("incomplete", Some("content_filter")) => {
            Some(End::Refused("a content filter stopped the reply".to_owned()))
        }
        ("incomplete", _) => Some(End::TooLong),
        ("failed", _) => return Err(failure::in_stream(response)),
        _ => return Err(unusable("the answer has no `status` that ends it")),
    };
    Ok(())
}

fn call(item: &Value) -> ProposedCall {
    let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
    ProposedCall { id: text("call_id"), function: text("name"), arguments: text("arguments") }
}
