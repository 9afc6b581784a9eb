//! What a second process says to a session while the first one drives it: each command reaches the run
//! that is under way, and who said it is told so.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, ChildStdout},
};

use ringfence_tests::web::Request;
use serde_json::Value;

use crate::support::{Ran, Scene};

/// A server that answers when the test lets it: until then the call that asks it is under way.
struct Gate(TcpListener);

/// A request that waits for its answer.
struct Asked(BufReader<TcpStream>);

impl Gate {
    fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    fn origin(&self) -> String {
        format!("http://{}", self.0.local_addr().unwrap())
    }

    /// Waits for the next request.
    fn asked(&self) -> Asked {
        let mut stream = BufReader::new(self.0.accept().unwrap().0);
        Request::read(&mut stream).expect("a whole request");
        Asked(stream)
    }
}

impl Asked {
    fn answer(self) {
        let text = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
        // Whoever asked may have been stopped.
        let _ = self.0.into_inner().write_all(text.as_bytes());
    }
}

/// A process that drives a run, and the events that it shows.
struct Running {
    child: Child,
    events: BufReader<ChildStdout>,
    session: String,
}

impl Running {
    fn start(scene: &Scene, arguments: &[&str]) -> Self {
        let mut child = scene.command(&[arguments, &["--json"]].concat()).spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap());
        Self { child, events, session: String::new() }
    }

    /// The next event of a kind.
    #[track_caller]
    fn shows(&mut self, kind: &str) -> Value {
        loop {
            let mut line = String::new();
            self.events.read_line(&mut line).unwrap();
            assert!(!line.is_empty(), "it ended without {kind}");
            let event: Value = serde_json::from_str(&line).unwrap();
            let stream = event["stream"].as_str().unwrap();
            self.session = stream.strip_prefix("session/").unwrap().to_owned();
            if event["kind"] == kind {
                return event;
            }
        }
    }

    /// How it ended.
    #[track_caller]
    fn ends(mut self, code: i32) {
        std::io::copy(&mut self.events, &mut std::io::sink()).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(code));
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What the tools of a scene are and may: `get` and the unsafe `pay` ask the gate, `probe` asks people.
fn scene(gate: &Gate, calls: &[&str], hold: &str) -> Scene {
    let proposed: Vec<_> = calls
        .iter()
        .map(|call| match *call {
            "probe_ask" => {
                "{ function = \"probe_ask\", arguments = { question = \"Go on?\" } }".to_owned()
            }
            name => format!(
                "{{ function = \"{name}_get\", arguments = {{ url = \"{}/{name}\" }} }}",
                gate.origin()
            ),
        })
        .collect();
    let scene = Scene::with_agent(&format!(
        "[[turn]]\nwhen = {{ step = 1 }}\nreply = {{ calls = [{}] }}\n[[turn]]\nreply = {{ text = \
         \"done\" }}\n",
        proposed.join(", ")
    ));
    let (mut agent, mut operator) = (scene.read("agent.toml"), scene.read("ringfence.toml"));
    let needs = "[needs.http.\"*\"]\nmethods = [\"GET\"]\nreason = \"the gate\"\n";
    for call in calls {
        let name = call.trim_end_matches("_ask");
        let (guest, manifest) = match name {
            "pay" => ("fetch", format!("{needs}[function.get]\neffect = \"unsafe\"\n")),
            "get" => ("fetch", needs.to_owned()),
            _ => (name, String::new()),
        };
        agent += &format!("{name} = \"*\"\n");
        operator += &format!("[tenant.local.tool.{name}]\nlimits.time = \"600s\"\n");
        if guest == "fetch" {
            operator += &format!("http = [\"{}\"]\n", gate.origin());
        }
        scene.tool(name, guest, &manifest);
    }
    scene.file("agent.toml", &format!("{agent}[limits]\ntime = \"900s\"\n"));
    scene.file("ringfence.toml", &(operator + hold));
    for call in calls {
        scene.run(&["tool", "add", call.trim_end_matches("_ask")]).expect(0);
    }
    scene
}

