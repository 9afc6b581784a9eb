//! Sockets: linked for every call, shut without a need and a grant, and each attempt is on record.

use ringfence_event::{Asked, DenialCode, Effect};
use ringfence_tests::{Scene, text};
use serde_json::{Value, json};

/// N9, N14: whatever is tried, nobody hears of it.
#[tokio::test]
async fn n9_sockets_are_shut() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = |address: &str| Asked::Socket { address: address.to_owned() };
    let (tcp, udp) = (socket("any address by tcp"), socket("any address by udp"));
    let cases: [(Value, &str, Asked); 4] = [
        (
            json!({ "what": "connect", "address": [127, 0, 0, 1], "port": port }),
            "error: access-denied",
            tcp.clone(),
        ),
        (json!({ "what": "listen", "address": [0, 0, 0, 0] }), "error: access-denied", tcp),
        (json!({ "what": "udp", "address": [127, 0, 0, 1] }), "error: access-denied", udp),
        // N14: no name that a guest makes up is ever asked of anybody.
        (
            json!({ "what": "resolve", "name": "secret-data.example.com" }),
            "error: access-denied",
            socket("secret-data.example.com"),
        ),
    ];
    for (arguments, said, asked) in cases {
        let scene = Scene::new(Effect::Unsafe);
        let ended = scene.run("shut", arguments.clone()).await;
        assert!(text(&ended).contains(said), "{arguments}: {ended:?}");
        let [denial] = &ended.denials[..] else { panic!("{arguments}: {ended:?}") };
        assert_eq!((denial.code, &denial.asked), (DenialCode::NotNeeded, &asked));
    }
    // Nobody came.
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err());
}
