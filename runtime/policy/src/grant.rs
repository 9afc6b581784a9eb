//! What an operator writes to give: grants, grant sets and their places, as serde types that the
//! reader of `ringfence.toml` puts into its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use ringfence_event::{
    Access, AgentName, Digest, FunctionName, RootName, Scope, SecretName, ToolName,
};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};
use toml::Spanned;

use crate::{
    BudgetTable, Bytes, ConfigKey, Count, HoldTable, LimitTable, Method, Origin, PathPattern,
    Quota, QuotaTable, Rate, SecretGrant, SinkTable, SocketTarget, socket::is_one,
};

/// `[defaults]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Defaults {
    /// The ceiling of every call, and what a tool gets that asks nothing.
    pub limits: LimitTable,
}

/// `[grant-set.NAME]`: grants to share by name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct GrantSet {
    /// Folders for roots.
    #[schemars(with = "BTreeMap<RootName, FsGrant>")]
    pub fs: BTreeMap<RootName, Spanned<FsGrant>>,
    /// Origins.
    #[schemars(with = "Option<Vec<HttpGrant>>")]
    pub http: Option<Spanned<Vec<Spanned<HttpGrant>>>>,
    /// Memory buckets.
    #[schemars(with = "BTreeMap<Scope, Access>")]
    pub memory: BTreeMap<Scope, Spanned<Access>>,
    /// Configuration values.
    #[schemars(with = "BTreeMap<ConfigKey, String>")]
    pub config: BTreeMap<ConfigKey, Spanned<String>>,
    /// Where sockets may lead.
    #[schemars(with = "Option<Vec<SocketGrant>>")]
    pub sockets: Option<Spanned<Vec<Spanned<SocketGrant>>>>,
}

/// `[tenant.NAME]`, as far as policy goes. A program that offers a tenant more keys has its own
/// table and hands over this part.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TenantGrants {
    /// The tools it may use. A tool without a table here is refused whole.
    #[schemars(with = "BTreeMap<ToolName, ToolGrant>")]
    pub tool: BTreeMap<Spanned<ToolName>, ToolGrant>,
    /// The agents that its API keys may start, by their names in `[agent.NAME]`.
    #[schemars(with = "Vec<AgentName>")]
    pub agents: Vec<Spanned<AgentName>>,
    /// What it may hold.
    pub quota: QuotaTable,
    /// What it may spend in a window of time.
    pub budget: BudgetTable,
    /// Which of its calls a person must say yes to.
    #[schemars(with = "Vec<HoldTable>")]
    pub hold: Vec<Spanned<HoldTable>>,
    /// How many turns it gets, where tenants wait, for one of a tenant that says nothing.
    #[schemars(with = "Option<Count>")]
    pub weight: Option<Spanned<Count>>,
    /// How many direct calls and inputs it may begin.
    #[schemars(with = "Option<Rate>")]
    pub rate: Option<Spanned<Rate>>,
    /// How many of them may wait for their turn.
    #[schemars(with = "Option<Count>")]
    pub queue: Option<Spanned<Count>>,
    /// How many of its calls run at one time.
    #[schemars(with = "Option<Count>")]
    pub concurrent_calls: Option<Spanned<Count>>,
    /// How many of its runs are driven at one time.
    #[schemars(with = "Option<Count>")]
    pub concurrent_runs: Option<Spanned<Count>>,
    /// Where its events go besides the journal.
    #[schemars(with = "Vec<SinkTable>")]
    pub sink: Vec<Spanned<SinkTable>>,
}

/// `[tenant.NAME.tool.NAME]`
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ToolGrant {
    /// The only component this grant is for.
    #[schemars(with = "Option<Digest>")]
    pub digest: Option<Spanned<Digest>>,
    /// Grant sets that it includes.
    #[serde(rename = "use")]
    #[schemars(with = "Vec<String>")]
    pub sets: Vec<Spanned<String>>,
    /// The functions it is for; absent: all.
    #[schemars(with = "Option<BTreeSet<FunctionName>>")]
    pub functions: Option<Spanned<BTreeSet<FunctionName>>>,
    /// Folders for roots.
    #[schemars(with = "BTreeMap<RootName, FsGrant>")]
    pub fs: BTreeMap<RootName, Spanned<FsGrant>>,
    /// Origins.
    #[schemars(with = "Option<Vec<HttpGrant>>")]
    pub http: Option<Spanned<Vec<Spanned<HttpGrant>>>>,
    /// Memory buckets.
    #[schemars(with = "BTreeMap<Scope, Access>")]
    pub memory: BTreeMap<Scope, Spanned<Access>>,
    /// Configuration values.
    #[schemars(with = "BTreeMap<ConfigKey, String>")]
    pub config: BTreeMap<ConfigKey, Spanned<String>>,
    /// Where the secrets are kept that the manifest names. No grant set has any: a secret is
    /// given to one tool of one tenant at a time.
    #[schemars(with = "BTreeMap<SecretName, SecretGrant>")]
    pub secret: BTreeMap<SecretName, Spanned<SecretGrant>>,
    /// Where sockets may lead.
    #[schemars(with = "Option<Vec<SocketGrant>>")]
    pub sockets: Option<Spanned<Vec<Spanned<SocketGrant>>>>,
    /// The ceiling of this tool's calls.
    pub limits: LimitTable,
}

