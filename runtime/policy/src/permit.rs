//! What one call may do. Only this crate makes one, only by deciding a call, and nothing loads one
//! from anywhere. It holds no handle: what it names is opened elsewhere, by value.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use ringfence_event::{
    Access, CallLimits, Denial, Digest, Effect, FunctionName, RootName, Scope, SecretName,
    SecretPlace, TenantId, ToolName, UserId,
};
use url::Url;

use crate::{
    FilePattern, HttpNeed, MemoryLimits, Method, Quota, SecretHeader, SocketPass, TenantQuota,
    file_pattern,
    grants::{Granted, HttpGranted},
    hold::Closed,
    path,
    tool_policy::{Joined, Rules, widest_access},
};

/// One call's permit, bound to tenant, user, component, function, arguments and policy version.
///
/// There is no way to make one but [`ToolPolicy::decide`](crate::ToolPolicy::decide), and it is
/// neither cloned nor read from anything:
///
/// ```compile_fail
/// fn twice(permit: ringfence_policy::Permit) -> [ringfence_policy::Permit; 2] {
///     [permit.clone(), permit]
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    joined: Arc<Joined>,
    function: usize,
    user: UserId,
    arguments: Digest,
    limits: CallLimits,
    /// What hold rules shut, where they shut anything.
    closed: Option<Box<Shut>>,
}

/// What a call that nobody said yes to does not open.
#[derive(Debug)]
struct Shut {
    closed: Closed,
    /// The ways out that are left.
    sockets: Vec<SocketPass>,
}

/// A root that a call may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// Its name; the guest sees it as `/NAME`.
    pub name: RootName,
    /// The folder on the host; `None` for `scratch`, which the host makes.
    pub path: Option<PathBuf>,
    /// How far it is open: the least of need, grant and effect.
    pub access: Access,
    /// What may lie in it.
    pub quota: Quota,
}

/// That a request may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpPass<'a> {
    /// The address that is granted with the origin: connect to it without resolving the name, and
    /// even if it is not a public one. Absent: resolve, and refuse addresses that are not public.
    pub address: Option<IpAddr>,
    /// What the host puts into this request and into no other. Each of these is granted.
    pub secrets: &'a [SecretHeader],
}

impl Permit {
    pub(crate) fn new(
        joined: Arc<Joined>,
        function: usize,
        user: &UserId,
        arguments: Digest,
        limits: CallLimits,
    ) -> Self {
        Self { joined, function, user: user.clone(), arguments, limits, closed: None }
    }

    /// The same with the hosts and paths shut that nobody said yes to.
    pub(crate) fn close(mut self, closed: Closed) -> Self {
        if !closed.hosts.is_empty() || !closed.paths.is_empty() {
            let open = |pass: &&SocketPass| closed.socket(pass).is_none();
            let sockets = self.rules().sockets.iter().filter(open).cloned().collect();
            self.closed = Some(Box::new(Shut { closed, sockets }));
        }
        self
    }

