//! What a server is asked.

use ringfence_event::{FunctionSpec, Message, ModelRequest, Parameters};
use ringfence_model::{KeySource, TokenLimits, VendorModel, VendorProtocol};
use serde_json::json;

use super::{
    KEY, PROTOCOLS, ask, config, hello, model, proposed, request,
    server::{Answer, Request, Server},
};

async fn sent_by(model: impl Fn(&str) -> VendorModel, request: &ModelRequest) -> Request {
    let server = Server::new(vec![Answer::Whole("401 No", String::new(), String::new())]);
    ask(&model(&server.url()), request).await.unwrap_err();
    let [request] = &server.take()[..] else { panic!("one request") };
    request.clone()
}

async fn sent(protocol: VendorProtocol, request: &ModelRequest) -> Request {
    sent_by(|url| model(protocol, url), request).await
}

fn result(id: &str, outcome: &str, text: &str) -> Message {
    let (id, function) = (id.into(), "files_read".into());
    Message::Result { id, function, outcome: outcome.into(), text: text.into() }
}

fn user(text: &str) -> Message {
    Message::User { text: text.into() }
}

fn conversation() -> ModelRequest {
    let call =
        |id: &str, path: &str| proposed(id, "files_read", &json!({ "path": path }).to_string());
    ModelRequest {
        functions: vec![
            FunctionSpec {
                name: "files_read".into(),
                description: "Reads a file.".into(),
                input_schema: json!({ "type": "object", "properties": { "path": { "type": "string" } } }),
            },
            FunctionSpec {
                name: "time_now".into(),
                description: "The time.".into(),
                input_schema: json!({}),
            },
        ]
        .into(),
        parameters: Parameters { output_tokens: Some(100) },
        ..request(vec![
            user("read a and b"),
            Message::Assistant {
                text: String::new(),
                calls: vec![call("call_a", "a"), call("call_b", "b")],
            },
            result("call_a", "succeeded", "A"),
            result("call_b", "failed", ""),
            user("and now?"),
            Message::Assistant { text: String::new(), calls: vec![] },
            user("well?"),
            // The same id twice, a name that is none, arguments that are none, an id of nobody's.
            Message::Assistant {
                text: "Again.".into(),
                calls: vec![
                    call("call_a", "c"),
                    proposed("call_a", "no name!", "{not json"),
                    proposed("functions.read:0", "", ""),
                ],
            },
            result("call_a", "succeeded", "C"),
            result("call_a", "invalid", "no such function"),
            result("functions.read:0", "invalid", "no such function"),
        ])
    }
}

#[tokio::test]
async fn a_conversation_is_sent_as_each_vendor_wants_it() {
    for protocol in PROTOCOLS {
        let request = sent(protocol, &conversation()).await;
        let of_us = ["host", "content-length"];
        let fields: Vec<String> = request
            .fields
            .iter()
            .filter(|(name, _)| !of_us.contains(&name.as_str()))
            .map(|(name, value)| format!("{name}: {value}\n"))
            .collect();
        let body = serde_json::to_string_pretty(&request.body).unwrap();
        let all = format!("{}\n{}\n{body}", request.line, fields.concat());
        insta::assert_snapshot!(protocol.as_str(), all);
        assert_eq!(sent(protocol, &conversation()).await.body, request.body, "the same each time");
    }
}

#[tokio::test]
async fn the_key_is_read_for_each_request() {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    let server = Server::new(vec![Answer::Whole("401 No", String::new(), String::new())]);
    let read = AtomicUsize::new(0);
    let key = KeySource::new(move || {
        Ok(format!("{KEY}-{}", read.fetch_add(1, SeqCst)).into_bytes().into())
    });
    let config = config(VendorProtocol::OpenAiChat, &server.url());
    let model = VendorModel::new(&config, TokenLimits::default(), key);
    for _ in 0..2 {
        ask(&model, &hello()).await.unwrap_err();
    }
    let sent = server.take();
    let keys: Vec<_> = sent.iter().map(|request| request.field("authorization")).collect();
    assert_eq!(keys, [Some("Bearer sk-correct-horse-0"), Some("Bearer sk-correct-horse-1")]);
    let none = |url: &str| {
        let config = super::config(VendorProtocol::OpenAiChat, url);
        VendorModel::new(&config, TokenLimits::default(), KeySource::none())
    };
    assert_eq!(sent_by(none, &hello()).await.field("authorization"), None);
}

#[tokio::test]
async fn the_most_tokens_of_a_reply() {
    let names = ["max_tokens", "max_output_tokens", "max_tokens"];
    for (protocol, name) in PROTOCOLS.into_iter().zip(names) {
        for (of_model, of_request, least) in [
            (Some(5), None, Some(5)),
            (None, Some(6), Some(6)),
            (Some(5), Some(6), Some(5)),
            (Some(7), Some(6), Some(6)),
            // Anthropic has to be told.
            (None, None, (protocol == VendorProtocol::Anthropic).then_some(4096)),
        ] {
            let limits = TokenLimits { output: of_model, context: None };
            let request =
                ModelRequest { parameters: Parameters { output_tokens: of_request }, ..hello() };
            let sent = sent_by(
                |url| VendorModel::new(&config(protocol, url), limits, KeySource::none()),
                &request,
            );
            assert_eq!(sent.await.body[name].as_u64(), least, "{protocol:?} {limits:?}");
        }
    }
}

#[tokio::test]
async fn calls_are_understood_where_no_function_is_offered_any_more() {
    let request = ModelRequest { functions: vec![].into(), ..conversation() };
    let body = sent(VendorProtocol::Anthropic, &request).await.body;
    let tools = body["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["files_read", "no_name_", "unnamed"]);
    assert_eq!(body["tool_choice"], json!({ "type": "none" }));
    let body = sent(VendorProtocol::Anthropic, &hello()).await.body;
    assert_eq!((&body["tools"], &body["tool_choice"]), (&json!(null), &json!(null)));
}

#[tokio::test]
async fn the_path_is_put_behind_the_url() {
    for (end, line) in [
        ("", "POST /v1/chat/completions HTTP/1.1"),
        ("/", "POST /v1/chat/completions HTTP/1.1"),
        ("/x", "POST /v1/x/chat/completions HTTP/1.1"),
    ] {
        let with_end = |url: &str| model(VendorProtocol::OpenAiChat, &format!("{url}{end}"));
        assert_eq!(sent_by(with_end, &hello()).await.line, line);
    }
    // By its name, which leads to this machine.
    let by_name =
        |url: &str| model(VendorProtocol::OpenAiChat, &url.replace("127.0.0.1", "localhost"));
    let request = sent_by(by_name, &hello()).await;
    assert!(request.field("host").unwrap().starts_with("localhost:"), "{request:?}");
}
