//! What the service is measured beside, each in a process of its own as it is: a bare hyper that sends back
//! what it got, and the same route on axum, which reads the request and answers without a sandbox.

use std::{
    convert::Infallible,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use axum::{Router, body::Body, extract::Path, routing::post};
use bytes::Bytes;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tower_service::Service as _;

/// The argument that makes this program such a server.
pub(crate) const SERVE: &str = "--serve";

/// A server of this program, started and ended.
pub(crate) struct Baseline {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Baseline {
    pub(crate) fn start(which: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([SERVE, which])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let said = child.stdout.as_mut().context("its output is a pipe")?;
        BufReader::new(said).read_line(&mut line)?;
        Ok(Self { child, address: line.trim().parse()? })
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        // One that has ended by itself is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Is such a server until it is killed.
pub(crate) fn serve(which: &str) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        match which {
            "echo" => echo(listener).await,
            "route" => route(listener).await,
            _ => bail!("there is no server `{which}`"),
        }
    })
}

async fn echo(listener: TcpListener) -> Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let answer = service_fn(async |request: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

#[derive(Deserialize)]
struct NewCall {
    arguments: Greet,
}

#[derive(Deserialize)]
struct Greet {
    name: String,
}

#[derive(Serialize)]
struct Called {
    call: String,
    outcome: &'static str,
    output: String,
}

async fn route(listener: TcpListener) -> Result<()> {
    let path = "/v1/tools/{tool}/functions/{function}/call";
    let router = Router::<()>::new().route(path, post(call));
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let router = router.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            router.clone().call(request.map(Body::new))
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    }
}

async fn call(
    Path((tool, function)): Path<(String, String)>,
    body: Bytes,
) -> std::result::Result<Response<Body>, String> {
    let new: NewCall = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let output = format!("Hello, {}!", new.arguments.name);
    let called = Called { call: format!("{tool}.{function}"), outcome: "succeeded", output };
    let answer = serde_json::to_vec(&called).map_err(|error| error.to_string())?;
    let response = Response::builder().header("content-type", "application/json");
    response.body(answer.into()).map_err(|error| error.to_string())
}
