//! The one gate through which requests leave: permit, address, count, send. Knows no WASI types:
//! the sandbox translates.

mod body;
mod connect;
mod decode;
mod fields;
mod redact;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{Request, Response, Uri, header};
use ringfence_event::{CallLimits, Digest, TenantId, ToolName};
use ringfence_policy::{Permit, SecretHeader};
use rustls::RootCertStore;
use url::Url;

pub use body::Body;
use connect::{ConnectError, HttpClient};

use crate::{DenialLog, Meter, meter::LimitReached, network::Network, secrets::CallSecrets};

/// Why a request did not come back with a response.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The permit does not open it; the denial is recorded.
    #[error("denied")]
    Denied,
    /// The name leads to no address that may be connected to; the denial is recorded.
    #[error("address denied")]
    AddressDenied,
    /// A limit was met.
    #[error(transparent)]
    Limit(#[from] LimitReached),
    /// Not a URL.
    #[error("not a URL")]
    Url,
    /// The name does not resolve.
    #[error("the name does not resolve")]
    Name,
    /// Nobody answers at the address.
    #[error("connection refused")]
    Refused,
    /// The other side, or the way there, took too long.
    #[error("timed out")]
    Timeout,
    /// The other side is not who it should be, or speaks no TLS.
    #[error("TLS failed")]
    Tls,
    /// The response is encoded in a way that is not decoded here, or is not what it says it is.
    #[error("the response is encoded")]
    Encoded,
    /// The header fields or trailers of the response take more than the call may have of them.
    #[error("the response's fields are too long")]
    Fields,
    /// The body of the request is not as long as its head says.
    #[error("the request's length is another")]
    Length,
    /// The connection broke, or what came over it is no HTTP.
    #[error("the connection broke")]
    Broken,
}

/// How long to wait, each at most what the call has left.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeouts {
    /// For the response's head, connecting included.
    pub head: Option<Duration>,
    /// Between two parts of the response's body.
    pub between: Option<Duration>,
}

/// The clients of this process: one a (tenant, tool, policy version, granted address), so that no
/// connection is shared between tenants, a changed grant starts with none, and a request that is not
/// granted an address never travels on a connection to it.
pub struct Clients {
    network: Arc<dyn Network>,
    authorities: Arc<RootCertStore>,
    clients: Mutex<HashMap<ClientKey, HttpClient>>,
}

/// What was given as an authority's certificate is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the certificate of an authority: X.509 in DER is needed")]
pub struct NoCertificate;

type ClientKey = (TenantId, ToolName, Digest, Option<IpAddr>);

/// The most clients kept; past it all are dropped, and with them their idle connections.
const CLIENTS: usize = 256;

impl Clients {
    /// Clients that trust the authorities of the web.
    pub(crate) fn new(network: Arc<dyn Network>) -> Self {
        let authorities = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self { network, authorities: Arc::new(authorities), clients: Mutex::default() }
    }

    /// Clients that trust one authority more, and have no connection yet.
    pub(crate) fn trusting(&self, certificate: &[u8]) -> Result<Self, NoCertificate> {
        let mut authorities = RootCertStore::clone(&self.authorities);
        authorities.add(certificate.to_vec().into()).map_err(|_| NoCertificate)?;
        let network = self.network.clone();
        Ok(Self { network, authorities: Arc::new(authorities), clients: Mutex::default() })
    }

    fn client(&self, permit: &Permit, address: Option<IpAddr>) -> HttpClient {
        let key = (permit.tenant().clone(), permit.tool().clone(), permit.version(), address);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS && !clients.contains_key(&key) {
            clients.clear();
        }
        let new = || {
            let (network, authorities) = (self.network.clone(), self.authorities.clone());
            HttpClient::new(network, permit.tenant().clone(), address, authorities)
        };
        clients.entry(key).or_insert_with(new).clone()
    }
}

/// The longest URL that is looked at. Servers take no more than this.
const URL_BYTES: usize = 8 << 10;

/// The most that header fields may take, whatever a tool's lift limit is: what servers accept.
const FIELD_BYTES: u64 = 64 << 10;

/// What the header fields of one message, or its trailers, may take in a call with these limits.
#[must_use]
pub fn field_bytes_max(limits: &CallLimits) -> u64 {
    limits.lift.min(FIELD_BYTES)
}

