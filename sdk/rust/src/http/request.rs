//! A request, and the waiting for its answer.

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{
    Fields, FutureIncomingResponse, OutgoingBody, OutgoingRequest, RequestOptions,
};

use super::target::Target;
use super::{Body, Error, Headers, Response};

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// `GET`
    Get,
    /// `HEAD`
    Head,
    /// `POST`
    Post,
    /// `PUT`
    Put,
    /// `PATCH`
    Patch,
    /// `DELETE`
    Delete,
    /// `OPTIONS`
    Options,
    /// Any other, such as `PROPFIND`.
    Other(String),
}

/// A request that was not sent yet.
#[derive(Debug)]
pub struct Request {
    method: Method,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
    timeout: Option<Duration>,
}

impl Request {
    /// A request to an absolute `http` or `https` URL.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: None, timeout: None }
    }

    /// Adds a header. Secrets do not belong here: the manifest names them and the host puts them in.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Sets a JSON body, and the header that says so.
    pub fn json(self, value: &impl Serialize) -> Result<Self, Error> {
        let body = serde_json::to_vec(value).map_err(|error| Error::Body(error.to_string()))?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// How long to wait for a connection, for the first byte, and between two. Without it the call's
    /// own deadline is the only one.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the request and waits for the head of the response. A status that is no success is a
    /// response too: see [`Response::ok`].
    pub fn send(self) -> Result<Response, Error> {
        let target = Target::parse(&self.url)?;
        let fields = Fields::from_list(&self.headers).map_err(|_| Error::InvalidHeader)?;
        let request = OutgoingRequest::new(fields);
        let url = self.url;
        let refused = |part: &str| Error::InvalidUrl {
            url: url.clone(),
            why: format!("its {part} is not one"),
        };
        request.set_method(&self.method.into()).map_err(|()| Error::InvalidMethod)?;
        request.set_scheme(Some(&target.scheme)).map_err(|()| refused("scheme"))?;
        request.set_authority(Some(&target.authority)).map_err(|()| refused("host"))?;
        request.set_path_with_query(Some(&target.path_with_query)).map_err(|()| refused("path"))?;

        // The body is a child of the request: taken before the request goes, written after it went,
        // since nobody reads it earlier.
        let outgoing =
            request.body().map_err(|()| Error::Body("it was taken already".to_owned()))?;
        let future = outgoing_handler::handle(request, self.timeout.map(options))?;
        let written = write(outgoing, self.body.as_deref().unwrap_or_default());
        // A host that refused the request closed its body as well: the refusal says more.
        let response = wait(&future)?;
        written?;

        let status = response.status();
        let headers = Headers::new(response.headers().entries());
        let body =
            response.consume().map_err(|()| Error::Body("it was taken already".to_owned()))?;
        Ok(Response { url, status, headers, body: Body::new(body)? })
    }
}

/// Blocks until the head of the response is there.
fn wait(future: &FutureIncomingResponse) -> Result<wasip2::http::types::IncomingResponse, Error> {
    loop {
        match future.get() {
            Some(Ok(response)) => return Ok(response?),
            Some(Err(())) => return Err(Error::Body("the response was taken already".to_owned())),
            None => future.subscribe().block(),
        }
    }
}

fn write(outgoing: OutgoingBody, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error: io::Error| Error::Body(error.to_string());
    if !bytes.is_empty() {
        let mut stream =
            outgoing.write().map_err(|()| Error::Body("it was taken already".to_owned()))?;
        stream.write_all(bytes).map_err(failed)?;
        Write::flush(&mut stream).map_err(failed)?;
    }
    OutgoingBody::finish(outgoing, None)?;
    Ok(())
}

fn options(timeout: Duration) -> RequestOptions {
    let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    let options = RequestOptions::new();
    // A host that cannot keep one of the three says so; the call's deadline holds anyway.
    let _ = options.set_connect_timeout(Some(nanos));
    let _ = options.set_first_byte_timeout(Some(nanos));
    let _ = options.set_between_bytes_timeout(Some(nanos));
    options
}

impl From<Method> for wasip2::http::types::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::Get,
            Method::Head => Self::Head,
            Method::Post => Self::Post,
            Method::Put => Self::Put,
            Method::Patch => Self::Patch,
            Method::Delete => Self::Delete,
            Method::Options => Self::Options,
            Method::Other(name) => Self::Other(name),
        }
    }
}
