//! `[service]` of the operator's file: where the service listens, who may ask it, and what a request may
//! take.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use ringfence::{
    Config,
    policy::{Bytes, ConfigError, Count, Millis, parse_file},
};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

/// Where the service listens if nothing else is said: on this machine only.
const LISTEN: &str = "127.0.0.1:8080";

/// `[service]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct ServiceTable {
    /// The address and port that it listens at. Port 0: any free one.
    #[schemars(with = "Option<String>")]
    listen: Option<Spanned<String>>,
    /// The names that clients know it by, beside this machine's own. A request for another is refused.
    #[schemars(with = "Vec<String>")]
    hosts: Vec<Spanned<String>>,
    /// The origins whose pages may ask it, such as `https://console.example.com`.
    #[schemars(with = "Vec<String>")]
    origins: Vec<Spanned<String>>,
    /// How many connections are open at one time.
    #[schemars(with = "Option<u64>")]
    connections: Option<Spanned<Count>>,
    /// How many of them one address has.
    #[schemars(with = "Option<u64>")]
    connections_per_address: Option<Spanned<Count>>,
    /// How many requests are being answered at one time, apart from event streams and from what only waits for
    /// a run or a call.
    #[schemars(with = "Option<u64>")]
    requests: Option<Spanned<Count>>,
    /// How many of them one tenant has, those that wait for a run or a call among them; three quarters of
    /// all if nothing is said.
    #[schemars(with = "Option<u64>")]
    requests_per_tenant: Option<Spanned<Count>>,
    /// How many event streams are open at one time.
    #[schemars(with = "Option<u64>")]
    streams: Option<Spanned<Count>>,
    /// How many of them one tenant has.
    #[schemars(with = "Option<u64>")]
    streams_per_tenant: Option<Spanned<Count>>,
    /// How long a request's target and header fields are together.
    #[schemars(with = "Option<String>")]
    header: Option<Spanned<Bytes>>,
    /// How many header fields a request has.
    #[schemars(with = "Option<u64>")]
    header_fields: Option<Spanned<Count>>,
    /// How long they take to arrive, and how long a connection lies idle.
    #[schemars(with = "Option<String>")]
    header_time: Option<Spanned<Millis>>,
    /// How large a body is.
    #[schemars(with = "Option<String>")]
    body: Option<Spanned<Bytes>>,
    /// How long it takes to arrive.
    #[schemars(with = "Option<String>")]
    body_time: Option<Spanned<Millis>>,
    /// How long an answer is waited for.
    #[schemars(with = "Option<String>")]
    request_time: Option<Spanned<Millis>>,
    /// How long a client takes to read any part of an answer.
    #[schemars(with = "Option<String>")]
    write_time: Option<Spanned<Millis>>,
    /// How long it goes on with what is under way once it is asked to end.
    #[schemars(with = "Option<String>")]
    drain: Option<Spanned<Millis>>,
    /// How often an event stream says that it is there, when nothing happens.
    #[schemars(with = "Option<String>")]
    heartbeat: Option<Spanned<Millis>>,
    /// How many events a reader may be behind before it is told of a gap.
    #[schemars(with = "Option<u64>")]
    stream_lag: Option<Spanned<Count>>,
    /// Who may read `/metrics`, which tell of all tenants.
    metrics: MetricsFor,
}

/// Who may read metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum MetricsFor {
    /// Nobody.
    Nobody,
    /// Whoever asks from this machine, which a proxy on it does for others.
    #[default]
    Machine,
    /// Whoever reaches the service.
    Everybody,
}

/// What holds for the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) origins: BTreeSet<String>,
    pub(crate) connections: usize,
    pub(crate) connections_per_address: usize,
    pub(crate) requests: usize,
    pub(crate) requests_per_tenant: usize,
    pub(crate) streams: usize,
    pub(crate) streams_per_tenant: usize,
    pub(crate) header_bytes: usize,
    pub(crate) header_fields: usize,
    pub(crate) header_time: Duration,
    pub(crate) body_bytes: usize,
    pub(crate) body_time: Duration,
    pub(crate) request_time: Duration,
    pub(crate) write_time: Duration,
    pub(crate) drain: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) stream_lag: u64,
    pub(crate) metrics: MetricsFor,
}

/// The whole of the file, of which this reads one table; the library reads the others strictly.
#[rustfmt::skip]
#[derive(Default, Deserialize)]
struct Whole { #[serde(default)] service: ServiceTable }

impl ServiceConfig {
    /// Reads the service's part of the operator's file.
    ///
    /// # Errors
    /// The first thing that is wrong in it.
    pub fn of(config: &Config) -> Result<Self, ConfigError> {
        let file = config.file().map(|file| file.display().to_string()).unwrap_or_default();
        Self::parse(&file, config.text())
    }

