//! `ringfence tool`

use insta::assert_snapshot;

use crate::support::Scene;

#[test]
fn adding_shows_what_a_tool_offers_and_asks() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "");
    scene.tool(
        "files",
        "files",
        "description = \"Reads \\u001b[31mfiles\"\n[needs.fs.workspace]\naccess = \"read\"\nreason = \"look\"\n",
    );
    scene.tool("hello", "hello", "");
    assert_snapshot!("hello", scene.run(&["tool", "add", "hello"]).expect(0).shown);
    assert_snapshot!("files", scene.run(&["tool", "add", "files"]).expect(0).shown);
    // Twice is as once.
    scene.run(&["tool", "add", "hello"]).expect(0);
    assert_snapshot!("list", scene.run(&["tool", "list"]).expect(0).shown);
    let list = scene.run(&["tool", "list", "--json"]).json();
    assert_eq!(list[0]["state"], "accepted");
}

#[test]
fn a_changed_tool_is_refused_until_somebody_accepts_it() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "[tenant.local.tool.hello]\n");
    scene.tool("hello", "hello", "");
    scene.run(&["tool", "add", "hello"]).expect(0);
    let lock = scene.read("ringfence.lock");

    // What it asks.
    scene.tool("hello", "hello", "[needs.fs.workspace]\naccess = \"write\"\n");
    let again = scene.run(&["tool", "add", "hello"]).expect(2);
    assert_snapshot!("changed_manifest", again.shown);
    assert_eq!(scene.read("ringfence.lock"), lock);
    // Without a person, and without --yes, nothing is accepted.
    scene.run(&["tool", "accept", "hello"]).expect(2).says("no --yes");
    assert_eq!(scene.read("ringfence.lock"), lock);

    // Its component.
    scene.tool("hello", "spin", "");
    let again = scene.run(&["tool", "add", "hello"]).expect(2);
    assert_snapshot!("changed_component", again.shown);
    assert_eq!(scene.read("ringfence.lock"), lock);
    let list = scene.run(&["tool", "list"]).expect(0);
    assert!(list.out.contains("changed (1 difference)"), "{}", list.out);

    // A call by name is refused; by path it is the caller's own business.
    scene.file("below/x", "");
    let by_name = || {
        let mut command = scene.command(&["call", "hello", "spin", r#"{"turns": 1}"#]);
        scene.ended(command.current_dir(scene.path("below")).spawn().unwrap())
    };
    by_name().expect(2).says("is not what was accepted");
    scene.run(&["call", "./hello", "spin", r#"{"turns": 1}"#]).expect(0);

    scene.run(&["tool", "accept", "hello", "--yes"]).expect(0);
    assert_ne!(scene.read("ringfence.lock"), lock);
    by_name().expect(0);
    let again = scene.run(&["tool", "accept", "hello"]).expect(0);
    assert!(again.out.contains("is what was accepted"), "{}", again.out);
}

#[test]
fn a_removed_tool_is_gone() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "");
    scene.tool("hello", "hello", "");
    scene.run(&["tool", "add", "hello"]).expect(0);
    scene.run(&["tool", "remove", "hello"]).expect(0);
    scene.run(&["tool", "remove", "hello"]).expect(2).says("there is no tool `hello`");
    assert!(!scene.read("ringfence.lock").contains("hello"));
}

#[test]
fn inspecting_shows_everything() {
    let scene = Scene::new();
    scene.tool("hello", "hello", "");
    assert_snapshot!(scene.run(&["tool", "inspect", "hello"]).expect(0).shown);
    let tool = scene.run(&["tool", "inspect", "hello", "--json"]).expect(0).json();
    assert_eq!(tool["accepted"], false);
    assert_eq!(tool["functions"][0]["input-schema"]["required"][0], "name");
    assert!(tool["component"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(tool["imports"]["gated"].as_array().unwrap().len(), 0);
}

#[test]
fn checking_tells_what_is_strange_and_strictly_what_is_wrong() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "");
    scene.tool("fetch", "fetch", "");
    assert_snapshot!("strange", scene.run(&["tool", "check", "fetch"]).expect(0).shown);
    let strict = scene.run(&["tool", "check", "fetch", "--strict", "--json"]).expect(2).json();
    assert!(!strict["errors"].as_array().unwrap().is_empty());
    assert_eq!(strict["accepted"], false);

    scene.tool(
        "hello",
        "hello",
        "[needs.fs.workspace]\naccess = \"read\"\n\
         [needs.http.\"https://*.example.com\"]\nmethods = [\"POST\"]\n\
         [needs.memory.tenant]\naccess = \"write\"\n",
    );
    assert_snapshot!("useless", scene.run(&["tool", "check", "hello"]).expect(0).shown);
    scene.tool(
        "files",
        "files",
        "[needs.fs.etc]\naccess = \"read\"\n[needs.config]\nkeys = [\"base-url\"]\n",
    );
    assert_snapshot!("effects", scene.run(&["tool", "check", "files"]).expect(0).shown);
    scene.tool("search", "search", "[needs.fs.workspace]\naccess = \"write\"\n");
    let search = scene.run(&["tool", "check", "search"]).expect(0);
    assert!(search.out.contains("and none of its functions may"), "{}", search.out);

    scene.tool("hello", "hello", "");
    scene.run(&["tool", "add", "hello"]).expect(0);
    let fine = scene.run(&["tool", "check", "hello", "--strict"]).expect(0);
    assert_eq!(fine.out, "accepted: yes\nhello: 0 errors, 0 warnings\n");
    scene.run(&["tool", "check", "absent"]).expect(2);
}

/// The other side of a need: what an operator gives beyond it, or too much of.
#[test]
fn checking_looks_at_the_grants_too() {
    let scene = Scene::new();
    scene.tool(
        "files",
        "files",
        "[needs.fs.workspace]\naccess = \"read\"\n[needs.memory.user]\naccess = \"read\"\n\
         [needs.http.\"https://a.example\"]\n",
    );
    let home = scene.work();
    let home = home.parent().unwrap().join("home");
    scene.file(
        "ringfence.toml",
        &format!(
            "[grant-set.wide]\nhttp = [\"https://*\"]\n\
             [tenant.acme.tool.files]\nuse = [\"wide\"]\ndigest = \"sha256:{}\"\n\
             functions = [\"read\", \"absent\"]\nfs.workspace = {{ path = \"/usr\", access = \"write\" }}\n\
             fs.extra = {{ path = \"{}\" }}\nmemory.user = \"write\"\nmemory.tenant = \"read\"\n\
             config.base-url = \"x\"\nhttp = [\"https://b.example\"]\n\
             [tenant.other.tool.files]\nfs.workspace = {{ path = \"data\" }}\n",
            "0".repeat(64),
            home.display()
        ),
    );
    let acme = ["tool", "check", "files", "--tenant", "acme"];
    assert_snapshot!("grants", scene.run(&acme).expect(0).shown);
    scene.run(&[&acme[..], &["--strict"]].concat()).expect(2);
    // One tenant's mistakes are not told of another's.
    let other = scene.run(&["tool", "check", "files", "--tenant", "other"]).expect(0);
    assert!(!other.out.contains("acme") && !other.out.contains("grant-set"), "{}", other.out);
    let all = scene.run(&["tool", "check", "files"]).expect(0);
    assert!(all.out.contains("[tenant.acme.tool.files]"), "{}", all.out);
}

/// X7: an update that asks for more is refused until somebody accepts it, and what is more is told
/// apart from what only changed. Nothing opens the environment.
#[test]
fn x7_what_an_update_asks_beyond_is_shown() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "[tenant.local.tool.files]\n");
    let tool = |more: &str| scene.tool("files", "files", more);
    tool("[needs.fs.workspace]\naccess = \"read\"\n");
    scene.run(&["tool", "add", "files"]).expect(0);
    tool("[needs.fs.workspace]\naccess = \"write\"\n[needs.http.\"*\"]\n");
    assert_snapshot!("wider", scene.run(&["tool", "add", "files"]).expect(2).shown);
    // From beside the folder, so that the name is not a path: what was accepted is what is called.
    let mut call =
        scene.command(&["call", "--config", "work/ringfence.toml", "files", "list", "{}"]);
    let call = call.current_dir(scene.root()).spawn().unwrap();
    scene.ended(call).expect(2).says("asks to do more than was accepted");
    tool("[needs.fs.workspace]\naccess = \"read\"\nreason = \"another reason\"\n");
    let same = scene.run(&["tool", "add", "files"]).expect(2);
    assert!(!same.err.contains("asks to do more"), "{}", same.err);
    tool("[needs.env]\npass = [\"HOME\"]\n");
    scene.run(&["tool", "add", "files"]).expect(2).says("unknown key `env`");
}

#[test]
fn a_person_at_the_terminal_accepts_a_change_or_does_not() {
    let scene = Scene::new();
    scene.file("ringfence.toml", "");
    scene.tool("hello", "hello", "");
    scene.run(&["tool", "add", "hello"]).expect(0);
    let lock = scene.read("ringfence.lock");
    scene.tool("hello", "hello", "[needs.fs.workspace]\naccess = \"write\"\n");
    let accept = ["tool", "accept", "hello"];
    let Some(ran) = scene.run_at_terminal(&accept, "n\n") else { return };
    let ran = ran.expect(2);
    assert!(ran.out.contains("needs.fs.workspace"), "the change is shown: {}", ran.out);
    assert!(ran.out.contains("nothing was changed"), "{}", ran.out);
    assert_eq!(scene.read("ringfence.lock"), lock);
    let Some(ran) = scene.run_at_terminal(&accept, "y\n") else { return };
    ran.expect(0);
    assert_ne!(scene.read("ringfence.lock"), lock);
    scene.run(&["tool", "check", "hello"]).expect(0);
}
