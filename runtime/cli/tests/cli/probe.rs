//! What only a guest shows that does as it is told: crashes, logs, its own key.

use crate::support::Scene;

#[test]
fn a_crash_has_its_exit_code_and_the_guests_last_words() {
    let scene = Scene::new();
    scene.component("probe.wasm", "probe");
    let hold = |how: &str| format!(r#"{{"how": "{how}"}}"#);
    for (how, said) in [
        ("panic", "the probe panics as it was told"),
        ("abort", "trapped: "),
        ("exit-well", "trapped: "),
    ] {
        let ran = scene.run(&["call", "probe.wasm", "hold", &hold(how)]).expect(5).says(said);
        assert_eq!(ran.out, "");
    }
}

#[test]
fn what_a_tool_says_on_the_way_is_told_beside_its_output() {
    let scene = Scene::new();
    scene.component("probe.wasm", "probe");
    let flood = |what: &str| format!(r#"{{"what": "{what}", "bytes": 12}}"#);
    for (what, said) in [
        ("stdout", "info: xxxxxxxxxxx\n"),
        ("stderr", "warning: xxxxxxxxxxxx\n"),
        ("log", "info: xxxxxxxxxxxx\n"),
        ("progress", "1 of 2: xxxxxxxxxxxx\n"),
    ] {
        let ran = scene.run(&["call", "probe.wasm", "flood", &flood(what)]).expect(0);
        assert!(ran.err.contains(said), "{what}: {}", ran.err);
        let ran = scene.run(&["call", "probe.wasm", "flood", &flood(what), "--json"]).expect(0);
        assert_eq!(ran.json()["outcome"], "succeeded");
    }
}

#[test]
fn the_key_is_what_the_tool_sees() {
    let scene = Scene::new();
    scene.component("probe.wasm", "probe");
    let ran = scene.run(&["call", "probe.wasm", "ambient", "--key", "order-7", "--json"]).expect(0);
    assert_eq!(ran.json()["output"]["structured"]["key"], "order-7", "{}", ran.out);
}
