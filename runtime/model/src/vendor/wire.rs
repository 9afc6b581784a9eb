//! A conversation as every vendor takes it: ids that are unique, names that are names, arguments that
//! are JSON objects. What a model said is recorded as it said it, and may be none of that.

use std::collections::HashSet;

use ringfence_event::{Message, ModelRequest, ProposedCall, Shared};
use serde_json::{Map, Value, json};

/// The longest id that all vendors take.
const ID_BYTES: usize = 40;
/// The longest name of a function that all vendors take.
const NAME_BYTES: usize = 64;

/// One message.
#[derive(Clone, Debug)]
pub(super) enum WireMessage<'a> {
    User(&'a str),
    /// Says something, calls something, or both.
    Assistant {
        text: &'a str,
        calls: Vec<WireCall>,
    },
    Result {
        id: String,
        succeeded: bool,
        text: &'a str,
    },
}

/// One proposed call.
#[derive(Clone, Debug)]
pub(super) struct WireCall {
    pub(super) id: String,
    pub(super) function: String,
    /// A JSON object as text: the model's own, if it wrote one.
    pub(super) arguments: String,
}

/// The replies that a conversation has.
pub(super) fn replies(request: &ModelRequest) -> usize {
    let is_reply = |message: &&Shared<Message>| matches!(***message, Message::Assistant { .. });
    request.messages.iter().filter(is_reply).count()
}

/// The conversation. A pure function of the messages, so a request is the same each time.
pub(super) fn messages(messages: &[Shared<Message>]) -> Vec<WireMessage<'_>> {
    let mut used = HashSet::new();
    // Calls of the last reply whose result is still to come: its own id, the one it is sent under.
    let mut waiting: Vec<(&str, String)> = Vec::new();
    let mut wire = Vec::new();
    for message in messages {
        match &**message {
            Message::User { text } => wire.push(WireMessage::User(text)),
            Message::Assistant { text, calls } => {
                waiting.clear();
                let calls: Vec<WireCall> = calls
                    .iter()
                    .map(|call| {
                        let sent = wire_call(call, &mut used);
                        waiting.push((&call.id, sent.id.clone()));
                        sent
                    })
                    .collect();
                // Neither text nor calls: nothing that could be sent.
                if !text.is_empty() || !calls.is_empty() {
                    wire.push(WireMessage::Assistant { text, calls });
                }
            }
            Message::Result { id, outcome, text, .. } => {
                // Calls that share an id are answered in their order.
                let place = waiting.iter().position(|(own, _)| own == id);
                let id = place.map_or_else(|| id.clone(), |place| waiting.remove(place).1);
                wire.push(WireMessage::Result { id, succeeded: outcome == "succeeded", text });
            }
        }
    }
    wire
}

fn wire_call(call: &ProposedCall, used: &mut HashSet<String>) -> WireCall {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let fits = (1..=ID_BYTES).contains(&call.id.len()) && call.id.bytes().all(is_word);
    let mut id = call.id.clone();
    if !fits || used.contains(&id) {
        let free = (used.len()..).map(|number| format!("call-again-{number}"));
        id = free.into_iter().find(|id| !used.contains(id)).unwrap_or(id);
    }
    used.insert(id.clone());
    let word = |letter: char| if u8::try_from(letter).is_ok_and(is_word) { letter } else { '_' };
    let function: String = call.function.chars().map(word).take(NAME_BYTES).collect();
    let function = if function.is_empty() { "unnamed".to_owned() } else { function };
    let arguments = match serde_json::from_str::<Map<String, Value>>(&call.arguments) {
        Ok(_) => call.arguments.clone(),
        Err(_) if call.arguments.trim().is_empty() => "{}".to_owned(),
        // It reads what it wrote, and no server has to parse it.
        Err(_) => json!({ "unreadable-arguments": call.arguments }).to_string(),
    };
    WireCall { id, function, arguments }
}

/// The JSON Schema of a function's arguments: an object, and every vendor wants to read so.
pub(super) fn schema(schema: &Value) -> Value {
    let mut schema = schema.as_object().cloned().unwrap_or_default();
    schema.entry("type").or_insert_with(|| "object".into());
    schema.into()
}
