//! The one trait that every model is behind.

use std::pin::Pin;

use ringfence_event::{ModelFailure, ModelFailureClass, ModelReply, ModelRequest, TokenUsage};

/// A reply under way. Dropped, it is called off.
pub type Completion<'a> = Pin<Box<dyn Future<Output = Result<ModelReply, ModelError>> + Send + 'a>>;

/// Something that replies to a conversation.
pub trait Model: Send + Sync {
    /// Called once for each step of a run, after the request's digest was recorded, and again for
    /// the same request after a crash or a failure that passes. May wait and may use the network;
    /// must not keep anything from one request to the next, for what it replies must follow from the
    /// request alone. Must hold no lock and leave nothing running when it is dropped before it is
    /// done: that is how a run is cancelled and how its time ends.
    ///
    /// # Errors
    /// When there is no reply. The run ends with it, unless the driver tries again.
    fn complete<'a>(&'a self, request: &'a ModelRequest, deltas: &'a dyn Deltas) -> Completion<'a>;

    /// The same within a trace: a model behind HTTP sends the header `traceparent` with its request. It is
    /// no part of what is asked, and what is replied must not follow from it.
    ///
    /// # Errors
    /// As for [`complete`](Self::complete).
    fn complete_within<'a>(
        &'a self,
        request: &'a ModelRequest,
        deltas: &'a dyn Deltas,
        traceparent: Option<&'a str>,
    ) -> Completion<'a> {
        let _ = traceparent;
        self.complete(request, deltas)
    }
}

/// Hears the pieces of a reply while it comes.
pub trait Deltas: Send + Sync {
    /// The next piece of the text. Called between two reads of the network, so it may not wait. What
    /// it was told counts for nothing: a reply that fails later, or is another when it is asked for
    /// again, takes it back.
    fn text(&self, part: &str);
}

/// Where nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDeltas;

impl Deltas for NoDeltas {
    fn text(&self, _: &str) {}
}

/// Why a model did not reply, and what the attempt cost all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct ModelError {
    /// The reason. Its message is shown to people and recorded: it holds no secret.
    pub failure: ModelFailure,
    /// What the attempt cost, as far as the vendor said.
    pub tokens: TokenUsage,
}

impl ModelError {
    /// An attempt that cost nothing that anybody knows of.
    pub(crate) fn new(class: ModelFailureClass, message: impl Into<String>) -> Self {
        ModelFailure { class, message: message.into(), retry_after_ms: None }.into()
    }
}

impl From<ModelFailure> for ModelError {
    fn from(failure: ModelFailure) -> Self {
        Self { failure, tokens: TokenUsage::default() }
    }
}
