//! What people answer, from processes of their own.

use crate::support::Scene;

const ASKS: &str = "[[turn]]\nwhen = { step = 1 }\nreply = { calls = [{ function = \"probe_ask\", arguments = { question = \"Go on?\" } }] }\n[[turn]]\nreply = { text = \"done\" }\n";

/// A scene whose run waits for a person, and its session.
fn waiting(hold: &str) -> (Scene, String) {
    let scene = Scene::with_agent(ASKS);
    let (agent, operator) = (scene.read("agent.toml"), scene.read("ringfence.toml"));
    scene.file("agent.toml", &format!("{agent}probe = \"*\"\n"));
    scene.file("ringfence.toml", &format!("{operator}[tenant.local.tool.probe]\n{hold}"));
    scene.tool("probe", "probe", "");
    scene.run(&["tool", "add", "probe"]).expect(0);
    let ran = scene.run(&["run", "agent.toml", "--input", "go"]).expect(7);
    ran.says("session resume");
    let list = scene.run(&["session", "list", "--json"]).json();
    let id = list[0]["session"].as_str().unwrap().to_owned();
    (scene, id)
}

const HOLD: &str = "[[tenant.local.hold]]\ntool = \"probe\"\nanswer = \"session\"\n";

/// Refused with this code, and nothing is recorded.
#[track_caller]
fn check_refused(scene: &Scene, id: &str, arguments: &[&str], code: &str) {
    let events = || scene.run(&["session", "show", id, "--json"]).expect(0).out;
    let before = events();
    let ran = scene.run(&[arguments, &["--json"]].concat()).expect(2);
    assert_eq!(ran.json()["error"]["code"], code, "{}", ran.out);
    assert_eq!(events(), before);
}

