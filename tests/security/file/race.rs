//! What the host's own programs do to a root while a guest walks in it.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
};

use ringfence_event::Effect;
use ringfence_tests::{Folders, Scene, text};
use serde_json::json;

/// F4: a folder is moved out of its root and back while a guest walks through it and holds it open:
/// the way up from it never leads to what lies where it is now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f4_a_folder_that_is_moved_away_is_no_way_out() {
    for effect in [Effect::Read, Effect::Unsafe] {
        let folders = Folders::new();
        let scene = Scene::new(effect).root("workspace", &folders.workspace(), "write");
        let (stop, moves) = (AtomicBool::new(false), AtomicU32::new(0));
        let (inside, outside) = (folders.workspace().join("sub"), folders.outside().join("sub"));
        let climb = json!({ "act": "climb", "path": "sub", "to": "secret.txt", "size": 20_000 });
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    fs::rename(&inside, &outside).unwrap();
                    fs::rename(&outside, &inside).unwrap();
                    moves.fetch_add(1, Relaxed);
                }
            });
            // The folder may be away, or on its way, when the guest wants to hold it: then it asks again.
            let run =
                || tokio::runtime::Handle::current().block_on(scene.run("file", climb.clone()));
            let ended = tokio::task::block_in_place(|| {
                loop {
                    let ended = run();
                    if !["error: no-entry", "error: not-permitted"].contains(&&*text(&ended)) {
                        return ended;
                    }
                }
            });
            stop.store(true, Relaxed);
            ended
        });
        assert_eq!(text(&ended), "never", "{ended:?}");
        assert!(moves.load(Relaxed) > 10, "{moves:?}");
        // The same walk to what lies in the root.
        let climb = json!({ "act": "climb", "path": "sub", "to": "a.txt", "size": 1 });
        assert_eq!(text(&scene.run("file", climb).await), "hello");
    }
}
