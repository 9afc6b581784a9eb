//! Requests that are wrong: each is refused with a type, and nothing is begun.

use std::{
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
};

use serde_json::json;

use crate::{
    client::{Answered, Client},
    service::Service,
};

const GREET: &str = "/v1/tools/hello/functions/greet/call";

#[test]
fn i1_json_is_read_strictly() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let send = |body: &[u8]| ann.send("POST", GREET, &[], Some(body));
    send(br#"{"arguments":{"name":"x"}}"#).expect(200);
    for body in [
        &br#"{"arguments":{"name":"x"}"#[..],
        br#"{"arguments":{"name":"x"}} {}"#,
        br#"{"arguments":{"name":"x"},"arguments":{}}"#,
        br#"{"arguments":{"name":"x","name":"y"}}"#,
        b"\xef\xbb\xbf{}",
        br#"{"arguments":{"name":"\ud800"}}"#,
        br#"{"arguments":{"name":1e400}}"#,
        b"\xff",
        b"",
    ] {
        send(body).fails(400, "bad-json");
    }
    send(&[b"{\"arguments\":".to_vec(), b"[".repeat(100_000)].concat()).fails(400, "bad-json");
    send(br#"{"arguments":[]}"#).fails(422, "invalid");
    send(br#"{"argument":{}}"#).fails(422, "invalid");
    send(b"[]").fails(422, "invalid");
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""] {
        ann.send("POST", GREET, &[("content-type", kind)], Some(b"{}")).fails(415, "not-json");
    }
    ann.send("POST", GREET, &[("content-encoding", "gzip")], Some(b"{}"))
        .fails(415, "encoded-body");
    ann.send("GET", "/v1/tools", &[], Some(b"{}")).fails(400, "bad-request");
    ann.get("/v1/tools?x=1").fails(400, "bad-query");
    ann.get("/v1/tools?limit=1&limit=2").fails(400, "bad-query");
    ann.get("/v1/tools?limit=x").fails(400, "bad-query");
    ann.get("/v1/nothing").fails(404, "not-found");
    ann.get("/").fails(404, "not-found");
    let wrong = ann.send("DELETE", "/v1/sessions", &[], None).fails(405, "method-not-allowed");
    assert!(wrong.header("allow").unwrap().contains("POST"), "{wrong:?}");
    ann.get(&format!("/v1/tools/{}", "x".repeat(5000))).fails(414, "uri-too-long");
    ann.get("/v1/tools/%ff").fails(404, "not-found");
    // Of all that, nothing was begun but the one that was right.
    let mut stream =
        service.client("acme", "", "read").stream("/v1/events?follow=false&after=0", &[]);
    let begun = std::iter::from_fn(|| stream.next()).filter(|told| told.kind == "call.proposed");
    assert_eq!(begun.count(), 1);
}

#[test]
fn i1_a_body_is_no_larger_and_takes_no_longer_than_the_service_reads() {
    let service = Service::with("body = \"2KiB\"\nbody-time = \"300ms\"\nheader-time = \"300ms\"");
    let ann = service.client("acme", "ann", "run,read");
    let fits = json!({ "arguments": { "name": "x".repeat(1000) } });
    ann.post(GREET, fits).expect(200);
    let large = json!({ "arguments": { "name": "x".repeat(3000) } }).to_string();
    ann.send("POST", GREET, &[], Some(large.as_bytes())).fails(413, "body-too-large");
    let key = ann.key.as_deref().unwrap();
    let head = format!(
        "POST {GREET} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    );
    // A length that is told and never sent is refused before it is waited for.
    let told = ann
        .raw(format!("{head}content-length: 1000000000\r\nconnection: close\r\n\r\n").as_bytes());
    assert!(told.starts_with("HTTP/1.1 413 "), "{told}");
    let slow = ann.raw(format!("{head}content-length: 10\r\n\r\n{{").as_bytes());
    assert!(slow.starts_with("HTTP/1.1 408 ") && slow.contains("request-timeout"), "{slow}");
    // A head that never ends, and a connection on which nothing is said.
    for beginning in ["", "GET /v1/tools HTTP/1.1\r\nhost: local"] {
        let mut stream = ann.connect();
        stream.write_all(beginning.as_bytes()).unwrap();
        let mut all = vec![];
        let _ = stream.read_to_end(&mut all);
        assert!(!String::from_utf8_lossy(&all).contains(" 200 "));
    }
}

/// What may be taken for two requests by two readers is taken for none.
#[test]
fn i8_a_request_that_may_be_read_in_two_ways_is_refused() {
    let service = Service::new();
    let ann = service.client("acme", "ann", "run,read");
    let key = ann.key.as_deref().unwrap();
    let head = format!(
        "host: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n"
    );
    let body = r#"{"arguments":{"name":"x"}}"#;
    let length = body.len();
    let next = "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let good =
        format!("POST {GREET} HTTP/1.1\r\n{head}content-length: {length}\r\n\r\n{body}{next}");
    // The control: two requests on one connection.
    let mut stream = ann.connect();
    stream.write_all(good.as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut reader = BufReader::new(stream);
    Answered::read(&mut reader).expect(200);
    let chunk = format!("{length:x}\r\n{body}\r\n0\r\n\r\n");
    // Both lengths, in either order, and a coding alone.
    for fields in [
        format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n"),
        format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n"),
        "transfer-encoding: chunked\r\n".to_owned(),
    ] {
        let request = format!("POST {GREET} HTTP/1.1\r\n{head}{fields}\r\n{chunk}{next}");
        let answer = ann.raw(request.as_bytes());
        assert!(
            answer.starts_with("HTTP/1.1 411 ") && answer.contains("length-required"),
            "{answer}"
        );
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(!answer.contains("{\"status\":\"ok\"}"), "what follows is not read: {answer}");
    }
    for (what, request) in [
        (
            "two lengths",
            format!(
                "POST {GREET} HTTP/1.1\r\n{head}content-length: 5\r\ncontent-length: 6\r\n\r\n"
            ),
        ),
        (
            "a length that is none",
            format!("POST {GREET} HTTP/1.1\r\n{head}content-length: +5\r\n\r\n"),
        ),
        (
            "another coding",
            format!("POST {GREET} HTTP/1.1\r\n{head}transfer-encoding: gzip\r\n\r\n"),
        ),
        (
            "a folded header",
            "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: a\r\n b\r\n\r\n".to_owned(),
        ),
        ("a space before the colon", "GET /healthz HTTP/1.1\r\nhost : localhost\r\n\r\n".into()),
        ("a NUL", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: a\0b\r\n\r\n".into()),
        ("a bare CR", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: a\rb\r\n\r\n".into()),
        ("a method that is none", "G\tT /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".into()),
        ("no host", "GET /healthz HTTP/1.1\r\n\r\n".into()),
        ("two hosts", "GET /healthz HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n\r\n".into()),
        (
            "another host in the target",
            "GET http://127.0.0.1/healthz HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
        ),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
        (
            "many headers",
            format!(
                "GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}\r\n",
                "x: y\r\n".repeat(100_000)
            ),
        ),
        (
            "a long header",
            format!(
                "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n",
                "y".repeat(1 << 20)
            ),
        ),
        ("a tunnel", "CONNECT localhost:80 HTTP/1.1\r\nhost: localhost:80\r\n\r\n".into()),
    ] {
        let answer = ann.raw(request.as_bytes());
        let refused = answer.is_empty() || answer.starts_with("HTTP/1.1 4");
        assert!(refused && !answer.contains("{\"status\":\"ok\"}"), "{what}: {answer}");
    }
    service.nobody().get("/healthz").expect(200);
}

#[test]
fn i3_hosts_and_origins_of_elsewhere_are_refused_on_every_path() {
    let service =
        Service::with("origins = [\"https://console.example\"]\nhosts = [\"ringfence.example\"]");
    let ann = service.client("acme", "ann", "run,read");
    let key = ann.key.as_deref().unwrap();
    for path in [
        "/healthz",
        "/readyz",
        "/v1/openapi.json",
        "/v1/tools",
        "/v1/events?follow=false",
        "/nothing",
    ] {
        for origin in ["null", "https://evil.example", "http://localhost.evil"] {
            ann.send("GET", path, &[("origin", origin)], None).fails(403, "foreign-origin");
        }
        let known = ann.send("GET", path, &[("origin", "https://console.example")], None);
        assert_ne!(known.status, 403, "{path}");
        for (host, refused) in
            [("evil.example", true), ("localhost.evil", true), ("ringfence.example", false)]
        {
            let request = format!(
                "GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
            );
            let answer = ann.raw(request.as_bytes());
            assert_eq!(
                answer.starts_with("HTTP/1.1 403 ") && answer.contains("foreign-host"),
                refused,
                "{path} {host}: {answer}"
            );
        }
    }
}

/// A page that the operator lists is let ask by its browser, and read the answer; another one is not.
#[test]
fn i3_a_listed_page_is_let_ask_and_no_other() {
    const PAGE: &str = "https://console.example";
    let service = Service::with("origins = [\"https://console.example\"]");
    let ann = service.client("acme", "ann", "run,read");
    let allowed =
        |answer: &Answered| answer.header("access-control-allow-origin").map(str::to_owned);
    let asks = |origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        service.nobody().send("OPTIONS", GREET, &headers, None)
    };
    let asked = asks(PAGE).expect(204);
    assert_eq!(allowed(&asked).as_deref(), Some(PAGE), "{asked:?}");
    assert!(asked.header("access-control-allow-headers").unwrap().contains("authorization"));
    assert!(asked.header("access-control-allow-methods").unwrap().contains("POST"));
    assert_eq!(asked.header("vary"), Some("origin"));
    assert_eq!(asked.header("access-control-allow-credentials"), None);
    // Errors can be read, too.
    for path in ["/v1/tools", "/v1/nothing"] {
        let answer = ann.send("GET", path, &[("origin", PAGE)], None);
        assert_eq!(allowed(&answer).as_deref(), Some(PAGE), "{path}: {answer:?}");
        assert!(answer.header("access-control-expose-headers").unwrap().contains("retry-after"));
    }
    let refused = asks("https://evil.example").fails(403, "foreign-origin");
    assert_eq!(allowed(&refused), None);
    // Whoever has no page is told nothing of any.
    assert_eq!(allowed(&ann.get("/v1/tools")), None);
    service.nobody().send("OPTIONS", GREET, &[], None).fails(405, "method-not-allowed");
}

/// One that listens at all addresses of both kinds knows an IPv4 client by its own.
#[test]
fn i3_an_address_in_the_clothes_of_another_kind_is_itself() {
    if let Err(why) = std::net::TcpListener::bind("[::]:0") {
        // It takes a machine with IPv6.
        return drop(std::io::stderr().write_all(format!("not tried: {why}\n").as_bytes()));
    }
    let mut service = Service::folder();
    service.start_at("[::]:0");
    let address = (std::net::Ipv4Addr::LOCALHOST, service.address().port()).into();
    let client = Client { address, key: None };
    client.get("/healthz").expect(200);
    // Both are for whoever asks from this machine.
    client.get("/metrics").expect(200);
    let named =
        client.raw(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert!(named.starts_with("HTTP/1.1 200 "), "{named}");
    let foreign =
        client.raw(b"GET /healthz HTTP/1.1\r\nhost: 10.0.0.1\r\nconnection: close\r\n\r\n");
    assert!(foreign.starts_with("HTTP/1.1 403 "), "{foreign}");
}

#[test]
fn connections_and_streams_are_counted() {
    let service = Service::with("connections = 3\nstreams-per-tenant = 1\nstreams = 2");
    let ann = service.client("acme", "ann", "read");
    let globex = service.client("globex", "", "read");
    let one = ann.stream("/v1/events", &[]);
    assert_eq!(one.status, 200);
    let refused = ann.send("GET", "/v1/events", &[("accept", "text/event-stream")], None);
    assert_eq!(refused.fails(429, "overloaded").header("retry-after"), Some("1"));
    let two = globex.stream("/v1/events", &[]);
    assert_eq!(two.status, 200);
    let held = ann.connect();
    // It is accepted before the next one is.
    let full = ann.raw(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
    assert!(full.starts_with("HTTP/1.1 503 ") && full.contains("service-full"), "{full}");
    drop((one, two, held));
    let mut answer = String::new();
    while !answer.starts_with("HTTP/1.1 200 ") {
        answer = ann.raw(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    }
}

/// A request whose head was read and that has its place: the service asks for its body.
fn begun(client: &Client, path: &str, headers: &str, body: &[u8]) -> TcpStream {
    let mut stream = client.connect();
    let key = client.key.as_deref().unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\
         connection: close\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).unwrap();
    assert_eq!(&asked, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream
}

/// One tenant's requests leave room for another's, however slowly they come in.
#[test]
fn o2_a_tenants_requests_leave_room_for_the_others() {
    let service = Service::with("requests = 2\nrequests-per-tenant = 1");
    let ann = service.client("acme", "ann", "run,read");
    let globex = service.client("globex", "", "read");
    let mut slow = begun(&ann, GREET, "", b"{}");
    let refused = ann.get("/v1/tools").fails(429, "overloaded");
    assert_eq!(refused.header("retry-after"), Some("1"));
    globex.get("/v1/tools").expect(200);
    slow.write_all(b"{}").unwrap();
    Answered::read(&mut BufReader::new(slow)).expect(200);
    // Its place is given back a moment after its answer.
    while ann.get("/v1/tools").status != 200 {}
}

/// What waits for a call, for a run, or for another of its kind takes none of the room of all.
#[test]
fn o2_a_request_that_only_waits_takes_no_room_of_all() {
    let service = Service::with("requests = 2\nrequests-per-tenant = 2");
    let ann = service.client("acme", "ann", "run,read");
    let globex = service.client("globex", "", "read");
    let spin = json!({ "arguments": { "how": "spin" } }).to_string();
    let hold = "/v1/tools/probe/functions/hold/call?cancel-on-disconnect=true";
    let mut watch = ann.stream("/v1/events?after=0", &[]);
    let call = || {
        let mut stream = begun(&ann, hold, "idempotency-key: k\r\n", spin.as_bytes());
        stream.write_all(spin.as_bytes()).unwrap();
        stream
    };
    let one = call();
    watch.until("call.started");
    let two = call();
    ann.get("/v1/tools").fails(429, "overloaded");
    // As soon as the second has seen that it is to wait for the first.
    while globex.get("/v1/tools").status != 200 {}
    ann.get("/v1/tools").fails(429, "overloaded");
    drop((one, two));
    watch.until("call.finished");
    while ann.get("/v1/tools").status != 200 {}
}

#[test]
fn an_address_has_its_share_of_connections() {
    let service = Service::with("connections-per-address = 1");
    let nobody = service.nobody();
    let request = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut held = nobody.connect();
    // It is accepted before the next one is.
    let full = nobody.raw(request);
    assert!(full.starts_with("HTTP/1.1 503 ") && full.contains("service-full"), "{full}");
    held.write_all(request).unwrap();
    Answered::read(&mut BufReader::new(held)).expect(200);
    while !nobody.raw(request).starts_with("HTTP/1.1 200 ") {}
}
