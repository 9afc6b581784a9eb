//! The HTTP API: many tenants over one runtime, under `/v1`. Whose a request is, and on whose behalf, comes
//! from its API key alone; what is done for it is the library's; here is how it comes in and goes out.
//!
//! ```
//! let document: serde_json::Value = serde_json::from_str(&ringfence_server::openapi()).unwrap();
//! assert_eq!(document["openapi"], "3.1.0");
//! assert!(document["paths"]["/v1/sessions"]["post"].is_object());
//! ```

#![forbid(unsafe_code)]

mod answer;
mod api;
mod config;
mod cross;
mod edge;
mod events;
mod gauges;
mod guard;
mod json;
mod keys;
mod listen;
mod once;
mod problem;
mod reading;
mod request;
mod room;
mod routes;
mod seal;
mod stall;
mod state;
mod tide;
mod view;
mod works;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    response::{IntoResponse as _, Response},
};
use http::{Method, header};
use ringfence::{Cancel, OpenSession, Resumed, Runtime};
use ringfence_observe::{Failures, Metrics};
use tokio::{net::TcpListener, sync::watch};

pub use config::ServiceConfig;
pub use state::Log;

use crate::{
    problem::{Code, Problem},
    state::{Shared, State},
    works::Kind,
};

/// Why the service does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The library cannot do it.
    #[error(transparent)]
    Runtime(#[from] ringfence::Error),
    /// It cannot listen there.
    #[error("cannot listen at {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file of the service's own in the home folder cannot be written.
    #[error("the service's files in the home folder cannot be used")]
    Home(#[source] io::Error),
}

/// A service that listens.
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
    state: State,
}

/// The OpenAPI document, as it is checked in and served.
#[must_use]
pub fn openapi() -> String {
    let document = routes::api().document();
    // Plain data with string keys is always JSON.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

/// The JSON Schema of the operator's file, for editors, as it is checked in.
#[must_use]
pub fn config_schema() -> String {
    let mut file = ringfence::file_schema();
    let mut service = schemars::schema_for!(config::ServiceTable).to_value();
    if let Some(service) = service.as_object_mut() {
        service.remove("$schema");
    }
    file["title"] = "ringfence.toml".into();
    file["properties"]["service"] = service;
    // Plain data with string keys is always JSON.
    serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
}

impl Service {
    /// Begins to listen. Connections wait until [`Service::run`]. `metrics` are shown at `/metrics`, with those of
    /// how much there is to do.
    ///
    /// # Errors
    /// When the store cannot be opened, the address is taken, or the home folder cannot be written.
    pub async fn listen(
        runtime: Runtime,
        config: ServiceConfig,
        log: Arc<dyn Log>,
        metrics: Option<Metrics>,
    ) -> Result<Self, Error> {
        runtime.is_ready().await?;
        if let Some(metrics) = &metrics {
            gauges::add(metrics, &runtime);
        }
        let home = runtime.config().home().to_owned();
        let (seal, worker) =
            (seal::Seal::open(&home).map_err(Error::Home)?, once::Worker::new(&home));
        let wanted = config.listen;
        let listening = TcpListener::bind(wanted).await;
        let error = |source| Error::Listen { address: wanted, source };
        let listener = listening.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let shared = Shared {
            room: room::Room::new(config.requests, config.requests_per_tenant),
            keys: keys::Keys::default(),
            works: works::Works::default(),
            tide: tide::Tide::default(),
            draining: watch::Sender::new(false),
            closing: watch::Sender::new(false),
            failures: OnceLock::new(),
            document: openapi().into_bytes(),
            worker: worker.map_err(Error::Home)?,
            reading: reading::Reading::default(),
            runtime,
            config,
            seal,
            log,
            metrics,
        };
        shared.keys.refresh(&shared.runtime)?;
        Ok(Self { listener, address, state: State::new(shared) })
    }

    /// Lets `/readyz` say how much of what is observed goes nowhere: it is ready all the same.
    #[must_use]
    pub fn with_failures(self, failures: Failures) -> Self {
        // It is set once, before anybody asks.
        let _ = self.state.failures.set(failures);
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves, and goes on with what is unfinished, until `end` is asked for, and then for as long as what is under
    /// way takes, or the drain may take: a run that has not ended by then is left as it stands in the journal, and
    /// another process goes on with it; a direct call is cancelled. Everything recorded is durable when this
    /// returns.
    ///
    /// # Errors
    /// When something that was recorded could not be stored.
    pub async fn run(self, end: &Cancel) -> Result<(), Error> {
        let Self { listener, state, .. } = self;
        let looking = tokio::spawn(tide::look(state.clone()));
        let router = router(state.clone());
        let listening = tokio::spawn(listen::listen(listener, router, state.clone()));
        let tending = tokio::spawn(tend(state.clone()));
        end.requested().await;
        state.draining.send_replace(true);
        // Readers come back with the place where they stand.
        state.works.end_all(Kind::Stream);
        // Until then whoever asks is told so: what stands before the service sends the next ones elsewhere.
        let drained = state.runtime.drain(state.config.drain).await;
        state.closing.send_replace(true);
        // Every answer that is under way gets out, but nobody who does not read is waited for.
        let _ = tokio::time::timeout(ANSWERS, listening).await;
        tending.abort();
        looking.abort();
        drained?;
        Ok(())
    }
}

/// How long answers have to get out when all work is over.
const ANSWERS: Duration = Duration::from_secs(2);

/// How many unfinished runs are gone on with at one time, beside those that clients begin.
const AT_ONCE: usize = 64;

/// Goes on with what is unfinished.
async fn tend(state: State) {
    let never = Cancel::new();
    let log = state.log.clone();
    let mut tell = |open: &OpenSession, resumed: Resumed| {
        if let Resumed::Failed(error) = resumed {
            log.failed(&format!("going on with session {}", open.session), &error.to_string());
        }
    };
    state.runtime.tend(AT_ONCE, &never, &mut tell).await;
}

fn router(state: State) -> Router {
    let router = routes::beside(routes::api().router());
    let router = router.fallback(async || api::nothing_there());
    let router = router.method_not_allowed_fallback(wrong_method);
    router.with_state(state)
}

/// The methods that there are at a path stand in the `allow` header, which the router adds.
async fn wrong_method(method: Method) -> Response {
    let said =
        format!("{method} is not for this path; the header `allow` has the methods that are");
    let mut response = Problem::new(Code::MethodNotAllowed, said).into_response();
    response.headers_mut().remove(header::ALLOW);
    response
}
