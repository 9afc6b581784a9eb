//! The operator's side, checked: what each tool of each tenant is given, and by which line.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use ringfence_event::{
    Access, AgentName, CallLimits, Digest, FileOwner, FunctionName, RootName, Scope, SecretName,
    SecretPlace, TenantId, ToolName, UserId,
};
use toml::Spanned;

use crate::{
    ConfigError, ConfigKey, Defaults, FsGrant, GrantSet, HoldRules, HttpGrant, LimitTable,
    MemoryLimits, Origin, Quota, QuotaTable, SecretGrant, Sink, SocketGrant, TenantBudget,
    TenantGrants, TenantQuota, TenantShare, ToolGrant, config::line_of,
};

/// The name under which flags appear where files do.
pub const COMMAND_LINE: &str = "command line";

/// Everything that is granted: by a file, by flags, or by both.
#[derive(Clone, Debug)]
pub struct Grants {
    file: String,
    defaults: LimitTable,
    tools: BTreeMap<TenantId, BTreeMap<ToolName, Arc<Granted>>>,
    /// The quota of memory and its line, where a tenant has one.
    memory: BTreeMap<TenantId, (u64, u32)>,
    quotas: BTreeMap<TenantId, (TenantQuota, QuotaLines)>,
    budgets: BTreeMap<TenantId, TenantBudget>,
    holds: BTreeMap<TenantId, HoldRules>,
    shares: BTreeMap<TenantId, TenantShare>,
    sinks: BTreeMap<TenantId, Vec<Sink>>,
    agents: BTreeMap<TenantId, BTreeMap<AgentName, Range<usize>>>,
    flags: Option<Arc<Granted>>,
}

/// Grants typed as flags, for the one call or run they stand beside.
#[derive(Clone, Debug, Default)]
pub struct FlagGrants {
    /// `--fs NAME=DIR[:rw]`; the folder as the program resolved it.
    pub fs: Vec<(RootName, PathBuf, Access)>,
    /// `--fs scratch[:rw]`
    pub scratch: Option<Access>,
    /// `--http URL`
    pub http: Vec<String>,
    /// `--bucket SCOPE[:rw]`
    pub memory: Vec<(Scope, Access)>,
    /// `--fuel 10M` and so on: ceilings in place of the file's.
    pub limits: LimitTable,
}

/// What one tool of one tenant is given, its grant sets merged in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Granted {
    pub(crate) digest: Option<(Digest, u32)>,
    pub(crate) functions: Option<(BTreeSet<FunctionName>, u32)>,
    pub(crate) fs: BTreeMap<RootName, RootGranted>,
    pub(crate) http: Vec<HttpGranted>,
    pub(crate) memory: BTreeMap<Scope, (Access, Place)>,
    pub(crate) config: BTreeMap<ConfigKey, (String, Place)>,
    pub(crate) secrets: BTreeMap<SecretName, SecretGranted>,
    pub(crate) sockets: Vec<(SocketGrant, Place)>,
    pub(crate) limits: LimitTable,
    /// What the tenant may hold over all its roots.
    pub(crate) quota: TenantQuota,
    pub(crate) quota_lines: QuotaLines,
    /// The line of the tool's own `http`.
    pub(crate) http_line: Option<u32>,
    /// The line of the tool's own `sockets`.
    pub(crate) sockets_line: Option<u32>,
    /// The line of the tool's table.
    pub(crate) line: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct RootGranted {
    /// `None` for `scratch`.
    pub(crate) path: Option<PathBuf>,
    pub(crate) access: Access,
    pub(crate) quota: Quota,
    pub(crate) place: Place,
    /// Where it stands in the file; empty for a flag.
    pub(crate) span: Range<usize>,
}

/// The lines of a tenant's quota, as far as they stand in the file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct QuotaLines {
    pub(crate) bytes: Option<u32>,
    pub(crate) files: Option<u32>,
    pub(crate) handles: Option<u32>,
}

/// A folder that somebody is given, to be looked at before it is opened.
#[derive(Clone, Copy, Debug)]
pub struct GrantedRoot<'a> {
    /// Who; `None` for a flag, which is for whoever types it.
    pub tenant: Option<&'a TenantId>,
    /// Its name.
    pub name: &'a RootName,
    /// The folder on the host.
    pub path: &'a Path,
    /// How far it is given.
    pub access: Access,
    /// What may lie in it.
    pub quota: Quota,
    /// Where it stands in the file; `None` for a flag.
    pub span: Option<&'a Range<usize>>,
}

