//! Secrets: the one server that a secret is for gets it, and nobody else finds any of it anywhere.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::{Arc, Mutex},
};

use ringfence_event::{Asked, DenialCode, Effect, Outcome, SecretFault};
use ringfence_sandbox::Ended;
use ringfence_tests::{
    Scene,
    mirror::{self, FORMS, written},
    web::{Request, Web},
};
use ringfence_vault::{Environment, Vault};
use serde_json::{Value, json};

/// Has a character for each way in which an encoding escapes one.
const TOKEN: &str = "ghp_C4nary/Horse+\"battery\"=\\staple&<7>";

/// The environment of the host, which a test may change.
type Variables = Arc<Mutex<BTreeMap<String, String>>>;

fn variables(pairs: &[(&str, &str)]) -> Variables {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Arc::new(Mutex::new(pairs.collect()))
}

fn vault(variables: &Variables) -> Vault {
    let variables = variables.clone();
    let look_up = move |name: &str| variables.lock().unwrap().get(name).map(OsString::from);
    Vault::new().with_environment(Environment::new(look_up))
}

/// A tool that sends `TOKEN` with what it asks the mirror, other than below `/open`.
fn scene(mirror: &Web) -> Scene {
    let origin = mirror.origin();
    Scene::new(Effect::Unsafe)
        .vault(vault(&variables(&[("HOST_TOKEN", TOKEN)])))
        .needs(&format!("[needs.http.\"{origin}\"]\nmethods = [\"GET\", \"HEAD\"]"))
        .needs("secret = { header = \"Authorization\", value = \"Bearer {TOKEN}\" }")
        .grants(&format!("http = [\"{origin}\"]"))
}

fn granted(mirror: &Web) -> Scene {
    scene(mirror).grants("secret.TOKEN = { env = \"HOST_TOKEN\" }")
}

async fn ask(scene: &Scene, urls: &[String]) -> Ended {
    scene.run("tell", json!({ "urls": urls })).await
}

/// What the guest got to see.
fn told(ended: &Ended) -> String {
    let Outcome::Succeeded { output } = &ended.outcome else { panic!("{ended:?}") };
    output.structured.as_ref().unwrap()["told"].as_str().unwrap().to_owned()
}

#[track_caller]
fn hidden(shown: &str) {
    let whole = shown.to_ascii_lowercase();
    assert!(!whole.contains("c4nary") && !whole.contains("battery"), "{shown}");
    for form in FORMS.iter().filter(|form| **form != "all") {
        let written = written(form, TOKEN);
        assert!(!shown.contains(&written), "{form}: {shown}");
        // The middle of base64 is the same whatever stands around it.
        let middle = &written[4..written.len() - 6];
        assert!(!shown.contains(middle), "{form}: {shown}");
    }
}

/// S1: nothing of the host's own process is in there.
#[tokio::test]
async fn s1_arguments_and_environment_are_empty() {
    let ended = Scene::new(Effect::Unsafe).run("ambient", json!({})).await;
    let Outcome::Succeeded { output } = ended.outcome else { panic!("{ended:?}") };
    let seen = output.structured.unwrap();
    assert_eq!((&seen["arguments"], &seen["environment"]), (&json!([]), &json!([])));
    assert_eq!(seen["key"], "key");
}

/// S1: while a tool works with a secret, it is nowhere in the guest's memory, and in nothing that the
/// guest says; the server had it.
#[tokio::test]
async fn s1_a_secret_never_enters_the_guest() {
    let mirror = mirror::serve();
    let scene = granted(&mirror)
        .needs("[needs.memory.user]\naccess = \"write\"")
        .grants("memory.user = \"write\"\nlimits.fuel = \"100G\"\nlimits.time = \"60s\"");
    let shifted = |text: &str| text.bytes().map(|byte| byte.wrapping_add(1)).collect::<Vec<u8>>();
    let secret = ["plain", "base64", "hex"].map(|form| shifted(&written(form, TOKEN)));
    let search = [&secret[..], &[shifted("you sent"), shifted("[redacted:TOKEN]")]].concat();
    let urls = [format!("{}/all", mirror.origin()), format!("{}/header", mirror.origin())];
    let ways = ["print", "log", "progress", "emit", "remember", "ask"];
    let arguments = json!({ "urls": urls, "ways": ways, "search": search });
    let ended = scene.run("tell", arguments).await;
    let Outcome::Succeeded { output } = &ended.outcome else { panic!("{ended:?}") };
    let found: Vec<u64> =
        serde_json::from_value(output.structured.as_ref().unwrap()["found"].clone()).unwrap();
    assert_eq!(found[..3], [0, 0, 0], "{found:?}");
    assert!(found[3] > 0 && found[4] > 0, "what the server did say is there: {found:?}");
    let notes = scene.notes.0.lock().unwrap();
    assert!(notes.len() >= 4 && ended.denials.len() >= 2, "{notes:?} {ended:?}");
    hidden(&format!("{ended:?} {notes:?}"));
    let sent = format!("Bearer {TOKEN}");
    let requests = mirror.take();
    assert_eq!(requests.len(), 2);
    assert!(requests.iter().all(|request| request.header("authorization") == Some(&sent)));
}

