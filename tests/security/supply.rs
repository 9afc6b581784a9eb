//! What comes in as a tool: what it imports, and where its compiled code comes from.

use std::fs;

use ringfence_event::{DenialCode, Effect};
use ringfence_sandbox::{Engine, EngineConfig, Error, ImportClass, Origin, Refusal, Tool};
use ringfence_tests::{ENGINE, Scene, guest, text};
use serde_json::json;

fn refused(component: &str) -> Refusal {
    match Tool::load(&ENGINE, &wat::parse_str(component).unwrap()) {
        Err(Error::Refused(refusal)) => refusal,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("loaded: {component}"),
    }
}

/// X6: what imports something that nothing here offers is refused, and the refusal names it.
#[test]
fn x6_an_unknown_import_is_refused_by_name() {
    let import =
        |name: &str| format!("(component (import \"{name}\" (instance (export \"get\" (func)))))");
    for name in [
        "acme:secret/store@1.0.0",
        "wasi:http/incoming-handler@0.2.4",
        "wasi:clocks/wall-clock@0.3.0",
        "wasi:clocks/wall-clock",
    ] {
        match refused(&import(name)) {
            Refusal::UnknownImports { imports } => assert_eq!(imports, [name]),
            other => panic!("{name}: {other:?}"),
        }
    }
    // A known name with a function that it does not have.
    let Refusal::UnknownImports { imports } = refused(&import("wasi:clocks/wall-clock@0.2.0"))
    else {
        panic!("not by its imports")
    };
    assert!(imports[0].contains("get"), "{imports:?}");
    let function = "(component (import \"run-anything\" (func)))";
    assert!(matches!(refused(function), Refusal::UnknownImports { .. }));
    assert_eq!(refused("(module)"), Refusal::CoreModule);
    assert!(matches!(refused("(component)"), Refusal::NoTools { .. }));
}

/// X6: the probe imports everything that can be gated. Without a need all of it is there and empty.
#[tokio::test]
async fn x6_a_gated_import_without_a_need_is_inert() {
    let tool = Tool::load(&ENGINE, &guest("probe")).unwrap();
    for interface in [
        "wasi:http/outgoing-handler",
        "wasi:sockets/tcp",
        "wasi:filesystem/types",
        "wasi:config/store",
    ] {
        let found = tool.imports().iter().find(|import| import.name.starts_with(interface));
        assert_eq!(found.map(|import| import.class), Some(ImportClass::Gated), "{interface}");
    }
    let scene = Scene::of(tool, Effect::Unsafe);
    let quiet = scene.run("flood", json!({ "what": "output", "bytes": 1 })).await;
    assert!(quiet.denials.is_empty(), "{quiet:?}");
    let tried = scene.run("http", json!({ "url": "https://example.com/" })).await;
    assert!(text(&tried).starts_with("error: "), "{tried:?}");
    assert_eq!(tried.denials[0].code, DenialCode::NotNeeded);
}

/// X5: the second load takes the compiled code; a file that was tampered with is not used.
#[tokio::test]
async fn x5_compiled_code_is_kept_and_a_damaged_file_is_made_anew() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("cache");
    let engine = || {
        Engine::new(&EngineConfig { concurrent_calls: 1, memory: None, cache: Some(cache.clone()) })
            .unwrap()
    };
    let hello = guest("hello");
    let load = |engine: &Engine| Tool::load(engine, &hello).unwrap();
    let first = engine();
    assert_eq!(load(&first).origin(), Origin::Compiled);
    assert_eq!(load(&first).origin(), Origin::Cached);
    assert_eq!(load(&engine()).origin(), Origin::Cached, "in another process as well");

    let compiled = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path());
    let compiled = compiled.filter(|path| path.extension().is_some_and(|end| end == "cwasm"));
    let [compiled] = &compiled.collect::<Vec<_>>()[..] else { panic!("one file") };
    let good = fs::read(compiled).unwrap();
    for at in [0, 20, good.len() / 2, good.len() - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(compiled, &bad).unwrap();
        let tool = load(&first);
        assert_eq!(tool.origin(), Origin::Compiled, "byte {at}");
        assert_eq!(tool.definitions().await.unwrap().len(), 1);
        assert_eq!(load(&first).origin(), Origin::Cached, "and was made anew");
    }
}
