//! Bodies that are counted while they flow, so that neither side holds more than a frame of them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tokio::time::{Instant, Sleep, sleep_until};

use super::HttpError;
use crate::{Meter, meter::LimitReached};

/// A body of a request or a response.
pub type Body = UnsyncBoxBody<Bytes, HttpError>;

/// Counts a request's body as it is sent.
pub(super) fn counted_out(body: Body, meter: Arc<Meter>) -> Body {
    Counted { body, count: Meter::send, meter, idle: None }.boxed_unsync()
}

/// Counts a response's body as it is read, and gives up when nothing comes for `between`.
pub(super) fn counted_in(
    body: hyper::body::Incoming,
    meter: Arc<Meter>,
    between: Option<Duration>,
) -> Body {
    let body = body.map_err(|_| HttpError::Broken).boxed_unsync();
    let idle = between.map(|between| (between, Box::pin(sleep_until(Instant::now() + between))));
    Counted { body, count: Meter::receive, meter, idle }.boxed_unsync()
}

struct Counted {
    body: Body,
    count: fn(&Meter, u64) -> Result<(), LimitReached>,
    meter: Arc<Meter>,
    idle: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Some((between, sleep)) = &mut this.idle {
            if polled.is_ready() {
                sleep.as_mut().reset(Instant::now() + *between);
            } else if sleep.as_mut().poll(context).is_ready() {
                return Poll::Ready(Some(Err(HttpError::Timeout)));
            }
        }
        let frame = match ready!(polled) {
            Some(Ok(frame)) => frame,
            end => return Poll::Ready(end),
        };
        let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
        let counted = (this.count)(&this.meter, bytes);
        Poll::Ready(Some(counted.map(|()| frame).map_err(HttpError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
