//! Calls that hold every slot of an engine.

use std::sync::mpsc;

use ringfence_event::Outcome;
use ringfence_sandbox::{Cancel, Ended};
use serde_json::json;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::{SLOTS, Scene, Started};

/// As many calls as [`crate::engine`] has slots, all of them running.
pub struct Holders {
    cancel: Cancel,
    calls: Vec<JoinHandle<Ended>>,
}

impl Holders {
    /// Starts them, and comes back when every one of them has said its first word: if a slot, a
    /// handle or a permit was lost before, never.
    pub async fn fill(scene: &Scene) -> Self {
        let (sender, receiver) = mpsc::channel();
        let cancel = Cancel::new();
        let call = |_| {
            let (opened, call) = scene.open("hold", &json!({ "how": "sleep", "count": 3_600_000 }));
            let (tool, cancel) = (scene.tool().clone(), cancel.clone());
            let sink = Started::new(sender.clone());
            tokio::spawn(async move { tool.run(opened, call, &cancel, sink).await })
        };
        let calls = (0..SLOTS).map(call).collect();
        let all = move || (0..SLOTS).for_each(|_| receiver.recv().unwrap());
        spawn_blocking(all).await.unwrap();
        Self { cancel, calls }
    }

    /// One request stops them all.
    pub async fn release(self) {
        self.cancel.cancel();
        for call in self.calls {
            assert_eq!(call.await.unwrap().outcome, Outcome::Cancelled);
        }
    }
}
