//! Hosts that hold rules shut, in calls that nobody said yes to: whatever a host is called, and by
//! whatever way a call comes there, it is denied by the rule. The control is the same call once a person
//! said yes to it.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    thread,
};

use ringfence_event::{Binding, Denial, DenialCode, Digest, Effect, FunctionName, UserId};
use ringfence_policy::{Approval, CallRequest, Decision, ToolPolicy};
use ringfence_sandbox::Tool;
use ringfence_tests::{
    ENGINE, Internet, Scene, binding, guest, text,
    web::{self, Web, say},
};
use serde_json::{Value, json};

/// An address that is public, and one that a rule names.
const OPEN: &str = "93.184.216.34";
const SHUT: &str = "93.184.216.99";

fn rules(hosts: &[&str]) -> String {
    hosts.iter().map(|host| format!("[[tenant.local.hold]]\nhost = \"{host}\"\n")).collect()
}

/// The one denial, which names the rule by its line.
fn by_rule<'a>(denials: &'a [Denial], case: &str) -> &'a Denial {
    let [denial] = denials else { panic!("{case}: {denials:?}") };
    assert_eq!(denial.code, DenialCode::NeedsApproval, "{case}: {denial}");
    let [rule] = &denial.remedies[..] else { panic!("{case}: {denial}") };
    assert!(rule.line.is_some() && rule.allow.starts_with("host = "), "{case}: {denial}");
    denial
}

/// A network in which each of these names is public.
fn internet(names: &[&str]) -> Arc<Internet> {
    names.iter().fold(Internet::new(), |internet, name| internet.answer(name, &[OPEN]))
}

/// N16: each spelling of a host that leads there at all.
#[tokio::test]
async fn n16_a_shut_host_is_shut_in_every_spelling() {
    let web = web::serve();
    let port = web.port();
    let names = [
        "pay.example",
        "pay.example.",
        "a.shut.example",
        "a.b.shut.example",
        "a.b.shut.example.",
        "xn--bcher-kva.example",
        "open.example",
        "apay.example",
        "shut.example",
    ];
    let any = format!("http://*:{port}");
    let scene = super::scene(&any, &format!("\"{any}\""))
        .tenant_lines(&rules(&["pay.example", "*.shut.example", "bücher.example", SHUT]))
        .untold()
        .on(internet(&names));
    let approved = super::scene(&any, &format!("\"{any}\""))
        .tenant_lines(&rules(&["pay.example", "*.shut.example", "bücher.example", SHUT]))
        .untold()
        .approved()
        .on(internet(&names));
    let mut nobodys = vec![];
    for host in [
        "pay.example",
        "PAY.example",
        "pay.example.",
        "PaY.ExAmPlE.",
        "pay%2eexample",
        "p%61y.example",
        "ｐａｙ.example",
        "pay。example",
        "pa\u{ad}y.example",
        "a.shut.example",
        "a.b.SHUT.example.",
        "bücher.example",
        "BÜCHER.example",
        "bu\u{308}cher.example",
        "xn--bcher-kva.example",
        "XN--BCHER-KVA.example",
        SHUT,
        "1572395107",
        "0x5db8d863",
        "93.184.55395",
        "0135.0270.0330.0143",
        "93.184.216.99.",
        "[::ffff:93.184.216.99]",
        "[::ffff:5db8:d863]",
        "[0:0:0:0:0:FFFF:5DB8:D863]",
    ] {
        let url = format!("http://{host}:{port}/hello");
        let ended = super::get(&approved, &url).await;
        let goes = text(&ended) == "200 hello";
        assert_eq!(web.take().len(), usize::from(goes), "{host}: {ended:?}");
        let ended = super::get(&scene, &url).await;
        assert!(text(&ended).starts_with("error: "), "{host}: {ended:?}");
        assert!(web.take().is_empty(), "{host}");
        if goes {
            by_rule(&ended.denials, host);
        } else {
            nobodys.push(host);
        }
    }
    // These are no hosts to the guest's own library: whoever writes one has it refused before it is asked
    // for.
    let unwritten = |host: &&str| !host.is_ascii() || host.contains('%');
    assert!(nobodys.iter().all(unwritten), "{nobodys:?}");
    // A name before the host is nobody's host, and refused to everybody.
    for url in
        [format!("http://open.example@pay.example:{port}/"), format!("http://u:p@{SHUT}:{port}/")]
    {
        for scene in [&scene, &approved] {
            let ended = super::get(scene, &url).await;
            assert!(text(&ended).starts_with("error: "), "{url}: {ended:?}");
            assert!(web.take().is_empty(), "{url}");
        }
    }
    // What no rule names is open beside it.
    for host in ["open.example", "apay.example", "shut.example", OPEN] {
        let ended = super::get(&scene, &format!("http://{host}:{port}/pay.example")).await;
        assert_eq!((text(&ended).as_str(), ended.denials.len()), ("200 hello", 0), "{host}");
        assert_eq!(web.take().len(), 1, "{host}");
    }
}

