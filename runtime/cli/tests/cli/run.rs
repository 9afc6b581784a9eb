//! `ringfence run`

use std::io::{BufRead as _, BufReader};

use insta::assert_snapshot;
use ringfence::event::{Body, Event};

use crate::support::Scene;

/// Greets, asks for something nobody has, and answers.
const SCRIPT: &str = r#"
[[turn]]
when = { step = 1 }
reply = { text = "Let me greet.", calls = [
    { function = "hello_greet", arguments = { name = "Ann" } },
    { function = "hello_greet", arguments = { name = 7 } },
    { function = "files_read", arguments = { path = "/workspace/a" } },
] }
[[turn]]
reply = { text = "I greeted \u001b[31mAnn." }
"#;

#[test]
fn a_run_is_shown_step_by_step_and_its_answer_stands_alone() {
    let scene = Scene::with_agent(SCRIPT);
    let ran = scene.run(&["run", "agent.toml", "--input", "Greet Ann"]).expect(0);
    assert_eq!(ran.out, "I greeted \u{1b}[31mAnn.\n");
    assert_snapshot!(ran.shown);
    // The same from standard input, in the same session.
    let list = scene.run(&["session", "list", "--json"]).json();
    let id = list[0]["session"].as_str().unwrap().to_owned();
    scene.run_with(&["run", "agent.toml", "--session", &id[..8]], "Again").expect(0);
    let list = scene.run(&["session", "list", "--json"]).json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    scene.run(&["run", "agent.toml"]).expect(2).says("nothing is said");
    scene.run(&["run", "agent.toml", "--input", "x", "--session", "zz"]).expect(2);
}

#[test]
fn with_json_every_line_is_an_event() {
    let scene = Scene::with_agent(SCRIPT);
    let ran = scene.run(&["run", "agent.toml", "--input", "Greet Ann", "--json"]).expect(0);
    assert_eq!(ran.err, "");
    let events: Vec<Event> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.seq, at as u64 + 1);
    }
    let kinds: Vec<&str> = events.iter().map(|event| event.body.kind()).collect();
    assert_snapshot!(kinds.join("\n"));
}

#[test]
fn a_run_exits_as_it_ended() {
    let reply = |function: &str, arguments: &str| {
        format!(
            "[[turn]]\nreply = {{ calls = [{{ function = \"{function}\", arguments = {arguments} }}] }}\n"
        )
    };
    let ended = |script: &str, limits: &str| {
        let scene = Scene::with_agent(script);
        let agent = scene.read("agent.toml");
        scene.file("agent.toml", &format!("{agent}\n[limits]\n{limits}\n"));
        scene.run(&["run", "agent.toml", "--input", "go"])
    };
    // In circles.
    let circles = reply("hello_greet", "{ name = \"Ann\" }");
    ended(&circles, "steps = 3").expect(4).says("stopped by its limit of steps");
    ended(&circles, "calls = 2").expect(4).says("stopped by its limit of calls");
    // The script has no turn that fits.
    let silent = "[[turn]]\nwhen = { step = 9 }\nreply = { text = \"late\" }\n";
    ended(silent, "").expect(1).says("failed: ");
    // The same after something was refused.
    let refused =
        "[[turn]]\nwhen = { step = 1 }\nreply = { calls = [{ function = \"files_read\" }] }\n";
    ended(refused, "").expect(3).says("failed: ");
}

#[test]
fn what_an_agents_file_names_and_is_not_there_is_shown_where_it_stands() {
    let scene = Scene::with_agent("[[turn]]\nreply = { text = \"x\" }\n");
    let good = scene.read("agent.toml");
    let mut shown = String::new();
    for (from, to) in [
        ("\"main\"", "\"mian\""),
        ("hello = \"*\"", "hallo = \"*\""),
        ("hello = \"*\"", "hello = [\"greet\", \"great\"]"),
        ("\"Be brief.\"", "{ file = \"brief.md\" }"),
    ] {
        scene.file("team/coder.toml", &good.replace(from, to));
        shown += &scene.run(&["run", "team/coder.toml", "--input", "go"]).expect(2).exact;
    }
    assert_snapshot!(shown);
}

