//! `[telemetry]`: what an operator sees of the host, and where it is sent.

use std::{collections::BTreeMap, path::Path, time::Duration};

use ringfence_event::SecretPlace;
use ringfence_policy::{ConfigError, Count, Millis, SecretGrant, server_url};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use url::Url;

/// How often metrics are sent if nothing else is said: as often as Prometheus asks for them.
const INTERVAL: Duration = Duration::from_secs(30);
/// The most time of one request if nothing else is said, as OpenTelemetry has it.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How many commits may wait for an endpoint if nothing else is said: some hours of a busy service.
const BACKLOG: u64 = 100_000;

/// `[telemetry]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct TelemetryTable {
    /// How loud the log is.
    log: Option<LogLevel>,
    /// Whether spans and the log carry what was said, asked and returned.
    payloads: bool,
    otlp: Option<OtlpTable>,
}

/// `[telemetry.otlp]`
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct OtlpTable {
    /// What `/v1/traces` and `/v1/metrics` are put behind.
    #[schemars(with = "String")]
    endpoint: Spanned<String>,
    /// Headers of each request, and where their values are kept.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, SecretGrant>")]
    headers: BTreeMap<Spanned<String>, Spanned<SecretGrant>>,
    /// How often metrics are sent.
    #[schemars(with = "Option<Millis>")]
    interval: Option<Spanned<Millis>>,
    /// The most time of one request.
    #[schemars(with = "Option<Millis>")]
    timeout: Option<Spanned<Millis>>,
    /// How many commits may wait for an endpoint that does not answer.
    #[schemars(with = "Option<Count>")]
    backlog: Option<Spanned<Count>>,
}

/// How loud the log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What somebody must mend.
    Error,
    /// What somebody should look at, too.
    #[default]
    Warn,
    /// What begins and ends, too.
    Info,
    /// For whoever works on the host.
    Debug,
}

/// What an operator sees of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telemetry {
    /// How loud the log is; `None`: the program knows best.
    pub log: Option<LogLevel>,
    /// Whether spans and the log carry what was said, asked and returned.
    pub payloads: bool,
    /// Where traces and metrics are sent.
    pub otlp: Option<Otlp>,
}

/// Where traces and metrics are sent: OTLP over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Otlp {
    /// What `/v1/traces` and `/v1/metrics` are put behind.
    pub endpoint: Url,
    /// Headers of each request, and where their values are kept.
    pub headers: Vec<(String, SecretPlace)>,
    /// How often metrics are sent.
    pub interval: Duration,
    /// The most time of one request.
    pub timeout: Duration,
    /// How many commits may wait for an endpoint that does not answer.
    pub backlog: u64,
}

/// Headers that are the protocol's own.
const OWN_HEADERS: [&str; 6] = [
    "content-type",
    "content-length",
    "content-encoding",
    "host",
    "transfer-encoding",
    "connection",
];

impl TelemetryTable {
    pub(crate) fn check(
        self,
        file: &str,
        text: &str,
        folder: &Path,
    ) -> Result<Telemetry, ConfigError> {
        let Self { log, payloads, otlp } = self;
        let otlp = otlp.map(|otlp| otlp.check(file, text, folder)).transpose()?;
        Ok(Telemetry { log, payloads, otlp })
    }
}

