//! A question to a model while it is under way. If no reply comes of it, what it has used is known only
//! from what was sent and heard.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use ringfence_event::{ModelRequest, StepId, TokenUsage, estimated_tokens};
use ringfence_model::Deltas;
use tokio::task::{AbortHandle, Id};

/// A question whose reply is waited for in another thread.
pub(crate) struct Question {
    pub(crate) step: StepId,
    pub(crate) used: Arc<Used>,
    task: AbortHandle,
}

impl Question {
    pub(crate) fn new(step: StepId, used: Arc<Used>, task: AbortHandle) -> Self {
        Self { step, used, task }
    }

    /// Hangs up. The task then ends without a reply, unless that has just come.
    pub(crate) fn call_off(&self) {
        self.task.abort();
    }

    pub(crate) fn is(&self, task: Id) -> bool {
        self.task.id() == task
    }
}

/// What a question has used so far.
#[derive(Default)]
pub(crate) struct Used {
    /// Roughly how many tokens were sent; 0 before anything was.
    sent: AtomicU64,
    /// Bytes of the reply that came.
    heard: AtomicU64,
}

impl Used {
    pub(crate) fn send(&self, request: &ModelRequest) {
        self.sent.store(estimated_tokens(request.bytes()), Ordering::Relaxed);
    }

    /// Roughly: only the vendor counts tokens, and tells with the end of a reply. What it writes that is no
    /// text, and what it thinks unseen, nobody knows.
    pub(crate) fn tokens(&self) -> TokenUsage {
        let heard = usize::try_from(self.heard.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
        let (input, output) = (self.sent.load(Ordering::Relaxed), estimated_tokens(heard));
        TokenUsage { input, output, cached: 0 }
    }
}

/// Counts the pieces of a reply on their way to whoever watches.
pub(crate) struct Counted<D> {
    pub(crate) used: Arc<Used>,
    pub(crate) deltas: D,
}

impl<D: Deltas> Deltas for Counted<D> {
    fn text(&self, part: &str) {
        self.used.heard.fetch_add(part.len() as u64, Ordering::Relaxed);
        self.deltas.text(part);
    }
}