    /// Reads it from the file's text.
    ///
    /// # Errors
    /// The first thing that is wrong in it.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let Whole { service: table } = parse_file(file, text)?;
        let wrong = |span, message: String| ConfigError::at(file, text, span, message);
        let listen = match &table.listen {
            None => LISTEN.parse().map_err(|_| wrong(0..0, String::new()))?,
            Some(given) => given.get_ref().parse().map_err(|_| {
                let message = format!("`{}` is no address and port", given.get_ref());
                wrong(given.span(), message).with_help("such as `127.0.0.1:8080` or `[::]:8080`")
            })?,
        };
        let hosts = table.hosts.iter().map(|given| {
            let host = given.get_ref().to_ascii_lowercase();
            let is_name = !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
            match is_name {
                true => Ok(host),
                false => Err(wrong(given.span(), format!("`{host}` is no host name"))
                    .with_help("such as `ringfence.example.com`, without scheme, port and path")),
            }
        });
        let origins = table.origins.iter().map(|given| {
            let url = url::Url::parse(given.get_ref()).ok();
            let origin = url.as_ref().map(|url| url.origin().ascii_serialization());
            match origin {
                Some(origin) if origin == *given.get_ref() => Ok(origin),
                _ => Err(wrong(given.span(), format!("`{}` is no origin", given.get_ref()))
                    .with_help("such as `https://console.example.com`, without a path")),
            }
        });
        let count = |given: &Option<Spanned<Count>>, or: usize| match given {
            None => Ok(or),
            Some(given) => match usize::try_from(given.get_ref().0) {
                Ok(count @ 1..=1_000_000) => Ok(count),
                _ => Err(wrong(given.span(), "it is a number from 1 to 1000000".into())),
            },
        };
        let bytes = |given: &Option<Spanned<Bytes>>, or: usize, least: u64, most: u64| match given {
            None => Ok(or),
            Some(given) if (least..=most).contains(&given.get_ref().0) => {
                Ok(usize::try_from(given.get_ref().0).unwrap_or(usize::MAX))
            }
            Some(given) => {
                let message = format!("it is from {} KiB to {} MiB", least >> 10, most >> 20);
                Err(wrong(given.span(), message))
            }
        };
        let time = |given: &Option<Spanned<Millis>>, or: u64| match given {
            None => Ok(Duration::from_secs(or)),
            Some(given) if (1..=86_400_000).contains(&given.get_ref().0) => {
                Ok(Duration::from_millis(given.get_ref().0))
            }
            Some(given) => Err(wrong(given.span(), "it is from 1ms to 24h".into())),
        };
        let requests = count(&table.requests, 1024)?;
        // As of the host's slots: what one tenant asks for leaves something to the next.
        let requests_per_tenant = count(&table.requests_per_tenant, (requests * 3).div_ceil(4))?;
        Ok(Self {
            listen,
            hosts: hosts.collect::<Result<_, _>>()?,
            origins: origins.collect::<Result<_, _>>()?,
            // As many as a process may have files open where nobody raised that: what is left over is
            // for tools. A thousand event streams fit.
            connections: count(&table.connections, 4096)?,
            connections_per_address: count(&table.connections_per_address, 2048)?,
            requests,
            requests_per_tenant,
            streams: count(&table.streams, 2048)?,
            streams_per_tenant: count(&table.streams_per_tenant, 1024)?,
            // hyper reads at least 8 KiB at a time.
            header_bytes: bytes(&table.header, 16 << 10, 8 << 10, 1 << 20)?,
            header_fields: count(&table.header_fields, 64)?,
            header_time: time(&table.header_time, 15)?,
            body_bytes: bytes(&table.body, 1 << 20, 1 << 10, 64 << 20)?,
            body_time: time(&table.body_time, 15)?,
            request_time: time(&table.request_time, 120)?,
            write_time: time(&table.write_time, 30)?,
            drain: time(&table.drain, 30)?,
            heartbeat: time(&table.heartbeat, 15)?,
            stream_lag: count(&table.stream_lag, 4096)? as u64,
            metrics: table.metrics,
        })
    }

    /// The same, listening at another address.
    #[must_use]
    pub fn with_listen(self, listen: SocketAddr) -> Self {
        Self { listen, ..self }
    }
}
