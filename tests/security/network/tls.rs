//! TLS: who answers is who was asked for, or nothing is sent.

use std::{
    io::{BufReader, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING as ECDSA, EcdsaKeyPair, KeyPair},
};
use ringfence_capability::{Host, http::NoCertificate};
use ringfence_tests::{
    Internet, text,
    web::{self, Request},
};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring::default_provider};

use super::{get, scene};

/// A server with a certificate of its own, and whom it was taken for with each request.
struct Secure {
    port: u16,
    certificate: Vec<u8>,
    seen: Arc<Mutex<Vec<(String, Request)>>>,
}

impl Secure {
    fn new(name: &str, until: &str) -> Self {
        let (certificate, key) = certificate(name, until);
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone().into()], key.try_into().unwrap());
        let config = Arc::new(config.unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let of_thread = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut from = BufReader::new(StreamOwned::new(connection, stream));
                // One request of each connection; whoever does not trust this says none.
                let Some(request) = Request::read(&mut from) else { continue };
                let stream = from.get_mut();
                let name = stream.conn.server_name().unwrap_or_default().to_owned();
                of_thread.lock().unwrap().push((name, request));
                let answer =
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello";
                let _ = stream.write_all(answer.as_bytes());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self { port, certificate, seen }
    }

    fn take(&self) -> Vec<(String, Request)> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// A certificate that vouches for itself, with nothing in it but what must be, and its key.
fn certificate(name: &str, until: &str) -> (Vec<u8>, Vec<u8>) {
    let random = SystemRandom::new();
    let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA, &random).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA, pair.as_ref(), &random).unwrap();
    let sequence = |parts: &[&[u8]]| der(0x30, parts);
    // Object identifiers: ecdsa-with-SHA256, ecPublicKey, prime256v1, commonName, subjectAltName.
    let signing = sequence(&[b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"]);
    let curve = sequence(&[
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01",
        b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
    ]);
    let common_name = sequence(&[b"\x06\x03\x55\x04\x03", &der(0x0c, &[name.as_bytes()])]);
    let who = sequence(&[&der(0x31, &[&common_name])]);
    let valid = sequence(&[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[until.as_bytes()])]);
    let public = sequence(&[&curve, &der(0x03, &[&[0], key.public_key().as_ref()])]);
    let names = der(0x04, &[&sequence(&[&der(0x82, &[name.as_bytes()])])]);
    let extension = sequence(&[b"\x06\x03\x55\x1d\x11", &names]);
    let to_sign = sequence(&[
        &der(0xa0, &[&der(0x02, &[&[2]])]), // version 3
        &der(0x02, &[&[1]]),
        &signing,
        &who,
        &valid,
        &who,
        &public,
        &der(0xa3, &[&sequence(&[&extension])]),
    ]);
    let signature = key.sign(&random, &to_sign).unwrap();
    let signature = der(0x03, &[&[0], signature.as_ref()]);
    (sequence(&[&to_sign, &signing, &signature]), pair.as_ref().to_vec())
}

fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().take_while(|byte| **byte == 0).count()..];
    let mut value = vec![tag];
    match content.len() {
        short @ 0..128 => value.push(short as u8),
        _ => {
            value.push(0x80 | digits.len() as u8);
            value.extend_from_slice(digits);
        }
    }
    value.extend(content);
    value
}

const LONG: &str = "491231235959Z";
const OVER: &str = "210101000000Z";

/// N8: a request is sent to whom an authority vouches for by the name in its URL, and the server is
/// told that one name twice.
#[tokio::test]
async fn n8_a_server_that_is_not_who_was_asked_for_is_told_nothing() {
    let (good, late) = (Secure::new("a.example", LONG), Secure::new("a.example", OVER));
    let internet = Internet::new()
        .answer("a.example", &["93.184.216.34"])
        .answer("b.example", &["93.184.216.34"]);
    let on = || Host::on(internet.clone());
    let knows = |server: &Secure| on().with_authority(&server.certificate).unwrap();
    for (server, name, host, trusted) in [
        (&good, "a.example", knows(&good), true),
        (&good, "a.example", on(), false),
        (&good, "b.example", knows(&good), false),
        (&good, "a.example", knows(&late), false),
        (&late, "a.example", knows(&late), false),
    ] {
        let authority = format!("{name}:{}", server.port);
        let origin = format!("https://{authority}");
        let scene = scene(&origin, &format!("\"{origin}\"")).with_host(host);
        let ended = get(&scene, &origin).await;
        if trusted {
            assert_eq!(text(&ended), "200 hello");
            let [(asked, request)] = &server.take()[..] else { panic!("one request") };
            assert_eq!((asked.as_str(), request.header("host")), (name, Some(&*authority)));
        } else {
            assert!(text(&ended).contains("tls certificate error"), "{name}: {ended:?}");
            assert_eq!(server.take().len(), 0, "{name}");
        }
    }
    // A granted address is another way to the same name.
    let origin = format!("https://a.example:{}", good.port);
    let pinned = format!("{{ url = \"{origin}\", address = \"127.0.0.1\" }}");
    for (host, trusted) in [(knows(&good), true), (on(), false)] {
        let ended = get(&scene(&origin, &pinned).with_host(host), &origin).await;
        assert_eq!(text(&ended) == "200 hello", trusted, "{ended:?}");
        let names: Vec<String> = good.take().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, vec!["a.example"; usize::from(trusted)]);
    }
    assert_eq!(on().with_authority(b"no certificate").err(), Some(NoCertificate));
}

/// N8: nothing is sent in the clear to whom it was to be sent encrypted.
#[tokio::test]
async fn n8_nothing_goes_in_the_clear_where_tls_is_asked_for() {
    let plain = web::serve();
    let origin = plain.origin().replace("http:", "https:");
    let ended = get(&scene(&origin, &format!("\"{origin}\"")), &origin).await;
    assert!(text(&ended).contains("tls certificate error"), "{ended:?}");
    // What it read was no request but the beginning of a handshake.
    assert!(plain.take().iter().all(|request| !request.line.starts_with("GET ")));
    assert_eq!(plain.connections(), 1);
}