#[test]
fn denials_name_the_files_that_were_given() {
    let script = "[[turn]]\nwhen = { step = 1 }\nreply = { calls = [{ function = \"spin_spin\" }, { function = \"hello_greet\", arguments = { name = \"Ann\" } }] }\n[[turn]]\nreply = { text = \"done\" }\n";
    let scene = Scene::with_agent(script);
    scene.tool("spin", "spin", "");
    scene.run(&["tool", "add", "spin"]).expect(0);
    let (operator, agent) = (scene.read("ringfence.toml"), scene.read("agent.toml"));
    scene.file("prod.toml", &operator.replace("tool.hello", "tool.other"));
    scene.file("coder.toml", &agent);
    let ran = scene.run(&["run", "coder.toml", "--input", "go", "--config", "prod.toml"]);
    let ran = ran.expect(0).says("under [tools] in coder.toml:5").says("in prod.toml");
    assert!(!ran.err.contains("ringfence.toml"), "{}", ran.err);
}

#[test]
fn a_tool_that_cannot_be_loaded_is_the_hosts_failure() {
    let script = "[[turn]]\nwhen = { step = 1 }\nreply = { calls = [{ function = \"hello_greet\", arguments = { name = \"Ann\" } }] }\n[[turn]]\nreply = { text = \"done\" }\n";
    let scene = Scene::with_agent(script);
    std::fs::remove_file(scene.path("hello/tool.wasm")).unwrap();
    let ran = scene.run(&["run", "agent.toml", "--input", "go"]).expect(0);
    ran.says("tool `hello` cannot be loaded").says("r1.s1.c1 ← the host failed");
}

#[test]
fn a_local_build_takes_an_accepted_tools_place_for_one_run() {
    let script = "[[turn]]\nwhen = { step = 1 }\nreply = { calls = [{ function = \"hello_spin\", arguments = { turns = 3 } }] }\n[[turn]]\nreply = { text = \"done\" }\n";
    let scene = Scene::with_agent(script);
    scene.file("build/tool.toml", "tool = { name = \"hello\", component = \"spin.wasm\" }\n");
    scene.component("build/spin.wasm", "spin");
    let ran = scene.run(&["run", "agent.toml", "--input", "go", "--dev", "build"]).expect(0);
    assert!(ran.err.contains("stopped after 3 turns"), "{}", ran.err);
    let ran = scene.run(&["run", "agent.toml", "--input", "go"]).expect(0);
    assert!(ran.err.contains("no installed tool has this function"), "{}", ran.err);
}

/// A scene whose agent makes a call that would take half a minute.
fn waiting() -> Scene {
    let script = "[[turn]]\nwhen = { step = 1 }\nreply = { calls = [{ function = \"spin_spin\" }] }\n[[turn]]\nreply = { text = \"done\" }\n";
    let scene = Scene::with_agent(script);
    let agent = scene.read("agent.toml");
    scene.file("agent.toml", &format!("{agent}spin = \"*\"\n[limits]\nfuel = \"9000G\"\n"));
    let operator = scene.read("ringfence.toml");
    let grant = "[tenant.local.tool.spin.limits]\nfuel = \"900G\"\n";
    scene.file("ringfence.toml", &format!("{operator}{grant}"));
    scene.tool("spin", "spin", "");
    scene.run(&["tool", "add", "spin"]).expect(0);
    scene
}

