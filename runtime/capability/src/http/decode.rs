//! Compressed responses. The gate asks for none and some servers compress all the same: it is undone
//! here, piece by piece, so that what a guest reads was counted and secrets are found in it. What is
//! compressed in a way that this does not know is refused.

mod gzip;
mod inflate;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;

use self::inflate::{Coding, Inflater, Step};
use super::{Body, HttpError};
use crate::{Meter, cost};

/// The most codings of one body: a server's, and that of a proxy that does not look.
const CODINGS: usize = 2;

/// The most that is decoded at once: as much as a frame that comes plain.
const PIECE: usize = 16 << 10;

/// The response as if it had come plain.
pub(super) fn decoded(
    response: Response<Body>,
    meter: &Arc<Meter>,
) -> Result<Response<Body>, HttpError> {
    let (mut head, mut body) = response.into_parts();
    let codings = codings(&head.headers);
    // Nothing to decode: an answer to HEAD, say. Its head says what it would say with a body, as far
    // as that would have come through.
    let empty = body.is_end_stream();
    if !empty && !comes_in_chunks(&head.headers) {
        return Err(HttpError::Encoded);
    }
    let codings = match codings {
        Some(codings) => codings,
        None if empty => return Ok(Response::from_parts(head, body)),
        None => return Err(HttpError::Encoded),
    };
    if codings.is_empty() {
        return Ok(Response::from_parts(head, body));
    }
    // A part of what is compressed cannot be decoded.
    if head.status == StatusCode::PARTIAL_CONTENT {
        return Err(HttpError::Encoded);
    }
    // Both spoke of what came.
    head.headers.remove(header::CONTENT_ENCODING);
    head.headers.remove(header::CONTENT_LENGTH);
    if !empty {
        for coding in codings.into_iter().rev() {
            body = Decoded::new(body, coding, meter.clone()).boxed_unsync();
        }
    }
    Ok(Response::from_parts(head, body))
}

/// How a body was encoded, in the order in which that was done; `None` if not all of it is known.
fn codings(headers: &HeaderMap) -> Option<Vec<Coding>> {
    let mut codings = Vec::new();
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for word in value.to_str().ok()?.split(',') {
            codings.push(match word.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                _ => return None,
            });
        }
    }
    (codings.len() <= CODINGS).then_some(codings)
}

/// Whether nothing is done to the body on its way but to cut it. What a server compresses for the way
/// alone is compressed for somebody who asked for that.
fn comes_in_chunks(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::TRANSFER_ENCODING).iter();
    values.all(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"))
}

/// A body with one coding undone.
struct Decoded {
    body: Body,
    inflater: Inflater,
    /// What came and is not decoded yet.
    input: Bytes,
    /// Where the next piece is put before it goes on.
    piece: Box<[u8]>,
    meter: Arc<Meter>,
    /// Whether it came to its end, good or bad.
    over: bool,
}

impl Decoded {
    fn new(body: Body, coding: Coding, meter: Arc<Meter>) -> Self {
        let piece = vec![0; PIECE].into_boxed_slice();
        let inflater = Inflater::new(coding);
        Self { body, inflater, input: Bytes::new(), piece, meter, over: false }
    }

    /// The next piece of what has come; `None` if more must come first.
    fn piece(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            match self.inflater.step(&mut self.input, &mut self.piece) {
                Ok(Step::Member) => self.meter.charge(cost::DECODER)?,
                Ok(Step::Bytes(count)) => {
                    self.meter.decoded(count as u64)?;
                    return Ok(Some(Bytes::copy_from_slice(&self.piece[..count])));
                }
                Ok(Step::More) => return Ok(None),
                Err(inflate::Damaged) => return Err(HttpError::Encoded),
            }
        }
    }

    /// Takes what comes next; what it gives back is to go on as it is.
    fn take(
        &mut self,
        next: Option<Result<Frame<Bytes>, HttpError>>,
    ) -> Result<Option<Frame<Bytes>>, HttpError> {
        let rest = match next.transpose()?.map(Frame::into_data) {
            Some(Ok(data)) => {
                self.meter.decode(data.len() as u64)?;
                self.input = data;
                return Ok(None);
            }
            Some(Err(trailers)) => Some(trailers),
            None => None,
        };
        self.over = true;
        if self.inflater.is_complete() { Ok(rest) } else { Err(HttpError::Encoded) }
    }
}

impl HttpBody for Decoded {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        while !this.over {
            let found = match this.piece() {
                Ok(Some(piece)) => Ok(Some(Frame::data(piece))),
                Ok(None) => {
                    let next = ready!(Pin::new(&mut this.body).poll_frame(context));
                    this.take(next)
                }
                Err(error) => Err(error),
            };
            match found {
                Ok(None) => {}
                Ok(Some(frame)) => return Poll::Ready(Some(Ok(frame))),
                Err(error) => {
                    this.over = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.over
    }
}

#[cfg(test)]
mod tests;
