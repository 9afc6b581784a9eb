//! What is wrong with what people give the program, and how it is told: nothing is started, and
//! the exit code is 2.

use std::fmt::Write as _;

use insta::assert_snapshot;

use crate::support::{MODEL, Scene};

#[test]
fn a_bad_flag_shows_how_it_is_written() {
    let scene = Scene::new();
    scene.component("hello.wasm", "hello");
    let mut shown = String::new();
    for flags in [
        &["--fuel", "lots"][..],
        &["--memory", "64"],
        &["--time", "2"],
        &["--handles", "many"],
        &["--fs", "workspace"],
        &["--fs", "Work=."],
        &["--fs", "workspace="],
        &["--fs", "workspace=absent"],
        &["--fs", "a=.", "--fs", "a=."],
        &["--fs", "scratch=."],
        &["--fs", "scratch", "--fs", "scratch:rw"],
        &["--http", "api.github.com"],
        &["--bucket", "everybody"],
        &["--key", "with space"],
        &["--tenant", "Acme"],
        &["--fual", "10M"],
        &["--config", "absent.toml"],
    ] {
        let ran = scene.run(&[&["call", "hello.wasm", "{}"], flags].concat()).expect(2);
        let text = ran.exact.replace("\nFor more information, try '--help'.", "");
        writeln!(shown, "$ {}\n{text}", flags.join(" ")).unwrap();
    }
    assert_snapshot!(shown);
}

#[test]
fn what_is_no_tool_is_told_apart() {
    let scene = Scene::new();
    scene.file("core.wasm", "\0asm\u{1}\0\0\0");
    scene.file("text.wasm", "hello");
    scene.file("folder/README.md", "");
    scene.file("gone/tool.toml", "tool = { name = \"gone\", component = \"gone.wasm\" }\n");
    scene.file("notes.txt", "");
    let mut shown = String::new();
    for tool in ["core.wasm", "text.wasm", "folder", "gone", "notes.txt", "./absent.wasm", "absent"]
    {
        let ran = scene.run(&["call", tool, "{}"]).expect(2);
        writeln!(shown, "$ {tool}\n{}", ran.exact).unwrap();
    }
    assert_snapshot!(shown);
}

#[test]
fn every_import_that_nothing_offers_is_listed() {
    let scene = Scene::new();
    let imports = ["acme:secret/store@1.0.0", "acme:other/queue@0.1.0", "wasi:nn/graph@0.2.0"];
    let instances: String = imports
        .iter()
        .map(|name| format!("(import \"{name}\" (instance (export \"get\" (func)))) "))
        .collect();
    let component = wat::parse_str(format!("(component {instances})")).unwrap();
    std::fs::write(scene.path("odd.wasm"), component).unwrap();
    for arguments in [&["call", "odd.wasm", "{}"][..], &["tool", "inspect", "odd.wasm"]] {
        let ran = scene.run(arguments).expect(2);
        for import in imports {
            assert!(ran.err.contains(import), "{import}: {}", ran.err);
        }
    }
}

#[test]
fn an_agent_that_is_not_there_is_bad_input() {
    let scene = Scene::new();
    scene.file("ringfence.toml", MODEL);
    scene.file("script.toml", "[[turn]]\nreply = { text = \"hi\" }\n");
    let run = ["run", "absent.toml", "--input", "hi"];
    scene.run(&run).expect(2).says("absent.toml");
    assert!(!scene.path(".ringfence").exists(), "nothing was begun");
}

#[test]
fn a_mistake_in_a_file_is_shown_where_it_stands() {
    let mut shown = String::new();
    let mut check = |file: &str, text: &str| {
        let scene = Scene::new();
        scene.tool("hello", "hello", "");
        scene.file("ringfence.toml", MODEL);
        scene.file("script.toml", "[[turn]]\nreply = { text = \"hi\" }\n");
        scene
            .file("agent.toml", "name = \"a\"\nmodel = { use = \"main\" }\ninstructions = \"x\"\n");
        scene.file(file, text);
        let ran = match file {
            "hello/tool.toml" => scene.run(&["call", "hello", "{}"]),
            _ => scene.run(&["run", "agent.toml", "--input", "hi"]),
        };
        writeln!(shown, "$ {file}\n{}", ran.expect(2).exact).unwrap();
        // Nothing was begun.
        assert!(!scene.path(".ringfence").exists() || file != "ringfence.toml");
    };
    check(
        "hello/tool.toml",
        "[tool]\nname = \"hello\"\ncomponent = \"tool.wasm\"\n\n[needs.fs.work]\nacess = \"read\"\n",
    );
    check(
        "ringfence.toml",
        "[tenant.local.tool.hello]\nfs.work = { path = \"a\", access = \"raed\" }\n",
    );
    check("ringfence.toml", "[tenant.local.budget]\nfuel = \"1G\"\n");
    check("ringfence.toml", "[host]\npreemption = \"fuel\"\n");
    check("ringfence.toml", "[defaults.limits]\nmemory = \"64\"\n");
    check("ringfence.toml", "[tenant\n");
    check(
        "agent.toml",
        "name = \"a\"\nmodel = { use = \"main\" }\ninstructions = \"x\"\n\n[limits]\nstep = 3\n",
    );
    check("agent.toml", "name = \"a\"\nmodel = { use = \"other\" }\ninstructions = \"x\"\n");
    check(
        "agent.toml",
        "name = \"a\"\nmodel = { use = \"main\" }\ninstructions = \"x\"\n\n[tools]\nabsent = \"*\"\n",
    );
    check("script.toml", "[[turn]]\nreply = {}\n");
    assert_snapshot!(shown);
}

#[test]
fn with_json_an_error_is_an_object() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "[hots]\n");
    let ran = scene.run(&["--json", "session", "list"]).expect(2);
    assert_snapshot!(serde_json::to_string_pretty(&ran.json()).unwrap());
    scene.file("ringfence.toml", "");
    let ran = scene.run(&["--json", "session", "show", "abc"]).expect(2);
    assert_snapshot!(ran.out.trim_end());
    assert_eq!(ran.err, "");
}

#[test]
fn the_help_says_what_there_is() {
    let scene = Scene::new();
    let mut shown = String::new();
    for arguments in [&["--help"][..], &["call", "--help"], &["run", "--help"], &["tool", "--help"]]
    {
        let ran = scene.run(arguments).expect(0);
        writeln!(shown, "$ {}\n{}", arguments.join(" "), ran.out).unwrap();
    }
    assert_snapshot!(shown);
    scene.run(&[]).expect(2);
    scene.run(&["--version"]).expect(0);
}