/// N16: an address is shut also where it is granted beside a name.
#[tokio::test]
async fn n16_an_address_is_shut_by_whatever_name_it_is_granted() {
    let web = web::serve();
    let origin = format!("http://db.example:{}", web.port());
    let pinned = format!("{{ url = \"{origin}\", address = \"127.0.0.1\" }}");
    for (rule, shut) in
        [("127.1", true), ("::ffff:127.0.0.1", true), ("db.example", true), ("127.0.0.2", false)]
    {
        let scene = || super::scene(&origin, &pinned).tenant_lines(&rules(&[rule])).untold();
        let ended = super::get(&scene().approved(), &origin).await;
        assert_eq!((text(&ended).as_str(), web.take().len()), ("200 hello", 1), "{rule}");
        let ended = super::get(&scene(), &origin).await;
        assert_eq!(web.take().is_empty(), shut, "{rule}: {ended:?}");
        match shut {
            true => drop(by_rule(&ended.denials, rule)),
            false => assert_eq!(text(&ended), "200 hello", "{rule}"),
        }
    }
}

/// N16: the host follows no redirect, and a tool that does meets the rule at its next request, however
/// the place is written; a rule about another host of the same server is not in its way.
#[tokio::test]
async fn n16_no_redirect_leads_to_a_shut_host() {
    let web = Web::new(|request, stream| match request.path().strip_prefix("/to/") {
        Some(url) => say(stream, "302 Found", &format!("location: {url}\r\n"), b""),
        None => say(stream, "200 OK", "content-type: text/plain\r\n", b"the page"),
    });
    let port = web.port();
    let scene = || {
        let any = format!("http://*:{port}");
        Scene::of(Tool::load(&ENGINE, &guest("fetch")).unwrap(), Effect::Read)
            .needs(&format!("[needs.http.\"{any}\"]"))
            .grants(&format!("http = [\"{any}\"]"))
            .tenant_lines(&rules(&["pay.example", SHUT]))
            .on(internet(&["open.example", "pay.example", "pay.example."]))
    };
    for to in [
        format!("http://pay.example:{port}/page"),
        format!("//PAY.example.:{port}/page"),
        format!("http:\\\\pay.example:{port}\\page"),
        format!("http://1572395107:{port}/page"),
        format!("http://open.example:{port}/to/http://pay.example:{port}/page"),
    ] {
        let from = json!({ "url": format!("http://open.example:{port}/to/{to}") });
        // Nothing in the arguments is a URL of such a host: where it leads is seen when it is asked for.
        let ended = scene().approved().run("get", from.clone()).await;
        assert!(text(&ended).contains("the page") && ended.denials.is_empty(), "{to}: {ended:?}");
        let hops = web.take().len();
        let ended = scene().run("get", from).await;
        by_rule(&ended.denials, &to);
        assert_eq!(web.take().len(), hops - 1, "{to}: {ended:?}");
    }
}

/// A server that echoes until its client is done.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut read = Vec::new();
            // Whoever went away has no use for the rest.
            let _ = stream.read_to_end(&mut read).and_then(|_| stream.write_all(&read));
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    address
}

