//! `tool.toml`: what a tool is and what it needs. It travels with the component; it opens nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    ops::Range,
    sync::Arc,
};

use ringfence_event::{Access, Digest, Effect, FunctionName, RootName, Scope, ToolName};
use serde::Deserialize;
use toml::Spanned;

use crate::{
    ConfigError, ConfigKey, LimitTable, Method, Origin, PathPattern, Protocol, SecretHeader,
    SocketTarget,
    config::line_of,
    parse_file,
    quote::{quote, quote_all},
    secret::SecretHeaders,
};

/// The name of the file.
pub const MANIFEST_FILE: &str = "tool.toml";

/// A tool's manifest, read and checked.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The file's name, as denials show it.
    pub file: String,
    /// The tool's name.
    pub name: ToolName,
    /// The component's file, relative to the manifest's folder.
    pub component: String,
    /// What the tool is, for people.
    pub description: Option<String>,
    /// What it needs.
    pub needs: Arc<Needs>,
    /// What it asks to spend.
    pub limits: LimitTable,
    /// What the author says of single functions, in place of what the component says.
    pub functions: BTreeMap<FunctionName, FunctionEntry>,
}

/// What a tool needs of the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Filesystem roots.
    pub fs: BTreeMap<RootName, FsNeed>,
    /// HTTP origins, in the order of the file.
    pub http: Vec<HttpNeed>,
    /// Memory buckets.
    pub memory: BTreeMap<Scope, MemoryNeed>,
    /// Configuration values.
    pub config: Option<ConfigNeed>,
    /// Where sockets lead, in the order of the file.
    pub sockets: Vec<SocketNeed>,
}

/// `[needs.fs.ROOT]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsNeed {
    /// How far it is to be open.
    pub access: Access,
    /// Why.
    pub reason: Option<String>,
    /// The line of `access`.
    pub access_line: u32,
}

/// `[needs.http."ORIGIN"]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpNeed {
    /// Where requests go.
    pub origin: Origin,
    /// With which methods.
    pub methods: Vec<Method>,
    /// To which paths.
    pub paths: Vec<PathPattern>,
    /// What the host puts into each of them.
    pub secrets: Vec<SecretHeader>,
    /// Why.
    pub reason: Option<String>,
    /// The line of the table.
    pub line: u32,
    /// The line of `methods`, where it stands.
    pub methods_line: Option<u32>,
    /// The line of `paths`, where it stands.
    pub paths_line: Option<u32>,
}

/// `[needs.memory.SCOPE]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// How far it is to be open.
    pub access: Access,
    /// Why.
    pub reason: Option<String>,
    /// The line of `access`.
    pub access_line: u32,
}

/// `[needs.config]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigNeed {
    /// The keys of the values.
    pub keys: BTreeSet<ConfigKey>,
    /// Why.
    pub reason: Option<String>,
    /// The line of `keys`.
    pub keys_line: u32,
}

/// `[needs.sockets."HOST:PORT"]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketNeed {
    /// Where a socket leads.
    pub to: SocketTarget,
    /// How.
    pub protocol: Protocol,
    /// Why.
    pub reason: Option<String>,
    /// The line of `protocol`, or of the table where it has none.
    pub line: u32,
}

/// `[function.NAME]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionEntry {
    /// The effect.
    pub effect: Option<Effect>,
    /// The line of `effect`, where it stands.
    pub effect_line: Option<u32>,
    /// The description.
    pub description: Option<String>,
    /// The line of the table.
    pub line: u32,
    /// The column of its name, in characters, from 1.
    pub column: u32,
}

