//! What is no reply: statuses, silence, floods.

use std::time::Duration;

use ringfence_event::{ModelFailureClass as Class, SecretFault};
use ringfence_model::{
    KeySource, ModelError, TokenLimits, VendorConfig, VendorModel, VendorProtocol::OpenAiChat,
};

use super::{
    KEY, PROTOCOLS, ask, config, hello, model,
    server::{Answer, End, Server},
};

#[tokio::test]
async fn a_status_is_a_class_in_every_protocol() {
    let waits = "retry-after: 2\r\n";
    let date =
        "date: Wed, 25 Nov 2026 10:00:00 GMT\r\nretry-after: Wed, 25 Nov 2026 10:00:30 GMT\r\n";
    let exact = "retry-after: 2\r\nretry-after-ms: 1500\r\n";
    let quota = r#"{"error":{"message":"no more","type":"insufficient_quota"}}"#;
    let long = r#"{"error":{"message":"too much","code":"context_length_exceeded"}}"#;
    for (status, fields, body, class, wait) in [
        ("429 Too Many Requests", waits, "{}", Class::RateLimited, Some(2_000)),
        ("429 Too Many Requests", date, "{}", Class::RateLimited, Some(30_000)),
        ("429 Too Many Requests", exact, "{}", Class::RateLimited, Some(1_500)),
        ("429 Too Many Requests", "", "{}", Class::RateLimited, None),
        ("429 Too Many Requests", "", quota, Class::Refused, None),
        ("503 Service Unavailable", waits, "<html>", Class::Unavailable, Some(2_000)),
        ("529 Overloaded", "", "", Class::Unavailable, None),
        ("408 Request Timeout", "", "", Class::Unavailable, None),
        ("400 Bad Request", "", long, Class::TooLong, None),
        ("400 Bad Request", "", "{}", Class::Refused, None),
        ("401 Unauthorized", "", "{}", Class::Refused, None),
        ("404 Not Found", "", "no page", Class::Refused, None),
    ] {
        for protocol in PROTOCOLS {
            let answer = Answer::Whole(status, fields.to_owned(), body.to_owned());
            let server = Server::new(vec![answer]);
            let error = ask(&model(protocol, &server.url()), &hello()).await.unwrap_err();
            let found = (error.failure.class, error.failure.retry_after_ms);
            assert_eq!(found, (class, wait), "{status} {body}: {error}");
            assert_eq!(server.take().len(), 1, "it is not asked again by itself");
        }
    }
}

async fn message(answer: Answer) -> String {
    let server = Server::new(vec![answer]);
    let error = ask(&model(OpenAiChat, &server.url()), &hello()).await.unwrap_err();
    error.to_string()
}

#[tokio::test]
async fn messages_are_for_people_and_hold_no_key() {
    let said = |text: &str| {
        let body = serde_json::json!({ "error": { "message": text } });
        Answer::Whole("400 Bad Request", String::new(), body.to_string())
    };
    assert_eq!(
        message(said(&format!("wrong key {KEY}\n\u{1b}[31m"))).await,
        "127.0.0.1: status 400: wrong key [redacted:key]\\n\\u{1b}[31m"
    );
    let long = message(said(&"ä".repeat(100_000))).await;
    assert!(long.chars().count() < 600 && long.ends_with('…'), "{long}");
    let page = "x".repeat(200_000);
    let page = message(Answer::Whole("502 Bad Gateway", String::new(), page)).await;
    assert!(page.chars().count() < 600 && page.contains("status 502: xxx"), "{page}");
    let markup = Answer::Whole("502 Bad Gateway", String::new(), "<html>no</html>".into());
    assert_eq!(message(markup).await, "127.0.0.1: status 502");
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let other = Server::new(vec![Answer::Silence]);
    let fields = format!("location: {}\r\n", other.url());
    let server = Server::new(vec![Answer::Whole("307 Temporary Redirect", fields, String::new())]);
    let error = ask(&model(OpenAiChat, &server.url()), &hello()).await.unwrap_err();
    assert_eq!(error.failure.class, Class::Refused);
    assert!(error.to_string().contains("no redirect is followed: mend `url`"), "{error}");
    assert_eq!((other.take().len(), other.connections()), (0, 0));
}

