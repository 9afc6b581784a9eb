//! What an operator sees of whole runs: spans and metrics at an OTLP receiver, events in files and at
//! webhooks, with receivers that are slow, broken or gone.

mod metrics;
#[expect(clippy::unwrap_used, reason = "a receiver's thread fails by panicking")]
mod receiver;
#[expect(clippy::unwrap_used, reason = "a receiver's thread fails by panicking")]
mod sinks;
mod traces;

use std::{pin::Pin, sync::Arc, time::Duration};

use ringfence::{
    Follower, Runtime,
    event::{CommitPage, Event, Followed, Stream, TenantId},
};
use ringfence_observe::{Config, FileCursors, Follow, Observer, OtlpConfig, Source, SourceError};

use crate::world::World;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A world whose agent reads files of a workspace, as this script says.
pub(crate) async fn reading(script: &str) -> (World, ringfence::Agent) {
    let world = World::new();
    world.add(&["tools/files"]).await;
    let workspace = world.path("workspace").display().to_string();
    world.grants(&format!(
        "[tenant.local.tool.files]\nfs.workspace = {{ path = \"{workspace}\", access = \"read\" }}\n"
    ));
    world.script(script);
    let agent = world.agent("files = \"*\"", "");
    (world, agent)
}

/// A runtime as it is observed.
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

/// Observes a runtime of a world.
pub(crate) async fn observe(world: &World, runtime: &Runtime, config: Config) -> Observer {
    let cursors = Arc::new(FileCursors::new(&world.path(".ringfence/observe")));
    let source = Arc::new(Of(runtime.clone()));
    Observer::start(config, source, cursors).await.expect("an observer")
}

/// Nothing but an endpoint, at which metrics arrive when it is stopped.
pub(crate) fn to(endpoint: &str) -> Config {
    let otlp = OtlpConfig {
        endpoint: endpoint.parse().expect("a URL"),
        headers: vec![],
        interval: Duration::from_secs(3600),
        timeout: Duration::from_secs(10),
        backlog: 100_000,
    };
    Config { version: "0.0.0".to_owned(), otlp: Some(otlp), ..Config::default() }
}
