//! One tool of one tenant: needs and grants joined once, so that deciding a call is a look-up.

use std::sync::Arc;

use ringfence_event::{
    Access, Asked, CallLimits, Denial, DenialCode, Digest, Effect, FileOwner, FunctionName, Money,
    Remedy, Scope, TenantId, ToolName, UserId,
};

use crate::{
    Approval, Grants, Held, HoldRules, Manifest, MemoryLimits, Needs, Permit, Root, SocketPass,
    grants::{COMMAND_LINE, Granted},
    hold::{self, Verdict},
    version::version,
};

/// What is known of a tool from its component and the lock file.
#[derive(Clone, Debug)]
pub struct ToolFacts {
    /// Its name.
    pub name: ToolName,
    /// The component's digest.
    pub component: Digest,
    /// The digest of its definitions.
    pub definitions: Digest,
    /// Its functions and what the component declares of them.
    pub functions: Vec<(FunctionName, Effect)>,
}

/// A call that somebody wants to make.
#[derive(Clone, Copy, Debug)]
pub struct CallRequest<'a> {
    /// On whose behalf.
    pub user: &'a UserId,
    /// Which function.
    pub function: &'a FunctionName,
    /// The hash of its arguments.
    pub arguments: Digest,
    /// The arguments themselves, as JSON: what `arguments` is the hash of. Read only where a rule looks
    /// at them.
    pub arguments_text: &'a str,
    /// What is left above the call, where something is counted there.
    pub limits: Option<&'a CallLimits>,
    /// The agent's own hold rules, if an agent makes the call.
    pub rules: Option<&'a HoldRules>,
    /// What the run has cost so far.
    pub spent: Money,
    /// A person's yes, if one was given. One that was given for anything else counts for nothing. It
    /// names no call: that it is used once is for whoever keeps it to see to.
    pub approval: Option<Approval<'a>>,
}

impl<'a> CallRequest<'a> {
    /// A call with these arguments that nobody said yes to, with nothing counted above it and no agent.
    #[must_use]
    pub fn new(user: &'a UserId, function: &'a FunctionName, arguments: &'a str) -> Self {
        Self {
            user,
            function,
            arguments: Digest::of(arguments.as_bytes()),
            arguments_text: arguments,
            limits: None,
            rules: None,
            spent: Money::ZERO,
            approval: None,
        }
    }
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Decision {
    /// It may run.
    Permit(Permit),
    /// It may run once a person says so; the permit is what it would have then. To run it, decide it
    /// again with the answer.
    Hold(Permit, Box<Held>),
    /// It is refused whole.
    Denial(Denial),
}

/// What a tenant may do with a tool, compiled. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ToolPolicy {
    inner: Arc<Joined>,
}

/// Both sides of one tool, and what each function may open of them.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    pub(crate) tenant: TenantId,
    pub(crate) tool: ToolFacts,
    pub(crate) version: Digest,
    pub(crate) limits: CallLimits,
    /// What memory buckets may hold, and the line of the quota that it follows from.
    pub(crate) memory: (MemoryLimits, Option<u32>),
    pub(crate) manifest: Manifest,
    pub(crate) needs: Arc<Needs>,
    pub(crate) granted: Granted,
    pub(crate) grants_file: String,
    pub(crate) by_flags: bool,
    /// The tenant's hold rules that name this tool or any.
    pub(crate) holds: HoldRules,
    /// Sorted by name.
    pub(crate) functions: Vec<Rules>,
    /// Why every call is refused, if it is.
    closed: Option<(DenialCode, Vec<Remedy>)>,
    /// Whether that is because the operator took back what was granted.
    is_revoked: bool,
}

/// What one function may do.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) name: FunctionName,
    pub(crate) effect: Effect,
    pub(crate) roots: Vec<Root>,
    pub(crate) sockets: Vec<SocketPass>,
    /// Whether a rule of the tenant can hold it.
    pub(crate) may_be_held: bool,
    /// Whether the operator lists it, or lists none.
    listed: bool,
}

impl Rules {
    /// Whether the operator lists it, or lists none.
    pub(crate) fn is_listed(&self) -> bool {
        self.listed
    }
}