/// S2: whatever form a server says it in, in the body, in a header, in a trailer, cut into single
/// bytes or not: the mark stands there, and the rest of the answer is as it was.
#[tokio::test]
async fn s2_an_echo_is_redacted_in_every_form() {
    let mirror = mirror::serve();
    let scene = granted(&mirror);
    for form in FORMS {
        let ended = ask(&scene, &[format!("{}/{form}", mirror.origin())]).await;
        let said = told(&ended);
        hidden(&said);
        assert!(said.starts_with("200 ") && said.contains("you sent <"), "{form}: {said}");
        assert!(said.contains("[redacted:TOKEN]"), "{form}: {said}");
        assert!(said.ends_with(">, didn't you?"), "{form}: {said}");
        assert!(!said.contains("content-length"), "the length would be another: {said}");
    }
    let check = |said: &str, parts: &[&str]| {
        hidden(said);
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
    };
    let said = told(&ask(&scene, &[format!("{}/chunks", mirror.origin())]).await);
    check(&said, &["you sent Bearer [redacted:TOKEN], didn't you? [redacted:TOKEN]"]);
    let said = told(&ask(&scene, &[format!("{}/header", mirror.origin())]).await);
    check(&said, &["x-echo=you sent Bearer [redacted:TOKEN]", "x-encoded=[redacted:TOKEN]"]);
    check(&said, &["location=/next?token=[redacted:TOKEN]", " hello"]);
    assert!(!said.contains("in a name"), "a header whose name is a secret goes: {said}");
    let said = told(&ask(&scene, &[format!("{}/trailer", mirror.origin())]).await);
    check(&said, &["200 ", "hello"]);
    // The server had it each time, and no part of a body can be asked for.
    let sent = format!("Bearer {TOKEN}");
    assert!(mirror.take().iter().all(|request| request.header("authorization") == Some(&sent)));
    let arguments = json!({
        "urls": [format!("{}/plain", mirror.origin())],
        "headers": [["range", "bytes=0-3"], ["if-range", "x"], ["accept-encoding", "gzip"]],
    });
    hidden(&told(&scene.run("tell", arguments).await));
    let [request] = &mirror.take()[..] else { panic!("one request") };
    for name in ["range", "if-range"] {
        assert_eq!(request.header(name), None);
    }
    assert_eq!(request.header("accept-encoding"), Some("identity"));
}

/// S2: what is compressed is looked through when it was decoded; what cannot be decoded does not get
/// through.
#[tokio::test]
async fn s2_a_compressed_echo_is_decoded_and_redacted_or_refused() {
    let mirror = mirror::serve();
    let url = |path: &str| [format!("{}/{path}", mirror.origin())];
    for path in ["gzip", "gzip-twice"] {
        let said = told(&ask(&granted(&mirror), &url(path)).await);
        hidden(&said);
        assert_eq!(said, "200 you sent Bearer [redacted:TOKEN], didn't you?", "{path}");
        assert_eq!(mirror.take().len(), 1);
    }
    for path in ["brotli", "compressed-transfer"] {
        let said = told(&ask(&granted(&mirror), &url(path)).await);
        assert!(said.starts_with("error: "), "{path}: {said}");
        assert_eq!(mirror.take().len(), 1);
    }
}

