//! Sockets: where they lead, who may answer, and what of it is counted.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use ringfence_event::{Asked, DenialCode, Effect, Limit, Note, Outcome};
use ringfence_sandbox::{Cancel, Ended, Sink};
use ringfence_tests::{Internet, Scene, text};
use serde_json::json;

/// A server that echoes until its client is done, and counts who came.
fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
    serve(|mut stream| {
        let mut read = Vec::new();
        stream.read_to_end(&mut read)?;
        stream.write_all(&read)?;
        stream.shutdown(Shutdown::Both)
    })
}

fn serve(
    answer: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let came = Arc::<AtomicUsize>::default();
    let count = came.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            // Whoever went away has no use for the rest.
            thread::spawn(move || answer(stream));
        }
    });
    (address, came)
}

/// A peer of datagrams that sends each back in capitals.
fn shout() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok((count, from)) = socket.recv_from(&mut datagram) {
            socket.send_to(&datagram[..count].to_ascii_uppercase(), from).unwrap();
        }
    });
    address
}

fn scene(needs: &[(&str, &str)], grants: &str) -> Scene {
    let needs = needs
        .iter()
        .map(|(to, protocol)| format!("[needs.sockets.\"{to}\"]\nprotocol = \"{protocol}\"\n"));
    Scene::new(Effect::Unsafe)
        .needs(&needs.collect::<String>())
        .grants(&format!("sockets = [{grants}]"))
}

async fn act(scene: &Scene, act: &str, to: &[&str]) -> Ended {
    scene.run("sockets", json!({ "act": act, "to": to, "text": "words" })).await
}

fn asked(ended: &Ended) -> Vec<(DenialCode, String)> {
    let denials = ended.denials.iter().map(|denial| {
        let (Asked::Socket { address } | Asked::Bind { address }) = &denial.asked else {
            panic!("{denial}")
        };
        (denial.code, address.clone())
    });
    denials.collect()
}

/// N9: what is both needed and granted is reached, by address and by the name that an address is
/// granted beside, and nothing else is.
#[tokio::test]
async fn n9_a_stream_goes_where_both_sides_say_and_nowhere_else() {
    let ((to, came), (other, never)) = (echo(), echo());
    let (to, other) = (to.to_string(), other.to_string());
    let named = format!("db.example:{}", to.rsplit_once(':').unwrap().1);
    let pinned = format!("{{ to = \"{named}\", address = \"127.0.0.1\" }}");
    let by_address = scene(&[(&to, "tcp")], &format!("\"{to}\""));
    let by_name = scene(&[(&named, "tcp")], &pinned);
    for (scene, to) in [(&by_address, &to), (&by_name, &named), (&by_name, &to)] {
        let ended = act(scene, "connect", &[to]).await;
        assert_eq!((text(&ended).as_str(), &ended.denials[..]), ("words", &[][..]), "{to}");
        let usage = ended.usage;
        assert_eq!((usage.requests, usage.egress_bytes, usage.bytes_read), (1, 5, 5), "{to}");
    }
    assert_eq!(came.load(Ordering::SeqCst), 3);

    let port = other.rsplit_once(':').unwrap().1;
    for (scene, to, code, named) in [
        (&by_address, other.clone(), DenialCode::NotNeeded, format!("{other} by tcp")),
        (&by_name, format!("db.example:{port}"), DenialCode::NotNeeded, format!("{other} by tcp")),
        (&by_name, "evil.example:1".to_owned(), DenialCode::NotNeeded, "evil.example".to_owned()),
        (
            &scene(&[(&to, "tcp")], ""),
            to.clone(),
            DenialCode::NotGranted,
            "any address by tcp".into(),
        ),
        (
            &scene(&[], &format!("\"{to}\"")),
            to.clone(),
            DenialCode::NotNeeded,
            "any address by tcp".into(),
        ),
        // The same place by the other protocol is another need.
        (
            &scene(&[(&to, "udp")], &format!("\"{to}\"")),
            to.clone(),
            DenialCode::NotNeeded,
            "any address by tcp".into(),
        ),
    ] {
        let ended = act(scene, "connect", &[&to]).await;
        assert_ne!(text(&ended), "words", "{to}");
        assert_eq!(asked(&ended), [(code, named)], "{to}");
        assert!(ended.denials.iter().all(|denial| !denial.remedies.is_empty()), "{ended:?}");
    }
    for effect in [Effect::Read, Effect::Pure] {
        let scene = Scene::new(effect)
            .needs(&format!("[needs.sockets.\"{to}\"]"))
            .grants(&format!("sockets = [\"{to}\"]"));
        let ended = act(&scene, "connect", &[&to]).await;
        assert_ne!(text(&ended), "words");
        assert_eq!(asked(&ended), [(DenialCode::EffectForbids, "any address by tcp".to_owned())]);
    }
    assert_eq!((came.load(Ordering::SeqCst), never.load(Ordering::SeqCst)), (3, 0));
}

