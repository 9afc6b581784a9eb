//! What is observed and where it goes, as plain data. Who reads the operator's file makes this of it.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use ringfence_event::{ModelName, SecretFault, TenantId};
use url::Url;
use zeroize::Zeroizing;

/// Everything that is set.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// What is observed, for `service.version`.
    pub version: String,
    /// Where traces and metrics go; `None`: nowhere.
    pub otlp: Option<OtlpConfig>,
    /// Sinks of tenants.
    pub sinks: Vec<SinkConfig>,
    /// Who is behind the names of models.
    pub models: BTreeMap<ModelName, ModelIdentity>,
    /// Whether spans carry what was said, asked and returned.
    pub payloads: bool,
    /// Authorities beside those of the web, as DER.
    pub authorities: Vec<Vec<u8>>,
}

/// Where traces and metrics go: OTLP over HTTP, as protobuf.
#[derive(Clone, Debug)]
pub struct OtlpConfig {
    /// What `/v1/traces` and `/v1/metrics` are put behind.
    pub endpoint: Url,
    /// Headers of each request, such as a key; read when they are sent.
    pub headers: Vec<(String, SecretReader)>,
    /// How often metrics are sent.
    pub interval: Duration,
    /// The most time of one request.
    pub timeout: Duration,
    /// How many commits may wait for an endpoint that does not answer. Of what is more, the oldest spans are
    /// dropped and counted.
    pub backlog: u64,
}

/// One sink of one tenant.
#[derive(Clone, Debug)]
pub struct SinkConfig {
    /// Whose events.
    pub tenant: TenantId,
    /// Its name, of the tenant's sinks: by it the sink knows how far it has come.
    pub name: String,
    /// Which events: kinds, or the beginning of some with `*` at its end. Empty: all.
    pub events: Vec<String>,
    /// Whether the tenant may begin nothing while the sink takes nothing.
    pub required: bool,
    /// Where they go.
    pub target: Target,
}

/// Where events go.
#[derive(Clone, Debug)]
pub enum Target {
    /// Lines at the end of a file.
    File(FileConfig),
    /// Requests to a server.
    Webhook(WebhookConfig),
}

/// A file of JSON lines.
#[derive(Clone, Debug)]
pub struct FileConfig {
    /// The file.
    pub path: PathBuf,
    /// Whether a line must be on the disk before it counts as delivered.
    pub sync: bool,
    /// At which size the file is set aside; `None`: never.
    pub rotate_bytes: Option<u64>,
    /// How many files that were set aside are kept.
    pub keep: u32,
}

/// A signed webhook.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// Where each event is sent to.
    pub url: Url,
    /// The secrets it is signed with: the first is the present one, others are those before it.
    pub secrets: Vec<SecretReader>,
    /// The most time of one request.
    pub timeout: Duration,
    /// How old an event may become before it is given up.
    pub give_up: Duration,
}

/// Who is behind the name of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIdentity {
    /// `gen_ai.provider.name`, such as `openai`.
    pub provider: String,
    /// The vendor's name for it.
    pub name: String,
    /// The server, and its port.
    pub server: Option<(String, u16)>,
}

type Read = dyn Fn() -> Result<Zeroizing<Vec<u8>>, SecretFault> + Send + Sync;

/// Reads a secret as it is now. Cheap to clone; printed, it says nothing.
#[derive(Clone)]
pub struct SecretReader(Arc<Read>);

impl fmt::Debug for SecretReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretReader")
    }
}

impl SecretReader {
    /// What `read` gives: called for each request, on a thread that may wait.
    pub fn new(
        read: impl Fn() -> Result<Zeroizing<Vec<u8>>, SecretFault> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(read))
    }

    pub(crate) async fn read(&self) -> Result<Zeroizing<Vec<u8>>, SecretFault> {
        let read = self.0.clone();
        // A source that panicked has no value, nor has one of a runtime that is shutting down.
        tokio::task::spawn_blocking(move || read()).await.unwrap_or(Err(SecretFault::Unreadable))
    }
}

impl SinkConfig {
    /// What it is called where several tenants have one of its name.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.tenant, self.name)
    }

    /// Whether it takes events of this kind.
    #[must_use]
    pub fn takes(&self, kind: &str) -> bool {
        let matches = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => kind.starts_with(beginning),
            None => kind == pattern,
        };
        self.events.is_empty() || self.events.iter().any(matches)
    }
}
