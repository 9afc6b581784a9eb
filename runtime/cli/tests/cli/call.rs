//! `ringfence call`

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::Scene;

#[test]
fn the_output_is_on_standard_output_and_the_rest_beside_it() {
    let scene = Scene::new();
    scene.tool("hello", "hello", "");
    let ran = scene.run(&["call", "hello", "greet", r#"{"name": "Ann"}"#]).expect(0);
    assert_eq!(ran.out, "Hello, Ann!\n");
    assert_snapshot!(ran.shown);
}

#[test]
fn json_is_one_object_with_outcome_output_denials_and_usage() {
    let scene = Scene::new();
    scene.tool("hello", "hello", "");
    let ran = scene.run(&["call", "hello", r#"{"name": "Ann"}"#, "--json"]).expect(0);
    assert_eq!(ran.err, "");
    let mut result = ran.json();
    let usage = result["usage"].as_object_mut().unwrap();
    usage.values_mut().for_each(|number| *number = json!("N"));
    assert_snapshot!(serde_json::to_string_pretty(&result).unwrap());

    let ran = scene.run(&["--json", "call", "hello", "greet", r#"{"name": 7}"#]).expect(2);
    let result = ran.json();
    assert_eq!(result["outcome"], "invalid");
    assert_eq!(result["failure"]["path"], "/name");
}

#[test]
fn arguments_come_from_the_line_or_from_standard_input() {
    let scene = Scene::new();
    scene.tool("hello", "hello", "");
    let ann = r#"{"name": "Ann"}"#;
    for (arguments, input) in [
        (&["call", "hello", "greet", ann][..], ""),
        (&["call", "hello", ann], ""),
        (&["call", "hello", "greet", "-"], ann),
        (&["call", "hello", "-"], ann),
        (&["call", "hello", "greet"], ann),
        (&["call", "hello"], ann),
        (&["call", "hello/tool.wasm"], ann),
    ] {
        let ran = scene.run_with(arguments, input).expect(0);
        assert_eq!(ran.out, "Hello, Ann!\n", "{arguments:?}");
    }
    // Nothing is an empty object, which does not fit.
    scene.run(&["call", "hello"]).expect(2).says("name");
}

#[test]
fn every_end_has_its_exit_code() {
    let scene = Scene::new();
    scene.component("spin.wasm", "spin");
    scene.component("files.wasm", "files");
    for (arguments, code, said) in [
        (&["call", "spin.wasm", "--fuel", "5M"][..], 4, "limit of fuel"),
        (&["call", "spin.wasm", "--time", "20ms", "--fuel", "900G"], 4, "limit of time"),
        (&["call", "spin.wasm", "spin", "{"], 2, "the arguments do not fit"),
        (&["call", "spin.wasm", "nothing"], 2, "tool `spin` has no function `nothing`"),
        (&["call", "files.wasm"], 2, "which function of tool `files`?"),
        (&["call", "files.wasm", "read", r#"{"path": "a"}"#], 1, "failed: "),
    ] {
        let ran = scene.run(arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.shown);
        assert!(ran.err.contains(said), "{arguments:?}: {}", ran.shown);
        assert_eq!(ran.out, "", "{arguments:?}");
    }
}

#[test]
fn a_denial_says_what_would_allow_it_and_that_does() {
    let scene = Scene::new();
    scene.tool("files", "files", "[needs.fs.workspace]\naccess = \"write\"\n");
    scene.file("data/a.txt", "text\n");
    let read = ["call", "files", "read", r#"{"path": "/workspace/a.txt"}"#];
    let denied = scene.run(&read).expect(3);
    assert_snapshot!(denied.shown);
    let granted = scene.run(&[&read[..], &["--fs", "workspace=data"]].concat()).expect(0);
    assert_eq!(granted.out, "text\n");

    let write = ["call", "files", "write", r#"{"path": "/workspace/b.txt", "text": "new"}"#];
    let denied = scene.run(&[&write[..], &["--fs", "workspace=data"]].concat()).expect(3);
    assert!(denied.err.contains("denied: write /workspace"), "{}", denied.err);
    scene.run(&[&write[..], &["--fs", "workspace=data:rw"]].concat()).expect(0);
    assert_eq!(scene.read("data/b.txt"), "new");
}

#[test]
fn nobody_reading_any_more_is_no_failure() {
    let scene = Scene::new();
    scene.tool("hello", "hello", "");
    let mut child = scene.command(&["call", "hello", r#"{"name": "Ann"}"#]).spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn the_operators_file_decides_for_added_tools() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "");
    scene.tool("hello", "hello", "");
    scene.run(&["tool", "add", "hello"]).expect(0);
    // The folder of that name is a path; from elsewhere it is the added tool that is meant.
    scene.file("below/x", "");
    let call = |more: &[&str]| {
        let arguments = [&["call", "hello", r#"{"name": "Ann"}"#], more].concat();
        let mut command = scene.command(&arguments);
        scene.ended(command.current_dir(scene.path("below")).spawn().unwrap())
    };
    assert_snapshot!(call(&[]).expect(3).shown);
    call(&["--fuel", "10M"]).expect(0);
    scene.file("ringfence.toml", "[tenant.local.tool.hello]\n");
    call(&[]).expect(0);
    call(&["--tenant", "acme"]).expect(2).says("there is no tenant `acme`");
    let result: Value = call(&["--json"]).json();
    assert_eq!(result["outcome"], "succeeded");
}

/// The root `scratch` is one call's: given by a flag without a folder, and gone with the call.
#[test]
fn a_call_has_a_scratch_of_its_own() {
    let scene = Scene::new();
    scene.tool("files", "files", "[needs.fs.scratch]\naccess = \"write\"\n");
    let write = ["call", "files", "write", r#"{"path": "/scratch/a", "text": "x"}"#];
    scene.run(&write).expect(3).says("`--fs scratch:rw`");
    scene.run(&[&write[..], &["--fs", "scratch"]].concat()).expect(3).says("`--fs scratch:rw`");
    scene.run(&[&write[..], &["--fs", "scratch:rw"]].concat()).expect(0);
    let read = ["call", "files", "read", r#"{"path": "/scratch/a"}"#, "--fs", "scratch:rw"];
    scene.run(&read).expect(1);
    // What is said where a file grants is what the file says.
    scene.file("ringfence.toml", "[tenant.local.tool.files]\n");
    let line = "fs.scratch = { access = \"write\" }";
    let explain = ["explain", "files", "write", "fs", "write", "/scratch/a"];
    let denied = scene.run(&explain).expect(3);
    assert!(denied.out.contains(line), "{}", denied.out);
    scene.file("ringfence.toml", &format!("[tenant.local.tool.files]\n{line}\n"));
    scene.run(&explain).expect(0);
    scene.run(&write).expect(0);
    scene.run(&["tool", "check", "files", "--strict"]).expect(0);
    let left = std::fs::read_dir(scene.path(".ringfence/scratch/local")).unwrap();
    assert_eq!(left.count(), 0);
}