/// `fs.ROOT = { path = "…", access = "read" }`, or `fs.scratch = { access = "write" }`
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table such as `{ path = \"…\", access = \"read\" }`"
)]
pub struct FsGrant {
    /// The folder on the host; absent for `scratch` and for no other root.
    #[serde(default)]
    pub path: Option<String>,
    /// How far it is open.
    #[serde(default = "read")]
    pub access: Access,
    /// How many bytes may lie in it; absent: not counted.
    #[serde(default)]
    pub bytes: Option<Bytes>,
    /// How many files, folders and links may lie in it; absent: not counted.
    #[serde(default)]
    pub files: Option<Count>,
}

impl FsGrant {
    pub(crate) fn quota(&self) -> Quota {
        Quota { bytes: self.bytes.map(|bytes| bytes.0), files: self.files.map(|files| files.0) }
    }
}

fn read() -> Access {
    Access::Read
}

/// `"https://host"`, or a table that narrows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrant {
    /// Where requests may go.
    pub origin: Origin,
    /// With which methods; absent: whatever the manifest asks.
    pub methods: Option<Vec<Method>>,
    /// To which paths; absent: whatever the manifest asks.
    pub paths: Option<Vec<PathPattern>>,
    /// The address to connect to in place of what the name resolves to. Only where the origin
    /// names one host.
    pub address: Option<IpAddr>,
}

impl From<Origin> for HttpGrant {
    fn from(origin: Origin) -> Self {
        Self { origin, methods: None, paths: None, address: None }
    }
}

crate::schema::text_or!(HttpGrant: "HttpGrant", "An origin such as `https://host`, or a table that narrows it.", HttpGrantTable);

impl<'de> Deserialize<'de> for HttpGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = HttpGrant;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an origin such as \"https://host\", or a table such as `{ url = \"https://host\", methods = [\"GET\"] }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<HttpGrant, E> {
                text.parse::<Origin>().map(HttpGrant::from).map_err(E::custom)
            }

            fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<HttpGrant, M::Error> {
                let table = HttpGrantTable::deserialize(MapAccessDeserializer::new(map))?;
                let origin: Origin = table.url.parse().map_err(de::Error::custom)?;
                let address = match table.address {
                    None => None,
                    Some(_) if !origin.is_exact() => {
                        return Err(de::Error::custom(
                            "an `address` belongs beside a URL that names one host",
                        ));
                    }
                    Some(text) => Some(read_address(&text).map_err(de::Error::custom)?),
                };
                Ok(HttpGrant { origin, methods: table.methods, paths: table.paths, address })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HttpGrantTable {
    url: String,
    methods: Option<Vec<Method>>,
    paths: Option<Vec<PathPattern>>,
    address: Option<String>,
}

fn read_address(text: &str) -> Result<IpAddr, String> {
    let address: Result<IpAddr, _> = text.parse();
    let address =
        address.map_err(|_| format!("`{text}` is no IP address, such as \"10.0.0.5\""))?;
    Ok(address.to_canonical())
}

/// `"host:port"`, or a table that says the name's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketGrant {
    /// Where a socket may lead.
    pub to: SocketTarget,
    /// The address to connect to in place of what the name resolves to.
    pub address: Option<IpAddr>,
}

crate::schema::text_or!(SocketGrant: "SocketGrant", "A host and port such as `db.example:5432`, or a table that says the name's address.", SocketGrantTable);

impl<'de> Deserialize<'de> for SocketGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = SocketGrant;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a host and port such as \"db.example:5432\", or a table such as `{ to = \"db.example:5432\", address = \"10.0.0.5\" }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SocketGrant, E> {
                let to = text.parse().map_err(E::custom)?;
                Ok(SocketGrant { to, address: None })
            }

            fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<SocketGrant, M::Error> {
                let table = SocketGrantTable::deserialize(MapAccessDeserializer::new(map))?;
                let to: SocketTarget = table.to.parse().map_err(de::Error::custom)?;
                let address = table.address.as_deref().map(read_address).transpose();
                let address = address.map_err(de::Error::custom)?;
                if address.is_some() && to.name().is_none() {
                    return Err(de::Error::custom("an `address` belongs beside a name"));
                }
                if address.is_some_and(|address| !is_one(address)) {
                    return Err(de::Error::custom("the `address` is not that of one host"));
                }
                Ok(SocketGrant { to, address })
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SocketGrantTable {
    to: String,
    address: Option<String>,
}