impl OtlpTable {
    fn check(self, file: &str, text: &str, folder: &Path) -> Result<Otlp, ConfigError> {
        let error = |span, message: String, help: &str| {
            ConfigError::at(file, text, span, message).with_help(help)
        };
        let endpoint = server_url(self.endpoint.get_ref()).and_then(|url| match url.query() {
            None => Ok(url),
            Some(_) => Err("an endpoint ends with its path, without `?`".to_owned()),
        });
        let endpoint = endpoint.map_err(|problem| {
            let help = "such as `endpoint = \"http://127.0.0.1:4318\"`";
            error(self.endpoint.span(), problem, help)
        })?;
        let mut headers = vec![];
        for (name, value) in self.headers {
            let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            let lower = name.get_ref().to_ascii_lowercase();
            let is_name = !lower.is_empty() && lower.bytes().all(token);
            if !is_name || OWN_HEADERS.contains(&lower.as_str()) {
                let message = format!("`{}` is no header to be set here", name.get_ref());
                let help = "such as `headers.authorization = { env = \"OTLP_KEY\" }`";
                return Err(error(name.span(), message, help));
            }
            if value.get_ref().user {
                let message = "the endpoint's headers are the same for all users".to_owned();
                return Err(error(value.span(), message, "take out `user` and `{user}`"));
            }
            let place = match value.into_inner().place {
                SecretPlace::File { path } => SecretPlace::File { path: folder.join(path) },
                other => other,
            };
            headers.push((lower, place));
        }
        let time = |given: Option<Spanned<Millis>>, key: &str, otherwise| match given {
            Some(given) if given.get_ref().0 == 0 => {
                let message = format!("`{key}` is more than nothing");
                Err(error(given.span(), message, &format!("such as `{key} = \"10s\"`")))
            }
            given => Ok(given.map_or(otherwise, |time| Duration::from_millis(time.get_ref().0))),
        };
        Ok(Otlp {
            endpoint,
            headers,
            interval: time(self.interval, "interval", INTERVAL)?,
            timeout: time(self.timeout, "timeout", TIMEOUT)?,
            backlog: self.backlog.map_or(BACKLOG, |backlog| backlog.get_ref().0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn read(lines: &str) -> Result<Telemetry, String> {
        let config = Config::read(Path::new("/etc/ringfence.toml"), lines.to_owned());
        config.map(|config| config.telemetry().clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn telemetry_is_what_its_lines_say() {
        assert_eq!(read(""), Ok(Telemetry::default()));
        let all = "[telemetry]\nlog = \"debug\"\npayloads = true\n[telemetry.otlp]\n\
                   endpoint = \"https://otlp.example/base\"\n\
                   headers.Authorization = { env = \"KEY\" }\nheaders.x-team = { file = \"team\" }\n\
                   interval = \"5s\"\ntimeout = \"2s\"\nbacklog = \"10k\"\n";
        let read_all = read(all).unwrap();
        assert_eq!((read_all.log, read_all.payloads), (Some(LogLevel::Debug), true));
        let otlp = read_all.otlp.unwrap();
        assert_eq!(otlp.endpoint.as_str(), "https://otlp.example/base");
        let env = SecretPlace::Environment { variable: "KEY".into() };
        let file = SecretPlace::File { path: "/etc/team".into() };
        let headers = [("authorization".to_owned(), env), ("x-team".to_owned(), file)];
        assert_eq!(otlp.headers, headers);
        let seconds = Duration::from_secs;
        assert_eq!((otlp.interval, otlp.timeout, otlp.backlog), (seconds(5), seconds(2), 10_000));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let check = |lines: &str, part: &str| {
            let error = read(lines).expect_err(lines);
            assert!(error.contains(part), "{lines}\n{error}");
        };
        let otlp = |lines: &str| {
            format!("[telemetry.otlp]\nendpoint = \"http://127.0.0.1:4318\"\n{lines}\n")
        };
        check("[telemetry]\nlog = \"loud\"", "unknown word `loud`");
        check("[telemetry]\nlogs = \"info\"", "did you mean `log`?");
        check("[telemetry.otlp]", "the key `endpoint` is missing");
        check("[telemetry.otlp]\nendpoint = \"127.0.0.1:4318\"", "ringfence.toml:2:12");
        check("[telemetry.otlp]\nendpoint = \"http://8.8.8.8:4318\"", "write https");
        check("[telemetry.otlp]\nendpoint = \"https://a/?b\"", "without `?`");
        check(&otlp("headers.content-type = { env = \"A\" }"), "is no header to be set here");
        check(&otlp("headers.\"a b\" = { env = \"A\" }"), "is no header to be set here");
        check(&otlp("headers.a = { env = \"A_{user}\", user = true }"), "the same for all users");
        check(&otlp("headers.a = \"secret\""), "a table");
        check(&otlp("interval = \"0s\""), "`interval` is more than nothing");
        check(&otlp("timeout = \"0s\""), "`timeout` is more than nothing");
        check(&otlp("backlog = \"7 apples\""), "ringfence.toml:3");
    }
}
