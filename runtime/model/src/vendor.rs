//! Models behind HTTP: one request a reply, streamed, over connections that are used again.

mod anthropic;
mod body;
mod chat;
mod client;
mod draft;
mod failure;
mod responses;
mod retry_after;
mod wire;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response,
    header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::Full;
use hyper::body::Incoming;
use ringfence_event::{ModelFailure, ModelFailureClass, ModelReply, ModelRequest, neutralise_line};
use rustls::RootCertStore;
use serde_json::Value;
use sse_stream::SseStream;

use self::{
    body::{Broken, pieces},
    client::HttpClient,
    draft::Draft,
};
use crate::{
    Completion, Deltas, KeySource, Model, ModelError, TokenLimits, VendorConfig, VendorProtocol,
    key::Key,
};

/// The longest message of a failure: what a vendor says in a few sentences.
const MESSAGE_CHARS: usize = 500;

/// How long the end of a stream is waited for once everything is there, so that the connection can be
/// used again. It comes in the same packet as a rule, and nothing is lost with a connection.
const LAST: Duration = Duration::from_millis(100);

/// A model behind HTTP. Its requests share connections.
#[derive(Clone)]
pub struct VendorModel {
    config: VendorConfig,
    limits: TokenLimits,
    key: KeySource,
    authorities: RootCertStore,
    client: HttpClient,
}

/// A certificate that no authority can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no certificate of an authority")]
pub struct NoCertificate;

/// Whether anything is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    More,
    Last,
}

impl VendorModel {
    /// A model as it is set up, whose key is read from `key` for each request. Its server is who an
    /// authority of the web vouches for. Nothing is sent or resolved yet.
    #[must_use]
    pub fn new(config: &VendorConfig, limits: TokenLimits, key: KeySource) -> Self {
        let authorities: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        let client = HttpClient::new(config, authorities.clone());
        Self { config: config.clone(), limits, key, authorities, client }
    }

    /// The same with another authority beside those of the web: its certificate, as DER.
    ///
    /// # Errors
    /// It is no certificate.
    pub fn with_authority(self, certificate: &[u8]) -> Result<Self, NoCertificate> {
        let mut authorities = self.authorities;
        authorities.add(certificate.to_vec().into()).map_err(|_| NoCertificate)?;
        let client = HttpClient::new(&self.config, authorities.clone());
        Ok(Self { authorities, client, ..self })
    }

    /// Asks once. What has come so far is in `draft`, also when this is dropped.
    async fn ask(
        &self,
        request: &ModelRequest,
        deltas: &dyn Deltas,
        traceparent: Option<&str>,
        key: &mut Option<Arc<Key>>,
        draft: &mut Draft,
    ) -> Result<(), ModelError> {
        self.limits.admit(request)?;
        *key = self.key.read().await?.map(Arc::new);
        let mut request = self.request(request, key.as_deref())?;
        // What is no header is no trace either, and a question is asked all the same.
        if let Some(traceparent) = traceparent.and_then(|text| HeaderValue::from_str(text).ok()) {
            request.headers_mut().insert("traceparent", traceparent);
        }
        let idle = self.config.idle;
        let response = tokio::time::timeout(idle, self.client.send(request)).await;
        let response = response
            .map_err(|_| Broken::Idle(idle).failure())?
            .map_err(|problem| unavailable(format!("there is no connection: {problem}")))?;
        if !response.status().is_success() {
            return Err(failure::of_response(response, idle).await.into());
        }
        self.read(response, draft, deltas).await?;
        Ok(())
    }

    fn request(
        &self,
        request: &ModelRequest,
        key: Option<&Key>,
    ) -> Result<Request<Full<bytes::Bytes>>, ModelError> {
        let output = self.limits.output_of(request);
        let (path, body) = match self.config.protocol {
            VendorProtocol::OpenAiChat => {
                ("/chat/completions", chat::body(request, &self.config, output))
            }
            VendorProtocol::OpenAiResponses => {
                ("/responses", responses::body(request, &self.config, output))
            }
            VendorProtocol::Anthropic => {
                ("/messages", anthropic::body(request, &self.config, output))
            }
        };
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        fields.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json"));
        fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let agent = concat!("ringfence/", env!("CARGO_PKG_VERSION"));
        fields.insert(USER_AGENT, HeaderValue::from_static(agent));
        let (name, scheme) = match self.config.protocol {
            VendorProtocol::Anthropic => {
                fields.insert("anthropic-version", HeaderValue::from_static(anthropic::VERSION));
                ("x-api-key", "")
            }
            _ => (AUTHORIZATION.as_str(), "Bearer "),
        };
        let host = |message: String| ModelError::new(ModelFailureClass::Host, message);
        if let Some(key) = key {
            let value = key.header(scheme);
            let value = value.map_err(|fault| host(format!("the model's key: {fault}")))?;
            fields.insert(name, value);
        }
        let url = format!("{}{path}", self.config.url.as_str().trim_end_matches('/'));
        let mut made = Request::new(Full::new(body.to_string().into()));
        *made.method_mut() = Method::POST;
        *made.uri_mut() =
            url.parse().map_err(|_| host(format!("`{url}` cannot be asked for by HTTP")))?;
        *made.headers_mut() = fields;
        Ok(made)
    }

