//! How a session that has not ended is told: what it waits for, and what goes on with it.

use std::io::{BufRead as _, BufReader};

use insta::assert_snapshot;
use ringfence::event::Event;

use crate::support::Scene;

const SCRIPT: &str = r#"
[[turn]]
when = { step = 1 }
reply = { calls = [
    { function = "plan_write", arguments = { items = [{ title = "ask", status = "in-progress" }, { title = "answer" }] } },
    { function = "probe_ask", arguments = { question = "Go on?" } },
] }
[[turn]]
reply = { text = "done" }
"#;

/// A scene with a price, a plan, limits, and a rule that holds what the agent wants to do.
fn held() -> Scene {
    let scene = Scene::with_agent(SCRIPT);
    let (agent, operator) = (scene.read("agent.toml"), scene.read("ringfence.toml"));
    let limits = "[limits]\nsteps = 5\n[session-limits]\nusd = \"9\"\n";
    scene.file("agent.toml", &format!("{agent}plan = \"*\"\nprobe = \"*\"\n{limits}"));
    let price = "script = \"script.toml\"\nprice = { input = \"1000/Mtok\", output = \"0/Mtok\" }";
    let operator = operator.replace("script = \"script.toml\"", price);
    let grants = "[tenant.local.budget]\ncalls = \"9 per month\"\n\
                  [tenant.local.tool.plan]\nmemory.session = \"write\"\n[tenant.local.tool.probe]\n\
                  [[tenant.local.hold]]\ntool = \"probe\"\nexpires = \"1h\"\n";
    scene.file("ringfence.toml", &format!("{operator}{grants}"));
    let needs = "[needs.memory.session]\naccess = \"write\"\nreason = \"keep the plan\"\n";
    scene.tool("plan", "plan", needs);
    scene.tool("probe", "probe", "");
    scene.run(&["tool", "add", "plan"]).expect(0);
    scene.run(&["tool", "add", "probe"]).expect(0);
    scene
}

fn only_session(scene: &Scene) -> String {
    let list = scene.run(&["session", "list", "--json"]).json();
    list[0]["session"].as_str().unwrap().to_owned()
}

/// What is told, columns apart by one space however wide they are. What the tokens of a request cost
/// differs with the definitions of the tools in it, and is left out; the price has tests of its own.
fn told(scene: &Scene, arguments: &[&str]) -> String {
    let shown = scene.run(arguments).expect(0).shown;
    let cost = |word: &str| word.starts_with("$2.").then_some("$COST");
    let squeezed = shown.lines().map(|line| {
        let words: Vec<&str> =
            line.split_whitespace().map(|word| cost(word).unwrap_or(word)).collect();
        words.join(" ") + "\n"
    });
    squeezed.collect()
}

/// Starts a run and kills its process at the first event of this kind; its session.
fn killed_at(scene: &Scene, kind: &str) -> String {
    let arguments = ["run", "agent.toml", "--input", "go", "--json"];
    let mut child = scene.command(&arguments).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let id = loop {
        let mut line = String::new();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "no {kind}");
        let event: Event = serde_json::from_str(&line).unwrap();
        if event.body.kind() == kind {
            break event.stream.to_string().replace("session/", "");
        }
    };
    child.kill().unwrap();
    child.wait().unwrap();
    id
}

#[test]
fn what_waits_for_a_person_says_for_what_and_how_to_answer() {
    let scene = held();
    scene.run(&["run", "agent.toml", "--input", "go"]).expect(7);
    let id = only_session(&scene);
    assert_snapshot!("held", told(&scene, &["session", "show", &id]));
    scene.run(&["approvals", "approve", &id]).expect(0);
    let shown = scene.run(&["session", "show", &id]).expect(0).out;
    assert!(
        shown.ends_with(&format!(
            "\nnobody drives it: `ringfence session resume {id}` goes on with it\n"
        )),
        "{shown}"
    );
    scene.run(&["session", "resume"]).expect(7);
    assert_snapshot!("asks", told(&scene, &["session", "show", &id]));
    assert_snapshot!("waiting_list", told(&scene, &["session", "list"]));
    scene.run(&["session", "answer", &id, r#"{"go": true}"#]).expect(0);
    scene.run(&["session", "resume"]).expect(0);
    let shown = scene.run(&["session", "show", &id]).expect(0).out;
    assert!(!shown.contains("ringfence session"), "nothing is to be done: {shown}");
}

#[test]
fn a_call_of_unknown_outcome_says_how_to_tell_it() {
    let script = "[[turn]]\nwhen = { step = 1 }\nreply = { calls = [{ function = \"spin_spin\" }] }\n[[turn]]\nreply = { text = \"done\" }\n";
    let scene = Scene::with_agent(script);
    let (agent, operator) = (scene.read("agent.toml"), scene.read("ringfence.toml"));
    scene.file("agent.toml", &format!("{agent}spin = \"*\"\n[limits]\nfuel = \"9000G\"\n"));
    let grant = "[tenant.local.tool.spin.limits]\nfuel = \"900G\"\n";
    scene.file("ringfence.toml", &format!("{operator}{grant}"));
    scene.tool("spin", "spin", "[function.spin]\neffect = \"unsafe\"\n");
    scene.run(&["tool", "add", "spin"]).expect(0);
    let id = killed_at(&scene, "call.started");
    scene.run(&["session", "resume"]).expect(7);
    assert_snapshot!("unknown", told(&scene, &["session", "show", &id]));
    scene.run(&["session", "reconcile", &id, "r1.s1.c1", "--give-up"]).expect(0);
    assert_eq!(scene.run(&["session", "resume"]).expect(0).out, "done\n");
}

/// A vendor that hangs up on everybody.
#[test]
fn what_is_tried_again_says_when() {
    let scene = Scene::with_agent(SCRIPT);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    scene.file("ringfence.toml", &format!(
        "[model.main]\nprotocol = \"openai-chat\"\nurl = \"http://{address}\"\nname = \"small\"\n\
         [tenant.local.tool.hello]\n"
    ));
    let agent = scene.read("agent.toml");
    scene.file("agent.toml", &format!("{agent}[retry.model]\nfirst = \"20s\"\n"));
    let id = killed_at(&scene, "run.waiting");
    assert_snapshot!("retry", told(&scene, &["session", "show", &id]));
    let list = scene.run(&["session", "list", "--json"]).expect(0).json();
    assert_eq!(list[0]["waits"], "retry");
}

#[test]
fn what_ended_at_a_limit_says_which_and_what_is_told_in_short() {
    let name = "A".repeat(200);
    let script = format!(
        "[[turn]]\nwhen = {{ contains = \"Sum up all of the above\" }}\nreply = {{ text = \"We greeted.\" }}\n[[turn]]\nreply = {{ calls = [{{ function = \"hello_greet\", arguments = {{ name = \"{name}\" }} }}] }}\n"
    );
    let scene = Scene::with_agent(&script);
    let agent = scene.read("agent.toml");
    let rules = "[limits]\nsteps = 8\n[compaction]\nabove = 100\nkeep = 2\n";
    scene.file("agent.toml", &format!("{agent}{rules}"));
    scene.run(&["run", "agent.toml", "--input", "go"]).expect(4);
    let shown = told(&scene, &["session", "show", &only_session(&scene)]);
    for said in ["is told in short: We greeted.", "limit-reached{steps}", "steps N of N"] {
        assert!(shown.contains(said), "{said}\n{shown}");
    }
    assert!(!shown.contains("session resume"), "nothing goes on: {shown}");
}
