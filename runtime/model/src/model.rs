//! The one trait that every model is behind.

use std::pin::Pin;

use ringfence_event::{ModelReply, ModelRequest};

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

/// Why a model did not reply. The message is shown to people and recorded: it holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ModelError {
    /// Which kind of reason.
    pub kind: ModelErrorKind,
    /// What happened, in words.
    pub message: String,
    /// Whether the same request can succeed later.
    pub retryable: bool,
}

/// Kinds of reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelErrorKind {
    /// No turn of the script fits.
    NoTurn,
    /// The reply is longer than the request allows.
    TooLong,
    /// The model cannot be reached.
    Unavailable,
    /// The model refused the request.
    Refused,
}