#[derive(Clone, Debug)]
pub(crate) struct HttpGranted {
    pub(crate) grant: HttpGrant,
    pub(crate) place: Place,
}

#[derive(Clone, Debug)]
pub(crate) struct SecretGranted {
    pub(crate) grant: SecretGrant,
    /// Where relative paths start.
    pub(crate) folder: PathBuf,
    pub(crate) line: u32,
}

impl SecretGranted {
    pub(crate) fn place_for(&self, user: &UserId) -> SecretPlace {
        self.grant.place_for(user, &self.folder)
    }

    /// The line as it is shown: where the value lies is the operator's business.
    pub(crate) fn shown(&self, name: &SecretName) -> String {
        let source = match &self.grant.place {
            SecretPlace::Environment { .. } => "env = \"…\"",
            SecretPlace::File { .. } => "file = \"…\"",
            SecretPlace::Keyring { .. } => "keyring = \"…\", account = \"…\"",
        };
        let user = if self.grant.user { ", user = true" } else { "" };
        format!("secret.{name} = {{ {source}{user} }}")
    }

    pub(crate) fn canonical(&self) -> String {
        self.grant.canonical(&self.folder)
    }
}

/// Where a grant stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the tool's own table, at this line.
    Tool(u32),
    /// In a grant set, at this line.
    Set(String, u32),
    /// On the command line.
    Flag,
}

/// A file's text, to turn spans into lines and errors.
struct Source<'a> {
    file: &'a str,
    text: &'a str,
    folder: &'a Path,
}

