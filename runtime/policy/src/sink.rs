//! `[[tenant.NAME.sink]]`: where a tenant's events go besides its journal.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use ringfence_event::{Body, SecretPlace};
use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use crate::{Bytes, ConfigError, Count, Millis, SecretGrant, config::line_of, server_url};

/// How many files that were set aside are kept if nothing else is said.
const KEEP: u32 = 5;
/// The least at which a file is set aside: smaller ones would be more names than lines.
const ROTATE_MIN: u64 = 64 << 10;
/// The most time of one request if nothing else is said, as Standard Webhooks recommends.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How old an event becomes before it is given up if nothing else is said: a long weekend.
const GIVE_UP: Duration = Duration::from_secs(72 * 3600);

/// A sink as an operator writes it: a `file`, or a `url` with a `secret`.
///
/// ```toml
/// [[tenant.acme.sink]]
/// name = "audit"
/// file = "audit.jsonl"        # JSON lines, a CloudEvent each, seen from the folder of this file
/// events = ["run.*", "call.denied"]   # absent: all
/// required = true             # while it takes nothing, the tenant begins nothing new
/// sync = true                 # on the disk before it counts as delivered; absent: yes
/// rotate = "64MiB"            # set aside when it is larger; absent: never
/// keep = 5                    # of those set aside
///
/// [[tenant.acme.sink]]
/// name = "hook"
/// url = "https://hooks.example/ringfence"
/// secret = { env = "HOOK_SECRET" }        # whsec_… of Standard Webhooks
/// old-secret = { env = "HOOK_SECRET_OLD" }  # while receivers change over
/// timeout = "15s"             # of one request
/// give-up = "72h"             # older events that are not taken are dropped, and counted
/// ```
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SinkTable {
    #[schemars(with = "String")]
    name: Spanned<String>,
    #[schemars(with = "Option<String>")]
    file: Option<Spanned<String>>,
    #[schemars(with = "Option<String>")]
    url: Option<Spanned<String>>,
    #[schemars(with = "Option<SecretGrant>")]
    secret: Option<Spanned<SecretGrant>>,
    #[schemars(with = "Option<SecretGrant>")]
    old_secret: Option<Spanned<SecretGrant>>,
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    events: Vec<Spanned<String>>,
    #[serde(default)]
    required: bool,
    #[schemars(with = "Option<bool>")]
    sync: Option<Spanned<bool>>,
    #[schemars(with = "Option<Bytes>")]
    rotate: Option<Spanned<Bytes>>,
    #[schemars(with = "Option<Count>")]
    keep: Option<Spanned<Count>>,
    #[schemars(with = "Option<Millis>")]
    timeout: Option<Spanned<Millis>>,
    #[schemars(with = "Option<Millis>")]
    give_up: Option<Spanned<Millis>>,
}

/// A sink, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Its name among the tenant's.
    pub name: String,
    /// Which kinds of events, or beginnings of such with `*` behind; empty: all.
    pub events: Vec<String>,
    /// Whether the tenant begins nothing new while the sink takes nothing.
    pub required: bool,
    /// Where events go.
    pub target: SinkTarget,
    /// The line of its table.
    pub line: u32,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkTarget {
    /// Lines of a file.
    File {
        /// The file.
        path: PathBuf,
        /// Whether each line is on the disk before it counts as delivered.
        sync: bool,
        /// At which size it is set aside.
        rotate_bytes: Option<u64>,
        /// How many that were set aside are kept.
        keep: u32,
    },
    /// Requests to a server.
    Webhook {
        /// Where.
        url: Url,
        /// The secret that each is signed with.
        secret: SecretPlace,
        /// The one before it.
        old_secret: Option<SecretPlace>,
        /// The most time of one request.
        timeout: Duration,
        /// How old an event becomes before it is given up.
        give_up: Duration,
    },
}

/// The file, for errors.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    text: &'a str,
    folder: &'a Path,
}

impl Place<'_> {
    fn error(&self, span: Range<usize>, message: impl AsRef<str>, help: &str) -> ConfigError {
        ConfigError::at(self.file, self.text, span, message).with_help(help)
    }

    fn secret(&self, given: Spanned<SecretGrant>) -> Result<SecretPlace, ConfigError> {
        if given.get_ref().user {
            let message = "a webhook's secret is the same for all users";
            return Err(self.error(given.span(), message, "take out `user` and `{user}`"));
        }
        Ok(match given.into_inner().place {
            SecretPlace::File { path } => SecretPlace::File { path: self.folder.join(path) },
            other => other,
        })
    }

    fn time(
        &self,
        given: Option<Spanned<Millis>>,
        key: &str,
        otherwise: Duration,
    ) -> Result<Duration, ConfigError> {
        match given {
            Some(given) if given.get_ref().0 == 0 => {
                let message = format!("`{key}` of nothing lets nothing arrive");
                Err(self.error(given.span(), message, &format!("such as `{key} = \"15s\"`")))
            }
            given => Ok(given.map_or(otherwise, |time| Duration::from_millis(time.get_ref().0))),
        }
    }
}

impl Sink {
    /// The sinks of one tenant.
    pub(crate) fn read(
        file: &str,
        text: &str,
        folder: &Path,
        tables: Vec<Spanned<SinkTable>>,
    ) -> Result<Vec<Self>, ConfigError> {
        let place = Place { file, text, folder };
        let mut sinks: Vec<Self> = vec![];
        for table in tables {
            let (span, name) = (table.span(), table.get_ref().name.span());
            let sink = check(place, table.into_inner(), line_of(text, span.start))?;
            if sinks.iter().any(|other| other.name == sink.name) {
                let message = format!("there are two sinks `{}`", sink.name);
                let help = "a sink knows by its name how far it has come: call one otherwise";
                return Err(place.error(name, message, help));
            }
            sinks.push(sink);
        }
        Ok(sinks)
    }