    pub(crate) fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref().map(|shut| &shut.closed)
    }

    /// Whose work the call is.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.joined.tenant
    }

    /// On whose behalf.
    #[must_use]
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// The tool.
    #[must_use]
    pub fn tool(&self) -> &ToolName {
        &self.joined.tool.name
    }

    /// The function.
    #[must_use]
    pub fn function(&self) -> &FunctionName {
        &self.rules().name
    }

    /// What calling it twice would do; the permit is already narrowed to it.
    #[must_use]
    pub fn effect(&self) -> Effect {
        self.rules().effect
    }

    /// The digest of the only component it is for.
    #[must_use]
    pub fn component(&self) -> Digest {
        self.joined.tool.component
    }

    /// The digest of the tool's definitions.
    #[must_use]
    pub fn definitions(&self) -> Digest {
        self.joined.tool.definitions
    }

    /// The hash of the only arguments it is for.
    #[must_use]
    pub fn arguments(&self) -> Digest {
        self.arguments
    }

    /// The policy version that decided it.
    #[must_use]
    pub fn version(&self) -> Digest {
        self.joined.version
    }

    /// What the call may spend.
    #[must_use]
    pub fn limits(&self) -> &CallLimits {
        &self.limits
    }

    /// What the memory buckets may hold.
    #[must_use]
    pub fn memory_limits(&self) -> &MemoryLimits {
        &self.joined.memory.0
    }

    /// The roots it may open: those both needed and granted.
    #[must_use]
    pub fn roots(&self) -> &[Root] {
        &self.rules().roots
    }

    /// What the tenant may hold over all its roots.
    #[must_use]
    pub fn tenant_quota(&self) -> &TenantQuota {
        &self.joined.granted.quota
    }

    /// Whether a request may be sent; asked again for each redirect. The method as it goes over
    /// the wire.
    ///
    /// # Errors
    /// The denial to record, with the lines that would allow it.
    pub fn http(&self, method: &str, url: &Url) -> Result<HttpPass<'_>, Denial> {
        let (pass, named) = self.pass(method, url).ok_or_else(|| self.deny_http(method, url))?;
        if !pass.secrets.is_empty() {
            self.check_secrets(&pass, named, method, url)?;
        }
        match self.closed().and_then(|closed| closed.host(url, pass.address)) {
            Some(rule) => Err(self.deny_held_http(method, url, rule)),
            None => Ok(pass),
        }
    }

    /// Whether a file or folder may be opened, as far as its path tells: what lies there, and where
    /// a link on the way leads, is seen when it is opened.
    ///
    /// # Errors
    /// The denial to record, with the lines that would allow it.
    pub fn file(&self, path: &str, access: Access) -> Result<&Root, Denial> {
        let mut parts = path.strip_prefix('/').unwrap_or("").split('/');
        let name = parts.next().unwrap_or_default();
        let mut depth = 0_u32;
        for part in parts {
            match part {
                "" | "." => {}
                ".." if depth == 0 => return Err(self.deny_outside(path, access)),
                ".." => depth -= 1,
                _ => depth += 1,
            }
        }
        let open = |root: &&Root| root.name.as_str() == name && root.access >= access;
        let root = self.roots().iter().find(open).ok_or_else(|| self.deny_file(path, access))?;
        self.check_path(path, access)?;
        Ok(root)
    }

    /// Whether hold rules shut any path of this call. Whoever opens files then asks
    /// [`check_path`](Self::check_path) of each, with the path at which it lies: one that leads
    /// through a link is shown where the link leads, or not followed.
    #[must_use]
    pub fn shuts_paths(&self) -> bool {
        self.closed().is_some_and(|closed| !closed.paths.is_empty())
    }

    /// Whether a rule shuts a path that the permit opens otherwise. A folder's listing is its own
    /// path: that of the parent shows the names of what is shut, and nothing in it.
    ///
    /// # Errors
    /// The denial to record, with the rule.
    pub fn check_path(&self, path: &str, access: Access) -> Result<(), Denial> {
        self.check_patterns(path, access, FilePattern::matches)
    }

    /// Whether a rule shuts a path, or what may lie below it; for both ends of a move, since what is
    /// moved with its folder has another path after it.
    ///
    /// # Errors
    /// The denial to record, with the rule.
    pub fn check_move(&self, path: &str, access: Access) -> Result<(), Denial> {
        self.check_patterns(path, access, |pattern, path| {
            pattern.matches(path) || pattern.matches_below(path)
        })
    }

    fn check_patterns(
        &self,
        path: &str,
        access: Access,
        shuts: impl Fn(&FilePattern, &str) -> bool,
    ) -> Result<(), Denial> {
        let Some(closed) = self.closed().filter(|closed| !closed.paths.is_empty()) else {
            return Ok(());
        };
        let normal = file_pattern::normalise(path);
        match closed.paths.iter().find(|(pattern, _)| shuts(pattern, &normal)) {
            Some((_, rule)) => Err(self.deny_held_file(path, access, rule)),
            None => Ok(()),
        }
    }

    /// The pass, and whether the grant names the host.
    fn pass(&self, method: &str, url: &Url) -> Option<(HttpPass<'_>, bool)> {
        let (need, granted) = self.opened_by(method, url)?;
        let address = Granted::address(&granted.grant);
        Some((HttpPass { address, secrets: &need.secrets }, granted.grant.origin.is_exact()))
    }

    /// The need and the grant that open a request together.
    pub(crate) fn opened_by(&self, method: &str, url: &Url) -> Option<(&HttpNeed, &HttpGranted)> {
        let path = path::normalise(url.path())?;
        match widest_access(self.effect())? {
            Access::Read if !Method::READING.contains(&method) => return None,
            Access::Read | Access::Write => {}
        }
        let mut needed = self.joined.needs.http.iter().filter(|need| {
            need.origin.matches(url)
                && need.methods.iter().any(|allowed| allowed.as_str() == method)
                && need.paths.iter().any(|pattern| pattern.matches(&path))
        });
        // At most one need names the host, and only that one can have secrets: it goes before those
        // that stand for several.
        let mut need = needed.next()?;
        if let Some(exact) = needed.find(|other| !other.secrets.is_empty()) {
            need = exact;
        }
        let mut opened = None;
        for granted in &self.joined.granted.http {
            let grant = &granted.grant;
            let matches = grant.origin.matches(url)
                && grant
                    .methods
                    .as_ref()
                    .is_none_or(|all| all.iter().any(|m| m.as_str() == method))
                && grant.paths.as_ref().is_none_or(|all| all.iter().any(|p| p.matches(&path)));
            if matches {
                // One that names the host says more than a wildcard.
                let named = |(_, old): &(_, &HttpGranted)| old.grant.origin.is_exact();
                if grant.origin.is_exact() || !opened.as_ref().is_some_and(named) {
                    opened = Some((need, granted));
                }
                // A grant with an address says more than one without, wherever it stands.
                if Granted::address(grant).is_some() {
                    break;
                }
            }
        }
        opened
    }

    /// A request that is to carry secrets is sent with all of them or not at all.
    pub(crate) fn check_secrets(
        &self,
        pass: &HttpPass<'_>,
        named: bool,
        method: &str,
        url: &Url,
    ) -> Result<(), Denial> {
        let granted = &self.joined.granted.secrets;
        if !named || pass.secrets.iter().any(|secret| !granted.contains_key(&secret.name)) {
            return Err(self.deny_secrets(pass.secrets, named, method, url));
        }
        // Not encrypted, it may go no further than this machine.
        if url.scheme() != "https" && !pass.address.is_some_and(|address| address.is_loopback()) {
            return Err(self.deny_clear(pass.secrets, method, url));
        }
        Ok(())
    }

    /// Where a secret that the tool needs is kept, for this user; `None` where it is not granted.
    #[must_use]
    pub fn secret(&self, name: &SecretName) -> Option<SecretPlace> {
        Some(self.joined.granted.secrets.get(name)?.place_for(&self.user))
    }

    /// The names of all secrets that the tool needs somewhere and is given.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretName> {
        let needed = self.joined.needs.http.iter().flat_map(|need| &need.secrets);
        needed
            .map(|secret| &secret.name)
            .filter(|name| self.joined.granted.secrets.contains_key(*name))
    }

    /// Where its sockets may lead: what is both needed and granted, and nothing if the function only
    /// reads. Whoever resolves a name or connects holds the address against these.
    #[must_use]
    pub fn sockets(&self) -> &[SocketPass] {
        match &self.closed {
            None => &self.rules().sockets,
            Some(shut) => &shut.sockets,
        }
    }

    /// Whether a memory bucket may be used, by the name the guest gave.
    ///
    /// # Errors
    /// The denial to record, with the lines that would allow it.
    pub fn bucket(&self, name: &str, access: Access) -> Result<Scope, Denial> {
        let scope = Scope::ALL.into_iter().find(|scope| scope.as_str() == name);
        let open = scope.filter(|scope| {
            let need = self.joined.needs.memory.get(scope).map(|need| need.access);
            let grant = self.joined.granted.memory.get(scope).map(|(access, _)| *access);
            [need, grant, widest_access(self.effect())].iter().all(|limit| *limit >= Some(access))
        });
        open.ok_or_else(|| self.deny_bucket(name, access))
    }

    /// The value of a configuration key, by the key the guest gave.
    ///
    /// # Errors
    /// The denial to record, with the lines that would allow it.
    pub fn config(&self, key: &str) -> Result<&str, Denial> {
        self.value(key).ok_or_else(|| self.deny_config(key))
    }

    /// All configuration values that are open, by key. There is at least one.
    ///
    /// # Errors
    /// The denial to record when none is open, with the lines that would allow it.
    pub fn config_all(&self) -> Result<Vec<(&str, &str)>, Denial> {
        let needed = self.joined.needs.config.iter().flat_map(|need| &need.keys);
        let open: Vec<_> =
            needed.filter_map(|key| Some((key.as_str(), self.value(key.as_str())?))).collect();
        if open.is_empty() { Err(self.deny_config_all()) } else { Ok(open) }
    }

    fn value(&self, key: &str) -> Option<&str> {
        widest_access(self.effect())?;
        let need = self.joined.needs.config.as_ref()?;
        if !need.keys.contains(key) {
            return None;
        }
        self.joined.granted.config.get(key).map(|(value, _)| value.as_str())
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.joined.functions[self.function]
    }

    pub(crate) fn joined(&self) -> &Joined {
        &self.joined
    }
}
