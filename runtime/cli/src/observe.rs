//! What the operator's file says of telemetry and sinks, and the runtime as the observer sees it.

use std::{pin::Pin, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use ringfence::{
    Config, Follower, LogLevel, Runtime,
    event::{CommitPage, Event, Followed, SecretPlace, Stream, TenantId},
    model::{ModelSource, VendorProtocol},
    policy::{Sink, SinkTarget},
    vault::Vault,
};
use ringfence_observe::{
    Config as Observed, FileConfig, FileCursors, Follow, ModelIdentity, Observer, OtlpConfig,
    SecretReader, SinkConfig, Source, SourceError, Target, WebhookConfig,
};

/// How long a program that is done waits for what it has to say of itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Observes a runtime, if the operator's file says of anything where it is to go.
///
/// # Errors
/// When what it says cannot be done.
pub(crate) async fn start_if_set(runtime: &Runtime) -> Result<Option<Observer>> {
    let config = runtime.config();
    let telemetry = config.telemetry();
    let is_set = telemetry.otlp.is_some()
        || telemetry.log.is_some_and(|level| level != LogLevel::Off)
        || config.sinks().next().is_some();
    match is_set {
        true => start(runtime).await.map(Some),
        false => Ok(None),
    }
}

/// Observes a runtime.
///
/// # Errors
/// When what the operator's file says of it cannot be done.
pub(crate) async fn start(runtime: &Runtime) -> Result<Observer> {
    let config = runtime.config();
    let cursors = Arc::new(FileCursors::new(&config.home().join("observe")));
    let source = Arc::new(Of(runtime.clone()));
    Observer::start(observed(&config), source, cursors).await.context("cannot observe the runtime")
}

/// Lets what was observed arrive, as far as it does so soon: the rest goes with the next start.
pub(crate) async fn stop(observer: Option<Observer>) {
    if let Some(observer) = observer {
        observer.stop(PATIENCE).await;
    }
}

/// What is set, as the observer takes it.
fn observed(config: &Config) -> Observed {
    let telemetry = config.telemetry();
    let vault = config.vault();
    let otlp = telemetry.otlp.as_ref().map(|otlp| OtlpConfig {
        endpoint: otlp.endpoint.clone(),
        headers: otlp
            .headers
            .iter()
            .map(|(name, place)| (name.clone(), secret(vault, place)))
            .collect(),
        interval: otlp.interval,
        timeout: otlp.timeout,
        backlog: otlp.backlog,
    });
    let models = config.models().map(|(name, model)| (name.clone(), identity(&model.source)));
    Observed {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        otlp,
        sinks: config.sinks().map(|(tenant, given)| sink(tenant, given, vault)).collect(),
        models: models.collect(),
        payloads: telemetry.payloads,
        authorities: vec![],
    }
}

fn identity(source: &ModelSource) -> ModelIdentity {
    match source {
        ModelSource::Script { file } => ModelIdentity {
            provider: "scripted".to_owned(),
            name: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            server: None,
        },
        ModelSource::Vendor(vendor) => {
            let provider = match vendor.protocol {
                VendorProtocol::OpenAiChat | VendorProtocol::OpenAiResponses => "openai",
                VendorProtocol::Anthropic => "anthropic",
            };
            let host = vendor.url.host_str().map(str::to_owned);
            ModelIdentity {
                provider: provider.to_owned(),
                name: vendor.name.clone(),
                server: host.zip(vendor.url.port_or_known_default()),
            }
        }
    }
}

fn sink(tenant: &TenantId, sink: &Sink, vault: &Vault) -> SinkConfig {
    let target = match &sink.target {
        SinkTarget::File { path, sync, rotate_bytes, keep } => Target::File(FileConfig {
            path: path.clone(),
            sync: *sync,
            rotate_bytes: *rotate_bytes,
            keep: *keep,
        }),
        SinkTarget::Webhook { url, secret: now, old_secret, timeout, give_up } => {
            let secrets = [Some(now), old_secret.as_ref()].into_iter().flatten();
            Target::Webhook(WebhookConfig {
                url: url.clone(),
                secrets: secrets.map(|place| secret(vault, place)).collect(),
                timeout: *timeout,
                give_up: *give_up,
            })
        }
    };
    let Sink { name, events, required, .. } = sink.clone();
    SinkConfig { tenant: tenant.clone(), name, events, required, target }
}

fn secret(vault: &Vault, place: &SecretPlace) -> SecretReader {
    let (vault, place) = (vault.clone(), place.clone());
    SecretReader::new(move || vault.value(&place))
}

/// A runtime, as far as it is observed.
struct Of(Runtime);

impl Source for Of {
    fn position(&self) -> Result<u64, SourceError> {
        self.0.position().map_err(said)
    }

    fn committed(
        &self,
        after: u64,
        tenant: Option<&TenantId>,
        limit: u32,
    ) -> Result<CommitPage, SourceError> {
        self.0.committed(after, tenant, limit).map_err(said)
    }

    fn recorded(
        &self,
        tenant: &TenantId,
        stream: &Stream,
        from: u64,
        limit: u32,
    ) -> Result<Vec<Event>, SourceError> {
        self.0.recorded(tenant, stream, from, limit).map_err(said)
    }

    fn follow(&self) -> Result<Box<dyn Follow>, SourceError> {
        Ok(Box::new(Following(self.0.follow().map_err(said)?)))
    }

    fn suspend(&self, tenant: &TenantId, why: Option<String>) {
        self.0.suspend(tenant, why);
    }
}

struct Following(Follower);

impl Follow for Following {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Followed> + Send + '_>> {
        Box::pin(self.0.next())
    }
}

fn said(error: ringfence::Error) -> SourceError {
    SourceError(error.to_string())
}