/// S2: a server that was told a secret says it to the next request too, one that carries none.
#[tokio::test]
async fn s2_what_a_server_remembers_is_redacted() {
    let mirror = mirror::serve();
    let origin = mirror.origin();
    let secret = "secret = { header = \"authorization\", value = \"Bearer {TOKEN}\" }";
    let scene = Scene::new(Effect::Unsafe)
        .vault(vault(&variables(&[("HOST_TOKEN", TOKEN)])))
        .needs(&format!("[needs.http.\"{origin}\"]\npaths = [\"/all\"]\n{secret}"))
        .needs(&format!("[needs.http.\"http://*:{}\"]", mirror.port()))
        .grants(&format!("http = [\"{origin}\"]\nsecret.TOKEN = {{ env = \"HOST_TOKEN\" }}"));
    told(&ask(&scene, &[format!("{origin}/all")]).await);
    // In a call of its own, to a path that the secret is not for.
    let said = told(&ask(&scene, &[format!("{origin}/plain")]).await);
    hidden(&said);
    assert!(said.contains("you sent <[redacted:TOKEN]>"), "{said}");
    let headers = mirror.take();
    let sent: Vec<bool> =
        headers.iter().map(|request| request.header("authorization").is_some()).collect();
    assert_eq!(sent, [true, false]);
}

/// S3: a secret goes to the host, the path and with the method of the need that names it, and the
/// guest cannot have it sent anywhere else, or anything else sent in its place.
#[tokio::test]
async fn s3_a_secret_goes_to_no_other_place() {
    let (mirror, other) = (mirror::serve(), mirror::serve());
    let (origin, elsewhere) = (mirror.origin(), other.origin());
    let secret = "secret = { header = \"authorization\", value = \"Bearer {TOKEN}\" }";
    let scene = Scene::new(Effect::Unsafe)
        .vault(vault(&variables(&[("HOST_TOKEN", TOKEN)])))
        .needs(&format!(
            "[needs.http.\"{origin}\"]\npaths = [\"/own/**\", \"/redirect\"]\n{secret}"
        ))
        .needs(&format!("[needs.http.\"{elsewhere}\"]"))
        .needs(&format!(
            "[needs.http.\"http://*:{}\"]\nmethods = [\"GET\", \"POST\"]",
            mirror.port()
        ))
        .grants(&format!("http = [\"{origin}\", \"{elsewhere}\"]"))
        .grants("secret.TOKEN = { env = \"HOST_TOKEN\" }");
    let sent = format!("Bearer {TOKEN}");
    let run = async |url: &str, method: Option<&str>, headers: Value| {
        let arguments = json!({ "urls": [url], "method": method, "headers": headers });
        hidden(&format!("{:?}", scene.run("tell", arguments).await));
        let header = |requests: Vec<Request>| {
            let all = requests.into_iter();
            let pairs = all.flat_map(|request| request.headers);
            pairs.filter(|(name, _)| name == "authorization").map(|(_, value)| value).collect()
        };
        let both: (Vec<String>, Vec<String>) = (header(mirror.take()), header(other.take()));
        both
    };
    let (own, none) = (vec![sent.clone()], Vec::<String>::new());
    for (url, method, to_own, to_other) in [
        // The same act where it is allowed.
        (format!("{origin}/own/x"), None, &own, &none),
        // Another host, also one that is named in a query or a path; another path; another method.
        (format!("{elsewhere}/own/x"), None, &none, &none),
        (format!("{elsewhere}/?to={origin}/own/x"), None, &none, &none),
        (format!("{elsewhere}/{origin}/own/x"), None, &none, &none),
        (format!("{origin}/other"), None, &none, &none),
        (format!("{origin}/own/../other"), None, &none, &none),
        (format!("{origin}/own/x"), Some("POST"), &none, &none),
        // What a redirect names is the guest's next request, and that has none.
        (format!("{origin}/redirect?{elsewhere}/own/x"), None, &own, &none),
    ] {
        let (got, other_got) = run(&url, method, json!([])).await;
        assert_eq!((&got, &other_got), (to_own, to_other), "{url} {method:?}");
    }
    // The guest's own header is replaced, in whatever case, and its words are no templates.
    for name in ["authorization", "AUTHORIZATION"] {
        let headers =
            json!([[name, "Bearer mine"], [name, "Bearer {TOKEN}"], ["x-copy", "{TOKEN}"]]);
        let (got, _) = run(&format!("{origin}/own/x"), None, headers).await;
        assert_eq!(got, own, "the host's and not both");
    }
    let words = json!([["authorization", "Bearer {TOKEN}"]]);
    let (_, got) = run(&format!("{elsewhere}/x"), None, words).await;
    assert_eq!(got, ["Bearer {TOKEN}"], "elsewhere it is the guest's own word");
}

