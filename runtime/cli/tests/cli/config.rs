//! Which configuration holds, and where state is kept.

use crate::support::{Ran, Scene};

fn called(scene: &Scene, folder: &str, arguments: &[&str]) -> Ran {
    let call = [&["call", "hello", r#"{"name": "Ann"}"#], arguments].concat();
    let mut command = scene.command(&call);
    scene.ended(command.current_dir(scene.path(folder)).spawn().unwrap())
}

#[test]
fn the_file_is_found_upward_and_state_is_kept_beside_it() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "[tenant.local.tool.hello]\n");
    scene.file("a/b/c/x", "");
    scene.tool("hello", "hello", "");
    scene.run(&["tool", "add", "hello"]).expect(0);
    called(&scene, "a/b/c", &[]).expect(0);
    assert!(scene.path(".ringfence/journal.db").exists());
    assert!(!scene.work().parent().unwrap().join("home").exists());

    // The nearest one holds, and it knows neither the tool nor its tenant.
    scene.file("a/b/ringfence.toml", "");
    called(&scene, "a/b/c", &[]).expect(2).says("there is no tool `hello`");
    called(&scene, "a/b/c", &["--config", "../../../ringfence.toml"]).expect(0);
}

#[test]
fn without_a_file_state_is_kept_at_home() {
    let scene = Scene::new();
    scene.tool("hello", "hello", "");
    let home = scene.work().parent().unwrap().join("home");
    called(&scene, ".", &[]).expect(0);
    assert!(home.join(".local/state/ringfence/journal.db").exists());

    let run = |name: &str, value: &str, more: &[&str]| {
        let call = [&["call", "hello", r#"{"name": "Ann"}"#], more].concat();
        let mut command = scene.command(&call);
        scene.ended(command.env_remove("HOME").env(name, value).spawn().unwrap())
    };
    let state = scene.path("state");
    run("XDG_STATE_HOME", state.to_str().unwrap(), &[]).expect(0);
    assert!(state.join("ringfence/journal.db").exists());
    run("XDG_STATE_HOME", "relative", &[]).expect(2).says("--home FOLDER");
    run("XDG_STATE_HOME", "relative", &["--home", "here"]).expect(0);
    assert!(scene.path("here/journal.db").exists());
    assert!(!scene.path("relative").exists());
}

#[test]
fn a_home_that_is_named_goes_before_the_files() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "[host]\nhome = \"state\"\n");
    scene.tool("hello", "hello", "");
    called(&scene, ".", &[]).expect(0);
    assert!(scene.path("state/journal.db").exists());
    called(&scene, ".", &["--home", "other"]).expect(0);
    assert!(scene.path("other/journal.db").exists());
}

#[test]
fn colours_are_only_where_somebody_wants_them() {
    let scene = Scene::new();
    scene.tool("hello", "hello", "");
    assert!(!called(&scene, ".", &[]).err.contains('\u{1b}'));
    assert!(called(&scene, ".", &["--color", "always"]).err.contains("\u{1b}[32m"));
}
