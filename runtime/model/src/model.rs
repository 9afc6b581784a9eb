//! The one trait that every model is behind.

use std::pin::Pin;

use ringfence_event::{ModelFailure, ModelReply, ModelRequest, TokenUsage};

/// A reply under way. Dropped, it is called off.
pub type Completion<'a> = Pin<Box<dyn Future<Output = Result<ModelReply, ModelError>> + Send + 'a>>;

/// Something that replies to a conversation.
pub trait Model: Send + Sync {
    /// Called once for each step of a run, after the request's digest was recorded, and again for
    /// the same request after a crash. May wait and may use the network; must not keep anything
    /// from one request to the next, for what it replies must follow from the request alone. Must
    /// hold no lock and leave nothing running when it is dropped before it is done: that is how a
    /// run is cancelled and how its time ends.
    ///
    /// # Errors
    /// When there is no reply. The run ends with it, unless the driver tries again.
    fn complete<'a>(&'a self, request: &'a ModelRequest) -> Completion<'a>;
}

/// Why a model did not reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{failure}")]
pub struct ModelError {
    /// What happened.
    pub failure: ModelFailure,
    /// What it cost.
    pub tokens: TokenUsage,
}
