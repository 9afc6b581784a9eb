//! Folders that are given as roots: what is none is refused where it is given, with its place.

use insta::assert_snapshot;

use crate::support::Scene;

fn scene() -> Scene {
    let scene = Scene::new();
    scene.tool("tools/files", "files", "");
    scene.file(
        "tools/files/tool.toml",
        "[tool]\nname = \"files\"\ncomponent = \"tool.wasm\"\n[needs.fs.workspace]\naccess = \"write\"\n",
    );
    scene.file("data/sub/a.txt", "text\n");
    scene.file("ringfence.toml", "");
    scene.run(&["tool", "add", "tools/files"]).expect(0);
    scene
}

/// By whatever the program starts with: the file is wrong.
#[test]
fn a_file_that_gives_what_is_no_root_is_refused() {
    let scene = scene();
    let table = |tenant: &str, path: &str, more: &str| {
        format!("[tenant.{tenant}.tool.files]\nfs.workspace = {{ path = \"{path}\"{more} }}\n")
    };
    let writes = ", access = \"write\"";
    let mut shown = String::new();
    for text in [
        table("acme", "/proc/self", ""),
        table("acme", "/", ""),
        table("acme", ".ringfence/compiled", ""),
        format!("{}{}", table("acme", "data", ""), table("other", "data/sub", "")),
        format!("{}{}", table("acme", "data/sub", ""), table("other", ".", "")),
        format!(
            "[tenant.acme.tool.memory]\nfs.notes = {{ path = \"data\"{writes} }}\n{}",
            table("acme", "data/sub", ", access = \"write\", bytes = \"1MiB\"")
        ),
    ] {
        scene.file("ringfence.toml", &text);
        let ran = scene.run(&["session", "list", "--tenant", "acme"]).expect(2);
        shown += &format!("{}\n", ran.shown);
    }
    assert_snapshot!(shown);
    let apart = format!("{}{}", table("acme", "data", ""), table("other", "tools", ""));
    scene.file("ringfence.toml", &apart);
    scene.run(&["session", "list", "--tenant", "acme"]).expect(0);
}

/// What would be refused when it is next read is not written, and a flag is read as a file is.
#[test]
fn neither_a_grant_nor_a_flag_gives_it() {
    let scene = scene();
    scene.file(
        "ringfence.toml",
        "[tenant.other.tool.files]\nfs.workspace = { path = \"data/sub\" }\n",
    );
    let before = scene.read("ringfence.toml");
    let grant = |path: &str| {
        let root = format!("workspace={path}");
        scene.run(&["grant", "files", "--tenant", "acme", "--from-needs", "--root", &root, "--yes"])
    };
    for (path, said) in [("/dev", "the kernel's own"), ("data", "another tenant"), (".", "another")]
    {
        grant(path).expect(2).says(said);
        assert_eq!(scene.read("ringfence.toml"), before);
    }
    let call = |folder: &str| {
        let (path, root) = (r#"{"path": "/workspace"}"#, format!("workspace={folder}"));
        scene.run(&["call", "tools/files", "list", path, "--tenant", "other", "--fs", &root])
    };
    call("/sys").expect(2).says("the kernel's own").says("command line");
    call(".ringfence").expect(2).says("keeps its store");
    assert!(call("data/sub").expect(0).out.contains("a.txt"));
    grant("tools").expect(0);
    assert_ne!(scene.read("ringfence.toml"), before);
}

/// The program's own default: the store and the operator's file lie in the folder that is given.
#[test]
fn a_tool_sees_no_store_and_grants_itself_nothing() {
    let scene = scene();
    scene.file(
        "ringfence.toml",
        "[tenant.local.tool.files]\nfs.workspace = { path = \".\", access = \"write\" }\n",
    );
    let before = scene.read("ringfence.toml");
    let call = |function: &str, arguments: &str| scene.run(&["call", "files", function, arguments]);
    let listed = call("list", r#"{"path": "/workspace"}"#).expect(0);
    let names: Vec<&str> = listed.out.lines().collect();
    assert!(names.iter().any(|name| name.contains("ringfence.toml")), "{names:?}");
    assert!(!names.iter().any(|name| name.contains(".ringfence")), "{names:?}");
    call("read", r#"{"path": "/workspace/.ringfence/journal.db"}"#).expect(3).says("the host");
    for path in ["ringfence.toml", "data/ringfence.toml", ".ringfence/new.txt"] {
        let write = format!(r#"{{"path": "/workspace/{path}", "text": "x"}}"#);
        call("write", &write).expect(3).says("it belongs to the host");
    }
    assert_eq!(scene.read("ringfence.toml"), before);
    call("write", r#"{"path": "/workspace/data/new.txt", "text": "x"}"#).expect(0);
}
