//! The first-party tools as what they are: components, granted a folder or a server, called as a
//! model calls them. What they do with a text or a pattern, their own tests say.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test that finds nothing is to fail")]

mod fetch;
mod tree;
mod write;

use ringfence_event::{Effect, Note};
use ringfence_sandbox::Tool;
use ringfence_tests::{ENGINE, Scene, guest};

/// A tool with nothing granted.
fn scene(tool: &str, effect: Effect) -> Scene {
    Scene::of(Tool::load(&ENGINE, &guest(tool)).unwrap(), effect)
}

/// What the tool said of its progress.
fn progress(scene: &Scene) -> Vec<(u64, Option<u64>, String)> {
    let notes = scene.notes.0.lock().unwrap();
    let told = notes.iter().filter_map(|note| match note {
        Note::Progress { done, total, message } => {
            Some((*done, *total, message.clone().unwrap_or_default()))
        }
        _ => None,
    });
    told.collect()
}
