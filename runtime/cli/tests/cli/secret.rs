//! The canary: a secret goes through everything the program does, and afterwards everything it left
//! behind is searched for it.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use insta::assert_snapshot;
use ringfence::{
    Caller, Cancel, Config, DirectCall, Runtime, Sink, ToolRef,
    event::Note,
    vault::{Environment, Vault},
};
use ringfence_tests::{
    mirror::{self, FORMS, written},
    web::Web,
};
use serde_json::json;

use crate::support::{MODEL, Ran, Scene};

/// Has a character for each way in which an encoding escapes one.
const TOKEN: &str = "ghp_C4nary/Horse+\"battery\"=\\staple&<7>";
/// What the same searches are to find.
const MARKER: &str = "a-word-that-is-no-secret";

fn needs(mirror: &Web) -> String {
    format!(
        "[needs.http.\"{}\"]\nmethods = [\"GET\", \"HEAD\"]\nreason = \"look into the mirror\"\n\
         secret = {{ header = \"Authorization\", value = \"Bearer {{MIRROR_TOKEN}}\" }}\n\
         [needs.memory.user]\naccess = \"write\"\n\
         [needs.fs.planted]\naccess = \"read\"\n",
        mirror.origin()
    )
}

/// A folder with a tool that looks into the mirror, one that has no secret granted, an agent that
/// calls both, and a file with the secret in it.
fn scene(mirror: &Web) -> Scene {
    let scene = Scene::new();
    let shared = format!(
        "http = [\"{}\"]\nmemory.user = \"write\"\nlimits.fuel = \"100G\"\nlimits.time = \"60s\"\n",
        mirror.origin()
    );
    let grants = format!(
        "{MODEL}[tenant.local.tool.teller]\n{shared}\
         fs.planted = {{ path = \"../planted\", access = \"read\" }}\n\
         secret.MIRROR_TOKEN = {{ env = \"CANARY_{{user}}\", user = true }}\n\
         [tenant.local.tool.beggar]\n{shared}\
         [tenant.local.tool.hello]\n\
         [tenant.filed.tool.teller]\n{shared}\
         fs.planted = {{ path = \"../filed\", access = \"read\" }}\n\
         secret.MIRROR_TOKEN = {{ file = \"../planted/token\" }}\n"
    );
    scene.file("ringfence.toml", &grants);
    scene.file("../planted/token", TOKEN);
    scene.file("../filed/nothing", "");
    let token = scene.path("../planted/token");
    fs::set_permissions(token, fs::Permissions::from_mode(0o600)).unwrap();
    for name in ["teller", "beggar"] {
        scene.tool(name, "probe", &needs(mirror));
    }
    scene.tool("hello", "hello", "");
    scene
}

/// Runs the program with the secret in its environment, for the user `local`.
fn run(scene: &Scene, arguments: &[&str]) -> Ran {
    let mut command = scene.command(arguments);
    scene.ended(command.env("CANARY_local", TOKEN).spawn().unwrap())
}

/// Which of these needles are in which file below a folder.
fn search(folder: &Path, needles: &[(String, Vec<u8>)], found: &mut Vec<String>) -> usize {
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files += search(&path, needles, found);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        files += 1;
        for (name, needle) in needles {
            if contains(&bytes, needle) {
                found.push(format!("{}: {name}", path.display()));
            }
        }
    }
    files
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let (first, rest) = needle.split_first().unwrap();
    let mut left = bytes;
    while let Some(at) = left.iter().position(|byte| byte == first) {
        left = &left[at + 1..];
        if left.starts_with(rest) {
            return true;
        }
    }
    false
}

/// The middle of each form of the secret: that of base64 is the same whatever stands around it, and
/// a half of the secret is too much of it.
fn canaries() -> Vec<(String, Vec<u8>)> {
    let forms = FORMS.iter().filter(|form| **form != "all");
    let mut all: Vec<(String, Vec<u8>)> = forms
        .map(|form| {
            let written = written(form, TOKEN);
            ((*form).to_owned(), written[6..written.len() - 8].into())
        })
        .collect();
    for word in ["C4nary", "c4nary", "C4NARY", "battery", "BATTERY"] {
        all.push((word.to_owned(), word.into()));
    }
    all
}

fn agent(scene: &Scene, calls: &[(&str, serde_json::Value)]) {
    let calls: Vec<String> = calls
        .iter()
        .map(|(function, arguments)| {
            let arguments = toml_of(arguments);
            format!("{{ function = \"{function}\", arguments = {arguments} }}")
        })
        .collect();
    let script = format!(
        "[[turn]]\nwhen = {{ step = 1 }}\nreply = {{ calls = [\n{}\n] }}\n[[turn]]\nreply = {{ text = \"Done.\" }}\n",
        calls.join(",\n")
    );
    scene.file("script.toml", &script);
    let tools = "[tools]\nteller = \"*\"\nbeggar = \"*\"\nhello = \"*\"\n";
    scene.file(
        "agent.toml",
        &format!(
            "name = \"looker\"\nmodel = {{ use = \"main\" }}\ninstructions = \"Look.\"\n{tools}"
        ),
    );
}