#[test]
fn a_question_is_answered_from_another_process() {
    let (scene, id) = waiting("");
    let list = scene.run(&["session", "list", "--json"]).json();
    assert_eq!(list[0]["waits"], "input");
    let asked = scene.run(&["approvals", "list", "--json"]).json();
    assert_eq!(asked[0]["question"]["message"], "Go on?");
    // What does not fit, and what is not asked.
    check_refused(&scene, &id, &["session", "answer", &id, r#"{"go": 7}"#], "unfit-answer");
    check_refused(&scene, &id, &["session", "answer", &id, "{"], "usage");
    check_refused(&scene, &id, &["session", "answer", "xyz", "{}"], "no-such-session");
    let call = asked[0]["call"].as_str().unwrap();
    let approve = ["approvals", "approve", &id, call];
    check_refused(&scene, &id, &approve, "not-waiting");
    let answer = ["session", "answer", &id, r#"{"go": true}"#, "--call", call];
    assert_eq!(
        scene.run(&[&answer[..], &["--json"]].concat()).expect(0).json()["said"],
        "recorded"
    );
    check_refused(&scene, &id, &answer, "not-waiting");
    check_refused(&scene, &id, &["session", "answer", &id, r#"{"go": true}"#], "not-waiting");
    assert_eq!(scene.run(&["session", "resume", &id]).expect(0).out, "done\n");
    check_refused(&scene, &id, &["session", "resume", &id], "no-run");
    check_refused(&scene, &id, &["session", "reconcile", &id, call, "--run-it"], "not-unknown");
}

#[test]
fn a_held_call_is_let_run_or_not() {
    for (verb, ends) in [("approve", 7), ("deny", 0)] {
        let (scene, id) = waiting(HOLD);
        let held = scene.run(&["approvals", "list", "--json"]).json();
        assert_eq!(held[0]["wait"], "approval");
        let stale = format!("sha256:{}", "0".repeat(64));
        check_refused(&scene, &id, &["approvals", verb, &id, "--shown", &stale], "stale-answer");
        check_refused(&scene, &id, &["approvals", verb, &id, "r9.s9.c9"], "no-such-call");
        let shown = held[0]["shown"].as_str().unwrap();
        let answer = ["approvals", verb, &id, "--shown", shown, "--reason", "I said so"];
        scene.run(&answer).expect(0);
        let events = scene.run(&["session", "show", &id, "--json"]).expect(0).out;
        assert!(events.contains("I said so"), "{events}");
        // Approved, it runs and asks its own question; denied, the model goes on without it.
        scene.run(&["session", "resume", &id]).expect(ends);
    }
}

/// A run that waits makes way for another input, and the same key is the same input.
#[test]
fn an_input_has_a_name_and_a_model() {
    let (scene, id) = waiting("");
    let again = |more: &[&str]| {
        scene.run(&[&["run", "agent.toml", "--input", "go", "--session", &id], more].concat())
    };
    again(&["--model", "absent"]).expect(2).says("there is no model `absent`");
    again(&["--busy", "interrupt", "--key", "k1"]).expect(0);
    let runs = || {
        let out = scene.run(&["session", "show", &id, "--json"]).expect(0).out;
        out.matches("\"kind\":\"message.added\"").count()
    };
    assert_eq!(runs(), 2);
    again(&["--busy", "queue", "--key", "k1"]).expect(0);
    assert_eq!(runs(), 2, "said again under the same key it is the same run");
    scene.run(&["run", "agent.toml", "--input", "go", "--busy", "queue"]).expect(2);
}

/// What is typed at a terminal while a run waits, and what comes of it.
#[track_caller]
fn check_typed(hold: &str, typed: &str, code: i32, shows: &[&str]) {
    let (scene, id) = waiting(hold);
    let Some(ran) = scene.run_at_terminal(&["session", "resume", &id], typed) else { return };
    assert_eq!(ran.code, code, "{typed:?}\n{}", ran.out);
    for part in shows {
        assert!(ran.out.contains(part), "{part:?} after {typed:?}\n{}", ran.out);
    }
    // Whatever came of it is in the journal, and nothing else.
    let waits = scene.run(&["session", "list", "--json"]).json()[0]["status"] == "waiting";
    assert_eq!(waits, code == 7, "{typed:?}\n{}", ran.out);
}

#[test]
fn whoever_sits_at_the_terminal_is_asked() {
    // A tool's question: answered, wrong at first, refused, left for later.
    let question = ["asks: Go on?", "go, Whether to go on. [y | n]: "];
    check_typed(
        "",
        "y\n2\n",
        0,
        &[&question[..], &["answered: {\"go\":true,\"times\":2}", "done"]].concat(),
    );
    check_typed("", "seven\nn\n\n", 0, &["y or n", "answered: {\"go\":false,\"times\":0}"]);
    check_typed("", "/decline\n", 0, &["answered: nothing"]);
    check_typed("", "", 7, &["session answer"]);
    // A held call, with the line that holds it; allowed, it asks its own question.
    let held = ["probe_ask", "with {\"question\":\"Go on?\"}", "ringfence.toml:"];
    check_typed(
        HOLD,
        "y fine\ny\n\n",
        0,
        &[&held[..], &["approved by local: fine", "done"]].concat(),
    );
    check_typed(HOLD, "a\ny\n\n", 0, &["always in this session", "approved by local", "done"]);
    check_typed(HOLD, "n\ntoo late\n", 0, &["declined by local: too late", "done"]);
    check_typed(HOLD, "no not today\n", 0, &["declined by local: not today"]);
    check_typed(HOLD, "perhaps\n\n", 7, &["one of the letters", "approvals approve"]);
    // A rule that lets nobody say yes for longer does not offer it.
    let once = HOLD.replace("session", "call");
    check_typed(&once, "a\n\n", 7, &["one of the letters"]);
}

/// A yes for the whole session, and a question that gets no answer.
#[test]
fn a_yes_may_be_for_the_session_and_an_answer_may_be_none() {
    let (scene, id) = waiting(HOLD);
    let once = HOLD.replace("session", "call");
    // Wider than the rule allows.
    let (narrow, other) = waiting(&once);
    let wide = ["approvals", "approve", &other, "--session-wide"];
    check_refused(&narrow, &other, &wide, "one-call-only");
    scene.run(&["approvals", "approve", &id, "--session-wide"]).expect(0);
    scene.run(&["session", "resume", &id]).expect(7);
    scene.run(&["session", "answer", &id, "--decline"]).expect(0);
    assert_eq!(scene.run(&["session", "resume", &id]).expect(0).out, "done\n");
    let events = scene.run(&["session", "show", &id, "--json"]).expect(0).out;
    assert!(events.contains("\"scope\":\"session\""), "{events}");
    assert!(events.contains("nobody answers"), "{events}");
}
