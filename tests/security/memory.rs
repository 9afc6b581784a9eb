//! Memory: how much of it a call gets, of what kinds, and what is in it.

use ringfence_event::Effect;
use ringfence_sandbox::{Engine, EngineConfig, Error, Refusal, Tool};
use ringfence_tests::{ENGINE, Scene, guest, text};
use serde_json::json;

/// M3: what one call leaves in its memory, the next one in the same slot does not find: not where the
/// memory is cleared in place, nor in the pages that are given back.
#[tokio::test]
async fn m3_nothing_of_one_calls_memory_is_left_for_the_next() {
    let config = EngineConfig { concurrent_calls: 1, cache: None };
    let engine = Engine::new(&config).unwrap();
    let scene = Scene::of(Tool::load(&engine, &guest("probe")).unwrap(), Effect::Read);
    let marks = |how: &str, mib: u64| json!({ "how": how, "count": mib });
    for mib in [1, 16, 64] {
        for how in ["mark", "mark-and-panic"] {
            let ended = scene.run("hold", marks(how, mib)).await;
            assert!(format!("{ended:?}").contains(&(mib << 17).to_string()), "{how}: {ended:?}");
            for searched in [1, 64, 100] {
                let ended = scene.run("hold", marks("search", searched)).await;
                assert_eq!(text(&ended), "0", "{searched} MiB after {how} of {mib}");
            }
        }
    }
}

/// M8: what a tool of WASI 0.2 does not need is not there.
#[test]
fn m8_switched_off_features_do_not_validate() {
    for module in [
        "(memory i64 1)",
        "(memory 1 1 shared)",
        "(memory 1 (pagesize 1))",
        "(type (struct (field i32)))",
        "(func (param v128 v128) (result v128) (i32x4.relaxed_trunc_f32x4_s (local.get 0)))",
        "(tag)",
    ] {
        let component = format!("(component (core module {module}))");
        let Ok(bytes) = wat::parse_str(&component) else { continue };
        match Tool::load(&ENGINE, &bytes) {
            Err(Error::Refused(Refusal::Invalid { .. })) => {}
            other => panic!("{module}: {:?}", other.err()),
        }
    }
    // The same without them gets further.
    let plain = wat::parse_str("(component (core module (memory 1) (func)))").unwrap();
    match Tool::load(&ENGINE, &plain) {
        Err(Error::Refused(Refusal::NoTools { .. })) => {}
        other => panic!("{:?}", other.err()),
    }
}
