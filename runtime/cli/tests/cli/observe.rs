//! Telemetry of the program: spans at a receiver, the log on standard error.

use std::net::TcpListener;

use ringfence_tests::web::{Web, say};

use crate::support::{MODEL, Scene};

const SCRIPT: &str = "[[turn]]\nwhen = { step = 1 }\nreply = { calls = [{ function = \"hello_greet\", arguments = { name = \"Ann\" } }] }\n[[turn]]\nreply = { text = \"Done.\" }\n";
const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn scene(telemetry: &str) -> Scene {
    let scene = Scene::with_agent(SCRIPT);
    let text = format!("{MODEL}[tenant.local.tool.hello]\n{telemetry}");
    scene.file("ringfence.toml", &text);
    scene
}

/// The trace id and the caller's span, as they go over the wire.
fn bytes(hex: &str) -> Vec<u8> {
    let digits = (0..hex.len()).step_by(2).map(|at| &hex[at..at + 2]);
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

fn holds(body: &[u8], part: &[u8]) -> bool {
    body.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_run_and_a_call_tell_their_spans_within_the_trace_of_whoever_started_them() {
    let receiver = Web::new(|_, stream| say(stream, "200 OK", "", b""));
    let scene = scene(&format!(
        "[telemetry.otlp]\nendpoint = \"{}\"\nheaders.authorization = {{ env = \"OTLP_KEY\" }}\n",
        receiver.origin()
    ));
    for arguments in
        [&["run", "agent.toml", "--input", "Go."][..], &["call", "hello", "{\"name\": \"Ann\"}"]]
    {
        let mut command = scene.command(arguments);
        command.env("TRACEPARENT", PARENT).env("OTLP_KEY", "Bearer of-the-collector");
        scene.ended(command.spawn().unwrap()).expect(0);
        let sent = receiver.take();
        let traces: Vec<_> = sent.iter().filter(|request| request.path() == "/v1/traces").collect();
        assert!(!traces.is_empty(), "{arguments:?}");
        let all = traces.iter().flat_map(|request| request.bytes.clone()).collect::<Vec<u8>>();
        assert!(holds(&all, &bytes(&PARENT[3..35])) && holds(&all, &bytes(&PARENT[36..52])));
        assert!(holds(&all, b"execute_tool hello_greet"), "{arguments:?}");
        assert!(sent.iter().any(|request| request.path() == "/v1/metrics"), "{arguments:?}");
        for request in &sent {
            assert_eq!(request.header("authorization"), Some("Bearer of-the-collector"));
        }
    }
}

/// An endpoint that nobody listens at costs some seconds at the end, and nothing else.
#[test]
fn a_dead_endpoint_fails_nothing() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let scene = scene(&format!(
        "[telemetry]\nlog = \"warn\"\n[telemetry.otlp]\nendpoint = \"http://127.0.0.1:{port}\"\n"
    ));
    let ran = scene.run(&["run", "agent.toml", "--input", "Go."]).expect(0);
    assert_eq!(ran.out.trim(), "Done.");
    ran.says("the OTLP endpoint takes no spans");
}

#[test]
fn the_log_is_lines_of_json_without_what_was_said() {
    let scene = scene("[telemetry]\nlog = \"debug\"\n");
    let ran = scene.run(&["--json", "run", "agent.toml", "--input", "a private word"]).expect(0);
    let lines: Vec<serde_json::Value> = ran
        .err
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(!lines.is_empty(), "{}", ran.err);
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        let target = line["target"].as_str().unwrap();
        assert!(target.starts_with("ringfence"), "what libraries say stays out: {line}");
    }
    assert!(!ran.err.contains("a private word"), "{}", ran.err);
    // Nobody asked for it: nothing is logged.
    let quiet = self::scene("").run(&["--json", "run", "agent.toml", "--input", "Go."]).expect(0);
    assert_eq!(quiet.err, "");
}

#[test]
fn a_sink_in_the_file_is_written() {
    let scene = scene(
        "[[tenant.local.sink]]\nname = \"log\"\nfile = \"events.jsonl\"\nevents = [\"run.*\"]\n",
    );
    scene.run(&["run", "agent.toml", "--input", "Go."]).expect(0);
    let text = scene.read("events.jsonl");
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(text.contains("\"type\":\"ringfence.run.completed\""), "{text}");
}
