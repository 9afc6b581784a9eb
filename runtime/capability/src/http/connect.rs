//! Connections: a name is resolved once, each address is judged, and the connection is made to an
//! address that was judged. No proxy, no cookie, no redirect.

use std::{
    error::Error as StdError,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use ringfence_event::TenantId;
use rustls::RootCertStore;
use tokio::net::TcpStream;
use tower_service::Service;
use url::{Host, Url};

use super::{Body, FIELD_BYTES, HttpError};
use crate::{
    memory::BoxFuture,
    network::{Network, is_public},
};

/// How long an idle connection is kept: long enough for a burst of requests of one tool.
const IDLE: Duration = Duration::from_secs(30);
/// Idle connections kept to one host.
const IDLE_PER_HOST: usize = 4;

/// The most header fields of one response. Servers send twenty.
const FIELDS: usize = 100;

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no address that may be connected to")]
    Forbidden,
    #[error("the name does not resolve")]
    Name,
    #[error("connection refused")]
    Refused,
    #[error("TLS failed")]
    Tls,
}

/// The cause of a client's error, if it was in connecting.
pub(super) fn cause(error: &legacy::Error) -> Option<ConnectError> {
    let mut source: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = source {
        if let Some(known) = error.downcast_ref::<ConnectError>() {
            return Some(*known);
        }
        source = error.source();
    }
    // There was one, and nobody was made out behind it.
    error.is_connect().then_some(ConnectError::Tls)
}

/// What an error says of an answer, if there was a connection.
pub(super) fn answered(error: &legacy::Error) -> HttpError {
    let mut source: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = source {
        match error.downcast_ref::<hyper::Error>() {
            Some(error) if error.is_parse_too_large() => return HttpError::Fields,
            _ => source = error.source(),
        }
    }
    HttpError::Broken
}

/// An HTTP client whose connections are all made to addresses that were judged.
#[derive(Clone)]
pub(super) struct HttpClient(legacy::Client<HttpsConnector<Connector>, Body>);

impl HttpClient {
    /// A client of one tenant, whose connections all go to `granted`, or where names lead if that is
    /// `None`. What TLS remembers of a server is its own too.
    pub(super) fn new(
        network: Arc<dyn Network>,
        tenant: TenantId,
        granted: Option<IpAddr>,
        authorities: Arc<RootCertStore>,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks the protocol versions that rustls calls safe")
            .with_root_certificates(authorities)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(Connector { network, tenant, granted });
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(FIELD_BYTES as usize)
            .http1_max_headers(FIELDS)
            .build(connector);
        Self(client)
    }

    pub(super) fn request(&self, request: Request<Body>) -> legacy::ResponseFuture {
        self.0.request(request)
    }
}

/// Makes the TCP connection of a request.
#[derive(Clone)]
pub(super) struct Connector {
    network: Arc<dyn Network>,
    tenant: TenantId,
    /// The address that an operator granted for the one host this connects to.
    granted: Option<IpAddr>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = BoxFuture<'static, Result<Self::Response, ConnectError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { network, tenant, granted } = self.clone();
        Box::pin(async move {
            // The URL was checked with this parser, so its reading of the host is the one that counts.
            let url = Url::parse(&uri.to_string()).map_err(|_| ConnectError::Name)?;
            let port = url.port_or_known_default().ok_or(ConnectError::Name)?;
            let addresses = match (granted, url.host()) {
                (Some(granted), _) => vec![SocketAddr::new(granted, port)],
                (None, Some(host)) => judged(&*network, &tenant, host, port).await?,
                (None, None) => return Err(ConnectError::Name),
            };
            for address in addresses {
                if let Ok(stream) = network.connect(address).await {
                    // Small requests are the rule; waiting to fill a packet only adds latency.
                    let _ = stream.set_nodelay(true);
                    return Ok(TokioIo::new(stream));
                }
            }
            Err(ConnectError::Refused)
        })
    }
}

/// The public addresses of a host.
async fn judged(
    network: &dyn Network,
    tenant: &TenantId,
    host: Host<&str>,
    port: u16,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let found: Vec<IpAddr> = match host {
        Host::Ipv4(address) => vec![address.into()],
        Host::Ipv6(address) => vec![address.into()],
        Host::Domain(name) => {
            network.resolve(tenant, name).await.map_err(|_| ConnectError::Name)?
        }
    };
    if found.is_empty() {
        return Err(ConnectError::Name);
    }
    let public: Vec<_> = found
        .into_iter()
        .filter(|address| is_public(*address))
        .map(|address| SocketAddr::new(address, port))
        .collect();
    if public.is_empty() { Err(ConnectError::Forbidden) } else { Ok(public) }
}