/// A model that waits less than others.
async fn ask_with(change: impl Fn(&mut VendorConfig), answer: Answer) -> ModelError {
    let server = Server::new(vec![answer]);
    let mut config = config(OpenAiChat, &server.url());
    change(&mut config);
    let model = VendorModel::new(&config, TokenLimits::default(), KeySource::none());
    ask(&model, &hello()).await.unwrap_err()
}

#[tokio::test]
async fn silence_ends() {
    let short = Duration::from_millis(100);
    let part = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n".to_owned();
    let idle = |config: &mut VendorConfig| config.idle = short;
    let time = |config: &mut VendorConfig| config.time = short;
    let half = Answer::Stream(part.clone(), 9, End::Silence);
    let check = |error: ModelError, part: &str| {
        assert_eq!(error.failure.class, Class::Unavailable, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    };
    check(ask_with(idle, Answer::Silence).await, "said nothing for 100 ms, the `idle`");
    check(ask_with(idle, half.clone()).await, "said nothing for 100 ms, the `idle`");
    check(ask_with(time, Answer::Silence).await, "no reply within 100 ms, the `time`");
    check(ask_with(time, half).await, "no reply within 100 ms, the `time`");
}

#[tokio::test]
async fn a_flood_ends() {
    let comments = ": nothing\n".repeat(100_000);
    let line = "data: ".to_owned() + &"x".repeat(1_000_000);
    let body = "{\"choices\":\"".to_owned() + &"x".repeat(33 << 20);
    for answer in [
        Answer::Stream(comments, usize::MAX, End::Again),
        Answer::Stream(line, usize::MAX, End::Again),
        Answer::Whole("200 OK", "content-type: application/json\r\n".into(), body),
    ] {
        let error = ask_with(|_| {}, answer).await;
        assert_eq!(error.failure.class, Class::Unusable, "{error}");
        assert!(error.to_string().ends_with("the answer is longer than 32 MiB"), "{error}");
    }
}

#[tokio::test]
async fn answers_that_are_none() {
    for (body, class) in [
        ("", Class::Unusable),
        ("{", Class::Unusable),
        ("{}", Class::Unusable),
        ("[]", Class::Unusable),
        (r#"{"error":{"message":"loading model","code":503}}"#, Class::Unavailable),
    ] {
        for protocol in PROTOCOLS {
            let fields = "content-type: application/json\r\n".to_owned();
            let server = Server::new(vec![Answer::Whole("200 OK", fields, body.to_owned())]);
            let error = ask(&model(protocol, &server.url()), &hello()).await.unwrap_err();
            assert_eq!(error.failure.class, class, "{body}: {error}");
        }
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/v1");
    let error = ask(&model(OpenAiChat, &url), &hello()).await.unwrap_err();
    assert_eq!(error.failure.class, Class::Unavailable);
    assert!(error.to_string().starts_with("127.0.0.1: there is no connection: "), "{error}");
}

#[tokio::test]
async fn without_its_key_nothing_is_asked() {
    let server = Server::new(vec![Answer::Silence]);
    let ask_with = async |key: KeySource| {
        let config = config(OpenAiChat, &server.url());
        let model = VendorModel::new(&config, TokenLimits::default(), key);
        ask(&model, &hello()).await.unwrap_err()
    };
    for (key, part) in [
        (KeySource::new(|| Err(SecretFault::Missing)), "the model's key: it is not there"),
        (KeySource::new(|| Ok(b"a\r\nb: c".to_vec().into())), "it is not one line of printable"),
        (KeySource::new(|| panic!("a source that is broken")), "it cannot be read"),
    ] {
        let error = ask_with(key).await;
        assert_eq!(error.failure.class, Class::Host);
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_request_that_is_too_long_is_not_sent() {
    let server = Server::new(vec![Answer::Whole("401 No", String::new(), String::new())]);
    for (context, class) in [(10, Class::TooLong), (1_000, Class::Refused)] {
        let limits = TokenLimits { context: Some(context), output: None };
        let config = config(OpenAiChat, &server.url());
        let model = VendorModel::new(&config, limits, KeySource::none());
        assert_eq!(ask(&model, &hello()).await.unwrap_err().failure.class, class, "{context}");
    }
    assert_eq!(server.take().len(), 1);
}