/// A JSON object as an inline table, which writes all but `:` alike.
fn toml_of(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, field)| format!("{key} = {}", toml_of(field))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        serde_json::Value::Array(items) => {
            format!("[{}]", items.iter().map(toml_of).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Hears what a call of the library says.
#[derive(Default)]
struct Heard(Mutex<Vec<Note>>);

impl Sink for Heard {
    fn note(&self, note: Note) {
        self.0.lock().unwrap().push(note);
    }
}

#[test]
fn s1_nothing_that_a_busy_run_leaves_behind_holds_the_secret() {
    let mirror = mirror::serve();
    let scene = scene(&mirror);
    let url = |path: &str| format!("{}/{path}", mirror.origin());
    let every = ["all", "chunks", "header", "trailer", "json", "utf16"].map(url);
    let ways = ["print", "log", "progress", "emit", "remember", "ask"];
    let all = json!({ "urls": every, "ways": ways });
    let mut said: Vec<String> = Vec::new();
    let mut expect = |arguments: &[&str], code: i32| {
        let ran = run(&scene, arguments);
        assert_eq!(ran.code, code, "{arguments:?}\n{}\n{}", ran.out, ran.err);
        said.push(format!("{}\n{}", ran.out, ran.err));
        ran
    };
    for tool in ["teller", "beggar", "hello"] {
        expect(&["tool", "add", tool], 0);
        expect(&["tool", "inspect", tool], 0);
    }
    expect(&["tool", "inspect", "teller", "--json"], 0);
    expect(&["tool", "check", "teller"], 0);
    // Every way out of a call, with and without --json.
    for json in [&["--json"][..], &[]] {
        let mut call = |tool: &str, arguments: serde_json::Value, code: i32| {
            let arguments = arguments.to_string();
            expect(&[&["call", tool, "tell", &arguments], json].concat(), code)
        };
        let ran = call("teller", all.clone(), 0);
        assert!(ran.out.contains("[redacted:MIRROR_TOKEN]"), "{}", ran.out);
        call("teller", json!({ "urls": every, "end": "fail" }), 1);
        call("teller", json!({ "urls": every, "ways": ["print"], "end": "panic" }), 5);
        call("teller", json!({ "urls": [url("gzip")], "end": "fail" }), 1);
        // Not granted; the file by which the guest has it all the same, once it was used.
        let ran = call("beggar", all.clone(), 0);
        assert!((ran.out + &ran.err).contains("secret.MIRROR_TOKEN"), "the line is named");
        let planted = json!({ "urls": every, "path": "/planted/token", "ways": ways });
        call("teller", planted.clone(), 0);
        call("teller", json!({ "urls": every, "path": "/planted/token", "end": "fail" }), 1);
        call("teller", json!({ "urls": [url("plain?") + MARKER], "ways": ways }), 0);
    }
    // From a file, and from a variable that is not set: for another user.
    expect(&["call", "teller", "tell", &all.to_string(), "--tenant", "filed"], 0);
    let ran = expect(&["call", "teller", "tell", &all.to_string(), "--user", "ann"], 0);
    assert!(ran.err.contains("it is not there") && !ran.err.contains("CANARY"), "{}", ran.err);
    // A whole session.
    let beggar = json!({ "urls": every, "end": "fail" });
    let planted = json!({ "urls": every, "path": "/planted/token", "ways": ways });
    let panic = json!({ "urls": every, "end": "panic" });
    agent(
        &scene,
        &[
            ("teller_tell", all),
            ("beggar_tell", beggar),
            ("teller_tell", planted),
            ("teller_tell", panic),
        ],
    );
    for json in [&["--json"][..], &[]] {
        expect(&[&["run", "agent.toml", "--input", MARKER], json].concat(), 0);
    }
    let list = expect(&["session", "list", "--json"], 0).json();
    for session in list.as_array().unwrap() {
        let id = session["session"].as_str().unwrap();
        expect(&["session", "show", id], 0);
        expect(&["session", "show", id, "--json"], 0);
    }
    said.push(library(&scene, &url("all")));

    let sent = format!("Bearer {TOKEN}");
    let requests = mirror.take();
    assert!(
        requests.len() > 50 && requests.iter().all(|r| r.header("authorization") == Some(&sent))
    );

    // What was said goes beside what was left, so that one search goes over both.
    scene.file("said/all.txt", &said.join("\n"));
    let planted = scene.path("../planted/token");
    assert_eq!(fs::read_to_string(&planted).unwrap(), TOKEN);
    let mut found = Vec::new();
    search(planted.parent().unwrap(), &canaries(), &mut found);
    assert!(found.len() >= 3, "the searches find what is there: {found:?}");
    fs::remove_dir_all(planted.parent().unwrap()).unwrap();
    let mut found = Vec::new();
    let files = search(scene.root(), &canaries(), &mut found);
    assert!(found.is_empty(), "{found:#?}");
    assert!(files > 10, "{files}");
    let mut found = Vec::new();
    search(scene.root(), &[("marker".to_owned(), MARKER.into())], &mut found);
    assert!(found.iter().any(|file| file.contains("journal.db")), "{found:?}");
    assert!(found.iter().any(|file| file.contains("all.txt")), "{found:?}");
}

/// The same through the library, with a vault of its own; everything that it says.
fn library(scene: &Scene, url: &str) -> String {
    let variables = |name: &str| (name == "CANARY_local").then(|| TOKEN.into());
    let vault = Vault::new().with_environment(Environment::new(variables));
    let config = Config::load(&scene.path("ringfence.toml")).unwrap().with_vault(vault);
    let shown = format!("{config:?}");
    let runtime = Runtime::open(config).unwrap();
    let heard = Arc::new(Heard::default());
    let call = DirectCall {
        tool: ToolRef::Accepted("teller".parse().unwrap()),
        function: None,
        arguments: json!({ "urls": [url], "ways": ["log", "emit"], "end": "fail" }).to_string(),
        key: None,
        trace: None,
    };
    let call = DirectCall { function: Some("tell".parse().unwrap()), ..call };
    let tokio = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let result = tokio.block_on(async {
        let called = runtime.call(&Caller::local(), call, &Cancel::new(), heard.clone()).await;
        runtime.flush().await.unwrap();
        called.unwrap()
    });
    let heard = heard.0.lock().unwrap();
    assert!(format!("{result:?}").contains("[redacted:MIRROR_TOKEN]"), "{result:?}");
    format!("{shown}\n{result:?}\n{heard:?}")
}

/// What an operator sees of a need for a secret, and what grants it.
#[test]
fn a_need_for_a_secret_is_shown_and_granted() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "");
    scene.tool("teller", "probe", "[needs.http.\"https://api.example\"]\nsecret = { header = \"authorization\", value = \"Bearer {API_TOKEN}\" }\n");
    let added = scene.run(&["tool", "add", "teller"]).expect(0);
    let asks = "secret = [{ header = \"authorization\", value = \"Bearer {API_TOKEN}\" }]";
    assert!(added.out.contains(asks) || added.err.contains(asks), "{}{}", added.out, added.err);
    assert!(scene.run(&["tool", "inspect", "teller"]).expect(0).out.contains(asks));
    scene.run(&["grant", "teller", "--from-needs", "--yes"]).expect(0);
    assert_snapshot!(scene.read("ringfence.toml"));
    // Another header is another need: it is asked again.
    let manifest = scene.read("teller/tool.toml").replace("authorization", "x-key");
    scene.file("teller/tool.toml", &manifest);
    scene.run(&["tool", "add", "teller"]).expect(2).says("x-key");
}