/// N9: a peer is asked for where it is named, be it once for a socket or with each datagram.
#[tokio::test]
async fn n9_a_datagram_goes_to_its_granted_peer_alone() {
    let (to, other) = (shout().to_string(), shout().to_string());
    let open = scene(&[(&to, "udp")], &format!("\"{to}\""));
    for how in ["send", "peer"] {
        let ended = act(&open, how, &[&to]).await;
        assert_eq!((text(&ended).as_str(), &ended.denials[..]), ("WORDS", &[][..]), "{how}");
        let usage = ended.usage;
        assert_eq!((usage.requests, usage.egress_bytes, usage.bytes_read), (1, 5, 5), "{how}");
    }
    let ended = act(&open, "peer", &[&other]).await;
    assert_eq!(asked(&ended), [(DenialCode::NotNeeded, format!("{other} by udp"))]);
    assert_eq!(ended.usage.egress_bytes, 0);
    // A first datagram that may go opens nothing for the next one; a peer counts once.
    let ended = act(&open, "send", &[&to, &other, &to]).await;
    assert_eq!(text(&ended), "WORDS\nPermissionDenied\nWORDS");
    assert_eq!(asked(&ended), [(DenialCode::NotNeeded, format!("{other} by udp"))]);
    assert_eq!((ended.usage.egress_bytes, ended.usage.requests), (10, 2));
    for everybody in ["255.255.255.255:9", "224.0.0.1:9"] {
        let ended = act(&open, "send", &[everybody]).await;
        assert_eq!(text(&ended), "PermissionDenied");
        assert_eq!(asked(&ended), [(DenialCode::NeverOpen, format!("{everybody} by udp"))]);
    }
}

/// Hears the port that a guest says, and sends to it from two sockets.
struct Senders(Mutex<Option<[UdpSocket; 2]>>);

impl Sink for Senders {
    fn note(&self, note: Note) {
        let (Note::Log { message, .. }, Some(sockets)) = (note, self.0.lock().unwrap().take())
        else {
            return;
        };
        let port: u16 = message.parse().unwrap();
        for (socket, text) in sockets.iter().zip(["stranger", "peer"]) {
            socket.send_to(text.as_bytes(), ("127.0.0.1", port)).unwrap();
        }
    }
}

/// N9: nobody reaches a guest, by a connection or by a datagram, whom it could not have reached.
#[tokio::test]
async fn n9_nobody_reaches_a_guest_that_is_not_its_peer() {
    let [stranger, peer] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let to = peer.local_addr().unwrap().to_string();
    let open =
        scene(&[(&to, "udp"), ("db.example:1", "tcp")], &format!("\"{to}\", \"db.example:1\""));
    let senders = Arc::new(Senders(Mutex::new(Some([stranger, peer]))));
    let arguments = json!({ "act": "receive", "to": [] });
    let ended = open.run_until("sockets", arguments, &Cancel::new(), senders).await;
    assert_eq!(text(&ended), format!("4 from {to}"));
    for (how, at, protocol) in [
        ("listen", "127.0.0.1:0", "tcp"),
        ("listen", "0.0.0.0:8080", "tcp"),
        ("listen", "0.0.0.0:0", "tcp"),
        ("bind", "127.0.0.1:0", "udp"),
        ("bind", "0.0.0.0:5353", "udp"),
        ("bind", "224.0.0.251:0", "udp"),
    ] {
        let ended = act(&open, how, &[at]).await;
        assert_eq!(text(&ended), "error: PermissionDenied", "{how} {at}");
        let [(code, asked)] = &asked(&ended)[..] else { panic!("{how} {at}: {ended:?}") };
        assert_eq!(*code, DenialCode::NeverOpen, "{how} {at}");
        // A socket that is bound to no port in particular has one when it is to listen.
        assert!(asked.ends_with(&format!(" by {protocol}")), "{asked}");
    }
    let ended = act(&open, "bind", &["0.0.0.0:0"]).await;
    assert_eq!((text(&ended).as_str(), ended.denials.len()), ("0.0.0.0", 0));
}

