//! What becomes a reply, however it is cut.

use ringfence_event::{ModelFailureClass, ModelReply, ProposedCall, TokenUsage};
use ringfence_model::VendorProtocol::{self, Anthropic, OpenAiChat, OpenAiResponses};

use super::{
    ask, hello, model, proposed,
    server::{Answer, End, Server},
};

const JSON: &str = "content-type: application/json\r\n";

/// A stream in pieces of every kind: all at once, cut inside characters and events, byte by byte.
async fn check(protocol: VendorProtocol, events: &str, expected: &ModelReply) {
    for size in [1, 7, usize::MAX] {
        let server = Server::new(vec![Answer::Stream(events.to_owned(), size, End::Whole)]);
        let reply = ask(&model(protocol, &server.url()), &hello()).await;
        assert_eq!(reply.as_ref(), Ok(expected), "{size}: {events}");
    }
    // The same where lines end as in mail, and called by another name.
    let server = Server::new(vec![
        Answer::Stream(events.replace('\n', "\r\n"), 5, End::Whole),
        Answer::Whole("200 OK", "content-type: text/plain\r\n".into(), events.to_owned()),
    ]);
    for _ in 0..2 {
        let reply = ask(&model(protocol, &server.url()), &hello()).await;
        assert_eq!(reply.as_ref(), Ok(expected), "{events}");
    }
}

async fn check_whole(protocol: VendorProtocol, answer: &str, expected: &ModelReply) {
    let server = Server::new(vec![Answer::Whole("200 OK", JSON.into(), answer.to_owned())]);
    let reply = ask(&model(protocol, &server.url()), &hello()).await;
    assert_eq!(reply.as_ref(), Ok(expected), "{answer}");
}

fn reply(text: &str, calls: &[ProposedCall], [input, cached, output]: [u64; 3]) -> ModelReply {
    let tokens = TokenUsage { input, cached, output };
    ModelReply { text: text.into(), calls: calls.to_vec(), tokens }
}

/// Events with nothing but data.
fn data(events: &[&str]) -> String {
    events.iter().map(|event| format!("data: {event}\n\n")).collect()
}

/// Events of Anthropic and of the Responses API: each says its kind twice.
fn named(events: &[&str]) -> String {
    let named = events.iter().map(|event| {
        let json: serde_json::Value = serde_json::from_str(event).unwrap();
        format!("event: {}\ndata: {event}\n\n", json["type"].as_str().unwrap())
    });
    named.collect()
}

const CHAT_USAGE: &str = r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}"#;
const CHAT_STOP: &str =
    r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#;
const CHAT_CALLS: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#;

#[tokio::test]
async fn chat_text_comes_in_pieces() {
    let events = [
        ": OPENROUTER PROCESSING\n\n",
        &data(&[
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}"#,
            r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"Grüß "}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"content":"漢🎉"}}]}"#,
        ]),
        ": keep-alive\n\n",
        &data(&[CHAT_STOP, CHAT_USAGE, "[DONE]"]),
    ]
    .concat();
    check(OpenAiChat, &events, &reply("Grüß 漢🎉", &[], [9, 4, 3])).await;
}

#[tokio::test]
async fn chat_calls_come_interleaved() {
    let events = data(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"files_read","arguments":""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"time_now","arguments":""}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"path\" :"}},{"index":1,"function":{"arguments":"{not"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":" json"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"a\"}"}}]}}]}"#,
        CHAT_CALLS,
        CHAT_USAGE,
        "[DONE]",
    ]);
    // The text of arguments is the model's, and need not be JSON.
    let calls = [
        proposed("call_a", "files_read", "{\"path\" :\"a\"}"),
        proposed("call_b", "time_now", "{not json"),
    ];
    check(OpenAiChat, &events, &reply("", &calls, [9, 4, 3])).await;
}

#[tokio::test]
async fn chat_calls_of_compatible_servers() {
    // Every call is the first, each whole; the ids of two are the same, and one has none.
    let same_index = data(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"a","arguments":"{}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"y","function":{"name":"b","arguments":"{}"}}]}}]}"#,
        CHAT_CALLS,
        CHAT_USAGE,
        "[DONE]",
    ]);
    let calls = [proposed("x", "a", "{}"), proposed("y", "b", "{}")];
    check(OpenAiChat, &same_index, &reply("", &calls, [9, 4, 3])).await;

    let repeated = data(&[
        r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"a","arguments":""}},{"index":1,"id":"x","function":{"name":"b","arguments":"{}"}}]}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"name":"c","arguments":{"n":1}}}]}}]}"#,
        CHAT_CALLS,
        CHAT_USAGE,
    ]);
    let calls = [
        proposed("x", "a", "{}"),
        proposed("x", "b", "{}"),
        proposed("call-1-3", "c", "{\"n\":1}"),
    ];
    check(OpenAiChat, &repeated, &reply("", &calls, [9, 4, 3])).await;
}

