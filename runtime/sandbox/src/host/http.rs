//! `wasi:http`: upstream's types, and the capability's gate where a request leaves.

use std::{future::Future, sync::Arc};

use http_body_util::BodyExt;
use ringfence_capability::http::{Body, Gate, HttpError, Timeouts};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, ForbiddenHeaderFilter, RequestOptions, Result, WasiBody,
    WasiHttpHooks,
};

/// What upstream asks of its embedder.
pub(crate) struct Hooks(Option<Gate>);

impl Hooks {
    pub(crate) fn new(gate: Option<Gate>) -> Self {
        Self(gate)
    }
}

/// What a guest sees of an error: never a path, an address or a name of somebody else's.
fn to_wasi(error: HttpError) -> Error {
    match error {
        HttpError::Denied => Error::HttpRequestDenied,
        HttpError::AddressDenied => Error::DestinationIpProhibited,
        HttpError::Url => Error::HttpRequestUriInvalid,
        HttpError::Name => Error::DnsError { rcode: None, info_code: None },
        HttpError::Refused => Error::ConnectionRefused,
        HttpError::Timeout => Error::ConnectionReadTimeout,
        HttpError::Tls => Error::TlsCertificateError,
        HttpError::Encoded => Error::HttpResponseContentCoding(None),
        HttpError::Fields => Error::HttpResponseHeaderSectionSize(None),
        HttpError::Length => Error::HttpRequestBodySize(None),
        HttpError::Broken => Error::ConnectionTerminated,
        // The call ends at its next host call; what the guest makes of this does not matter.
        HttpError::Limit(limit) => Error::InternalError(Some(limit.to_string())),
    }
}

fn from_wasi(_: Error) -> HttpError {
    HttpError::Broken
}

type Sent = Box<
    dyn Future<
            Output = Result<(
                http::Response<WasiBody>,
                Box<dyn Future<Output = Result<()>> + Send>,
            )>,
        > + Send,
>;

impl WasiHttpHooks for Hooks {
    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|name| DEFAULT_FORBIDDEN_HEADERS.contains(name))
    }

    /// What a guest writes at once is held here until the connection takes it.
    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        64 << 10
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<()>> + Send>,
    ) -> Sent {
        let Some(gate) = &self.0 else {
            return Box::new(async { Err(Error::HttpRequestDenied) });
        };
        let request = request.map(|body| -> Body { body.map_err(from_wasi).boxed_unsync() });
        // Admitted here, on the call's own thread, so that the denial is recorded and the price is
        // charged before the guest goes on.
        let admitted = match gate.admit(request) {
            Ok(admitted) => admitted,
            Err(error) => return Box::new(async { Err(to_wasi(error)) }),
        };
        let timeouts = timeouts(options);
        Box::new(async move {
            let response = admitted.send(timeouts).await.map_err(to_wasi)?;
            let response = response.map(|body| body.map_err(to_wasi).boxed_unsync());
            let io: Box<dyn Future<Output = Result<()>> + Send> = Box::new(async { Ok(()) });
            Ok((response, io))
        })
    }
}

/// The guest's own timeouts; the call's time limit stands above them.
fn timeouts(options: Option<RequestOptions>) -> Timeouts {
    let Some(options) = options else { return Timeouts::default() };
    let head = match (options.connect_timeout, options.first_byte_timeout) {
        (Some(connect), Some(first_byte)) => Some(connect.saturating_add(first_byte)),
        (connect, first_byte) => connect.or(first_byte),
    };
    Timeouts { head, between: options.between_bytes_timeout }
}