impl ToolPolicy {
    /// Joins the two sides. Never fails: what is not granted is a denial at the call.
    #[must_use]
    pub fn compile(
        tenant: &TenantId,
        tool: &ToolFacts,
        manifest: &Manifest,
        grants: &Grants,
    ) -> Self {
        let table = format!("[tenant.{tenant}.tool.{}]", tool.name);
        let found = grants.granted(tenant, &tool.name);
        let closed = match &found {
            None => Some((DenialCode::NotGranted, vec![operator_line(grants, None, "", table)])),
            Some(Granted { digest: Some((pinned, line)), .. }) if *pinned != tool.component => {
                let pin = format!("digest = \"{}\"", tool.component);
                let remedy = operator_line(grants, Some(*line), &table, pin);
                Some((DenialCode::NotAccepted, vec![remedy]))
            }
            Some(_) => None,
        };
        let granted = found.unwrap_or_default();
        let limits = manifest.limits.under(&grants.ceiling(&granted));
        let holds = grants.hold_rules(tenant).map(|rules| rules.of_tool(&tool.name));
        let holds = holds.unwrap_or_default();
        let mut functions: Vec<Rules> = tool
            .functions
            .iter()
            .map(|(name, declared)| {
                let effect = manifest.effect(name, *declared);
                let listed =
                    granted.functions.as_ref().is_none_or(|(names, _)| names.contains(name));
                Rules {
                    name: name.clone(),
                    effect,
                    roots: roots(&manifest.needs, &granted, effect),
                    sockets: sockets(&manifest.needs, &granted, effect),
                    may_be_held: holds.of_function(&tool.name, name, effect).next().is_some(),
                    listed,
                }
            })
            .collect();
        functions.sort_by(|a, b| a.name.cmp(&b.name));
        functions.dedup_by(|a, b| a.name == b.name);
        let quota = grants.memory_quota(tenant);
        let memory = MemoryLimits::of(quota.map(|(bytes, _)| bytes));
        let version =
            version(tenant, tool, manifest, &granted, &holds, closed.is_some(), (&limits, &memory));
        Self {
            inner: Arc::new(Joined {
                tenant: tenant.clone(),
                tool: tool.clone(),
                version,
                limits,
                memory: (memory, quota.map(|(_, line)| line)),
                manifest: manifest.clone(),
                needs: manifest.needs.clone(),
                granted,
                grants_file: file_name(grants.file()).to_owned(),
                by_flags: grants.has_flags(),
                holds,
                functions,
                closed,
                is_revoked: false,
            }),
        }
    }

    /// The same once the operator has taken back what was granted: every call is refused, by another
    /// version. What was refused before stays so for its own reason.
    #[must_use]
    pub fn revoke(self) -> Self {
        if self.inner.closed.is_some() {
            return self;
        }
        let mut joined = Arc::unwrap_or_clone(self.inner);
        let line = joined.operator_line(joined.granted.line, String::new(), joined.table());
        joined.closed = Some((DenialCode::NotGranted, vec![line]));
        joined.is_revoked = true;
        joined.version = Digest::of(format!("ringfence revoked 1\n{}", joined.version).as_bytes());
        Self { inner: Arc::new(joined) }
    }

    /// The hash of the canonical needs and grants: an equal version decides equally.
    #[must_use]
    pub fn version(&self) -> Digest {
        self.inner.version
    }

    /// The limits of a call above which nothing is counted.
    #[must_use]
    pub fn limits(&self) -> &CallLimits {
        &self.inner.limits
    }

    /// What the tenant's memory buckets may hold.
    #[must_use]
    pub fn memory_limits(&self) -> &MemoryLimits {
        &self.inner.memory.0
    }

    /// The denial for what does not fit into a bucket when it is to be stored.
    #[must_use]
    pub fn deny_memory_full(&self, scope: Scope) -> Denial {
        self.inner.deny_memory_full(scope)
    }