/// N14: a name is resolved if a granted socket has it; of any other nobody hears.
#[tokio::test]
async fn n14_only_granted_names_are_ever_resolved() {
    let internet = Internet::new().answer("db.example", &["93.184.216.34", "2606:4700::1111"]);
    let open = scene(
        &[("db.example:5432", "tcp"), ("other.example:1", "tcp")],
        "\"db.example:5432\", \"third.example:1\"",
    )
    .on(internet.clone());
    let ended = act(&open, "resolve", &["db.example:5432", "DB.example:9"]).await;
    let said = text(&ended);
    assert!(said.contains("93.184.216.34:5432") && said.contains("93.184.216.34:9"), "{said}");
    assert_eq!(internet.asked(), ["db.example"]);
    for name in [
        "c2VjcmV0.evil.example",
        "c2VjcmV0.db.example",
        "db.example.evil.example",
        "db.example.",
        "other.example",
        "third.example",
        "db",
    ] {
        let ended = act(&open, "resolve", &[&format!("{name}:1")]).await;
        assert!(!text(&ended).contains(":1"), "{name}: {ended:?}");
        let [(_, asked)] = &asked(&ended)[..] else { panic!("{name}: {ended:?}") };
        assert_eq!(asked, name);
        assert_eq!(internet.asked(), [""; 0], "{name}");
    }
}

/// N2: the second answer for a name is never heard, so what is connected to is what was judged.
#[tokio::test]
async fn n2_a_name_that_a_socket_has_is_resolved_once() {
    let (to, came) = echo();
    let internet = Internet::new()
        .answer("db.example", &["93.184.216.34"])
        .answer("db.example", &["127.0.0.1"]);
    let name = format!("db.example:{}", to.port());
    let open = scene(&[(&name, "tcp")], &format!("\"{name}\"")).on(internet.clone());
    let ended = act(&open, "resolve", &[&name, &name, &name]).await;
    let answer = format!("93.184.216.34:{}", to.port());
    assert_eq!(text(&ended), [answer.as_str(); 3].join("\n"));
    assert_eq!(internet.asked(), ["db.example"]);
    // What the name leads to by now is not what was judged.
    let ended = act(&open, "connect", &[&to.to_string()]).await;
    assert_eq!(text(&ended), "PermissionDenied");
    assert_eq!(asked(&ended), [(DenialCode::NotNeeded, format!("{to} by tcp"))]);
    assert_eq!(came.load(Ordering::SeqCst), 0);
}

/// N3: of an answer that mixes them, a guest sees the public addresses; of one that has none, nothing.
#[tokio::test]
async fn n3_private_addresses_of_a_name_are_dropped() {
    let mixed = ["10.0.0.5", "93.184.216.34", "::ffff:127.0.0.1", "64:ff9b::a9fe:a9fe", "fd00::1"];
    let internet = Internet::new()
        .answer("db.example", &mixed)
        .answer("private.example", &["10.0.0.5", "::1"]);
    let open = scene(
        &[("db.example:1", "tcp"), ("private.example:1", "tcp")],
        "\"db.example:1\", \"private.example:1\"",
    )
    .on(internet.clone());
    let ended = act(&open, "resolve", &["db.example:1", "private.example:1"]).await;
    let said = text(&ended);
    let (first, second) = said.split_once('\n').unwrap();
    assert_eq!(first, "93.184.216.34:1");
    assert!(!second.contains(":1"), "{second}");
    let private = "private.example".to_owned();
    assert_eq!(asked(&ended), [(DenialCode::AddressForbidden, private)]);
    let [remedy] = &ended.denials[0].remedies[..] else { panic!("{ended:?}") };
    assert_eq!(remedy.allow, "{ to = \"private.example:1\", address = \"…\" }");
    // An address of the answer that was dropped is not reached by its digits either.
    let ended = act(&open, "connect", &["10.0.0.5:1"]).await;
    assert_eq!(asked(&ended), [(DenialCode::NotNeeded, "10.0.0.5:1 by tcp".to_owned())]);
}

