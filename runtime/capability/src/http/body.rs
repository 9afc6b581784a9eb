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

use super::{HttpError, fields};
use crate::Meter;

/// A body of a request or a response.
pub type Body = UnsyncBoxBody<Bytes, HttpError>;

/// Counts a request's body as it is sent. It is as long as its head says, and has no trailers: those
/// are header fields that nobody looked at.
pub(super) fn sent(body: Body, length: Option<u64>, meter: Arc<Meter>) -> Body {
    Sent { body, left: length, meter }.boxed_unsync()
}

/// Counts a response's body as it is read, and gives up when nothing comes for `between`.
pub(super) fn received(
    body: hyper::body::Incoming,
    meter: Arc<Meter>,
    between: Option<Duration>,
) -> Body {
    let body = body.map_err(|_| HttpError::Broken).boxed_unsync();
    let idle = between.map(|between| (between, Box::pin(sleep_until(Instant::now() + between))));
    Received { body, meter, idle }.boxed_unsync()
}

struct Sent {
    body: Body,
    /// What is to come, if the head said how much.
    left: Option<u64>,
    meter: Arc<Meter>,
}

impl Sent {
    fn count(&mut self, bytes: u64) -> Result<(), HttpError> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes).ok_or(HttpError::Length)?;
        }
        Ok(self.meter.send(bytes)?)
    }
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        loop {
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let counted = this.count(data.len() as u64);
                    return Poll::Ready(Some(counted.map(|()| Frame::data(data))));
                }
                None if this.left.is_some_and(|left| left > 0) => {
                    return Poll::Ready(Some(Err(HttpError::Length)));
                }
                end => return Poll::Ready(end),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream() && self.left.is_none_or(|left| left == 0)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

struct Received {
    body: Body,
    meter: Arc<Meter>,
    idle: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl HttpBody for Received {
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
        let counted = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) => this.meter.receive(data.len() as u64).map_err(HttpError::from),
            (None, Some(trailers)) => fields::received(trailers, &this.meter),
            (None, None) => Ok(()),
        };
        Poll::Ready(Some(counted.map(|()| frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::VecDeque, task::Waker};

    use http::HeaderMap;
    use ringfence_event::{CallLimits, Limit};

    use super::*;
    use crate::meter::LimitReached;

    /// A body in these frames.
    pub(in crate::http) struct Frames(pub(in crate::http) VecDeque<Frame<Bytes>>);

    impl HttpBody for Frames {
        type Data = Bytes;
        type Error = HttpError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
            Poll::Ready(self.0.pop_front().map(Ok))
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    fn send(pieces: &[&str], length: Option<u64>) -> Result<String, HttpError> {
        let data = pieces.iter().map(|piece| Frame::data(Bytes::copy_from_slice(piece.as_bytes())));
        let frames = data.chain([Frame::trailers(HeaderMap::new())]).collect();
        let meter = Meter::new(CallLimits { egress: 10, ..CallLimits::DEFAULT });
        let mut body = sent(Frames(frames).boxed_unsync(), length, Arc::new(meter));
        let (mut data, mut context) = (Vec::new(), Context::from_waker(Waker::noop()));
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
            data.extend_from_slice(&frame?.into_data().expect("no trailers"));
        }
        Ok(String::from_utf8(data).unwrap())
    }

    #[test]
    fn n8_a_body_is_as_long_as_its_head_says() {
        for (pieces, length) in [
            (&[][..], None),
            (&[], Some(0)),
            (&["words"], None),
            (&["words"], Some(5)),
            (&["wo", "", "rds"], Some(5)),
        ] {
            assert_eq!(send(pieces, length).unwrap(), pieces.concat(), "{length:?}");
        }
        for (pieces, length) in
            [(&["words"][..], 4), (&["words"], 6), (&["wo", "rds"], 2), (&[], 1)]
        {
            let sent = send(pieces, Some(length));
            assert!(matches!(sent, Err(HttpError::Length)), "{length}: {sent:?}");
        }
        let sent = send(&["words, ", "words"], Some(12));
        assert!(matches!(sent, Err(HttpError::Limit(LimitReached(Limit::Egress)))), "{sent:?}");
    }
}
