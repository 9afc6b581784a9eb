//! The bytes of an answer: never more than there is room for, never longer silent than allowed.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use ringfence_event::{ModelFailure, ModelFailureClass};

use super::{client::causes, unavailable, unusable};

/// The most bytes of an answer. An event takes some 200 bytes a token, so this is a reply of more
/// than 100,000 tokens; no model writes as much at once.
const BYTES_MAX: usize = 32 << 20;

/// Why an answer is not whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the server said nothing for {} ms, the `idle` of the model", .0.as_millis())]
    Idle(Duration),
    #[error("the answer broke off: {0}")]
    Cut(String),
    #[error("the answer is longer than {} MiB", BYTES_MAX >> 20)]
    TooLarge,
}

impl Broken {
    pub(super) fn failure(&self) -> ModelFailure {
        let message = self.to_string();
        match self {
            Self::Idle(_) => unavailable(message),
            Self::Cut(_) => {
                ModelFailure { class: ModelFailureClass::Cut, message, retry_after_ms: None }
            }
            Self::TooLarge => unusable(message),
        }
    }
}

/// What a stream of events failed with.
pub(super) fn failure_of_stream(error: sse_stream::Error) -> ModelFailure {
    if let sse_stream::Error::Body(error) = &error
        && let Some(broken) = error.downcast_ref::<Broken>()
    {
        return broken.failure();
    }
    unusable(format!("the answer is no stream of events: {error}"))
}

/// The pieces of a body as they come.
pub(super) fn pieces(
    body: Incoming,
    idle: Duration,
) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    stream::unfold((body, BYTES_MAX), move |(mut body, room)| async move {
        loop {
            let frame = match tokio::time::timeout(idle, body.frame()).await {
                Err(_) => return Some((Err(Broken::Idle(idle)), (body, room))),
                Ok(None) => return None,
                Ok(Some(Err(error))) => {
                    return Some((Err(Broken::Cut(causes(&error))), (body, room)));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            // Trailers say nothing that matters here, and an empty piece is none.
            let Ok(piece) = frame.into_data() else { continue };
            if piece.is_empty() {
                continue;
            }
            return Some(match room.checked_sub(piece.len()) {
                Some(room) => (Ok(piece), (body, room)),
                None => (Err(Broken::TooLarge), (body, 0)),
            });
        }
    })
}

/// All pieces in one.
pub(super) async fn whole(
    pieces: impl Stream<Item = Result<Bytes, Broken>>,
) -> Result<Vec<u8>, Broken> {
    let mut pieces = std::pin::pin!(pieces);
    let mut whole = Vec::new();
    while let Some(piece) = pieces.next().await {
        whole.extend_from_slice(&piece?);
    }
    Ok(whole)
}

/// The beginning of a body, at most so many bytes: as much as comes.
pub(super) async fn beginning(body: Incoming, idle: Duration, bytes_max: usize) -> Vec<u8> {
    let mut pieces = std::pin::pin!(pieces(body, idle));
    let mut read = Vec::new();
    while let Some(Ok(piece)) = pieces.next().await {
        let room = bytes_max - read.len();
        read.extend_from_slice(&piece[..piece.len().min(room)]);
        if read.len() == bytes_max {
            break;
        }
    }
    read
}