#[tokio::test]
async fn a_server_that_does_not_count_is_not_free() {
    let events = data(&[r#"{"choices":[{"delta":{"content":"12345"}}]}"#, CHAT_STOP, "[DONE]"]);
    let server = Server::new(vec![Answer::Stream(events, 9, End::Whole)]);
    let tokens = ask(&model(OpenAiChat, &server.url()), &hello()).await.unwrap().tokens;
    assert_eq!(tokens.output, 2);
    assert!(tokens.input > 20, "{tokens:?}");
}

#[tokio::test]
async fn chat_answers_that_are_no_stream() {
    let text = r#"{"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2},"error":null}"#;
    check_whole(OpenAiChat, text, &reply("hi", &[], [1, 0, 2])).await;
    let calls = r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
    check_whole(OpenAiChat, calls, &reply("", &[proposed("a", "f", "{}")], [1, 0, 2])).await;
}

#[tokio::test]
async fn responses_come_in_pieces() {
    let completed = r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"reasoning","summary":[]},{"type":"message","content":[{"type":"output_text","text":"Grüß dich"}]},{"type":"function_call","id":"fc_1","call_id":"call_a","name":"files_read","arguments":"{\"path\": \"a\"}"},{"type":"function_call","id":"fc_2","call_id":"call_b","name":"time_now","arguments":"{not"}],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":3}}}"#;
    let begin = [
        r#"{"type":"response.created","response":{"status":"in_progress","output":[]}}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"delta":"Grüß "}"#,
        r#"{"type":"response.output_text.delta","output_index":1,"delta":"dich"}"#,
        r#"{"type":"response.output_item.added","output_index":2,"item":{"type":"function_call","id":"fc_1","call_id":"call_a","name":"files_read","arguments":""}}"#,
        r#"{"type":"response.output_item.added","output_index":3,"item":{"type":"function_call","id":"fc_2","call_id":"call_b","name":"time_now","arguments":""}}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":3,"delta":"{not"}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"{\"path\": "}"#,
        r#"{"type":"response.function_call_arguments.delta","output_index":2,"delta":"\"a\"}"}"#,
        r#"{"type":"response.output_item.done","output_index":2,"item":{"type":"function_call","call_id":"call_a","name":"files_read","arguments":"{\"path\": \"a\"}"}}"#,
    ];
    let calls = [
        proposed("call_a", "files_read", "{\"path\": \"a\"}"),
        proposed("call_b", "time_now", "{not"),
    ];
    let expected = reply("Grüß dich", &calls, [9, 4, 3]);
    check(OpenAiResponses, &named(&[&begin[..], &[completed]].concat()), &expected).await;
    // A server that does not say everything again.
    let short = r#"{"type":"response.completed","response":{"status":"completed","output":[],"usage":{"input_tokens":9,"input_tokens_details":{"cached_tokens":4},"output_tokens":3}}}"#;
    check(OpenAiResponses, &named(&[&begin[..], &[short]].concat()), &expected).await;
    let response: serde_json::Value = serde_json::from_str(completed).unwrap();
    check_whole(OpenAiResponses, &response["response"].to_string(), &expected).await;
}

const MESSAGE_START: &str = r#"{"type":"message_start","message":{"role":"assistant","content":[],"usage":{"input_tokens":5,"cache_creation_input_tokens":1,"cache_read_input_tokens":4,"output_tokens":1}}}"#;

#[tokio::test]
async fn messages_come_in_pieces() {
    let events = named(&[
        MESSAGE_START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Grüß "}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"dich"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"toolu_1","name":"files_read","input":{}}}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_2","name":"time_now","input":{}}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":""}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"path\": \"a"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\""}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_stop","index":2}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":3}}"#,
        r#"{"type":"message_stop"}"#,
    ]);
    let calls = [
        proposed("toolu_1", "files_read", "{\"path\": \"a\""),
        proposed("toolu_2", "time_now", "{}"),
    ];
    check(Anthropic, &events, &reply("Grüß dich", &calls, [10, 4, 3])).await;
    let whole = r#"{"type":"message","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"hi"},{"type":"tool_use","id":"a","name":"f","input":{"n":1}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}"#;
    check_whole(Anthropic, whole, &reply("hi", &[proposed("a", "f", "{\"n\":1}")], [1, 0, 2]))
        .await;
}