    /// The file it writes, if it does.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.target {
            SinkTarget::File { path, .. } => Some(path),
            SinkTarget::Webhook { .. } => None,
        }
    }
}

fn check(place: Place<'_>, table: SinkTable, line: u32) -> Result<Sink, ConfigError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let name = table.name.get_ref();
    if name.is_empty() || name.len() > 40 || !name.bytes().all(plain) {
        let message = format!("`{name}` is no name of a sink: 1 to 40 of a-z, 0-9 and -");
        return Err(place.error(table.name.span(), message, "such as `name = \"audit\"`"));
    }
    for pattern in &table.events {
        let matches = |kind: &&str| match pattern.get_ref().strip_suffix('*') {
            Some(beginning) => kind.starts_with(beginning),
            None => *kind == pattern.get_ref(),
        };
        if !Body::KINDS.iter().any(matches) {
            let message = format!("there is no event `{}`", pattern.get_ref());
            let help = "such as \"run.completed\", or \"call.*\" for all that begin so";
            return Err(place.error(pattern.span(), message, help));
        }
    }
    let target = match (&table.file, &table.url) {
        (Some(file), None) => to_file(place, &table, file)?,
        (None, Some(url)) => to_server(place, &table, url)?,
        (Some(_), Some(url)) => {
            let message = "a sink has a `file` or a `url`, not both";
            return Err(place.error(url.span(), message, "write two sinks"));
        }
        (None, None) => {
            let message = "the sink does not say where events go";
            let help = "such as `file = \"audit.jsonl\"`, or `url = \"https://…\"` with a `secret`";
            return Err(place.error(table.name.span(), message, help));
        }
    };
    let events = table.events.into_iter().map(Spanned::into_inner).collect();
    let (name, required) = (table.name.into_inner(), table.required);
    Ok(Sink { name, events, required, target, line })
}

/// Refuses keys that would do nothing.
fn without(
    place: Place<'_>,
    what: &str,
    keys: &[(Option<Range<usize>>, &str)],
) -> Result<(), ConfigError> {
    for (span, key) in keys {
        if let Some(span) = span {
            let message = format!("a sink that is a {what} has no `{key}`");
            return Err(place.error(span.clone(), message, "take it out"));
        }
    }
    Ok(())
}

fn span<T>(key: &Option<Spanned<T>>) -> Option<Range<usize>> {
    key.as_ref().map(Spanned::span)
}

fn to_file(
    place: Place<'_>,
    table: &SinkTable,
    file: &Spanned<String>,
) -> Result<SinkTarget, ConfigError> {
    let others = [
        (span(&table.secret), "secret"),
        (span(&table.old_secret), "old-secret"),
        (span(&table.timeout), "timeout"),
        (span(&table.give_up), "give-up"),
    ];
    without(place, "file", &others)?;
    if file.get_ref().is_empty() || file.get_ref().contains('\0') {
        let help = "such as `file = \"audit.jsonl\"`";
        return Err(place.error(file.span(), "`file` is the path of a file", help));
    }
    let rotate_bytes = match &table.rotate {
        Some(rotate) if rotate.get_ref().0 < ROTATE_MIN => {
            let message = "a file is set aside at 64KiB or more";
            return Err(place.error(rotate.span(), message, "such as `rotate = \"64MiB\"`"));
        }
        rotate => rotate.as_ref().map(|rotate| rotate.get_ref().0),
    };
    let keep = match (&table.keep, rotate_bytes) {
        (Some(keep), None) => {
            let message = "`keep` needs `rotate` beside it";
            return Err(place.error(keep.span(), message, "such as `rotate = \"64MiB\"`"));
        }
        (Some(keep), Some(_)) => {
            let number = u32::try_from(keep.get_ref().0).ok().filter(|keep| *keep <= 1000);
            number.ok_or_else(|| {
                let message = "`keep` is a number up to 1000";
                place.error(keep.span(), message, "such as `keep = 5`")
            })?
        }
        (None, _) => KEEP,
    };
    let sync = table.sync.as_ref().is_none_or(|sync| *sync.get_ref());
    Ok(SinkTarget::File { path: place.folder.join(file.get_ref()), sync, rotate_bytes, keep })
}

fn to_server(
    place: Place<'_>,
    table: &SinkTable,
    given: &Spanned<String>,
) -> Result<SinkTarget, ConfigError> {
    let others =
        [(span(&table.sync), "sync"), (span(&table.rotate), "rotate"), (span(&table.keep), "keep")];
    without(place, "webhook", &others)?;
    let url = server_url(given.get_ref()).map_err(|problem| {
        place.error(given.span(), problem, "such as `url = \"https://hooks.example/ringfence\"`")
    })?;
    let Some(secret) = table.secret.clone() else {
        let help =
            "such as `secret = { env = \"HOOK_SECRET\" }`: without it nobody can tell who sent it";
        return Err(place.error(given.span(), "a webhook needs a `secret`", help));
    };
    Ok(SinkTarget::Webhook {
        url,
        secret: place.secret(secret)?,
        old_secret: table.old_secret.clone().map(|secret| place.secret(secret)).transpose()?,
        timeout: place.time(table.timeout.clone(), "timeout", TIMEOUT)?,
        give_up: place.time(table.give_up.clone(), "give-up", GIVE_UP)?,
    })
}
