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
use ringfence_event::ModelFailureClass;
use ringfence_model::{NoCertificate, VendorModel, VendorProtocol::OpenAiChat};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::ring::default_provider};

use super::{KEY, ask, hello, model, server::Request};

/// A server with a certificate of its own, for `localhost`.
struct Secure {
    port: u16,
    certificate: Vec<u8>,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Secure {
    fn new() -> Self {
        let (certificate, key) = certificate("localhost");
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
                // Whoever does not trust this says no request.
                let Some(request) = Request::read(&mut from) else { continue };
                of_thread.lock().unwrap().push(request);
                let body = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}]}"#;
                let length = body.len();
                let stream = from.get_mut();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n\
                     content-length: {length}\r\n\r\n{body}"
                );
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        });
        Self { port, certificate, seen }
    }

    fn model(&self, host: &str) -> VendorModel {
        model(OpenAiChat, &format!("https://{host}:{}/v1", self.port))
    }

    fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

/// A certificate that vouches for itself, with nothing in it but what must be, and its key.
fn certificate(name: &str) -> (Vec<u8>, Vec<u8>) {
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
    let valid = sequence(&[&der(0x17, &[b"200101000000Z"]), &der(0x17, &[b"491231235959Z"])]);
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

#[tokio::test]
async fn a_server_that_is_not_who_was_asked_for_is_told_nothing() {
    let server = Secure::new();
    let trusting = |host: &str| server.model(host).with_authority(&server.certificate).unwrap();
    assert_eq!(ask(&trusting("localhost"), &hello()).await.unwrap().text, "hi");
    let [request] = &server.take()[..] else { panic!("one request") };
    assert_eq!(request.field("authorization"), Some(&*format!("Bearer {KEY}")));

    for model in [server.model("localhost"), trusting("127.0.0.1")] {
        let error = ask(&model, &hello()).await.unwrap_err();
        assert_eq!(error.failure.class, ModelFailureClass::Unavailable, "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
        assert_eq!(server.take().len(), 0);
    }
    let no_certificate = server.model("localhost").with_authority(b"no certificate");
    assert_eq!(no_certificate.err(), Some(NoCertificate));
}
