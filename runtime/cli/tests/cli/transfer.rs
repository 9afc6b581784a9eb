//! `ringfence session export`, `import` and `resume --all`.

use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;

use crate::support::Scene;

const SCRIPT: &str = "[[turn]]\nwhen = { step = 1 }\nreply = { calls = [{ function = \"hello_greet\", arguments = { name = \"Ann\" } }] }\n[[turn]]\nreply = { text = \"done\" }\n";
const HOLD: &str = "[[tenant.local.hold]]\ntool = \"hello\"\n";

fn scene(hold: &str) -> Scene {
    let scene = Scene::with_agent(SCRIPT);
    let operator = scene.read("ringfence.toml");
    scene.file("ringfence.toml", &format!("{operator}{hold}"));
    scene
}

fn only_session(scene: &Scene, user: &str) -> String {
    let list = scene.run(&["session", "list", "--json", "--user", user]).json();
    list[0]["session"].as_str().unwrap().to_owned()
}

#[test]
fn a_session_is_a_file_and_a_session_again() {
    let (here, there) = (scene(HOLD), scene(HOLD));
    here.run(&["run", "agent.toml", "--input", "Greet"]).expect(7);
    let id = only_session(&here, "local");
    let file = here.run(&["session", "export", &id[..8]]).expect(0).out;
    let export = ["session", "export", &id, "s.jsonl"];
    let said = here.run(&export).expect(0).out;
    assert!(said.ends_with(&format!("of session {id} are in s.jsonl\n")), "{said}");
    assert_eq!(here.read("s.jsonl"), file);
    let mode = here.path("s.jsonl").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it has all that was said");
    // What is there stays there.
    here.file("s.jsonl", "mine");
    here.run(&export).expect(2).says("s.jsonl is there already: --force replaces it");
    assert_eq!(here.read("s.jsonl"), "mine");
    let json = here.run(&[&export[..], &["--force", "--json"]].concat()).expect(0).json();
    assert_eq!((&json["session"], &json["memory"]), (&id.as_str().into(), &0.into()));
    assert_eq!(here.read("s.jsonl"), file);
    here.run(&["session", "export", &id, "absent/s.jsonl"]).expect(8).says("cannot write absent");
    here.run(&["session", "export", &id, "--force"]).expect(2);
    here.run(&["session", "export", &id, "--user", "bob"]).expect(2).says("there is no session");
    let names = std::fs::read_dir(here.work()).unwrap();
    let left = names.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.starts_with(".ringfence.")
    });
    assert_eq!(left.count(), 0, "nothing is left beside it");

    there.file("s.jsonl", &file);
    assert_snapshot!("imported", there.run(&["session", "import", "s.jsonl"]).expect(0).shown);
    let show = |scene: &Scene| scene.run(&["session", "show", &id]).expect(0).exact;
    assert_eq!(show(&here), show(&there));
    let refused = |arguments: &[&str], code: &str| {
        let ran = there.run(&[arguments, &["--json"]].concat()).expect(2);
        assert_eq!(ran.json()["error"]["code"], code, "{}", ran.out);
    };
    refused(&["session", "import", "s.jsonl"], "session-exists");
    refused(&["session", "import", "absent.jsonl"], "usage");
    there.file("other.jsonl", "hello\n");
    assert_snapshot!("no_export", there.run(&["session", "import", "other.jsonl"]).expect(2).shown);
    // It goes on where it is now.
    there.run(&["approvals", "approve", &id]).expect(0);
    assert_eq!(there.run(&["session", "resume", &id]).expect(0).out, "done\n");

    // Through a pipe, into a home that has none.
    let piped = scene("");
    let cut = &file[..file.len() / 2];
    let json = piped.run_with(&["session", "import", "-", "--json"], cut).expect(2).json();
    assert_eq!(json["error"]["code"], "bad-export");
    let json = piped.run_with(&["session", "import", "-", "--json"], &file).expect(0).json();
    assert_eq!((&json["session"], &json["unfinished"]), (&id.as_str().into(), &"waiting".into()));
}

#[test]
fn all_that_is_unfinished_is_gone_on_with() {
    let scene = scene(HOLD);
    let all = ["session", "resume", "--all"];
    scene.run(&all).expect(0).says("nothing is unfinished");
    let nothing = scene.run(&["session", "resume", "--json"]).expect(2).json();
    assert_eq!(nothing["error"]["code"], "nothing-unfinished");
    scene.run(&["session", "resume", "abc", "--all"]).expect(2);
    scene
        .run(&[&all[..], &["--user", "bob"]].concat())
        .expect(2)
        .says("without --tenant and --user");
    let operator = scene.read("ringfence.toml");
    let other = "[model.other]\nprotocol = \"scripted\"\nscript = \"script.toml\"\n\n";
    scene.file("ringfence.toml", &format!("{other}{operator}"));
    for (user, model) in [("ann", "main"), ("bob", "other"), ("eve", "main")] {
        let whose = ["--user", user];
        let run = ["run", "agent.toml", "--input", "Greet", "--model", model];
        scene.run(&[&run[..], &whose].concat()).expect(7);
        let id = only_session(&scene, user);
        if user != "eve" {
            scene.run(&[&["approvals", "approve", &id][..], &whose].concat()).expect(0);
        }
    }
    scene.file("ringfence.toml", &operator);
    let ran = scene.run(&[&all[..], &["--json"]].concat()).expect(1);
    let mut told: Vec<serde_json::Value> =
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    told.sort_by_key(|object| object["user"].as_str().unwrap().to_owned());
    assert_eq!(told.len(), 2, "what waits for a person is left alone: {}", ran.out);
    assert_eq!(told[0]["status"], "completed");
    assert_eq!(told[1]["error"]["code"], "usage");
    // Again, for people: the one that is left, as it is when its model is there.
    let shown = scene.run(&all).expect(1).out;
    assert!(shown.contains(": cannot be gone on with: there is no model `other`"), "{shown}");
    scene.file("ringfence.toml", &format!("{other}{operator}"));
    let shown = scene.run(&all).expect(0).out;
    assert!(shown.starts_with("local/bob ") && shown.ends_with(": completed\n"), "{shown}");
}
