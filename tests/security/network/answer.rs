//! Servers that answer so as to do harm: slowly, for ever, with too much, with little that becomes much.

use std::{
    io::{self, Write},
    net::TcpStream,
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use ringfence_event::{Limit, Outcome};
use ringfence_sandbox::Ended;
use ringfence_tests::{
    Scene,
    coded::{deflate, gzip},
    text,
    web::{Web, say},
};
use serde_json::json;

use super::{get, open};

/// Says a thing again and again, with a pause or without one, until nobody is there any more.
fn repeat(mut stream: &TcpStream, first: &str, again: &str, pause: Duration) -> io::Result<()> {
    stream.write_all(first.as_bytes())?;
    loop {
        stream.write_all(again.as_bytes())?;
        thread::park_timeout(pause);
    }
}

/// N10: a server that says a little now and then, and comes to no end, is left when the call's time is
/// over, and its connection is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n10_a_server_that_never_comes_to_an_end_is_left() {
    let (tell, left) = mpsc::channel();
    let tell = Mutex::new(tell);
    let web = Web::new(move |request, stream| {
        let (first, again) = match request.path() {
            "/informs" => ("", "HTTP/1.1 103 Early Hints\r\n\r\n"),
            "/body" => ("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n", "x"),
            "/chunks" => ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "1\r\nx\r\n"),
            "/trailers" => {
                ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-word: ", "x")
            }
            _ => ("HTTP/1.1 200 OK\r\nx-word: ", "x"),
        };
        let gone = repeat(stream, first, again, Duration::from_millis(1));
        let _ = tell.lock().unwrap().send(());
        gone
    });
    for path in ["/informs", "/head", "/body", "/chunks", "/trailers"] {
        let scene = open(&web).grants("limits.time = \"200ms\"");
        let ended = get(&scene, &format!("{}{path}", web.origin())).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Time }, "{path}");
        left.recv_timeout(Duration::from_secs(10)).expect(path);
        scene.works().await;
    }
}

/// H7, N10: a head without end is no head, and a large one is bounded by the tool's own limit.
#[tokio::test]
async fn h7_the_fields_of_an_answer_are_bounded() {
    let web = Web::new(|request, stream| {
        let endless = |again| repeat(stream, "HTTP/1.1 200 OK\r\n", again, Duration::ZERO);
        let long = |length| format!("x-word: {}\r\n", "y".repeat(length));
        match request.path() {
            "/endless" => endless("x-word: y\r\n"),
            "/endless-field" => endless("xxxx"),
            "/many" => say(stream, "200 OK", &"x-word: y\r\n".repeat(40_000), b"hello"),
            "/large" => say(stream, "200 OK", &long(5 << 20), b"hello"),
            "/trailers" => {
                let head =
                    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
                let mut stream = stream;
                stream.write_all(format!("{head}{}\r\n", long(5 << 10)).as_bytes())
            }
            _ => say(stream, "200 OK", &long(5 << 10), b"hello"),
        }
    });
    let url = |path: &str| format!("{}{path}", web.origin());
    for path in ["/endless", "/endless-field", "/many", "/large"] {
        let ended = get(&open(&web), &url(path)).await;
        assert!(text(&ended).starts_with("error: "), "{path}: {ended:?}");
        assert!(ended.usage.bytes_read < 64 << 10, "{path}: {ended:?}");
    }
    for path in ["/head", "/trailers"] {
        let wide = get(&open(&web), &url(path)).await;
        assert_eq!(text(&wide), "200 hello", "{path}");
        let narrow = get(&open(&web).grants("limits.lift = \"4KiB\""), &url(path)).await;
        let said = text(&narrow);
        assert!(said.starts_with("error: ") || said.starts_with("200 error: "), "{path}: {said}");
    }
}

/// What a server says with one of these codings.
fn coded(coding: &'static str, body: Vec<u8>) -> Web {
    let fields = format!("content-encoding: {coding}\r\n");
    Web::new(move |_, stream| say(stream, "200 OK", &fields, &body))
}

async fn read(web: &Web, limits: &str) -> (Scene, Ended) {
    let scene = open(web).grants(limits);
    let ended = scene.run("http", json!({ "url": web.origin() })).await;
    (scene, ended)
}

/// N11: what comes compressed is read plain, whether it was asked for or not.
#[tokio::test]
async fn n11_a_compressed_answer_is_decoded_and_counted() {
    let words = "words ".repeat(1_000);
    let plain = read(&coded("identity", words.clone().into()), "").await.1;
    for (coding, body) in [
        ("gzip", gzip(words.as_bytes())),
        ("x-gzip", gzip(words.as_bytes())),
        ("deflate", deflate(words.as_bytes())),
        ("gzip, deflate", deflate(&gzip(words.as_bytes()))),
    ] {
        let ended = read(&coded(coding, body), "").await.1;
        assert_eq!(text(&ended), format!("200 {words}"), "{coding}");
        let (counted, expected) = (ended.usage.bytes_read, plain.usage.bytes_read);
        assert!(counted > expected && counted < expected + 500, "{coding}: {counted} {expected}");
        assert!(ended.usage.host_work > plain.usage.host_work, "{coding}: {ended:?}");
    }
}

/// N11: a coding that the host does not undo is an error, and not the guest's to try.
#[tokio::test]
async fn n11_what_cannot_be_decoded_does_not_get_through() {
    let good = gzip(b"hello");
    for (coding, body) in [
        ("br", good.clone()),
        ("zstd", good.clone()),
        ("gzip, br", good.clone()),
        ("gzip, gzip, gzip", gzip(&gzip(&good))),
        ("gzip", b"hello".to_vec()),
        ("gzip", good[..good.len() - 1].to_vec()),
        ("deflate", b"hello".to_vec()),
    ] {
        let (scene, ended) = read(&coded(coding, body), "").await;
        let said = text(&ended);
        assert!(said.starts_with("error: ") || said.starts_with("200 error: "), "{coding}: {said}");
        assert!(said.contains("content coding"), "{coding}: {said}");
        scene.works().await;
    }
    assert_eq!(text(&read(&coded("gzip", good), "").await.1), "200 hello");
}

/// N11: what a bomb comes to is paid for while it comes, and it ends at the call's own limit.
#[tokio::test]
async fn n11_a_decompression_bomb_ends_at_the_calls_limit() {
    let zeros = vec![0; 64 << 20];
    let bomb = gzip(&zeros);
    assert!(bomb.len() * 900 < zeros.len(), "{}", bomb.len());
    for (coding, body) in
        [("gzip", bomb.clone()), ("deflate", deflate(&zeros)), ("gzip, gzip", gzip(&bomb))]
    {
        let web = coded(coding, body);
        // The probe itself reads no more than a megabyte of it.
        let (scene, ended) = read(&web, "limits.fuel = \"15M\"").await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Fuel }, "{coding}");
        assert!(ended.usage.bytes_read < 1 << 20, "{coding}: {ended:?}");
        scene.works().await;
        let ended = read(&web, "").await.1;
        assert!(text(&ended).contains("longer than 1048576 bytes"), "{coding}: {ended:?}");
        assert!(ended.usage.bytes_read < 2 << 20, "what nobody reads is not decoded: {ended:?}");
    }
}