/// A stream that comes to no reply, what class that is, and the tokens that are known all the same.
async fn check_ends(
    protocol: VendorProtocol,
    events: &str,
    end: End,
    class: ModelFailureClass,
    output: u64,
) {
    let server = Server::new(vec![Answer::Stream(events.to_owned(), usize::MAX, end)]);
    let error = ask(&model(protocol, &server.url()), &hello()).await.unwrap_err();
    assert_eq!((error.failure.class, error.tokens.output), (class, output), "{error} {events}");
}

#[tokio::test]
async fn streams_that_come_to_no_reply() {
    use ModelFailureClass::{Cut, RateLimited, Refused, TooLong, Unavailable, Unusable};
    let chat = |parts: &[&str]| data(parts);
    let part = r#"{"choices":[{"delta":{"content":"half a"}}]}"#;
    let finish =
        |reason: &str| format!(r#"{{"choices":[{{"delta":{{}},"finish_reason":"{reason}"}}]}}"#);
    for (events, end, class, output) in [
        (chat(&[part]), End::Cut, Cut, 0),
        (chat(&[part]), End::Whole, Cut, 0),
        (chat(&[part, "[DONE]"]), End::Whole, Cut, 0),
        (chat(&[part, CHAT_STOP]), End::Cut, Cut, 0),
        (chat(&[part, CHAT_USAGE])[..40].to_owned(), End::Whole, Cut, 0),
        (chat(&[]), End::Whole, Cut, 0),
        (chat(&[CHAT_STOP, CHAT_USAGE, "[DONE]"]), End::Whole, Unusable, 3),
        (chat(&[part, "{"]), End::Whole, Unusable, 0),
        ("this is no stream\n\n".to_owned(), End::Whole, Unusable, 0),
        (chat(&[part, &finish("length"), CHAT_USAGE, "[DONE]"]), End::Whole, TooLong, 3),
        (chat(&[part, &finish("content_filter"), CHAT_USAGE, "[DONE]"]), End::Whole, Refused, 3),
        (
            chat(&[r#"{"choices":[{"delta":{"refusal":"No."}}]}"#, CHAT_STOP, "[DONE]"]),
            End::Whole,
            Refused,
            0,
        ),
        (
            chat(&[part, r#"{"error":{"message":"slow down","code":429}}"#]),
            End::Whole,
            RateLimited,
            0,
        ),
        (chat(&[part, r#"{"error":"out of memory"}"#]), End::Whole, Unavailable, 0),
    ] {
        check_ends(OpenAiChat, &events, end, class, output).await;
    }
    let delta = r#"{"type":"response.output_text.delta","output_index":0,"delta":"half a"}"#;
    for (last, class, output) in [
        (r#"{"type":"ping"}"#, Cut, 0),
        (
            r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"usage":{"input_tokens":1,"output_tokens":7}}}"#,
            TooLong,
            7,
        ),
        (
            r#"{"type":"response.incomplete","response":{"status":"incomplete","incomplete_details":{"reason":"content_filter"}}}"#,
            Refused,
            0,
        ),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"x"}}}"#,
            Unavailable,
            0,
        ),
        (
            r#"{"type":"response.completed","response":{"status":"completed","output":[{"type":"message","content":[{"type":"refusal","refusal":"No."}]}]}}"#,
            Refused,
            0,
        ),
        (r#"{"type":"error","code":"rate_limit_exceeded","message":"x"}"#, RateLimited, 0),
    ] {
        check_ends(OpenAiResponses, &named(&[delta, last]), End::Whole, class, output).await;
    }
    let delta =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
    let stop = |reason: &str| {
        let end = format!(
            r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":8}}}}"#
        );
        named(&[MESSAGE_START, delta, &end, r#"{"type":"message_stop"}"#])
    };
    let error = |kind: &str| {
        let error = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"x"}}}}"#);
        named(&[MESSAGE_START, delta, &error])
    };
    for (events, class, output) in [
        (named(&[MESSAGE_START, delta]), Cut, 1),
        (stop("end_turn").replace("message_stop", "ping"), Cut, 8),
        (stop("max_tokens"), TooLong, 8),
        (stop("refusal"), Refused, 8),
        (stop("end_turn").replace("text_delta", "signature_delta"), Unusable, 8),
        (error("overloaded_error"), Unavailable, 1),
        (error("rate_limit_error"), RateLimited, 1),
        (error("invalid_request_error"), Refused, 1),
    ] {
        check_ends(Anthropic, &events, End::Whole, class, output).await;
    }
}