/// S10: there is no core file, whatever the shell allows.
#[test]
fn s10_a_crash_of_the_program_leaves_no_core() {
    let mirror = mirror::serve();
    let scene = scene(&mirror);
    run(&scene, &["tool", "add", "teller"]).expect(0);
    let arguments = json!({ "urls": [format!("{}/silent", mirror.origin())] }).to_string();
    // As much as this machine gives.
    let shell = "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$0\" \"$@\"";
    let limit = |id: u32| {
        let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        (words[4].clone(), words[5].clone())
    };
    let program = scene.command(&["call", "teller", "tell", &arguments]);
    let mut command = Command::new("sh");
    command.args(["-c", shell]).arg(program.get_program()).args(program.get_args());
    command.current_dir(scene.work()).env("CANARY_local", TOKEN);
    let mut child = command.spawn().unwrap();
    // The server has the secret by now, and so does the program.
    while mirror.take().is_empty() {
        assert!(child.try_wait().unwrap().is_none(), "it is under way");
        std::thread::yield_now();
    }
    assert_eq!(limit(child.id()), ("0".to_owned(), "0".to_owned()));
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::ABORT).unwrap();
    let ended = child.wait().unwrap();
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false));
    let mut found = Vec::new();
    search(&scene.work(), &canaries(), &mut found);
    assert!(found.is_empty(), "{found:?}");
    // Another program under the same shell has the limit that the shell gave.
    let mut other = Command::new("sh")
        .args(["-c", shell, "sh", "-c", "read wait"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (soft, hard) = loop {
        let limits = limit(other.id());
        if limits.0 == limits.1 {
            break limits;
        }
    };
    assert_eq!(soft, hard);
    other.kill().unwrap();
    other.wait().unwrap();
}