impl Grants {
    /// Nothing granted to anybody.
    #[must_use]
    pub fn none(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            defaults: LimitTable::default(),
            tools: BTreeMap::new(),
            memory: BTreeMap::new(),
            quotas: BTreeMap::new(),
            budgets: BTreeMap::new(),
            holds: BTreeMap::new(),
            shares: BTreeMap::new(),
            sinks: BTreeMap::new(),
            agents: BTreeMap::new(),
            flags: None,
        }
    }

    /// The grants of a file: its name as errors and denials show it, its text, the folder that
    /// relative paths start from, and the parts that were read of it.
    ///
    /// # Errors
    /// A grant set that does not exist, a root that is given twice, a path that is empty, missing, or
    /// given for `scratch`.
    pub fn new(
        file: &str,
        text: &str,
        folder: &Path,
        defaults: Defaults,
        sets: &BTreeMap<String, GrantSet>,
        tenants: BTreeMap<TenantId, TenantGrants>,
    ) -> Result<Self, ConfigError> {
        let source = Source { file, text, folder };
        sets.values()
            .flat_map(|set| &set.fs)
            .try_for_each(|(name, root)| source.folder(name, root).map(drop))?;
        let (mut tools, mut memory, mut quotas) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let (mut budgets, mut holds) = (BTreeMap::new(), BTreeMap::new());
        let (mut shares, mut sinks, mut agents) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (tenant, grants) in tenants {
            shares.insert(tenant.clone(), TenantShare::read(file, text, &tenant, &grants)?);
            budgets.insert(tenant.clone(), grants.budget.budget(file, text)?);
            let table = format!("[[tenant.{tenant}.hold]]");
            let rules = HoldRules::read(file, text, FileOwner::Operator, &table, grants.hold)?;
            holds.insert(tenant.clone(), rules);
            sinks.insert(tenant.clone(), Sink::read(file, text, folder, grants.sink)?);
            if let Some(quota) = &grants.quota.memory {
                let line = source.line(quota.span());
                memory.insert(tenant.clone(), (quota.get_ref().0, line));
            }
            let named = grants.agents.into_iter().map(|name| {
                let span = name.span();
                (name.into_inner(), span)
            });
            agents.insert(tenant.clone(), named.collect());
            let mut given = BTreeMap::new();
            let quota = (grants.quota.quota(), source.quota_lines(&grants.quota));
            quotas.insert(tenant.clone(), quota);
            for (name, grant) in grants.tool {
                let line = source.line(name.span());
                let granted = source.merge(grant, line, sets)?;
                given.insert(name.into_inner(), Arc::new(granted));
            }
            tools.insert(tenant, given);
        }
        let (file, defaults) = (file.to_owned(), defaults.limits);
        Ok(Self {
            file,
            defaults,
            tools,
            memory,
            quotas,
            budgets,
            holds,
            shares,
            sinks,
            agents,
            flags: None,
        })
    }

    /// Grants by flags alone: any tool may be called, with what the flags give.
    ///
    /// # Errors
    /// A flag that cannot be read.
    pub fn from_flags(flags: FlagGrants) -> Result<Self, ConfigError> {
        Self::none(COMMAND_LINE).with_flags(flags)
    }

    /// The same with flags added: a root or a limit of theirs goes before the file's, the rest is
    /// added to it. A tool without a table may be called, since somebody types the call.
    ///
    /// # Errors
    /// A flag that cannot be read.
    pub fn with_flags(self, flags: FlagGrants) -> Result<Self, ConfigError> {
        let mut granted = Granted { limits: flags.limits, ..Granted::default() };
        if flags.fs.iter().any(|(name, ..)| name.is_scratch()) {
            let message = "the root `scratch` is the call's own and no folder of the host's";
            let error = ConfigError::new(COMMAND_LINE, message);
            return Err(error.with_help("write `--fs scratch`, or `--fs scratch:rw` for writing"));
        }
        let folders = flags.fs.into_iter().map(|(name, path, access)| (name, Some(path), access));
        let scratch = flags.scratch.map(|access| (RootName::scratch(), None, access));
        for (name, path, access) in folders.chain(scratch) {
            let (quota, place) = (Quota::default(), Place::Flag);
            let root = RootGranted { path, access, quota, place, span: 0..0 };
            if granted.fs.insert(name.clone(), root).is_some() {
                let message = format!("the root `{name}` is given twice");
                return Err(ConfigError::new(COMMAND_LINE, message));
            }
        }
        for given in flags.http {
            let origin: Origin = given
                .parse()
                .map_err(|error| ConfigError::new(COMMAND_LINE, format!("--http: {error}")))?;
            granted.http.push(HttpGranted { grant: origin.into(), place: Place::Flag });
        }
        for (scope, access) in flags.memory {
            widen(&mut granted.memory, scope, access, Place::Flag);
        }
        Ok(Self { flags: Some(Arc::new(granted)), ..self })
    }

    /// The tenants that the file names.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.tools.keys()
    }

    /// The tools that the file gives a tenant.
    pub fn tools(&self, tenant: &TenantId) -> impl Iterator<Item = &ToolName> {
        self.tools.get(tenant).into_iter().flat_map(BTreeMap::keys)
    }

    /// The agents that a tenant may start, with their places in the file.
    pub fn agents(&self, tenant: &TenantId) -> impl Iterator<Item = (&AgentName, &Range<usize>)> {
        self.agents.get(tenant).into_iter().flatten()
    }

    /// Every folder that is given to anybody, by the file and by flags. `scratch` is none.
    pub fn roots(&self) -> impl Iterator<Item = GrantedRoot<'_>> {
        let by_file = self.tools.iter().flat_map(|(tenant, tools)| {
            let of_tools = tools.values().flat_map(|granted| &granted.fs);
            of_tools.filter_map(move |(name, root)| root.granted(Some(tenant), name))
        });
        by_file.chain(self.flag_roots())
    }

    /// The folders that flags give. `scratch` is none.
    pub fn flag_roots(&self) -> impl Iterator<Item = GrantedRoot<'_>> {
        let by_flags = self.flags.iter().flat_map(|granted| &granted.fs);
        by_flags.filter_map(|(name, root)| root.granted(None, name))
    }

    /// What a tenant may hold over all its roots.
    #[must_use]
    pub fn tenant_quota(&self, tenant: &TenantId) -> TenantQuota {
        self.quotas.get(tenant).map(|(quota, _)| *quota).unwrap_or_default()
    }

    /// What a tenant may spend in windows of time; nothing counts where it has no such line.
    #[must_use]
    pub fn tenant_budget(&self, tenant: &TenantId) -> Option<&TenantBudget> {
        self.budgets.get(tenant)
    }

    /// What a tenant may have of what all share.
    #[must_use]
    pub fn tenant_share(&self, tenant: &TenantId) -> TenantShare {
        self.shares.get(tenant).copied().unwrap_or_default()
    }

    /// Which calls of a tenant a person must say yes to; `None` for a tenant without a table.
    #[must_use]
    pub fn hold_rules(&self, tenant: &TenantId) -> Option<&HoldRules> {
        self.holds.get(tenant)
    }

    /// Where events of tenants go besides the journal.
    pub fn sinks(&self) -> impl Iterator<Item = (&TenantId, &Sink)> {
        self.sinks.iter().flat_map(|(tenant, sinks)| sinks.iter().map(move |sink| (tenant, sink)))
    }

    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn flags(&self) -> Option<&Granted> {
        self.flags.as_deref()
    }

    pub(crate) fn has_flags(&self) -> bool {
        self.flags.is_some()
    }

    /// What a tool is given; `None` when the tenant has no table for it and nobody typed flags.
    pub(crate) fn granted(&self, tenant: &TenantId, tool: &ToolName) -> Option<Granted> {
        let by_file = self.tools.get(tenant).and_then(|tools| tools.get(tool));
        if by_file.is_none() && self.flags.is_none() {
            return None;
        }
        let mut granted = by_file.map(|granted| (**granted).clone()).unwrap_or_default();
        if let Some((quota, lines)) = self.quotas.get(tenant) {
            (granted.quota, granted.quota_lines) = (*quota, *lines);
        }
        let Some(flags) = &self.flags else { return Some(granted) };
        granted.fs.extend(flags.fs.clone());
        granted.http.extend(flags.http.iter().cloned());
        for (scope, (access, place)) in &flags.memory {
            widen(&mut granted.memory, *scope, *access, place.clone());
        }
        granted.limits = flags.limits.over_table(&granted.limits);
        Some(granted)
    }

    /// What a tenant's memory buckets may hold.
    #[must_use]
    pub fn memory_limits(&self, tenant: &TenantId) -> MemoryLimits {
        MemoryLimits::of(self.memory_quota(tenant).map(|(bytes, _)| bytes))
    }

    /// What a tenant's memory buckets may hold together, and the line that says so.
    pub(crate) fn memory_quota(&self, tenant: &TenantId) -> Option<(u64, u32)> {
        self.memory.get(tenant).copied()
    }

    pub(crate) fn ceiling(&self, granted: &Granted) -> CallLimits {
        granted.limits.over(&self.defaults.over(&CallLimits::DEFAULT))
    }
}