impl Manifest {
    /// Reads a manifest. `file` is the name that errors and denials carry.
    ///
    /// ```
    /// let manifest = ringfence_policy::Manifest::parse("tool.toml", r#"
    ///     [tool]
    ///     name = "repo-search"
    ///     component = "repo_search.wasm"
    ///
    ///     [needs.fs.workspace]
    ///     access = "read"
    ///     reason = "search the checkout"
    /// "#)?;
    /// assert_eq!(manifest.needs.fs.len(), 1);
    /// # Ok::<(), ringfence_policy::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// The first thing that is wrong in it.
    pub fn parse(file: &str, text: &str) -> Result<Self, ConfigError> {
        let read: ManifestFile = parse_file(file, text)?;
        let component = read.tool.component;
        if !is_relative(component.get_ref()) {
            let message = "the component is a file, by its path from the manifest's folder";
            return Err(ConfigError::at(file, text, component.span(), message)
                .with_help("such as `component = \"tool.wasm\"`"));
        }
        let line = |span: Range<usize>| line_of(text, span.start);
        let fs = read.needs.fs.into_iter().map(|(name, need)| {
            let access_line = line(need.access.span());
            let access = need.access.into_inner();
            (name, FsNeed { access, reason: need.reason, access_line })
        });
        let memory = read.needs.memory.into_iter().map(|(scope, need)| {
            let access_line = line(need.access.span());
            let access = need.access.into_inner();
            (scope, MemoryNeed { access, reason: need.reason, access_line })
        });
        let config = read.needs.config.map(|need| ConfigNeed {
            keys_line: line(need.keys.span()),
            keys: need.keys.into_inner(),
            reason: need.reason,
        });
        let mut http: Vec<HttpNeed> = Vec::new();
        for (key, need) in read.needs.http {
            let wrong = |message: String| ConfigError::at(file, text, key.span(), message);
            let origin: Origin = key.get_ref().parse().map_err(|e| wrong(format!("{e}")))?;
            if http.iter().any(|other| other.origin == origin) {
                return Err(wrong(format!("the origin `{origin}` stands here twice")));
            }
            let methods_line = need.methods.as_ref().map(|methods| line(methods.span()));
            let paths_line = need.paths.as_ref().map(|paths| line(paths.span()));
            let methods = need.methods.map_or_else(Method::reading, Spanned::into_inner);
            let paths = need.paths.map_or_else(|| vec![PathPattern::any()], Spanned::into_inner);
            let secrets = match need.secret {
                Some(secret) if !origin.is_exact() => {
                    let message = "a secret goes to one host; this origin stands for several";
                    return Err(ConfigError::at(file, text, secret.span(), message)
                        .with_help("give the host that is to get it a table of its own"));
                }
                Some(secret) => secret.into_inner().0,
                None => Vec::new(),
            };
            http.push(HttpNeed {
                origin,
                methods,
                paths,
                secrets,
                reason: need.reason,
                line: line(key.span()),
                methods_line,
                paths_line,
            });
        }
        http.sort_by_key(|need| need.line);
        let mut sockets: Vec<SocketNeed> = Vec::new();
        for (key, need) in read.needs.sockets {
            let wrong = |message: String| ConfigError::at(file, text, key.span(), message);
            let to: SocketTarget = key.get_ref().parse().map_err(|e| wrong(format!("{e}")))?;
            if sockets.iter().any(|other| other.to == to) {
                return Err(wrong(format!("`{to}` stands here twice")));
            }
            let place = need.protocol.as_ref().map_or_else(|| key.span(), Spanned::span);
            let protocol = need.protocol.map(Spanned::into_inner).unwrap_or_default();
            sockets.push(SocketNeed { to, protocol, reason: need.reason, line: line(place) });
        }
        sockets.sort_by_key(|need| need.line);
        let functions = read.function.into_iter().map(|(name, entry)| {
            let entry = FunctionEntry {
                effect_line: entry.effect.as_ref().map(|effect| line(effect.span())),
                effect: entry.effect.map(Spanned::into_inner),
                description: entry.description,
                line: line(name.span()),
                column: ConfigError::at(file, text, name.span(), "").column,
            };
            (name.into_inner(), entry)
        });
        Ok(Self {
            file: file.to_owned(),
            name: read.tool.name,
            component: component.into_inner(),
            description: read.tool.description,
            needs: Arc::new(Needs {
                fs: fs.collect(),
                http,
                memory: memory.collect(),
                config,
                sockets,
            }),
            limits: read.limits,
            functions: functions.collect(),
        })
    }

    /// The manifest of a component that comes without one: it needs nothing.
    #[must_use]
    pub fn bare(name: ToolName) -> Self {
        Self {
            file: MANIFEST_FILE.to_owned(),
            component: format!("{name}.wasm"),
            name,
            description: None,
            needs: Arc::default(),
            limits: LimitTable::default(),
            functions: BTreeMap::new(),
        }
    }

    /// The effect of a function of which the component says `declared`.
    #[must_use]
    pub fn effect(&self, function: &FunctionName, declared: Effect) -> Effect {
        self.functions.get(function).and_then(|entry| entry.effect).unwrap_or(declared)
    }