    /// Reads an answer, whether it is the stream that was asked for or one text.
    async fn read(
        &self,
        response: Response<Incoming>,
        draft: &mut Draft,
        deltas: &dyn Deltas,
    ) -> Result<(), ModelFailure> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let is_stream = kind.is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"));
        let pieces = pieces(response.into_body(), self.config.idle);
        if is_stream {
            return self.events(pieces, draft, deltas).await;
        }
        let whole = body::whole(pieces).await.map_err(|broken| broken.failure())?;
        // Some servers stream and call it by another name.
        let is_json = whole.trim_ascii_start().first() == Some(&b'{');
        if !is_json && whole.windows(5).any(|part| part == b"data:") {
            let once = stream::once(async { Ok(bytes::Bytes::from(whole)) });
            return self.events(once, draft, deltas).await;
        }
        let answer: Value =
            serde_json::from_slice(&whole).map_err(|error| unreadable("answer", &error))?;
        if let Some(failure) = failure::in_answer(&answer) {
            return Err(failure);
        }
        match self.config.protocol {
            VendorProtocol::OpenAiChat => chat::whole(&answer, draft),
            VendorProtocol::OpenAiResponses => responses::whole(&answer, draft),
            VendorProtocol::Anthropic => anthropic::whole(&answer, draft),
        }?;
        if !draft.text.is_empty() {
            deltas.text(&draft.text);
        }
        Ok(())
    }

    async fn events(
        &self,
        pieces: impl stream::Stream<Item = Result<bytes::Bytes, Broken>> + Send,
        draft: &mut Draft,
        deltas: &dyn Deltas,
    ) -> Result<(), ModelFailure> {
        let mut events = std::pin::pin!(SseStream::from_bytes_stream(pieces));
        while let Some(event) = events.next().await {
            let event = event.map_err(body::failure_of_stream)?;
            let Some(data) = event.data.as_deref().map(str::trim).filter(|data| !data.is_empty())
            else {
                continue;
            };
            let flow = if data == "[DONE]" {
                Flow::Last
            } else {
                let data: Value =
                    serde_json::from_str(data).map_err(|error| unreadable("event", &error))?;
                // An event of this kind is an error, whatever is in it.
                if event.event.as_deref() == Some("error") || data["type"] == "error" {
                    return Err(failure::in_stream(&data));
                }
                match self.config.protocol {
                    VendorProtocol::OpenAiChat => chat::event(&data, draft, deltas),
                    VendorProtocol::OpenAiResponses => responses::event(&data, draft, deltas),
                    VendorProtocol::Anthropic => anthropic::event(&data, draft, deltas),
                }?
            };
            if flow == Flow::Last {
                let rest = async { while let Some(Ok(_)) = events.next().await {} };
                // What does not end is hung up on.
                let _ = tokio::time::timeout(LAST, rest).await;
                break;
            }
        }
        Ok(())
    }

    /// A failure as people may read it: without the key, on one line, of a sensible length.
    fn shown(&self, failure: ModelFailure, key: Option<&Key>) -> ModelFailure {
        let message = match key {
            Some(key) => key.redact(&failure.message),
            None => failure.message,
        };
        let message = neutralise_line(message.trim()).into_owned();
        let message = match message.char_indices().nth(MESSAGE_CHARS) {
            Some((end, _)) => format!("{}…", &message[..end]),
            None => message,
        };
        let server = self.config.url.host_str().unwrap_or_default();
        ModelFailure { message: format!("{server}: {message}"), ..failure }
    }
}

impl Model for VendorModel {
    fn complete<'a>(&'a self, request: &'a ModelRequest, deltas: &'a dyn Deltas) -> Completion<'a> {
        self.complete_within(request, deltas, None)
    }

    fn complete_within<'a>(
        &'a self,
        request: &'a ModelRequest,
        deltas: &'a dyn Deltas,
        traceparent: Option<&'a str>,
    ) -> Completion<'a> {
        Box::pin(async move {
            let (mut key, mut draft) = (None, Draft::default());
            let asked = self.ask(request, deltas, traceparent, &mut key, &mut draft);
            let asked = tokio::time::timeout(self.config.time, asked).await;
            let asked = asked.unwrap_or_else(|_| {
                let time = self.config.time.as_millis();
                let message = format!("no reply within {time} ms, the `time` of the model");
                Err(unavailable(message).into())
            });
            // What the vendor said it cost holds for a reply that came to nothing, too.
            let tokens = draft.tokens.unwrap_or_default();
            let sent = request.bytes();
            let steps = wire::replies(request);
            let reply = match asked {
                Ok(()) => draft.finish(sent, steps).map_err(ModelError::from),
                Err(error) => Err(error),
            };
            let key = key.as_deref();
            match reply {
                Ok(reply) => Ok(without_key(reply, key)),
                Err(error) => Err(ModelError { failure: self.shown(error.failure, key), tokens }),
            }
        })
    }
}

/// A reply is recorded, and nothing that is recorded has a secret in it.
fn without_key(reply: ModelReply, key: Option<&Key>) -> ModelReply {
    let Some(key) = key else { return reply };
    let mut reply = ModelReply { text: key.redact(&reply.text), ..reply };
    for call in &mut reply.calls {
        call.arguments = key.redact(&call.arguments);
    }
    reply
}

fn unavailable(message: String) -> ModelFailure {
    ModelFailure { class: ModelFailureClass::Unavailable, message, retry_after_ms: None }
}

fn unusable(message: impl Into<String>) -> ModelFailure {
    let message = message.into();
    ModelFailure { class: ModelFailureClass::Unusable, message, retry_after_ms: None }
}

fn unreadable(what: &str, error: &serde_json::Error) -> ModelFailure {
    unusable(format!("the {what} is no JSON: {error}"))
}
