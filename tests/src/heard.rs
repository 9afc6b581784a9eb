//! Who listens to a call.

use std::sync::{Arc, Mutex, mpsc};

use ringfence_event::Note;
use ringfence_sandbox::Sink;

/// Keeps what is said.
#[derive(Default)]
pub struct Notes(pub Mutex<Vec<Note>>);

impl Sink for Notes {
    fn note(&self, note: Note) {
        self.0.lock().unwrap().push(note);
    }
}

/// Tells when a call says its first word.
pub struct Started(Mutex<Option<mpsc::Sender<()>>>);

impl Started {
    /// Tells this one.
    #[must_use]
    pub fn new(whom: mpsc::Sender<()>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(whom))))
    }
}

impl Sink for Started {
    fn note(&self, _: Note) {
        if let Some(sender) = self.0.lock().unwrap().take() {
            sender.send(()).unwrap();
        }
    }
}
