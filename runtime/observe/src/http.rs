//! Requests to one server: HTTP/1.1, TLS by rustls on ring, no proxy, no redirect. What goes unencrypted
//! goes to loopback and private addresses only.

use std::{
    error::Error as StdError, io, net::IpAddr, net::SocketAddr, pin::Pin, sync::Arc, task::Context,
    task::Poll, time::Duration, vec,
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, StatusCode,
    header::{ACCEPT_ENCODING, RETRY_AFTER, USER_AGENT},
};
use http_body_util::{BodyExt as _, Collected, Full, Limited};
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
use url::{Host, Url};

/// How long an idle connection is kept: longer than between two exports, shorter than servers wait.
const IDLE: Duration = Duration::from_secs(45);
/// How long one address may take to answer.
const CONNECT: Duration = Duration::from_secs(10);
/// How much of an answer is read: what is rejected, in words. The rest ends the connection.
const ANSWER_BYTES: usize = 64 << 10;

/// A server that things are posted to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    client: legacy::Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>,
    timeout: Duration,
}

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// How long it asks to wait.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Bytes,
}

impl Client {
    /// A client for what begins with this URL.
    ///
    /// # Errors
    /// It leads nowhere, or unencrypted to somewhere far.
    pub(crate) fn new(
        url: &Url,
        authorities: &[Vec<u8>],
        timeout: Duration,
    ) -> Result<Self, String> {
        check(url)?;
        let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        for certificate in authorities {
            let added = roots.add(certificate.clone().into());
            added.map_err(|_| "this is no certificate of an authority".to_owned())?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let is_plain = url.scheme() == "http";
        let mut tcp = HttpConnector::new_with_resolver(Resolver { is_plain });
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls);
        let connector = match is_plain {
            true => connector.https_or_http(),
            false => connector.https_only(),
        };
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector.enable_http1().wrap_connector(tcp));
        Ok(Self { client, timeout })
    }

    /// Posts once. What is wrong, if there is no answer.
    pub(crate) async fn post(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.as_str().parse().map_err(|_| format!("`{url}` is no URL"))?;
        *request.headers_mut() = headers;
        let agent = concat!("ringfence/", env!("CARGO_PKG_VERSION"));
        request.headers_mut().insert(USER_AGENT, HeaderValue::from_static(agent));
        request.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let answered = async {
            let (head, body) = match self.client.request(request).await {
                Ok(response) => response.into_parts(),
                Err(error) => return Err(causes(&error)),
            };
            // Read to its end, so that the connection can be used again; it says nothing that must be known.
            let body = Limited::new(body, ANSWER_BYTES).collect().await;
            let body = body.map(Collected::to_bytes).unwrap_or_default();
            Ok(Answer { status: head.status, retry_after: retry_after(&head.headers), body })
        };
        let answered = tokio::time::timeout(self.timeout, answered).await;
        answered
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", self.timeout.as_millis())))
    }
}

/// What is wrong with a URL that things are to be posted to.
///
/// # Errors
/// In words.
pub fn check(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("it is reached by http or https, not by `{}`", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL has no user and no password: a secret has a key of its own".to_owned());
    }
    if url.fragment().is_some() {
        return Err("a URL that is asked for has no `#`".to_owned());
    }
    let literal = match url.host() {
        Some(Host::Ipv4(address)) => Some(IpAddr::from(address)),
        Some(Host::Ipv6(address)) => Some(address.into()),
        // A name is looked at when it is resolved.
        Some(Host::Domain(_)) | None => None,
    };
    if url.scheme() == "http" && literal.is_some_and(|address| !is_nearby(address)) {
        let problem = "what happened is told unencrypted only to a loopback or private address: \
                       write https";
        return Err(problem.to_owned());
    }
    Ok(())
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    at.duration_since(std::time::SystemTime::now()).ok()
}

/// An error with all that is behind it.
fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// The system's resolver. For what goes unencrypted it knows only addresses nearby.
#[derive(Clone)]
struct Resolver {
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
            let near = |address: &SocketAddr| !is_plain || is_nearby(address.ip());
            let found: Vec<SocketAddr> = found.filter(near).collect();
            match found.is_empty() {
                false => Ok(found.into_iter()),
                true => Err(io::Error::other("it has no address that may be used for this")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_clear_stays_near() {
        let check = |url: &str, fine: bool| {
            assert_eq!(check(&url.parse().unwrap()).is_ok(), fine, "{url}");
        };
        check("https://hooks.example/a?b=c", true);
        check("http://collector:4318", true);
        check("http://127.0.0.1:4318", true);
        check("http://[::1]:4318", true);
        check("http://8.8.8.8/", false);
        check("http://169.254.169.254/", false);
        check("https://ann:pw@hooks.example/", false);
        check("https://hooks.example/#x", false);
        check("ftp://hooks.example/", false);
    }
}