impl RootGranted {
    fn granted<'a>(
        &'a self,
        tenant: Option<&'a TenantId>,
        name: &'a RootName,
    ) -> Option<GrantedRoot<'a>> {
        let Self { path, access, quota, place, span } = self;
        let (path, span) = (path.as_deref()?, (*place != Place::Flag).then_some(span));
        Some(GrantedRoot { tenant, name, path, access: *access, quota: *quota, span })
    }
}

impl Granted {
    /// The one address that a granted origin is bound to.
    pub(crate) fn address(grant: &HttpGrant) -> Option<IpAddr> {
        grant.address.or_else(|| grant.origin.address())
    }
}

impl Source<'_> {
    fn line(&self, span: Range<usize>) -> u32 {
        line_of(self.text, span.start)
    }

    fn quota_lines(&self, quota: &QuotaTable) -> QuotaLines {
        QuotaLines {
            bytes: quota.bytes.as_ref().map(|bytes| self.line(bytes.span())),
            files: quota.files.as_ref().map(|files| self.line(files.span())),
            handles: quota.handles.as_ref().map(|handles| self.line(handles.span())),
        }
    }

    fn error(&self, span: Range<usize>, message: String) -> ConfigError {
        ConfigError::at(self.file, self.text, span, message)
    }

    /// The folder of a root, which `scratch` alone does not have.
    fn folder(
        &self,
        name: &RootName,
        root: &Spanned<FsGrant>,
    ) -> Result<Option<PathBuf>, ConfigError> {
        let (message, help) = match (&root.get_ref().path, name.is_scratch()) {
            (None, true) => return Ok(None),
            (Some(path), false) if !path.is_empty() => return Ok(Some(self.folder.join(path))),
            (Some(_), true) => (
                "the root `scratch` is the session's own and has no path",
                "take `path` out, or have the tool ask for a root of another name",
            ),
            (Some(_), false) => ("the path is empty", "such as `path = \"/srv/data\"`"),
            (None, false) => ("the key `path` is missing", "such as `path = \"/srv/data\"`"),
        };
        Err(self.error(root.span(), message.to_owned()).with_help(help))
    }

    fn merge(
        &self,
        grant: ToolGrant,
        line: u32,
        sets: &BTreeMap<String, GrantSet>,
    ) -> Result<Granted, ConfigError> {
        let at = |span| self.line(span);
        let mut granted = Granted {
            digest: grant.digest.map(|digest| (*digest.get_ref(), at(digest.span()))),
            functions: grant.functions.map(|names| {
                let line = at(names.span());
                (names.into_inner(), line)
            }),
            secrets: grant
                .secret
                .into_iter()
                .map(|(name, secret)| {
                    let (line, folder) = (at(secret.span()), self.folder.to_owned());
                    (name, SecretGranted { grant: secret.into_inner(), folder, line })
                })
                .collect(),
            limits: grant.limits,
            http_line: grant.http.as_ref().map(|http| at(http.span())),
            sockets_line: grant.sockets.as_ref().map(|sockets| at(sockets.span())),
            line: Some(line),
            ..Granted::default()
        };
        let own = GrantSet {
            fs: grant.fs,
            http: grant.http,
            memory: grant.memory,
            config: grant.config,
            sockets: grant.sockets,
        };
        self.add(&mut granted, &own, Place::Tool)?;
        for name in &grant.sets {
            let Some(set) = sets.get(name.get_ref()) else {
                let known: Vec<String> = sets.keys().map(|set| format!("`{set}`")).collect();
                let error =
                    self.error(name.span(), format!("there is no grant set `{}`", name.get_ref()));
                return Err(match known.is_empty() {
                    true => {
                        error.with_help(format!("add a table `[grant-set.{}]`", name.get_ref()))
                    }
                    false => error.with_help(format!("the grant sets are {}", known.join(", "))),
                });
            };
            self.add(&mut granted, set, |line| Place::Set(name.get_ref().clone(), line))?;
        }
        Ok(granted)
    }

    fn add(
        &self,
        granted: &mut Granted,
        set: &GrantSet,
        place: impl Fn(u32) -> Place,
    ) -> Result<(), ConfigError> {
        for (name, root) in &set.fs {
            let path = self.folder(name, root)?;
            // Were one of two lines to win, removing it could open what the other gives.
            if granted.fs.contains_key(name) {
                let message = format!(
                    "the root `{name}` is given twice, here and in the tool's own table or another set"
                );
                let help = format!("keep one, or call this one otherwise: `fs.{name}-2 = {{ … }}`");
                return Err(self.error(root.span(), message).with_help(help));
            }
            let (place, span) = (place(self.line(root.span())), root.span());
            let (access, quota) = (root.get_ref().access, root.get_ref().quota());
            granted.fs.insert(name.clone(), RootGranted { path, access, quota, place, span });
        }
        for grant in set.http.iter().flat_map(Spanned::get_ref) {
            let place = place(self.line(grant.span()));
            granted.http.push(HttpGranted { grant: grant.get_ref().clone(), place });
        }
        for (scope, access) in &set.memory {
            let place = place(self.line(access.span()));
            widen(&mut granted.memory, *scope, *access.get_ref(), place);
        }
        for (key, value) in &set.config {
            let given = (value.get_ref().clone(), place(self.line(value.span())));
            if granted.config.insert(key.clone(), given).is_some() {
                let message = format!(
                    "the value `{key}` is given twice, here and in the tool's own table or another set"
                );
                return Err(self.error(value.span(), message));
            }
        }
        for grant in set.sockets.iter().flat_map(Spanned::get_ref) {
            granted.sockets.push((grant.get_ref().clone(), place(self.line(grant.span()))));
        }
        Ok(())
    }
}

/// Two grants of one bucket together give the wider of both.
fn widen(
    memory: &mut BTreeMap<Scope, (Access, Place)>,
    scope: Scope,
    access: Access,
    place: Place,
) {
    match memory.get(&scope) {
        Some((wider, _)) if *wider >= access => {}
        _ => {
            memory.insert(scope, (access, place));
        }
    }
}