/// N1: whatever an address looks like, it is granted as an address or not at all.
#[tokio::test]
async fn n1_a_socket_takes_an_address_by_its_value() {
    let (to, came) = echo();
    let port = to.port();
    let open = scene(&[("db.example:1", "tcp")], "\"db.example:1\"");
    for host in ["127.0.0.1", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"]
    {
        let ended = act(&open, "connect", &[&format!("{host}:{port}")]).await;
        assert!(text(&ended).starts_with("PermissionDenied"), "{host}: {ended:?}");
        assert_eq!(ended.denials.len(), 1, "{host}: {ended:?}");
    }
    assert_eq!(came.load(Ordering::SeqCst), 0);
    // However the operator spells it.
    let (need, grant) = (format!("127.1:{port}"), format!("\"0x7f.1:{port}\""));
    let ended = act(&scene(&[(&need, "tcp")], &grant), "connect", &[&to.to_string()]).await;
    assert_eq!(text(&ended), "words");
}

/// H2: a name that is never answered and a server that never speaks hold a call to its deadline, or
/// until somebody cancels it.
#[tokio::test]
async fn h2_a_socket_that_waits_ends_with_its_call() {
    let (silent, _) = serve(|_| {
        loop {
            thread::park();
        }
    });
    let silent = silent.to_string();
    let open = || {
        let grants = format!("\"{silent}\", \"never.example:1\"");
        let scene = scene(&[(&silent, "tcp"), ("never.example:1", "tcp")], &grants);
        scene.on(Internet::new().answer("never.example", &[]))
    };
    for (how, to) in [("resolve", "never.example:1"), ("read", silent.as_str())] {
        let late = open().grants("limits.time = \"100ms\"");
        let ended = act(&late, how, &[to]).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit: Limit::Time }, "{how}");
        late.works().await;

        let (open, cancel) = (open(), Cancel::new());
        let arguments = json!({ "act": how, "to": [to] });
        let run = open.run_until("sockets", arguments, &cancel, open.notes.clone());
        let (ended, ()) = tokio::join!(run, async { cancel.cancel() });
        assert_eq!(ended.outcome, Outcome::Cancelled, "{how}");
        open.works().await;
    }
}

/// H4, H5: bytes, connections and handles of sockets come out of the call's own limits.
#[tokio::test]
async fn h4_sockets_are_limited_by_what_is_held_and_sent() {
    let (sink, came) = serve(|mut stream| io::copy(&mut stream, &mut io::sink()).map(|_| ()));
    let (source, _) = serve(|mut stream| {
        loop {
            stream.write_all(&[b'x'; 65_536])?;
        }
    });
    let (to, from) = (sink.to_string(), source.to_string());
    for (how, to, limits, limit) in [
        ("flood", &to, "egress = \"1MiB\"", Limit::Egress),
        ("flood", &to, "egress = \"1GiB\"\nlimits.fuel = \"100M\"", Limit::Fuel),
        ("read", &from, "fuel = \"100M\"", Limit::Fuel),
        ("hoard", &to, "handles = 40", Limit::Handles),
        ("hoard", &to, "requests = 5", Limit::Requests),
    ] {
        let scene = scene(&[(to, "tcp")], &format!("\"{to}\"")).grants(&format!("limits.{limits}"));
        let before = came.load(Ordering::SeqCst);
        let text = "x".repeat(1 << 16);
        let ended = scene.run("sockets", json!({ "act": how, "to": [to], "text": text })).await;
        assert_eq!(ended.outcome, Outcome::LimitReached { limit }, "{how} {limits}");
        let usage = ended.usage;
        match limit {
            Limit::Egress => assert_eq!(usage.egress_bytes, 1 << 20),
            Limit::Fuel => {
                assert!(usage.egress_bytes + usage.bytes_read <= 10_000_000, "{usage:?}");
            }
            Limit::Requests => assert!(came.load(Ordering::SeqCst) - before <= 5),
            _ => assert!(came.load(Ordering::SeqCst) - before <= 40),
        }
        scene.works().await;
    }
}

/// H2: what a call has open is closed when it is cancelled, whatever the guest was waiting for.
#[tokio::test]
async fn h2_a_cancelled_call_closes_its_connections() {
    let (tell, heard) = mpsc::channel();
    let (to, _) = serve(move |mut stream| {
        tell.send("came").map_err(io::Error::other)?;
        // Whether it ends well or with an error, it ends when the other side is gone.
        let _ = io::copy(&mut stream, &mut io::sink());
        tell.send("gone").map_err(io::Error::other)
    });
    let to = to.to_string();
    let open = scene(&[(&to, "tcp")], &format!("\"{to}\""));
    let cancel = Cancel::new();
    let arguments = json!({ "act": "read", "to": [to] });
    let run = open.run_until("sockets", arguments, &cancel, open.notes.clone());
    let cancelled = async {
        let (word, heard) =
            tokio::task::spawn_blocking(move || (heard.recv().unwrap(), heard)).await.unwrap();
        assert_eq!(word, "came");
        cancel.cancel();
        heard
    };
    let (ended, heard) = tokio::join!(run, cancelled);
    assert_eq!(ended.outcome, Outcome::Cancelled);
    let word = tokio::task::spawn_blocking(move || heard.recv().unwrap()).await.unwrap();
    assert_eq!(word, "gone");
}