    /// Everything it asks and says, one canonical line each, sorted: what an operator accepts, and
    /// what is compared when it changes. Without line numbers, so moving a line changes nothing.
    #[must_use]
    pub fn asks(&self) -> Vec<String> {
        let mut asks = Vec::new();
        let reason = |reason: &Option<String>| match reason {
            Some(reason) => format!(", reason = {}", quote(reason)),
            None => String::new(),
        };
        for (name, need) in &self.needs.fs {
            let FsNeed { access, reason: why, .. } = need;
            asks.push(format!("needs.fs.{name} = {{ access = \"{access}\"{} }}", reason(why)));
        }
        for need in &self.needs.http {
            let mut ask = format!("needs.http.{} = {{ ", quote(&need.origin.to_string()));
            let _ = write!(ask, "methods = {}", quote_sorted(&need.methods));
            let _ = write!(ask, ", paths = {}", quote_sorted(&need.paths));
            if !need.secrets.is_empty() {
                let mut secrets: Vec<String> =
                    need.secrets.iter().map(ToString::to_string).collect();
                secrets.sort();
                let _ = write!(ask, ", secret = [{}]", secrets.join(", "));
            }
            let _ = write!(ask, "{} }}", reason(&need.reason));
            asks.push(ask);
        }
        for (scope, need) in &self.needs.memory {
            let MemoryNeed { access, reason: why, .. } = need;
            asks.push(format!("needs.memory.{scope} = {{ access = \"{access}\"{} }}", reason(why)));
        }
        if let Some(need) = &self.needs.config {
            let (keys, why) = (quote_all(&need.keys), reason(&need.reason));
            asks.push(format!("needs.config = {{ keys = {keys}{why} }}"));
        }
        for need in &self.needs.sockets {
            let (to, protocol) = (quote(&need.to.to_string()), need.protocol);
            let why = reason(&need.reason);
            asks.push(format!("needs.sockets.{to} = {{ protocol = \"{protocol}\"{why} }}"));
        }
        for (name, limit) in self.limits.given() {
            asks.push(format!("limits.{name} = {limit}"));
        }
        for (name, entry) in &self.functions {
            if let Some(effect) = entry.effect {
                asks.push(format!("function.{name}.effect = \"{effect}\""));
            }
            if let Some(description) = &entry.description {
                asks.push(format!("function.{name}.description = {}", quote(description)));
            }
        }
        asks.sort();
        asks
    }

    /// The hash of [`asks`](Self::asks).
    #[must_use]
    pub fn asks_digest(&self) -> Digest {
        Digest::of(self.asks().join("\n").as_bytes())
    }
}

fn quote_sorted<T: ToString>(items: &[T]) -> String {
    let mut items: Vec<String> = items.iter().map(|item| quote(&item.to_string())).collect();
    items.sort();
    items.dedup();
    format!("[{}]", items.join(", "))
}

/// Whether a path starts from the manifest's folder. It may lead out of it, to where a build puts
/// its results: whoever adds the tool sees the digest of what was found there.
fn is_relative(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', '\0', ':'])
        && path.split('/').all(|part| !part.is_empty() && part != ".")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ManifestFile {
    tool: ToolTable,
    #[serde(default)]
    needs: NeedsTable,
    #[serde(default)]
    limits: LimitTable,
    #[serde(default)]
    function: BTreeMap<Spanned<FunctionName>, FunctionTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ToolTable {
    name: ToolName,
    component: Spanned<String>,
    description: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct NeedsTable {
    fs: BTreeMap<RootName, AccessTable>,
    http: BTreeMap<Spanned<String>, HttpTable>,
    memory: BTreeMap<Scope, AccessTable>,
    config: Option<ConfigTable>,
    sockets: BTreeMap<Spanned<String>, SocketTable>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as `{ access = \"read\", reason = \"why\" }`"
)]
struct AccessTable {
    access: Spanned<Access>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as `{ methods = [\"GET\"], paths = [\"/**\"] }`"
)]
struct HttpTable {
    methods: Option<Spanned<Vec<Method>>>,
    paths: Option<Spanned<Vec<PathPattern>>>,
    secret: Option<Spanned<SecretHeaders>>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as `{ keys = [\"base-url\"], reason = \"why\" }`"
)]
struct ConfigTable {
    keys: Spanned<BTreeSet<ConfigKey>>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as `{ protocol = \"tcp\", reason = \"why\" }`"
)]
struct SocketTable {
    protocol: Option<Spanned<Protocol>>,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as `{ effect = \"read\" }`")]
struct FunctionTable {
    effect: Option<Spanned<Effect>>,
    description: Option<String>,
}
