//! What is taken away when the operator's file is read again while calls run, and how a change of a grant
//! is told. No value of a secret's place, no path of the host and no value of a key is told.

use ringfence_event::{Digest, FunctionName, TenantId, ToolName};

use crate::{
    Grants, HttpGrant, Manifest, ToolFacts, ToolPolicy,
    grants::Granted,
    quote::{quote, quote_all},
    tool_policy::{Rules, widest_access},
};

impl ToolPolicy {
    /// Whether a function had anything open by an earlier policy of the same tool and tenant that it has
    /// not by this one, or a person is to be asked now. What calls may spend is not looked at: that is
    /// settled when one begins. Where it cannot be told, it is taken away.
    #[must_use]
    pub fn takes_away(&self, earlier: &Self, function: &FunctionName) -> bool {
        let (new, old) = (self.joined(), earlier.joined());
        if new.version == old.version {
            return false;
        }
        let same_tool = (new.tool.component, new.tool.definitions)
            == (old.tool.component, old.tool.definitions)
            && new.manifest.asks() == old.manifest.asks();
        if !same_tool {
            return true;
        }
        if self.is_closed() {
            return !earlier.is_closed();
        }
        let of = |policy: &Self| policy.rules(function).cloned();
        let (Some(rules), Some(before)) = (of(self), of(earlier)) else { return true };
        if before.is_listed() && !rules.is_listed() {
            return true;
        }
        let held = rules.may_be_held && new.holds.digest() != old.holds.digest();
        if rules.effect == before.effect && widest_access(rules.effect).is_none() {
            // Nothing is open to it anyway.
            return held;
        }
        held || !opens(&rules, &before) || !gives(&new.granted, &old.granted)
    }
}

/// Whether one set of rules opens all that another does.
fn opens(new: &Rules, old: &Rules) -> bool {
    let root = |old: &crate::Root| {
        new.roots
            .iter()
            .any(|new| (&new.name, &new.path) == (&old.name, &old.path) && new.access >= old.access)
    };
    new.effect == old.effect
        && old.roots.iter().all(root)
        && old.sockets.iter().all(|pass| new.sockets.contains(pass))
}

/// Whether one grant gives all that another does, apart from roots and sockets.
fn gives(new: &Granted, old: &Granted) -> bool {
    let http = |old: &HttpGrant| new.http.iter().any(|new| covers(&new.grant, old));
    old.http.iter().all(|old| http(&old.grant))
        && old.memory.iter().all(|(scope, (access, _))| {
            new.memory.get(scope).is_some_and(|(wider, _)| wider >= access)
        })
        && old
            .config
            .iter()
            .all(|(key, (value, _))| new.config.get(key).is_some_and(|(now, _)| now == value))
        && old.secrets.iter().all(|(name, secret)| {
            new.secrets.get(name).is_some_and(|now| now.canonical() == secret.canonical())
        })
}

fn covers(new: &HttpGrant, old: &HttpGrant) -> bool {
    fn all<T: PartialEq>(new: &Option<Vec<T>>, old: &Option<Vec<T>>) -> bool {
        match (new, old) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(new), Some(old)) => old.iter().all(|one| new.contains(one)),
        }
    }
    new.origin == old.origin
        && Granted::address(new) == Granted::address(old)
        && all(&new.methods, &old.methods)
        && all(&new.paths, &old.paths)
}

impl Grants {
    /// A hash of all that a tenant is given of a tool, whatever the tool asks: another one when any of it
    /// changes. `None` where nothing is given.
    #[must_use]
    pub fn grant_version(&self, tenant: &TenantId, tool: &ToolName) -> Option<Digest> {
        self.granted(tenant, tool)?;
        let nothing = Digest::of(b"");
        let facts = ToolFacts {
            name: tool.clone(),
            component: nothing,
            definitions: nothing,
            functions: vec![],
        };
        let manifest = Manifest::bare(tool.clone());
        Some(ToolPolicy::compile(tenant, &facts, &manifest, self).version())
    }

    /// What a tenant is given of a tool, as lines to tell people: without paths of the host, places of
    /// secrets and values. Empty where nothing is given.
    #[must_use]
    pub fn grant_lines(&self, tenant: &TenantId, tool: &ToolName) -> Vec<String> {
        let Some(granted) = self.granted(tenant, tool) else { return vec![] };
        let mut lines = vec![format!("[tenant.{tenant}.tool.{tool}]")];
        if let Some((digest, _)) = &granted.digest {
            lines.push(format!("digest = \"{digest}\""));
        }
        if let Some((names, _)) = &granted.functions {
            lines.push(format!("functions = {}", quote_all(names)));
        }
        for (name, root) in &granted.fs {
            let path = if root.path.is_some() { "path = \"…\", " } else { "" };
            lines.push(format!("fs.{name} = {{ {path}access = \"{}\" }}", root.access));
        }
        for http in &granted.http {
            let grant = &http.grant;
            let mut line = format!("http = [{{ url = {}", quote(&grant.origin.to_string()));
            for (key, values) in [
                ("methods", grant.methods.as_ref().map(quote_all)),
                ("paths", grant.paths.as_ref().map(quote_all)),
            ] {
                line += &values.map(|values| format!(", {key} = {values}")).unwrap_or_default();
            }
            lines.push(line + " }]");
        }
        for (scope, (access, _)) in &granted.memory {
            lines.push(format!("memory.{scope} = \"{access}\""));
        }
        lines.extend(granted.config.keys().map(|key| format!("config.{key} = \"…\"")));
        lines.extend(granted.secrets.iter().map(|(name, secret)| secret.shown(name)));
        for (grant, _) in &granted.sockets {
            lines.push(format!("sockets = [\"{}\"]", grant.to));
        }
        for (limit, value) in granted.limits.given() {
            lines.push(format!("limits.{limit} = {value}"));
        }
        lines
    }
}