/// N16: a socket is shut by its name and by its address, whichever of the two the rule has and whichever
/// the guest asks for; the name is not even resolved.
#[tokio::test]
async fn n16_no_socket_leads_to_a_shut_host() {
    let to = echo();
    let (port, peer) = (to.port(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (named, datagrams) = (format!("db.example:{port}"), peer.local_addr().unwrap());
    let scene = |rule: &str| {
        Scene::new(Effect::Unsafe)
            .needs(&format!("[needs.sockets.\"{named}\"]"))
            .needs(&format!("[needs.sockets.\"{datagrams}\"]\nprotocol = \"udp\""))
            .grants(&format!(
                "sockets = [{{ to = \"{named}\", address = \"127.0.0.1\" }}, \"{datagrams}\"]"
            ))
            .tenant_lines(&rules(&[rule]))
            .untold()
    };
    let connect = |to: &str| json!({ "act": "connect", "to": [to], "text": "words" });
    for rule in ["db.example", "DB.example.", "127.0.0.1", "0x7f000001", "[::ffff:127.0.0.1]"] {
        for asked in [
            named.clone(),
            format!("DB.EXAMPLE:{port}"),
            to.to_string(),
            format!("[::ffff:127.0.0.1]:{port}"),
            format!("127.1:{port}"),
        ] {
            let case = format!("{rule} {asked}");
            let approved = scene(rule).approved().run("sockets", connect(&asked)).await;
            let ended = scene(rule).run("sockets", connect(&asked)).await;
            assert_ne!(text(&ended), "words", "{case}: {ended:?}");
            // What leads nowhere for anybody has another reason.
            if text(&approved) == "words" {
                by_rule(&ended.denials, &case);
            } else {
                assert!(![&named, &to.to_string()].contains(&&asked), "{case}: {approved:?}");
            }
        }
        let resolve = json!({ "act": "resolve", "to": [named] });
        let ended = scene(rule).run("sockets", resolve.clone()).await;
        by_rule(&ended.denials, rule);
        let ended = scene(rule).approved().run("sockets", resolve).await;
        assert_eq!(text(&ended), to.to_string(), "{rule}");
    }
    let send = json!({ "act": "send", "to": [datagrams.to_string()], "text": "words" });
    let ended = scene("127.0.0.1").run("sockets", send.clone()).await;
    by_rule(&ended.denials, "udp");
    thread::spawn(move || {
        let mut datagram = [0; 64];
        let (count, from) = peer.recv_from(&mut datagram).unwrap();
        peer.send_to(&datagram[..count], from).unwrap();
    });
    let ended = scene("db.example").run("sockets", send).await;
    assert_eq!((text(&ended).as_str(), ended.denials.len()), ("words", 0), "another host is open");
}

fn user() -> UserId {
    "local".parse().unwrap()
}

fn decide(policy: &ToolPolicy, arguments: &str, approval: Option<Approval<'_>>) -> Decision {
    let (user, function): (_, FunctionName) = (user(), "http".parse().unwrap());
    policy.decide(&CallRequest { approval, ..CallRequest::new(&user, &function, arguments) })
}

/// What may be opened, and what of it two rules shut.
fn policy() -> ToolPolicy {
    super::scene("https://*", "\"https://*\"")
        .root("workspace", std::path::Path::new("/srv/work"), "write")
        .tenant_lines(&rules(&["pay.example", "*.shut.example", "127.0.0.1"]))
        .tenant_lines("[[tenant.local.hold]]\npath = \"/workspace/keys/**\"")
        .policy("http")
}

/// N16: arguments that name a shut host or path anywhere, in any spelling, are asked about before
/// anything begins; what names none is not, and is shut all the same.
#[test]
fn n16_what_the_arguments_name_is_asked_about_first() {
    let policy = policy();
    let named = [
        "https://pay.example/x",
        "HTTPS://PAY.Example.:8443/x?y#z",
        "https://user:word@pay.example/",
        "//pay.example/x",
        "\\\\pay.example\\x",
        "https:pay.example",
        "https://pay%2eexample/",
        "https://pay。example/",
        "wss://PAY.example/",
        "postgres://me@pay.example:5432/db",
        "\tpay.example\n",
        "pay.example:443",
        "me@pay.example",
        "a.shut.example",
        "http://2130706433/",
        "0x7f.1",
        "::ffff:127.0.0.1",
        "[::ffff:7f00:1]:80",
        "/workspace/keys",
        "/workspace/a/../keys//deep/./key",
        "keys/key",
        "./keys/key",
        "workspace/keys/key",
        "../workspace/keys/key",
    ];
    let deep = |text: &str| {
        (0..100).fold(json!(text), |inner, level| match level % 2 {
            0 => json!([inner, level]),
            _ => json!({ "next": inner }),
        })
    };
    let places = |text: &str| -> [Value; 5] {
        [
            json!({ "url": text }),
            json!({ "to": ["a", { "at": [text] }] }),
            json!({ text: true }),
            json!({ "a": { text: { "b": 1 } } }),
            json!({ "next": deep(text) }),
        ]
    };
    let is_held = |arguments: &str| matches!(decide(&policy, arguments, None), Decision::Hold(..));
    for text in named {
        for arguments in places(text) {
            assert!(is_held(&arguments.to_string()), "{text:?} in {arguments}");
        }
        // Written twice, a tool may read either.
        let quoted = Value::from(text);
        for twice in [[quoted.to_string(), "\"a\"".into()], ["\"a\"".into(), quoted.to_string()]] {
            assert!(is_held(&format!("{{\"url\":{},\"url\":{}}}", twice[0], twice[1])), "{text:?}");
        }
    }
    // Escaped as JSON it is the same text, and what cannot be read may be anything.
    assert!(is_held(r#"{"url":"https:\/\/p\u0061y.example\/"}"#));
    for unreadable in ["{", "{\"a\":", &"[".repeat(1_000)] {
        assert!(is_held(unreadable), "{unreadable}");
    }
    for text in [
        "https://example/",
        "https://shut.example/",
        "https://pay.example.org/",
        "https://open.example/?to=pay.example",
        "aHR0cHM6Ly9wYXkuZXhhbXBsZS8=",
        "https%3A%2F%2Fpay.example%2F",
        "ask pay.example for it",
        "/workspace/keysmith",
        "/other/keys",
    ] {
        for arguments in places(text) {
            let decision = decide(&policy, &arguments.to_string(), None);
            let Decision::Permit(permit) = decision else { panic!("{text:?}: {decision:?}") };
            let denied = permit.http("GET", &"https://pay.example/".parse().unwrap());
            by_rule(&[denied.unwrap_err()], text);
            permit.check_path("/workspace/keys/key", ringfence_event::Access::Read).unwrap_err();
            permit.http("GET", &"https://open.example/".parse().unwrap()).unwrap();
        }
    }
}

/// N16: a yes that was given for anything else opens nothing: the call is held again, and where nothing in
/// the arguments told, the host stays shut.
#[test]
fn n16_a_yes_for_something_else_opens_nothing() {
    let policy = policy();
    let (user, function): (_, FunctionName) = (user(), "http".parse().unwrap());
    for (told, arguments) in [(true, r#"{"url":"https://pay.example/"}"#), (false, "{}")] {
        let right = binding(&policy, &CallRequest::new(&user, &function, arguments));
        let other = Digest::of(b"another one");
        let wrong: [(&str, Binding); 8] = [
            ("arguments", Binding { arguments: other, ..right.clone() }),
            ("component", Binding { component: other, ..right.clone() }),
            ("definitions", Binding { definitions: other, ..right.clone() }),
            ("policy version", Binding { policy: other, ..right.clone() }),
            ("agent's rules", Binding { rules: other, ..right.clone() }),
            ("user", Binding { user: "eve".parse().unwrap(), ..right.clone() }),
            ("tool", Binding { tool: "mail".parse().unwrap(), ..right.clone() }),
            ("function", Binding { function: "tell".parse().unwrap(), ..right.clone() }),
        ];
        let opens = |approval: Approval<'_>| match decide(&policy, arguments, Some(approval)) {
            Decision::Permit(permit) => {
                permit.http("GET", &"https://pay.example/".parse().unwrap()).is_ok()
            }
            Decision::Hold(..) => {
                assert!(told);
                false
            }
            Decision::Denial(denial) => panic!("{denial}"),
        };
        for (what, wrong) in wrong {
            assert!(!opens(Approval::Call(&wrong)), "another {what}");
            // A yes for the session is for the function, whatever its arguments.
            assert_eq!(opens(Approval::Session(&wrong)), what == "arguments", "another {what}");
        }
        assert!(opens(Approval::Call(&right)) && opens(Approval::Session(&right)));
    }
}
