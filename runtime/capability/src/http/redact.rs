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
/// trailers. It was decoded before: what is compressed could not be looked through.
pub(super) fn redacted(redactor: &Arc<Redactor>, response: Response<Body>) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    redact_headers(redactor, &mut head.headers);
    if body.is_end_stream() {
        return Response::from_parts(head, body);
    }
    head.headers.remove(header::CONTENT_LENGTH); // a mark is not as long as what it stands for
    let stream = redactor.stream();
    let body = Redacted { body, redactor: redactor.clone(), stream, trailers: None, over: false };
    Response::from_parts(head, body.boxed_unsync())
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
    use std::task::Waker;

    use http::HeaderValue;
    use ringfence_vault::{Secret, Zeroizing};

    use super::{super::body::tests::Frames, *};

    const TOKEN: &[u8] = b"correct/horse=42";

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
        let redacted = redacted(&redactor(), response(frames));
        assert!(redacted.headers().is_empty(), "the length is another now");
        let (data, trailers) = read(redacted.into_body());
        assert_eq!(data, "you sent [redacted:TOKEN], and corr");
        let trailers = trailers.unwrap();
        let said: Vec<_> = trailers.get_all("x-echo").iter().collect();
        assert_eq!(said, ["[redacted:TOKEN]", "plain"]);
    }

    #[test]
    fn an_answer_without_a_body_keeps_its_length() {
        let redacted = redacted(&redactor(), response([]));
        assert_eq!(redacted.headers()["content-length"], "12");
        assert_eq!(read(redacted.into_body()), (String::new(), None));
    }
}
