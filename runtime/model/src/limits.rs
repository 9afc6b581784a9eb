//! How much a model reads and writes at most.

use ringfence_event::{ModelFailureClass, ModelRequest, estimated_tokens};

use crate::ModelError;

/// The most tokens that a model reads and writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenLimits {
    /// Of one reply; `None`: what the model itself allows.
    pub output: Option<u64>,
    /// Of one request, by [`estimated_tokens`](ringfence_event::estimated_tokens); `None`: what the model itself takes.
    pub context: Option<u64>,
}

impl TokenLimits {
    /// The most tokens of the reply to this request.
    pub(crate) fn output_of(&self, request: &ModelRequest) -> Option<u64> {
        let of_request = request.parameters.output_tokens;
        [self.output, of_request].into_iter().flatten().min()
    }

    /// Refuses a request that the model does not take, before it costs anything.
    pub(crate) fn admit(&self, request: &ModelRequest) -> Result<(), ModelError> {
        let Some(allowed) = self.context else { return Ok(()) };
        let taken = estimated_tokens(request.bytes());
        if taken <= allowed {
            return Ok(());
        }
        let message = format!(
            "the request is about {taken} tokens, and `context-tokens` of the model is {allowed}"
        );
        Err(ModelError::new(ModelFailureClass::TooLong, message))
    }
}