    /// Decides one call. Allocates nothing when it permits.
    #[must_use]
    pub fn decide(&self, request: &CallRequest<'_>) -> Decision {
        let joined = &self.inner;
        let found = joined.functions.binary_search_by(|rules| rules.name.cmp(request.function));
        let Ok(index) = found else {
            return self.refuse(request, DenialCode::NoSuchFunction, Vec::new());
        };
        if let Some((code, remedies)) = &joined.closed {
            return self.refuse(request, *code, remedies.clone());
        }
        if !joined.functions[index].listed {
            return self.refuse(
                request,
                DenialCode::NotGranted,
                vec![joined.list_function(request.function)],
            );
        }
        let limits = request.limits.map_or(joined.limits, |left| joined.limits.min(left));
        let permit = Permit::new(joined.clone(), index, request.user, request.arguments, limits);
        let no_rules = request.rules.is_none_or(HoldRules::is_empty);
        if no_rules && !joined.functions[index].may_be_held {
            return Decision::Permit(permit);
        }
        match hold::decide(&permit, request) {
            Verdict::Run(closed) => Decision::Permit(permit.close(closed)),
            Verdict::Hold(held) => Decision::Hold(permit, held),
        }
    }

    /// The rules that can hold a call of a function, of the tenant and of an agent: whether they do
    /// is for its arguments and for what it opens to say.
    #[must_use]
    pub fn holds(&self, function: &FunctionName, rules: Option<&HoldRules>) -> Vec<Remedy> {
        let Some(effect) = self.effect(function) else { return Vec::new() };
        let tool = &self.inner.tool.name;
        let all = [Some(&self.inner.holds), rules].into_iter().flatten();
        all.flat_map(|rules| rules.of_function(tool, function, effect).map(|rule| rules.line(rule)))
            .collect()
    }

    pub(crate) fn joined(&self) -> &Joined {
        &self.inner
    }

    /// Whether every call is refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.inner.closed.is_some()
    }

    /// What a function may do.
    pub(crate) fn rules(&self, function: &FunctionName) -> Option<&Rules> {
        let functions = &self.inner.functions;
        let found = functions.binary_search_by(|rules| rules.name.cmp(function)).ok()?;
        functions.get(found)
    }

    /// The effect of a function, whatever is granted.
    pub(crate) fn effect(&self, function: &FunctionName) -> Option<Effect> {
        let functions = &self.inner.functions;
        let found = functions.binary_search_by(|rules| rules.name.cmp(function)).ok()?;
        Some(functions[found].effect)
    }

    fn refuse(
        &self,
        request: &CallRequest<'_>,
        code: DenialCode,
        remedies: Vec<Remedy>,
    ) -> Decision {
        let tool = &self.inner.tool.name;
        let asked = Asked::Function {
            tool: Some(tool.clone()),
            function: Some(request.function.clone()),
            name: format!("{tool}_{}", request.function),
        };
        let denial = Denial::new(code, asked, remedies);
        Decision::Denial(if self.inner.is_revoked { denial.revoked() } else { denial })
    }
}

fn roots(needs: &Needs, granted: &Granted, effect: Effect) -> Vec<Root> {
    let Some(widest) = widest_access(effect) else { return Vec::new() };
    let open = needs.fs.iter().filter_map(|(name, need)| {
        let root = granted.fs.get(name)?;
        let access = need.access.min(root.access).min(widest);
        Some(Root { name: name.clone(), path: root.path.clone(), access, quota: root.quota })
    });
    open.collect()
}

fn sockets(needs: &Needs, granted: &Granted, effect: Effect) -> Vec<SocketPass> {
    // What goes over a socket may change anything at its other end.
    if widest_access(effect) != Some(Access::Write) {
        return Vec::new();
    }
    let mut open = Vec::new();
    for need in &needs.sockets {
        for (grant, _) in granted.sockets.iter().filter(|(grant, _)| grant.to == need.to) {
            let address = grant.address.or_else(|| grant.to.address());
            open.push(SocketPass { to: need.to.clone(), protocol: need.protocol, address });
        }
    }
    open
}

/// How far an effect lets a function go with anything gated.
pub(crate) fn widest_access(effect: Effect) -> Option<Access> {
    match effect {
        Effect::Pure => None,
        Effect::Read => Some(Access::Read),
        Effect::Idempotent | Effect::Unsafe => Some(Access::Write),
    }
}

/// The last part of a path: where on the host a file lies is nobody's business in a denial.
pub(crate) fn file_name(file: &str) -> &str {
    file.rsplit(['/', '\\']).next().unwrap_or(file)
}

fn operator_line(grants: &Grants, line: Option<u32>, table: &str, allow: String) -> Remedy {
    let file = file_name(grants.file()).to_owned();
    let owner = if file == COMMAND_LINE { FileOwner::Caller } else { FileOwner::Operator };
    Remedy { owner, file, line, table: table.to_owned(), allow }
}