/// S3: a request that is to carry a secret is sent with it or not at all, and the line that is
/// missing is named.
#[tokio::test]
async fn s3_a_request_without_its_secret_is_not_sent() {
    let mirror = mirror::serve();
    let url = format!("{}/plain", mirror.origin());
    let by_name = format!("http://localhost:{}", mirror.port());
    let need = "secret = { header = \"authorization\", value = \"Bearer {TOKEN}\" }";
    let named = |grant: &str| {
        Scene::new(Effect::Unsafe)
            .vault(vault(&variables(&[("HOST_TOKEN", TOKEN)])))
            .needs(&format!("[needs.http.\"{by_name}\"]\n{need}"))
            .grants(&format!("http = [{grant}]\nsecret.TOKEN = {{ env = \"HOST_TOKEN\" }}"))
    };
    let local = format!("{by_name}/plain");
    let pinned = |address: &str| format!("{{ url = \"{by_name}\", address = \"{address}\" }}");
    let wild = |grant: &str| granted(&mirror).grants(grant);
    for (scene, url, code, line) in [
        (scene(&mirror), &url, DenialCode::NotGranted, "secret.TOKEN = { env = \"…\" }"),
        // In the clear, to what may be another machine.
        (named(&format!("\"{by_name}\"")), &local, DenialCode::SecretInClear, "secret = [{"),
        (named(&pinned("10.0.0.5")), &local, DenialCode::SecretInClear, "secret = [{"),
        (
            named(&format!("\"http://*:{}\"", mirror.port())),
            &local,
            DenialCode::NotGranted,
            "http = [",
        ),
    ] {
        let ended = ask(&scene, std::slice::from_ref(url)).await;
        assert!(told(&ended).starts_with("error: the host denied the request"), "{ended:?}");
        let [denial] = &ended.denials[..] else { panic!("{ended:?}") };
        assert_eq!(denial.code, code, "{denial}");
        assert!(matches!(&denial.asked, Asked::Secret { name, .. } if name.as_str() == "TOKEN"));
        assert!(denial.remedies.iter().any(|remedy| remedy.allow.contains(line)), "{denial}");
        assert!(mirror.take().is_empty(), "{denial}");
    }
    let sent = format!("Bearer {TOKEN}");
    for (scene, url) in [(wild(""), &url), (named(&pinned("127.0.0.1")), &local)] {
        let ended = ask(&scene, std::slice::from_ref(url)).await;
        assert!(told(&ended).starts_with("200 ") && ended.denials.is_empty(), "{ended:?}");
        let [request] = &mirror.take()[..] else { panic!("one request") };
        assert_eq!(request.header("authorization"), Some(&*sent));
    }
}

