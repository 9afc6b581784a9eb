//! `ringfence grant`

use insta::assert_snapshot;

use crate::support::{Ran, Scene};

/// A scene with the tool `files` added and nothing granted.
fn scene() -> Scene {
    let scene = Scene::new();
    scene.file("ringfence.toml", "# the operator's\n[tenant.acme]\n");
    scene.tool("tools/files", "files", "");
    scene.file(
        "tools/files/tool.toml",
        "[tool]\nname = \"files\"\ncomponent = \"tool.wasm\"\n[needs.fs.workspace]\naccess = \"read\"\n",
    );
    scene.file("data/a.txt", "text\n");
    scene.run(&["tool", "add", "tools/files"]).expect(0);
    scene
}

fn read(scene: &Scene, tenant: &str) -> Ran {
    let path = r#"{"path": "/workspace/a.txt"}"#;
    scene.run(&["call", "files", "read", path, "--tenant", tenant])
}

#[test]
fn what_was_denied_works_once_it_is_granted() {
    let scene = scene();
    read(&scene, "acme").expect(3).says("[tenant.acme.tool.files]");
    let grant = ["grant", "files", "--tenant", "acme", "--from-needs", "--root", "workspace=data"];

    // Shown, and not done without anybody's yes.
    let before = scene.read("ringfence.toml");
    assert_snapshot!("asked", scene.run(&grant).expect(2).shown);
    assert_eq!(scene.read("ringfence.toml"), before);

    scene.run(&[&grant[..], &["--yes"]].concat()).expect(0);
    assert_snapshot!("written", scene.read("ringfence.toml"));
    assert_eq!(read(&scene, "acme").expect(0).out, "text\n");
    // To one tenant is not to another.
    read(&scene, "local").expect(3);
    // Again changes nothing.
    let written = scene.read("ringfence.toml");
    scene.run(&[&grant[..], &["--yes"]].concat()).expect(0);
    assert_eq!(scene.read("ringfence.toml"), written);
}

#[test]
fn a_configuration_value_is_the_operators_to_say() {
    let scene = scene();
    scene.file(
        "tools/files/tool.toml",
        "[tool]\nname = \"files\"\ncomponent = \"tool.wasm\"\n[needs.config]\nkeys = [\"base-url\", \"region\"]\n",
    );
    scene.run(&["tool", "accept", "files", "--yes"]).expect(0);
    let grant = ["grant", "files", "--tenant", "acme", "--from-needs", "--yes"];
    let value = |value| scene.run(&[&grant[..], &["--value", value]].concat());
    value("other=x").expect(2).says("asks for no configuration key `other`");
    value("base-url").expect(2).says("KEY=VALUE");
    value("base-url=https://x").expect(0).says("config.region is not among them");
    let written = scene.read("ringfence.toml");
    assert!(written.ends_with("[tenant.acme.tool.files]\nconfig.base-url = \"https://x\"\n"));
    let explain = |key| scene.run(&["explain", "files", "read", "config", key, "--tenant", "acme"]);
    explain("base-url").expect(0);
    explain("region").expect(3);
}

/// The root `scratch` is granted as it is asked, without a folder.
#[test]
fn scratch_is_granted_without_a_folder() {
    let scene = scene();
    scene.file(
        "tools/files/tool.toml",
        "[tool]\nname = \"files\"\ncomponent = \"tool.wasm\"\n[needs.fs.scratch]\naccess = \"write\"\n",
    );
    scene.run(&["tool", "accept", "files", "--yes"]).expect(0);
    let grant = ["grant", "files", "--tenant", "acme", "--from-needs", "--yes"];
    let before = scene.read("ringfence.toml");
    let named = scene.run(&[&grant[..], &["--root", "scratch=data"]].concat());
    named.expect(2).says("granted without a folder");
    assert_eq!(scene.read("ringfence.toml"), before);
    scene.run(&grant).expect(0);
    let written = scene.read("ringfence.toml");
    assert!(written.ends_with("\nfs.scratch = { access = \"write\" }\n"), "{written}");
    let write = r#"{"path": "/scratch/a.txt", "text": "x"}"#;
    scene.run(&["call", "files", "write", write, "--tenant", "acme"]).expect(0);
}

#[test]
fn without_its_needs_a_tool_may_be_called_and_touch_nothing() {
    let scene = scene();
    read(&scene, "acme").expect(3).says("call files_read");
    scene.run(&["grant", "files", "--tenant", "acme", "--yes"]).expect(0);
    read(&scene, "acme").expect(3).says("denied: read /workspace");
}

#[test]
fn a_grant_that_makes_no_sense_changes_nothing() {
    let scene = scene();
    let before = scene.read("ringfence.toml");
    for (arguments, said) in [
        (&["grant", "absent", "--yes"][..], "there is no tool `absent`"),
        (&["grant", "files", "--from-needs", "--root", "other=x", "--yes"], "no root `other`"),
        (&["grant", "files", "--root", "workspace=x", "--yes"], "--from-needs"),
        (&["grant", "files", "--from-needs", "--root", "workspace", "--yes"], "NAME=PATH"),
    ] {
        scene.run(arguments).expect(2).says(said);
    }
    assert_eq!(scene.read("ringfence.toml"), before);
    // What changed since it was accepted is given nothing.
    scene.component("tools/files/tool.wasm", "hello");
    scene.run(&["grant", "files", "--yes"]).expect(2).says("is not what was accepted");
}

#[test]
fn a_person_at_the_terminal_is_asked() {
    let scene = scene();
    let grant = ["grant", "files", "--tenant", "acme", "--from-needs", "--root", "workspace=data"];
    let before = scene.read("ringfence.toml");
    for typed in ["n\n", "\n", "yup\n"] {
        let Some(ran) = scene.run_at_terminal(&grant, typed) else { return };
        let ran = ran.expect(2);
        assert!(ran.out.contains("ringfence.toml? [y/N] "), "{}", ran.out);
        assert!(ran.out.contains("nothing was changed"), "{}", ran.out);
        assert_eq!(scene.read("ringfence.toml"), before, "{typed:?}");
    }
    let Some(ran) = scene.run_at_terminal(&grant, "y\n") else { return };
    let ran = ran.expect(0);
    assert!(ran.out.contains("granted to tenant acme"), "{}", ran.out);
    assert_eq!(read(&scene, "acme").expect(0).out, "text\n");
}
