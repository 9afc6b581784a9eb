//! Connections: how many there are, what their requests may take before one is a request, and how they
//! end. HTTP/1.1 alone: what stands before a service speaks it, and there is less to get wrong.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body, response::IntoResponse as _};
use http::{HeaderValue, Request, Response, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
};
use tower_service::Service as _;

use crate::{cross, guard, stall::Stall, state::State};

/// How long nothing is accepted after the system gave no connection: mostly because all files that may
/// be open are.
const PAUSE: Duration = Duration::from_millis(50);

/// What a connection hears that there is no room for. It was not read, so this is all it is told.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    content-type: application/problem+json\r\ncontent-length: 153\r\nretry-after: 1\r\nconnection: close\r\n\r\n\
    {\"type\":\"urn:ringfence:problem:service-full\",\"title\":\"The service has as much to do as it can\",\
    \"status\":503,\"code\":\"service-full\",\"detail\":\"connections\"}";

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// How many connections each address has.
type Addresses = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// Accepts and serves connections until the service is asked to end, and then ends those that are open,
/// each after the answer that is under way.
pub(crate) async fn listen(listener: TcpListener, router: Router, state: State) {
    let room = Arc::new(Semaphore::new(state.config.connections));
    let addresses = Addresses::default();
    let mut closing = state.closing.subscribe();
    let mut open = JoinSet::new();
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|closing| *closing) => break,
            Some(_) = open.join_next() => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => {
                is_failing = false;
                accepted
            }
            Err(error) => {
                // Once for as long as it lasts: it is tried again twenty times a second.
                if !std::mem::replace(&mut is_failing, true) {
                    state.log.failed("accepting a connection", &error.to_string());
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // An IPv4 client of a service that listens at `[::]` is itself, in whatever clothes.
        let peer = peer.ip().to_canonical();
        let place = room.clone().try_acquire_owned();
        let seat = Seat::take(&addresses, peer, state.config.connections_per_address);
        let (Ok(place), Some(seat)) = (place, seat) else {
            open.spawn(refuse(stream));
            continue;
        };
        let (router, state) = (router.clone(), state.clone());
        open.spawn(async move {
            let _held = (place, seat);
            serve(stream, peer, router, state).await;
        });
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// A connection's count among those of its address.
struct Seat {
    addresses: Addresses,
    address: IpAddr,
}

impl Seat {
    fn take(addresses: &Addresses, address: IpAddr, most: usize) -> Option<Self> {
        let mut counts = addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Self { addresses: addresses.clone(), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

async fn refuse(mut stream: TcpStream) {
    // It goes whatever becomes of this.
    let _ = tokio::time::timeout(PAUSE * 20, async {
        stream.write_all(FULL).await?;
        stream.shutdown().await
    })
    .await;
}

async fn serve(stream: TcpStream, peer: IpAddr, router: Router, state: State) {
    let Ok(local) = stream.local_addr() else { return };
    // An answer is one write: nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let io = TokioIo::new(Stall::new(stream, state.config.write_time));
    let config = &state.config;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_time)
        .max_buf_size(config.header_bytes)
        .max_headers(config.header_fields)
        .half_close(false);
    let closing = state.closing.subscribe();
    let service = service_fn(|request: Request<Incoming>| {
        answer(request, (local.ip().to_canonical(), Peer(peer)), router.clone(), state.clone())
    });
    let connection = builder.serve_connection(io, service);
    tokio::pin!(connection);
    // A connection that ends badly has nobody to tell.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = asked_to_end(closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn asked_to_end(mut closing: watch::Receiver<bool>) {
    // Whoever could ask is gone: that is the end, too.
    let _ = closing.wait_for(|closing| *closing).await;
}

async fn answer(
    request: Request<Incoming>,
    (local, peer): (IpAddr, Peer),
    mut router: Router,
    state: State,
) -> Result<Response<Body>, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    let page = cross::listed(&state.config, &parts.headers);
    let preflight = page.as_ref().and_then(|_| cross::preflight(&parts));
    let mut response = match guard::check(&state.config, &parts, local) {
        Err(problem) => {
            let mut response = problem.into_response();
            // What follows on the same connection is believed as little.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
            response
        }
        Ok(()) if let Some(allowed) = preflight => allowed,
        Ok(()) => {
            let mut request = Request::from_parts(parts, Body::new(body));
            request.extensions_mut().insert(peer);
            match router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if state.is_draining() {
        // The next request is another process's.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(origin) = page {
        cross::let_read(headers, origin);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::FULL;

    #[test]
    fn what_a_connection_hears_that_has_no_room_is_an_answer() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{}", body.len());
        serde_json::from_str::<serde_json::Value>(body).unwrap();
    }
}