/// S9: each request has the secret as it is then, and none when there is none any more.
#[tokio::test]
async fn s9_a_secret_that_changes_or_goes_is_not_used_again() {
    let mirror = mirror::serve();
    let url = [format!("{}/plain", mirror.origin())];
    let variables = variables(&[("HOST_TOKEN", "first-token-1")]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let private = |text: &str| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let check = async |scene: &Scene, expected: Result<&str, SecretFault>| {
        let ended = ask(scene, &url).await;
        let said = told(&ended);
        match expected {
            Ok(token) => {
                assert!(said.contains("you sent <[redacted:TOKEN]>"), "{said}");
                let [request] = &mirror.take()[..] else { panic!("one request") };
                assert_eq!(request.header("authorization"), Some(&*format!("Bearer {token}")));
            }
            Err(expected) => {
                assert!(said.starts_with("error: the host denied the request"), "{said}");
                assert!(mirror.take().is_empty(), "{expected}");
                let [denial] = &ended.denials[..] else { panic!("{ended:?}") };
                assert_eq!(denial.code, DenialCode::SecretUnavailable);
                let Asked::Secret { name, fault, .. } = &denial.asked else { panic!("{denial}") };
                assert_eq!((name.as_str(), *fault), ("TOKEN", Some(expected)));
                let whole = format!("{ended:?}");
                let place = file.display().to_string();
                for own in ["HOST_TOKEN", &*place, "token-1", "token-2", "short"] {
                    assert!(!whole.contains(own), "{own}: {whole}");
                }
            }
        }
    };
    let set = |value: Option<&str>| {
        let mut variables = variables.lock().unwrap();
        match value {
            Some(value) => variables.insert("HOST_TOKEN".into(), value.into()),
            None => variables.remove("HOST_TOKEN"),
        };
    };
    // One host throughout, as in a long session.
    let by_env = granted(&mirror).vault(vault(&variables));
    check(&by_env, Ok("first-token-1")).await;
    set(Some("second-token-2"));
    check(&by_env, Ok("second-token-2")).await;
    for (value, fault) in [
        (None, SecretFault::Missing),
        (Some(""), SecretFault::Missing),
        (Some("short"), SecretFault::TooShort),
        (Some("token-2\r\nx-evil: 1"), SecretFault::NotPrintable),
    ] {
        set(value);
        check(&by_env, Err(fault)).await;
    }
    set(Some("first-token-1"));
    check(&by_env, Ok("first-token-1")).await;

    let by_file =
        scene(&mirror).grants(&format!("secret.TOKEN = {{ file = \"{}\" }}", file.display()));
    check(&by_file, Err(SecretFault::Missing)).await;
    private("first-token-1\n");
    check(&by_file, Ok("first-token-1")).await;
    private("second-token-2");
    check(&by_file, Ok("second-token-2")).await;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    check(&by_file, Err(SecretFault::Exposed)).await;
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    check(&by_file, Err(SecretFault::NotRegular)).await;

    let service = format!("ringfence-test-{}", std::process::id());
    let by_keyring = scene(&mirror)
        .grants(&format!("secret.TOKEN = {{ keyring = \"{service}\", account = \"x\" }}"));
    let ended = ask(&by_keyring, &url).await;
    assert_eq!(ended.denials[0].code, DenialCode::SecretUnavailable, "{ended:?}");
    // A program that gives no environment.
    check(&granted(&mirror).vault(Vault::new()), Err(SecretFault::NotOffered)).await;
}

/// S9: within one call the old value is kept out of answers as well as the new one.
#[tokio::test]
async fn s9_a_value_that_was_sent_stays_hidden_when_it_changes() {
    let mirror = mirror::serve();
    let reads = Mutex::new(0);
    let look_up = move |_: &str| {
        let mut reads = reads.lock().unwrap();
        *reads += 1;
        Some(format!("rotated-token-{reads}").into())
    };
    let scene = granted(&mirror).vault(Vault::new().with_environment(Environment::new(look_up)));
    let url = |path: &str| format!("{}/{path}", mirror.origin());
    let ended = ask(&scene, &[url("plain"), url("history")]).await;
    let said = told(&ended);
    assert!(!said.contains("rotated-token"), "{said}");
    assert!(said.ends_with(" [redacted:TOKEN], [redacted:TOKEN]"), "{said}");
    let sent: Vec<_> =
        mirror.take().iter().map(|r| r.header("authorization").unwrap().to_owned()).collect();
    assert_eq!(sent, ["Bearer rotated-token-1", "Bearer rotated-token-2"]);
}

/// S10: a guest that traps with the server's words on its lips leaves none of the secret.
#[tokio::test]
async fn s10_the_last_words_of_a_crash_hold_no_secret() {
    let mirror = mirror::serve();
    let urls = [format!("{}/all", mirror.origin()), format!("{}/chunks", mirror.origin())];
    for (end, word) in [("panic", "trapped"), ("fail", "failed")] {
        let scene = granted(&mirror);
        let ended = scene.run("tell", json!({ "urls": urls, "ways": ["print"], "end": end })).await;
        assert_eq!(ended.outcome.as_str(), word);
        let whole = format!("{ended:?} {:?}", scene.notes.0.lock().unwrap());
        assert!(whole.contains("[redacted:TOKEN]"), "{whole}");
        hidden(&whole);
    }
}
