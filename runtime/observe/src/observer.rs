//! The observer of one runtime: everything that is set, started and stopped together.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    config::Config,
    cursor::Cursors,
    gate::{Failing, Failures, Gate},
    hub::Hub,
    metric::{Counted, Metrics},
    otlp::{Endpoint, OTLP, Traces, send_metrics},
    sink::Sink,
    source::{Source, SourceError},
    span::Telling,
    tail::{Wiring, lane},
};

/// An observer cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The store cannot be read or followed.
    #[error("what is committed cannot be followed")]
    Source(#[from] SourceError),
    /// The OTLP endpoint cannot be one.
    #[error("the OTLP endpoint: {0}")]
    Otlp(String),
    /// A sink cannot be one.
    #[error("sink `{sink}` of tenant `{tenant}`: {problem}")]
    Sink {
        /// Whose.
        tenant: String,
        /// Which.
        sink: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Observes a runtime until it is stopped or dropped.
pub struct Observer {
    metrics: Metrics,
    gate: Arc<Gate>,
    /// Ends the hub once nothing is to come any more.
    stop_hub: watch::Sender<bool>,
    hub: JoinHandle<()>,
    /// Lets the others deliver what there is, and end.
    stop: watch::Sender<bool>,
    /// Each says whether it has delivered everything.
    tasks: JoinSet<bool>,
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer").field("tasks", &self.tasks.len()).finish_non_exhaustive()
    }
}

impl Observer {
    /// Starts to observe: from now on what is committed is counted, and delivered to whatever is set.
    /// A sink or exporter that has come somewhere before goes on from there.
    ///
    /// # Errors
    /// When the store cannot be read, or something that is set cannot be.
    pub async fn start(
        config: Config,
        source: Arc<dyn Source>,
        cursors: Arc<dyn Cursors>,
    ) -> Result<Self, Error> {
        let metrics = Metrics::new(&config.version);
        // Followed before the place is asked for: nothing falls between both.
        let follow = source.follow()?;
        let asked = source.clone();
        let start = tokio::task::spawn_blocking(move || asked.position()).await;
        let start = start.map_err(|error| SourceError(error.to_string()))??;
        let told = Arc::new(AtomicU64::new(start));
        let (stop, stopped) = watch::channel(false);
        let wiring = || Wiring {
            source: source.clone(),
            cursors: cursors.clone(),
            metrics: metrics.clone(),
            told: told.clone(),
            stop: stopped.clone(),
        };
        let counted = Counted::new(metrics.own.clone(), config.models.clone());
        let mut hub =
            Hub::new(source.clone(), metrics.clone(), counted, told.clone(), config.payloads);
        let mut tasks = JoinSet::new();
        let gate = Arc::new(Gate::new(source.clone()));
        let mut names = HashSet::new();
        let mut sinks = vec![];
        for sink in config.sinks {
            let (tenant, name, full) = (sink.tenant.clone(), sink.name.clone(), sink.full_name());
            let made = match names.insert(full.clone()) {
                true => Sink::new(sink, gate.clone(), metrics.clone(), &config.authorities),
                false => Err("there is another of this name".to_owned()),
            };
            let made = made.map_err(|problem| Error::Sink {
                tenant: tenant.to_string(),
                sink: name,
                problem,
            })?;
            sinks.push((tenant, full, made));
        }
        let endpoint = config.otlp.map(|otlp| Endpoint::new(otlp, &config.authorities));
        let endpoint = endpoint.transpose().map_err(Error::Otlp)?;
        for (tenant, full, sink) in sinks {
            let (lane, tail) = lane(&full, Some(&tenant), start, wiring());
            hub.add(Some(&tenant), lane);
            tasks.spawn(sink.run(tail));
        }
        if let Some(endpoint) = endpoint {
            let telling = Telling { models: config.models, payloads: config.payloads };
            let traces = Traces::new(
                endpoint.clone(),
                metrics.clone(),
                source.clone(),
                gate.clone(),
                telling,
                &config.version,
            );
            let (lane, tail) = lane(OTLP, None, start, wiring());
            hub.add(None, lane);
            tasks.spawn(traces.run(tail));
            tasks.spawn(send_metrics(endpoint, metrics.clone(), stopped.clone()));
        }
        let (stop_hub, hub_stopped) = watch::channel(false);
        let hub = tokio::spawn(hub.run(follow, hub_stopped));
        Ok(Self { metrics, gate, stop_hub, hub, stop, tasks })
    }

    /// Sinks that take nothing now, and the exporter of spans if it does not.
    #[must_use]
    pub fn failing(&self) -> Vec<Failing> {
        self.gate.failing()
    }

    /// The same for whoever asks for as long as it observes.
    #[must_use]
    pub fn failures(&self) -> Failures {
        Failures(self.gate.clone())
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Delivers what is committed by now, for so long at the most; what is left goes with the next start.
    /// Whatever is to be seen of the runtime must be over. Says whether everything was delivered.
    pub async fn stop(mut self, patience: Duration) -> bool {
        let all = async {
            // Nobody else tells what there is to deliver.
            let _ = self.stop_hub.send(true);
            let _ = (&mut self.hub).await;
            let _ = self.stop.send(true);
            let mut delivered = true;
            while let Some(task) = self.tasks.join_next().await {
                delivered &= task.unwrap_or(false);
            }
            delivered
        };
        let delivered = tokio::time::timeout(patience, all).await;
        self.tasks.abort_all();
        delivered.unwrap_or(false)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.hub.abort();
    }
}