/// The events of a session as a process of its own reads them.
fn events(scene: &Scene, id: &str) -> Vec<Value> {
    let out = scene.run(&["session", "show", id, "--json"]).expect(0).out;
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn count(events: &[Value], kind: &str) -> usize {
    events.iter().filter(|event| event["kind"] == kind).count()
}

/// Given to the process that drives the session.
#[track_caller]
fn delivered(ran: Ran) {
    assert_eq!(ran.expect(0).json()["said"], "delivered");
}

/// A run one call of which is under way, and what is known of it.
fn under_way(calls: &[&str], hold: &str, until: &str) -> (Scene, Running, Asked) {
    let gate = Gate::new();
    let scene = scene(&gate, calls, hold);
    let mut first = Running::start(&scene, &["run", "agent.toml", "--input", "go"]);
    first.shows(until);
    (scene, first, gate.asked())
}

#[test]
fn a_second_process_reads_what_the_first_does() {
    let (scene, first, asked) = under_way(&["get"], "", "call.started");
    let list = scene.run(&["session", "list", "--json"]).expect(0).json();
    assert_eq!(list[0]["status"], "running");
    assert_eq!(count(&events(&scene, &first.session), "call.started"), 1);
    assert_eq!(count(&events(&scene, &first.session), "call.finished"), 0);
    let id = first.session.clone();
    asked.answer();
    first.ends(0);
    assert_eq!(count(&events(&scene, &id), "call.finished"), 1);
}

#[test]
fn a_second_process_cancels_what_the_first_does() {
    let (scene, first, asked) = under_way(&["get"], "", "call.started");
    let id = first.session.clone();
    let said = scene.run(&["session", "cancel", &id, "--json"]).expect(0).json();
    assert_eq!(said["ended"], true);
    // The request was never answered.
    first.ends(6);
    drop(asked);
    assert_eq!(count(&events(&scene, &id), "run.cancelled"), 1);
}

#[test]
fn an_input_waits_behind_the_run_of_another_process() {
    let (scene, mut first, asked) = under_way(&["get"], "", "call.started");
    let id = first.session.clone();
    let say = |busy: &str| {
        let said = ["run", "agent.toml", "--session", &id, "--busy", busy, "--input", "and now?"];
        scene.command(&[&said[..], &["--json"]].concat())
    };
    // Rejected if it is not to wait, and nothing of it is recorded; what the call says meanwhile is.
    let refused = scene.ended(say("reject").spawn().unwrap()).expect(2).json();
    assert_eq!(refused["error"]["code"], "busy");
    assert_eq!(count(&events(&scene, &id), "message.added"), 1);
    let second = say("queue").spawn().unwrap();
    first.shows("message.added");
    asked.answer();
    first.ends(0);
    let second = scene.ended(second).expect(0);
    assert!(second.out.contains("and now?") && second.out.contains("run.completed"));
    assert_eq!(count(&events(&scene, &id), "run.completed"), 2);
}

#[test]
fn an_input_interrupts_the_run_of_another_process() {
    let (scene, first, asked) = under_way(&["get"], "", "call.started");
    let id = first.session.clone();
    let said = ["run", "agent.toml", "--session", &id, "--busy", "interrupt", "--input", "stop"];
    let ran = scene.run(&said).expect(0);
    assert_eq!(ran.out, "done\n");
    first.ends(6);
    drop(asked);
    let events = events(&scene, &id);
    assert_eq!((count(&events, "run.cancelled"), count(&events, "run.completed")), (1, 1));
}

#[test]
fn a_second_process_answers_what_a_tool_asks_while_the_first_runs() {
    let (scene, mut first, asked) = under_way(&["probe_ask", "get"], "", "input.asked");
    let id = first.session.clone();
    delivered(scene.run(&["session", "answer", &id, r#"{"go": true}"#, "--json"]));
    first.shows("input.answered");
    first.shows("call.finished");
    asked.answer();
    first.ends(0);
    let told = format!("{:?}", events(&scene, &id));
    assert!(told.contains("go: true, times: 0"), "{told}");
}

#[test]
fn a_second_process_says_whether_a_call_may_run_while_the_first_runs() {
    let hold = "[[tenant.local.hold]]\ntool = \"pay\"\n";
    for (verb, event, calls) in [("approve", "call.approved", 2), ("deny", "call.declined", 1)] {
        let gate = Gate::new();
        let scene = scene(&gate, &["pay", "get"], hold);
        let mut first = Running::start(&scene, &["run", "agent.toml", "--input", "go"]);
        first.shows("call.hold");
        let get = gate.asked();
        let id = first.session.clone();
        let answer = ["approvals", verb, &id, "--reason", "I looked at it", "--json"];
        delivered(scene.run(&answer));
        first.shows(event);
        if verb == "approve" {
            gate.asked().answer();
        }
        // A second answer is too late, and changes nothing.
        let before = events(&scene, &id).len();
        scene.run(&answer).expect(2);
        assert_eq!(count(&events(&scene, &id), event), 1);
        assert!(events(&scene, &id).len() >= before);
        get.answer();
        first.ends(0);
        assert_eq!(count(&events(&scene, &id), "call.started"), calls);
        assert!(format!("{:?}", events(&scene, &id)).contains("I looked at it"));
    }
}

#[test]
fn a_second_process_says_how_a_call_ended_while_the_first_runs() {
    for (how, runs) in
        [(&["--happened", "paid, receipt 7"][..], 0), (&["--run-it"], 1), (&["--give-up"], 0)]
    {
        let gate = Gate::new();
        let scene = scene(&gate, &["pay", "get"], "");
        let mut first = Running::start(&scene, &["run", "agent.toml", "--input", "go"]);
        first.shows("call.started");
        // Both are under way when the process is killed.
        let (one, other) = (gate.asked(), gate.asked());
        let id = first.session.clone();
        first.kill();
        drop((one, other));

        // `get` runs again by itself; nobody knows of `pay`.
        let mut resumed = Running::start(&scene, &["session", "resume", &id]);
        let lost = resumed.shows("call.outcome-unknown");
        let call = lost["data"]["call"].as_str().unwrap();
        let get = gate.asked();
        let arguments = [&["session", "reconcile", &id, call], how, &["--json"]].concat();
        delivered(scene.run(&arguments));
        resumed.shows("call.reconciled");
        (0..runs).for_each(|_| gate.asked().answer());
        get.answer();
        resumed.ends(0);
        let told = format!("{:?}", events(&scene, &id));
        assert_eq!(told.contains("receipt 7"), how[0] == "--happened", "{told}");
        // It is settled: nothing more is taken.
        scene.run(&arguments).expect(2);
    }
}
