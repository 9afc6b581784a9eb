//! The HTTP client of one model: HTTP/1.1 and 2, TLS by rustls on ring, no proxy, no redirect.

use std::{
    error::Error as StdError,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        self,
        connect::{
            HttpConnector,
            dns::{GaiResolver, Name},
        },
    },
    rt::{TokioExecutor, TokioTimer},
};
use ringfence_event::is_nearby;
use rustls::RootCertStore;
use tower_service::Service;

use crate::VendorConfig;

/// How long an idle connection is kept: a tool's call between two steps takes seconds.
const IDLE: Duration = Duration::from_secs(60);
/// How long one address may take to answer: after that many seconds nobody comes to the door.
const CONNECT: Duration = Duration::from_secs(10);

/// A client whose connections all go to one server. Cheap to clone.
#[derive(Clone)]
pub(super) struct HttpClient(legacy::Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>);

impl HttpClient {
    pub(super) fn new(config: &VendorConfig, authorities: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring speaks the protocol versions that rustls calls safe")
            .with_root_certificates(authorities)
            .with_no_client_auth();
        let is_plain = config.url.scheme() == "http";
        let mut tcp = HttpConnector::new_with_resolver(Resolver { is_plain });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls);
        let connector = match is_plain {
            true => connector.https_or_http(),
            false => connector.https_only(),
        };
        let connector = connector.enable_all_versions().wrap_connector(tcp);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self(client)
    }

    /// Sends a request and waits for the head of its answer. What is wrong, if there is none.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, String> {
        self.0.request(request).await.map_err(|error| causes(&error))
    }
}

/// An error with all that is behind it.
pub(super) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        // Some repeat what is behind them.
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// The system's resolver. For what goes unencrypted it knows only addresses nearby.
#[derive(Clone)]
pub(super) struct Resolver {
    is_plain: bool,
}

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let is_plain = self.is_plain;
        Box::pin(async move {
            let found = GaiResolver::new().call(name).await?;
            let found: Vec<SocketAddr> =
                found.filter(|address| !is_plain || is_nearby(address.ip())).collect();
            if found.is_empty() {
                let problem = match is_plain {
                    true => {
                        "it has no loopback or private address, and its URL says http: write https"
                    }
                    false => "it has no address",
                };
                return Err(io::Error::other(problem));
            }
            Ok(found.into_iter())
        })
    }
}