/// Starts a run and reads its events until the call has started.
#[expect(clippy::zombie_processes, reason = "on the way that does not hand it on the test is over")]
fn start(scene: &Scene) -> (std::process::Child, Vec<String>) {
    let arguments = ["run", "agent.toml", "--input", "go", "--json"];
    let mut child = scene.command(&arguments).spawn().unwrap();
    let mut lines = vec![];
    let mut out = BufReader::new(child.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        assert_ne!(out.read_line(&mut line).unwrap(), 0, "{lines:?}");
        let event: Event = serde_json::from_str(&line).unwrap();
        lines.push(line);
        if matches!(event.body, Body::CallStarted { .. }) {
            // Given back, so that what the program still writes has a reader.
            child.stdout = Some(out.into_inner());
            return (child, lines);
        }
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_cancels_a_run() {
    let scene = waiting();
    let (child, _) = start(&scene);
    let pid = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    assert!(sent.success());
    let ran = scene.ended(child).expect(6);
    assert!(ran.out.contains("run.cancelled"), "{}", ran.out);
}

#[test]
fn another_process_cancels_a_run() {
    let scene = waiting();
    let (child, lines) = start(&scene);
    let event: Event = serde_json::from_str(&lines[0]).unwrap();
    let id = event.stream.to_string().replace("session/", "");
    let cancelled = scene.run(&["session", "cancel", &id]).expect(0);
    assert_eq!(cancelled.out, "the run has ended\n");
    scene.ended(child).expect(6);
}

#[test]
fn a_run_whose_process_was_killed_is_told_without_its_end_and_gone_on_with() {
    let scene = waiting();
    let (mut child, shown) = start(&scene);
    child.kill().unwrap();
    child.wait().unwrap();
    let event: Event = serde_json::from_str(&shown[0]).unwrap();
    let id = event.stream.to_string().replace("session/", "");

    // What was shown is there, and nothing is half there.
    let events = scene.run(&["session", "show", &id, "--json"]).expect(0);
    let kept: Vec<&str> = events.out.lines().collect();
    for (at, line) in kept.iter().enumerate() {
        assert_eq!(serde_json::from_str::<Event>(line).unwrap().seq, at as u64 + 1);
    }
    assert!(kept.len() >= shown.len());
    shown.iter().zip(&kept).for_each(|(shown, kept)| assert_eq!(shown.trim_end(), *kept));
    assert_snapshot!("killed", scene.run(&["session", "show", &id]).expect(0).shown);

    // Nobody drives it, so whoever cancels it ends it.
    let cancelled = scene.run(&["session", "cancel", &id]).expect(0);
    assert_eq!(cancelled.out, "the run has ended\n");
    let events = scene.run(&["session", "show", &id, "--json"]).expect(0);
    assert!(events.out.trim_end().ends_with('}'), "{}", events.out);
    assert!(events.out.contains(r#""kind":"run.cancelled","data":{"run":1}"#), "{}", events.out);
    scene.run(&["session", "cancel", &id]).expect(2).says("no run");
    // The session goes on with another run.
    scene.file("script.toml", "[[turn]]\nreply = { text = \"done\" }\n");
    let again = ["run", "agent.toml", "--input", "go", "--session", &id];
    assert_eq!(scene.run(&again).expect(0).out, "done\n");
}

/// The same run goes on where it was when somebody says something in the session: first it is
/// brought to its end, then there is an answer to what was said.
#[test]
fn a_run_whose_process_was_killed_is_gone_on_with() {
    let scene = waiting();
    let (mut child, shown) = start(&scene);
    child.kill().unwrap();
    child.wait().unwrap();
    let event: Event = serde_json::from_str(&shown[0]).unwrap();
    let id = event.stream.to_string().replace("session/", "");
    // Quicker than before: a call of a moment.
    let operator = scene.read("ringfence.toml");
    scene.file("ringfence.toml", &operator.replace("900G", "1M"));
    let again = ["run", "agent.toml", "--input", "go", "--session", &id, "--json"];
    let ran = scene.run(&again).expect(0);
    let ends = |kind: &str| ran.out.matches(&format!("\"kind\":\"{kind}\"")).count();
    assert_eq!((ends("run.resumed"), ends("run.completed")), (1, 2), "{}", ran.out);
}
