//! `ringfence session`

use insta::assert_snapshot;

use crate::support::Scene;

const SCRIPT: &str = r#"
[[turn]]
when = { step = 1 }
reply = { calls = [
    { function = "hello_greet", arguments = { name = "Ann" } },
    { function = "files_read", arguments = { path = "/workspace/a" } },
] }
[[turn]]
reply = { text = "Greeted.\nTwice." }
"#;

#[test]
fn a_session_is_told_again() {
    let scene = Scene::with_agent(SCRIPT);
    assert_eq!(scene.run(&["session", "list"]).expect(0).out, "");
    let run = scene.run(&["run", "agent.toml", "--input", "Greet\nAnn", "--json"]).expect(0);
    assert_snapshot!("list", scene.run(&["session", "list"]).expect(0).shown);
    let list = scene.run(&["session", "list", "--json"]).json();
    let id = list[0]["session"].as_str().unwrap();
    assert_eq!(list[0]["status"], "completed");

    assert_snapshot!("show", scene.run(&["session", "show", &id[..6]]).expect(0).shown);
    // What was shown live is what is shown again.
    assert_eq!(scene.run(&["session", "show", id, "--json"]).expect(0).out, run.out);

    scene.run(&["session", "cancel", id]).expect(2).says("no run is under way");
    scene.run(&["session", "show", "ffff00"]).expect(2).says("there is no session `ffff00`");
}

#[test]
fn a_closed_session_is_told_and_takes_nothing() {
    let scene = Scene::with_agent(SCRIPT);
    scene.run(&["run", "agent.toml", "--input", "Greet"]).expect(0);
    let list = || scene.run(&["session", "list", "--json"]).json()[0].clone();
    let id = list()["session"].as_str().unwrap().to_owned();
    let more = ["run", "agent.toml", "--input", "More", "--session", &id];
    let close = ["session", "close", &id[..6]];
    assert_eq!(scene.run(&close).expect(0).out, "the session is closed\n");
    assert_eq!(list()["status"], "closed");
    scene.run(&more).expect(2).says("the session is closed");
    scene.run(&["session", "cancel", &id]).expect(2).says("no run is under way");
    // Said again, it changes nothing.
    let json = scene.run(&[&close[..], &["--json"]].concat()).expect(0).json();
    assert_eq!((&json["session"], &json["closed"]), (&id.as_str().into(), &true.into()));
    let events = scene.run(&["session", "show", &id, "--json"]).expect(0).out;
    assert_eq!(events.matches("session.closed").count(), 1);
    let shown = scene.run(&["session", "show", &id]).expect(0).out;
    assert!(shown.contains("\n  closed   "), "{shown}");
}

#[test]
fn a_session_is_nobody_elses() {
    let scene = Scene::with_agent(SCRIPT);
    scene.file("ringfence.toml", &format!("{}[tenant.acme]\n", scene.read("ringfence.toml")));
    scene.run(&["run", "agent.toml", "--input", "Greet"]).expect(0);
    let list = scene.run(&["session", "list", "--json"]).json();
    let id = list[0]["session"].as_str().unwrap();
    for whose in [["--tenant", "acme"], ["--user", "bob"]] {
        for arguments in [
            &["session", "show", id][..],
            &["session", "show", &id[..4]],
            &["session", "cancel", id],
            &["session", "close", id],
        ] {
            let ran = scene.run(&[arguments, &whose].concat()).expect(2);
            assert!(ran.err.contains("there is no session"), "{}", ran.err);
        }
        let list = scene.run(&[&["session", "list", "--json"], &whose[..]].concat()).json();
        assert_eq!(list.as_array().unwrap().len(), 0);
    }
}

/// A store of a later version may hold what this one does not know how to keep.
#[test]
fn a_newer_store_is_refused_and_not_touched() {
    let scene = Scene::with_agent(SCRIPT);
    scene.run(&["run", "agent.toml", "--input", "Greet"]).expect(0);
    let home = scene.path(".ringfence");
    let store = home.join("journal.db");
    let mut bytes = std::fs::read(&store).unwrap();
    // The user version in the header of an SQLite file.
    let format = u32::from_be_bytes(bytes[60..64].try_into().unwrap()) + 1;
    bytes[60..64].copy_from_slice(&format.to_be_bytes());
    std::fs::write(&store, &bytes).unwrap();
    let names = || {
        let entries = std::fs::read_dir(&home).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    for arguments in [
        &["session", "list"][..],
        &["run", "agent.toml", "--input", "Greet"],
        &["call", "hello", r#"{"name": "Ann"}"#],
    ] {
        scene.run(arguments).expect(8).says("format");
        assert_eq!(std::fs::read(&store).unwrap(), bytes, "{arguments:?}");
        assert_eq!(names(), before, "{arguments:?}");
    }
}
