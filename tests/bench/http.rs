//! A request through the gate, beside the same request by the HTTP client that is below it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::{Request, Response, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use ringfence_capability::{
    Host,
    http::{Body, Gate, Timeouts},
};
use ringfence_event::{Digest, Effect, Timestamp};
use ringfence_policy::{
    CallRequest, Decision, FlagGrants, Grants, Manifest, ToolFacts, ToolPolicy,
};
use tokio::{net::TcpListener, runtime::Runtime};

use crate::{
    measure::{interleaved, times},
    ours::Nothing,
    table::{Bound, Table},
};

/// A small document, such as an interface answers with.
const BODY: &[u8] = &[b'x'; 1024];

/// As many as a call may make where nobody says otherwise.
const BLOCK: usize = 32;

pub(crate) fn measure(table: &mut Table) -> Result<()> {
    let runtime = Runtime::new()?;
    let to = runtime.block_on(serve())?;
    let url = format!("http://{to}/document");
    let sides = Sides::new(&url)?;
    runtime.block_on(async {
        ensure!(sides.direct().await? == BODY && through(&sides.gate()?, &url).await? == BODY);
        anyhow::Ok(())
    })?;
    let pair = interleaved(
        100,
        || {
            let gate = sides.gate().expect("a permit like the first");
            runtime.block_on(times(BLOCK, async || {
                through(&gate, &url).await.expect("a request like the first");
            }))
        },
        || {
            runtime.block_on(times(BLOCK, async || {
                sides.direct().await.expect("a request like the first");
            }))
        },
    );
    table.row("a request by the client alone", format!("{:.1} µs", pair.baseline), "");
    table.row("the same through the gate", format!("{:.1} µs", pair.ours), "");
    let added = Bound::AtMost { aim: 100.0, must: 150.0 };
    table.bounded("what the gate adds", pair.ours - pair.baseline, " µs", added);
    Ok(())
}

struct Sides {
    client: Client<HttpConnector, Empty<Bytes>>,
    host: Host,
    policy: ToolPolicy,
    url: String,
}

impl Sides {
    fn new(url: &str) -> Result<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let origin = url.trim_end_matches("/document");
        let manifest = format!(
            "tool = {{ name = \"tool\", component = \"tool.wasm\" }}\n[needs.http.\"{origin}\"]\n"
        );
        let facts = ToolFacts {
            name: "tool".parse()?,
            component: Digest::of(b"component"),
            definitions: Digest::of(b"definitions"),
            functions: vec![("get".parse()?, Effect::Read)],
        };
        let manifest = Manifest::parse("tool.toml", &manifest)?;
        let grants = Grants::from_flags(FlagGrants {
            http: vec![origin.to_owned()],
            ..FlagGrants::default()
        })?;
        let policy = ToolPolicy::compile(&"local".parse()?, &facts, &manifest, &grants);
        Ok(Self { client, host: Host::new(), policy, url: url.to_owned() })
    }

    /// The gate of a new call. Connections are shared between calls, as they are in use.
    fn gate(&self) -> Result<Gate> {
        let (user, function) = ("local".parse()?, "get".parse()?);
        let decision = self.policy.decide(&CallRequest::new(&user, &function, "{}"));
        let Decision::Permit(permit) = decision else { bail!("{decision:?}") };
        Ok(self.host.open(permit, Timestamp(0), 7, Arc::new(Nothing))?.gate)
    }

    async fn direct(&self) -> Result<Bytes> {
        let request = Request::get(&self.url).body(Empty::new())?;
        let response = self.client.request(request).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    }
}

async fn through(gate: &Gate, url: &str) -> Result<Bytes> {
    let body: Body = Empty::new().map_err(|never: Infallible| match never {}).boxed_unsync();
    let request = Request::get(url).body(body)?;
    let response = gate.admit(request)?.send(Timeouts::default()).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}

async fn serve() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // What is measured is the client, so the server's waiting for a full packet is not.
            let _ = stream.set_nodelay(true);
            let answer = service_fn(async |_| {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(BODY))))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
        }
    });
    Ok(address)
}
