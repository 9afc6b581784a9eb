//! A response of a server that was told a secret, with the secret taken out.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response, header};
use http_body::{Body as HttpBody, Frame};
use http_body_util::BodyExt;
use ringfence_vault::{Redactor, Stream};

use super::{Body, HttpError};
use crate::secrets::redact_headers;

/// The response with every secret that the call knows taken out of its headers, its body and its
/// trailers. What cannot be looked through is refused.
pub(super) fn redacted(
    redactor: &Arc<Redactor>,
    response: Response<Body>,
) -> Result<Response<Body>, HttpError> {
    let (mut head, body) = response.into_parts();
    let plain = |name: header::HeaderName, word: &str| {
        head.headers
            .get_all(name)
            .iter()
            .all(|value| value.as_bytes().eq_ignore_ascii_case(word.as_bytes()))
    };
    if !plain(header::CONTENT_ENCODING, "identity") || !plain(header::TRANSFER_ENCODING, "chunked")
    {
        return Err(HttpError::Encoded);
    }
    redact_headers(redactor, &mut head.headers);
    if body.is_end_stream() {
        return Ok(Response::from_parts(head, body));
    }
    head.headers.remove(header::CONTENT_LENGTH); // a mark is not as long as what it stands for
    let stream = redactor.stream();
    let body = Redacted { body, redactor: redactor.clone(), stream, trailers: None, over: false };
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

struct Redacted {
    body: Body,
    redactor: Arc<Redactor>,
    stream: Stream,
    trailers: Option<HeaderMap>,
    /// Whether what was held back is out, and only trailers can follow.
    over: bool,
}

impl HttpBody for Redacted {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let this = &mut *self;
        while !this.over {
            let shown = match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.stream.push(&data),
                    Err(frame) => {
                        this.over = true;
                        this.trailers = frame.into_trailers().ok();
                        this.stream.finish()
                    }
                },
                None => {
                    this.over = true;
                    this.stream.finish()
                }
            };
            if !shown.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(shown.into()))));
            }
        }
        Poll::Ready(this.trailers.take().map(|mut trailers| {
            redact_headers(&this.redactor, &mut trailers);
            Ok(Frame::trailers(trailers))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.trailers.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, task::Waker};

    use http::HeaderValue;
    use ringfence_vault::{Secret, Zeroizing};

    use super::*;

    const TOKEN: &[u8] = b"correct/horse=42";

    /// A body in these frames.
    struct Frames(VecDeque<Frame<Bytes>>);

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

    fn redactor() -> Arc<Redactor> {
        let redactor = Redactor::default();
        let value = Zeroizing::new(TOKEN.to_vec());
        redactor.learn(Secret::new("TOKEN".parse().unwrap(), value).ok().unwrap());
        Arc::new(redactor)
    }

    fn response(frames: impl IntoIterator<Item = Frame<Bytes>>) -> Response<Body> {
        let body = Frames(frames.into_iter().collect()).boxed_unsync();
        Response::builder().header("content-length", "12").body(body).unwrap()
    }

    /// The data, and the trailers.
    fn read(mut body: Body) -> (String, Option<HeaderMap>) {
        let (mut data, mut trailers) = (Vec::new(), None);
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
            assert!(trailers.is_none(), "trailers are the last");
            match frame.unwrap().into_data() {
                Ok(piece) => data.extend_from_slice(&piece),
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        assert!(body.is_end_stream());
        (String::from_utf8(data).unwrap(), trailers)
    }

    #[test]
    fn s2_trailers_come_after_all_of_the_body_and_without_the_secret() {
        let mut fields = HeaderMap::new();
        fields.insert("x-echo", HeaderValue::from_bytes(TOKEN).unwrap());
        fields.append("x-echo", HeaderValue::from_static("plain"));
        // What is held back at the end is no secret, and comes out before the trailers.
        let data =
            ["you sent correct/", "horse=42, and corr"].map(|piece| Frame::data(piece.into()));
        let frames = data.into_iter().chain([Frame::trailers(fields)]);
        let redacted = redacted(&redactor(), response(frames)).unwrap();
        assert!(redacted.headers().is_empty(), "the length is another now");
        let (data, trailers) = read(redacted.into_body());
        assert_eq!(data, "you sent [redacted:TOKEN], and corr");
        let trailers = trailers.unwrap();
        let said: Vec<_> = trailers.get_all("x-echo").iter().collect();
        assert_eq!(said, ["[redacted:TOKEN]", "plain"]);
    }

    #[test]
    fn an_answer_without_a_body_keeps_its_length() {
        let redacted = redacted(&redactor(), response([])).unwrap();
        assert_eq!(redacted.headers()["content-length"], "12");
        assert_eq!(read(redacted.into_body()), (String::new(), None));
    }

    #[test]
    fn s2_what_cannot_be_looked_through_is_refused() {
        for (name, value, goes) in [
            ("content-encoding", "gzip", false),
            ("content-encoding", "identity, br", false),
            ("content-encoding", "Identity", true),
            ("transfer-encoding", "gzip, chunked", false),
            ("transfer-encoding", "chunked", true),
        ] {
            let mut response = response([Frame::data("x".into())]);
            response.headers_mut().insert(name, HeaderValue::from_static(value));
            assert_eq!(redacted(&redactor(), response).is_ok(), goes, "{name}: {value}");
        }
    }
}