/// The gate of one call.
#[derive(Clone)]
pub struct Gate {
    permit: Arc<Permit>,
    clients: Arc<Clients>,
    secrets: CallSecrets,
    meter: Arc<Meter>,
    denials: Arc<DenialLog>,
}

/// A request that the permit opens, on its way.
pub struct Admitted {
    gate: Gate,
    client: HttpClient,
    method: String,
    url: Url,
    secrets: Vec<SecretHeader>,
    request: Request<Body>,
    /// How long its body is, if the guest said so.
    length: Option<u64>,
}

impl Gate {
    pub(crate) fn new(
        permit: Arc<Permit>,
        clients: Arc<Clients>,
        secrets: CallSecrets,
        meter: Arc<Meter>,
        denials: Arc<DenialLog>,
    ) -> Self {
        Self { permit, clients, secrets, meter, denials }
    }

    /// Checks a request against the permit and the limits. What is sent is built from the URL that
    /// was checked, not from what the guest wrote.
    pub fn admit(&self, mut request: Request<Body>) -> Result<Admitted, HttpError> {
        self.meter.request()?; // before anything is looked at: a flood of refused ones has its limit too
        let method = request.method().as_str().to_owned();
        let text = request.uri().to_string();
        if text.len() > URL_BYTES {
            return Err(HttpError::Url);
        }
        let url = Url::parse(&text).map_err(|_| {
            self.denials.record(self.permit.deny_url(&method, &text));
            HttpError::Url
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(HttpError::Url);
        }
        let pass = self.permit.http(&method, &url).map_err(|denial| {
            self.denials.record(denial);
            HttpError::Denied
        })?;
        *request.uri_mut() = url.as_str().parse::<Uri>().map_err(|_| HttpError::Url)?;
        let headers = request.headers_mut();
        let length = fields::length(headers)?;
        fields::clean(headers);
        for secret in pass.secrets {
            headers.remove(secret.header.as_str()); // the host's value, and not both
        }
        if !pass.secrets.is_empty() {
            // Half of an echo is no echo that could be found.
            headers.remove(header::RANGE);
            headers.remove(header::IF_RANGE);
        }
        self.meter.send(head_bytes(&request))?;
        let client = self.clients.client(&self.permit, pass.address);
        let secrets = pass.secrets.to_vec();
        Ok(Admitted { gate: self.clone(), client, method, url, secrets, request, length })
    }
}

impl Admitted {
    /// Sends it and waits for the response's head.
    pub async fn send(self, timeouts: Timeouts) -> Result<Response<Body>, HttpError> {
        let Self { gate, client, method, url, secrets, mut request, length } = self;
        let guarded = gate.secrets.any();
        if guarded {
            let bytes = fields::bytes(request.headers());
            let put_in = gate.secrets.put_in(&secrets, request.headers_mut()).await;
            put_in.map_err(|(name, fault)| {
                gate.denials.record(gate.permit.deny_fault(&name, &method, &url, fault));
                HttpError::Denied
            })?;
            gate.meter.send(fields::bytes(request.headers()) - bytes)?;
        }
        let request = request.map(|body| body::sent(body, length, gate.meter.clone()));
        let response = client.request(request);
        let response = match timeouts.head {
            None => response.await,
            Some(head) => {
                tokio::time::timeout(head, response).await.map_err(|_| HttpError::Timeout)?
            }
        };
        let response = response.map_err(|error| {
            if let Some(limit) = gate.meter.stopped() {
                return HttpError::Limit(LimitReached(limit));
            }
            match connect::cause(&error) {
                Some(ConnectError::Forbidden) => {
                    gate.denials.record(gate.permit.deny_address(&method, &url));
                    HttpError::AddressDenied
                }
                Some(ConnectError::Name) => HttpError::Name,
                Some(ConnectError::Refused) => HttpError::Refused,
                Some(ConnectError::Tls) => HttpError::Tls,
                None => connect::answered(&error),
            }
        })?;
        fields::received(response.headers(), &gate.meter)?;
        let response =
            response.map(|body| body::received(body, gate.meter.clone(), timeouts.between));
        let response = decode::decoded(response, &gate.meter)?;
        Ok(match guarded {
            true => redact::redacted(gate.secrets.redactor(), response),
            false => response,
        })
    }
}

/// What the head of a request takes on the wire, to within the version's spelling.
fn head_bytes<T>(request: &Request<T>) -> u64 {
    let line = request.method().as_str().len() + request.uri().to_string().len() + 12;
    line as u64 + fields::bytes(request.headers())
}
