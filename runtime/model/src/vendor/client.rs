//! The HTTP client of one model: HTTP/1.1 and 2, TLS by rustls on ring, no proxy, no redirect.

use std::{
    error::Error as StdError,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
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

/// Whether what goes to an address stays on this machine or in its own network: loopback, the
/// private blocks of RFC 1918, the shared one of RFC 6598 that overlay networks use, and unique
/// local IPv6. Link-local is not among them: metadata services of clouds are there.
pub(crate) fn is_nearby(address: IpAddr) -> bool {
    let v4 = |address: Ipv4Addr| {
        let [a, b, ..] = address.octets();
        address.is_loopback() || address.is_private() || (a == 100 && (64..128).contains(&b))
    };
    let v6 = |address: Ipv6Addr| address.is_loopback() || address.is_unique_local();
    match address.to_canonical() {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_nearby_is_reached_unencrypted() {
        let check = |text: &str, nearby: bool| {
            assert_eq!(is_nearby(text.parse().unwrap()), nearby, "{text}");
        };
        for text in ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "::1"] {
            check(text, true);
        }
        check("fd00::1", true);
        check("::ffff:127.0.0.1", true);
        for text in ["8.8.8.8", "169.254.169.254", "0.0.0.0", "100.128.0.1", "fe80::1", "2a00::1"] {
            check(text, false);
        }
        check("::ffff:8.8.8.8", false);
    }
}
