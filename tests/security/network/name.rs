//! Names: what they lead to is judged, and what was judged is connected to.

use ringfence_event::DenialCode;
use ringfence_tests::{
    Internet, text,
    web::{self, Web},
};

use super::{get, scene};

fn origin(web: &Web) -> String {
    format!("http://a.example:{}", web.port())
}

/// N2: a connection goes to the answer that was judged, and the next answer is judged again.
#[tokio::test]
async fn n2_a_request_goes_to_the_address_that_was_judged() {
    // The server closes each connection, so that each request makes one.
    let web = Web::new(|_, stream| {
        web::say(stream, "200 OK", "connection: close\r\n", b"hello")?;
        Err(std::io::ErrorKind::ConnectionAborted.into())
    });
    let internet =
        Internet::new().answer("a.example", &["93.184.216.34"]).answer("a.example", &["127.0.0.1"]);
    let origin = origin(&web);
    let rebound = scene(&origin, &format!("\"{origin}\"")).on(internet.clone());
    assert_eq!(text(&get(&rebound, &origin).await), "200 hello");
    assert_eq!(internet.asked(), ["a.example"]);
    assert_eq!(internet.connected(), [format!("93.184.216.34:{}", web.port())]);
    assert_eq!(web.take().len(), 1);
    // Now the name leads to this machine.
    let ended = get(&rebound, &origin).await;
    let [denial] = &ended.denials[..] else { panic!("{ended:?}") };
    assert_eq!(denial.code, DenialCode::AddressForbidden);
    assert_eq!(internet.asked(), ["a.example"]);
    assert_eq!((internet.connected().len(), web.take().len()), (0, 0));
}

/// N3: of an answer that mixes them, only public addresses are connected to.
#[tokio::test]
async fn n3_only_the_public_addresses_of_a_name_are_tried() {
    let web = web::serve();
    let origin = origin(&web);
    let private =
        ["10.0.0.5", "127.0.0.1", "fd00::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"];
    let mixed: Vec<&str> = private.into_iter().chain(["93.184.216.34"]).collect();
    for (answer, reached) in [(&mixed[..], true), (&private[..], false)] {
        let internet = Internet::new().answer("a.example", answer);
        let scene = scene(&origin, &format!("\"{origin}\"")).on(internet.clone());
        let ended = get(&scene, &origin).await;
        if reached {
            assert_eq!(text(&ended), "200 hello");
            assert_eq!(internet.connected(), [format!("93.184.216.34:{}", web.port())]);
        } else {
            let [denial] = &ended.denials[..] else { panic!("{ended:?}") };
            assert_eq!(denial.code, DenialCode::AddressForbidden);
            assert_eq!(internet.connected(), [""; 0]);
        }
    }
    assert_eq!(web.take().len(), 1);
}

/// N14: a request that is refused asks nobody for a name.
#[tokio::test]
async fn n14_no_request_that_is_refused_asks_for_a_name() {
    let internet = Internet::new().answer("a.example", &["10.0.0.5"]);
    let scene = scene("http://a.example", "\"http://a.example\"").on(internet.clone());
    for url in [
        "http://c2VjcmV0.a.example/",
        "http://evil.example/",
        "http://a.example.evil.example/",
        "http://a.example:81/",
        "https://a.example/",
    ] {
        let ended = get(&scene, url).await;
        assert_eq!(ended.denials.len(), 1, "{url}: {ended:?}");
        assert_eq!(internet.asked(), [""; 0], "{url}");
    }
    let ended = get(&scene, "http://a.example/").await;
    assert_eq!(ended.denials[0].code, DenialCode::AddressForbidden);
    assert_eq!(internet.asked(), ["a.example"]);
}
