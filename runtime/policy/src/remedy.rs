//! The lines that would allow a thing, collected over both sides and the function's effect.

use ringfence_event::{
    Access, Asked, Denial, DenialCode, Effect, FileOwner, FunctionName, Remedy, RootName, Scope,
    SecretName,
};
use url::{Host, Url};

use crate::{
    ConfigKey, Full, HttpNeed, MANIFEST_FILE, Method, Origin, Permit, Protocol, SecretHeader,
    SocketGrant, SocketNeed, SocketTarget,
    grants::{COMMAND_LINE, HttpGranted, Place},
    quote::{quote, quote_all},
    refusal::effect_of,
    tool_policy::{Joined, file_name},
};

/// Collects what is missing. The first wall met gives the code: the manifest, then the grant, then
/// the effect.
pub(crate) struct Lines<'a> {
    permit: &'a Permit,
    joined: &'a Joined,
    code: Option<DenialCode>,
    remedies: Vec<Remedy>,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(permit: &'a Permit) -> Self {
        Self { permit, joined: permit.joined(), code: None, remedies: Vec::new() }
    }

    /// The denial with all that was collected. With nothing in the way of these kinds, what was
    /// asked is a thing that no line opens, such as a device in a root.
    pub(crate) fn denial(self, asked: Asked) -> Denial {
        Denial::new(self.code.unwrap_or(DenialCode::NeverOpen), asked, self.remedies)
    }

    /// What a root lacks for `access`.
    pub(crate) fn root(&mut self, root: &RootName, access: Access) {
        let need = self.joined.needs.fs.get(root).map(|need| (need.access, need.access_line));
        self.need(need, access, &format!("fs.{root}"));
        let granted = self.joined.granted.fs.get(root);
        if granted.is_none_or(|granted| granted.access < access) {
            let (flag, line) = (root_flag(root, access), root_line(root, access, ""));
            self.grant(granted.map(|granted| &granted.place), true, flag, line);
        }
        self.effect(Effect::for_access(access));
    }

    /// The line that bounds what is full.
    pub(crate) fn quota(&mut self, root: &RootName, full: Full) {
        let granted = &self.joined.granted;
        let of_tenant = format!("[tenant.{}.quota]", self.joined.tenant);
        let (line, allow) = match full {
            Full::RootBytes | Full::RootFiles => {
                let key = if full == Full::RootBytes { "bytes" } else { "files" };
                let line = root_line(root, Access::Write, &format!(", {key} = \"…\""));
                return match granted.fs.get(root).map(|root| &root.place) {
                    Some(Place::Set(name, at)) => {
                        self.operator_line(Some(*at), format!("[grant-set.{name}]"), line);
                    }
                    Some(Place::Tool(at)) => self.tool_line(Some(*at), line),
                    Some(Place::Flag) | None => self.tool_line(granted.line, line),
                };
            }
            Full::TenantBytes => (granted.quota_lines.bytes, "bytes = \"…\""),
            Full::TenantFiles => (granted.quota_lines.files, "files = \"…\""),
            Full::Handles => (granted.quota_lines.handles, "handles = \"…\""),
        };
        self.operator_line(line, of_tenant, allow.to_owned());
    }

    /// What a bucket lacks for `access`.
    pub(crate) fn bucket(&mut self, scope: Scope, access: Access) {
        let need = self.joined.needs.memory.get(&scope).map(|need| (need.access, need.access_line));
        self.need(need, access, &format!("memory.{scope}"));
        let granted = self.joined.granted.memory.get(&scope);
        if granted.is_none_or(|(granted, _)| *granted < access) {
            let suffix = if access == Access::Write { ":rw" } else { "" };
            let flag = format!("--bucket {scope}{suffix}");
            let line = format!("memory.{scope} = \"{access}\"");
            // A set's narrower line may stay: the tool's own is added to it.
            self.grant(granted.map(|(_, place)| place), false, flag, line);
        }
        self.effect(Effect::for_access(access));
    }

    /// What a configuration value lacks.
    pub(crate) fn config(&mut self, key: &ConfigKey) {
        let need = self.joined.needs.config.as_ref();
        if need.is_none_or(|need| !need.keys.contains(key)) {
            let keys = need.into_iter().flat_map(|need| &need.keys).chain([key]);
            self.config_need(format!("keys = {}", quote_all(keys)));
        }
        self.config_grant(key);
        self.effect(Effect::Read);
    }

    /// What it lacks to read any configuration at all.
    pub(crate) fn config_all(&mut self) {
        match &self.joined.needs.config {
            Some(need) if !need.keys.is_empty() => {
                // Any one of them would do.
                if !need.keys.iter().any(|key| self.joined.granted.config.contains_key(key)) {
                    need.keys.iter().for_each(|key| self.config_grant(key));
                }
            }
            _ => self.config_need("keys = [\"…\"]".to_owned()),
        }
        self.effect(Effect::Read);
    }

    fn config_need(&mut self, allow: String) {
        self.met(DenialCode::NotNeeded);
        let line = self.joined.needs.config.as_ref().map(|need| need.keys_line);
        let table = "[needs.config]".to_owned();
        // No flag gives a value, so a component without a manifest gets none.
        let file = match self.joined.manifest.file.as_str() {
            COMMAND_LINE => MANIFEST_FILE,
            file => file_name(file),
        };
        let (owner, file) = (FileOwner::ToolAuthor, file.to_owned());
        self.remedies.push(Remedy { owner, file, line, table, allow });
    }

    fn config_grant(&mut self, key: &ConfigKey) {
        if self.joined.granted.config.contains_key(key) {
            return;
        }
        self.met(DenialCode::NotGranted);
        self.tool_line(self.joined.granted.line, format!("config.{} = \"…\"", key.in_toml()));
    }

    /// What a request lacks. `path` is normalised.
    pub(crate) fn request(&mut self, method: &Method, url: &Url, origin: &Origin, path: &str) {
        let needs: Vec<&HttpNeed> =
            self.joined.needs.http.iter().filter(|need| need.origin.matches(url)).collect();
        let lacks = |need: &HttpNeed| {
            (
                !need.methods.contains(method),
                !need.paths.iter().any(|pattern| pattern.matches(path)),
            )
        };
        if !needs.iter().any(|need| lacks(need) == (false, false)) {
            self.met(DenialCode::NotNeeded);
            // To add to a wildcard would open more than was asked: the origin gets a table of its own.
            match needs.iter().find(|need| need.origin.is_exact()) {
                None => {
                    let table = format!("[needs.http.{}]", quote(&origin.to_string()));
                    let allow = format!("methods = {}", quote_all([method]));
                    self.author_line(None, table, allow);
                }
                Some(need) => {
                    let table = format!("[needs.http.{}]", quote(&need.origin.to_string()));
                    let (method_lacks, path_lacks) = lacks(need);
                    if method_lacks {
                        let all = need.methods.iter().chain([method]);
                        let line = need.methods_line.unwrap_or(need.line);
                        self.author_line(
                            Some(line),
                            table.clone(),
                            format!("methods = {}", quote_all(all)),
                        );
                    }
                    if path_lacks {
                        let all =
                            need.paths.iter().map(ToString::to_string).chain([path.to_owned()]);
                        let line = need.paths_line.unwrap_or(need.line);
                        self.author_line(Some(line), table, format!("paths = {}", quote_all(all)));
                    }
                }
            }
        }
        self.request_grant(method, url, origin, path);
        self.effect(effect_of(method));
    }

    /// What an origin lacks that is asked and not given, with all its methods and paths.
    pub(crate) fn whole_need(&mut self, need: &HttpNeed) {
        let origin = need.origin.to_string();
        let given = |granted: &HttpGranted| {
            let methods = granted.grant.methods.as_ref();
            granted.grant.origin.overlaps(&need.origin)
                && methods.is_none_or(|all| need.methods.iter().any(|method| all.contains(method)))
        };
        if !self.joined.granted.http.iter().any(given) {
            self.met(DenialCode::NotGranted);
            self.add_origin(format!("--http {origin}"), &quote(&origin));
        }
        if let Some(lowest) = need.methods.iter().map(effect_of).min() {
            self.effect(lowest);
        }
    }

    /// What an origin lacks that is given and not asked.
    pub(crate) fn unasked_origin(&mut self, origin: &str, method: &str) {
        self.met(DenialCode::NotNeeded);
        let table = format!("[needs.http.{}]", quote(origin));
        self.author_line(None, table, format!("methods = {}", quote_all([method])));
    }

    fn request_grant(&mut self, method: &Method, url: &Url, origin: &Origin, path: &str) {
        let lacks = |granted: &HttpGranted| {
            let grant = &granted.grant;
            let methods = grant.methods.as_ref().is_some_and(|all| !all.contains(method));
            let paths =
                grant.paths.as_ref().is_some_and(|all| !all.iter().any(|p| p.matches(path)));
            (methods, paths)
        };
        let mut near =
            self.joined.granted.http.iter().filter(|granted| granted.grant.origin.matches(url));
        if near.clone().any(|granted| lacks(granted) == (false, false)) {
            return;
        }
        // As with needs: a wildcard is not widened, the origin gets a grant of its own.
        let own = near.find(|granted| {
            granted.grant.origin.is_exact() && matches!(granted.place, Place::Tool(_))
        });
        let flag = format!("--http {origin}");
        let Some(granted) = own else {
            self.met(DenialCode::NotGranted);
            self.add_origin(flag, &quote(&origin.to_string()));
            return;
        };
        let grant = &granted.grant;
        let mut item = format!("{{ url = {}", quote(&grant.origin.to_string()));
        if let Some(methods) = &grant.methods {
            let new = lacks(granted).0.then_some(method);
            item += &format!(", methods = {}", quote_all(methods.iter().chain(new)));
        }
        if let Some(paths) = &grant.paths {
            let new = lacks(granted).1.then(|| path.to_owned());
            item += &format!(
                ", paths = {}",
                quote_all(paths.iter().map(ToString::to_string).chain(new))
            );
        }
        if grant.address.is_some() {
            item += ", address = \"…\"";
        }
        item += " }";
        self.grant(Some(&granted.place), false, flag, item);
    }

    /// What a host without a public address lacks.
    pub(crate) fn address(&mut self, url: &Url) {
        let Some(origin) = Origin::of(url) else { return };
        let text = quote(&origin.to_string());
        if origin.address().is_some() {
            self.add_origin(format!("--http {origin}"), &text);
            return;
        }
        let item = format!("{{ url = {text}, address = \"…\" }}");
        let own = self.joined.granted.http.iter().find(|granted| {
            granted.grant.origin == origin && matches!(granted.place, Place::Tool(_))
        });
        match own.map(|granted| &granted.place) {
            Some(Place::Tool(line)) => self.tool_line(Some(*line), item),
            // No flag says an address beside a name.
            _ => self.tool_line(self.joined.granted.http_line, self.http_line(&item)),
        }
    }

    /// That a grant has to name the host, which a wildcard does not.
    pub(crate) fn name_host(&mut self, url: &Url) {
        let Some(origin) = Origin::of(url) else { return };
        self.met(DenialCode::NotGranted);
        self.add_origin(format!("--http {origin}"), &quote(&origin.to_string()));
    }

    /// What a secret lacks; whether it lacks anything. No flag gives one: what is typed is seen.
    pub(crate) fn secret(&mut self, name: &SecretName) -> bool {
        if self.joined.granted.secrets.contains_key(name) {
            return false;
        }
        self.met(DenialCode::NotGranted);
        self.tool_line(self.joined.granted.line, format!("secret.{name} = {{ env = \"…\" }}"));
        true
    }

    /// The line of a secret that cannot be used.
    pub(crate) fn fault(&mut self, name: &SecretName) {
        let Some(granted) = self.joined.granted.secrets.get(name) else { return };
        self.tool_line(Some(granted.line), granted.shown(name));
    }

    /// The lines that send the same request encrypted.
    pub(crate) fn encrypt(&mut self, secrets: &[SecretHeader], url: &Url) {
        let mut secure = url.clone();
        let origin = secure.set_scheme("https").ok().and_then(|()| Origin::of(&secure));
        let Some(origin) = origin else { return };
        let text = quote(&origin.to_string());
        let secrets: Vec<String> = secrets.iter().map(ToString::to_string).collect();
        let need = self.joined.needs.http.iter().find(|need| need.origin.matches(url));
        let allow = format!("secret = [{}]", secrets.join(", "));
        self.author_line(need.map(|need| need.line), format!("[needs.http.{text}]"), allow);
        self.add_origin(format!("--http {origin}"), &text);
    }

    fn add_origin(&mut self, flag: String, item: &str) {
        if self.joined.by_flags {
            self.flag_line(flag);
        } else {
            self.tool_line(self.joined.granted.http_line, self.http_line(item));
        }
    }

    /// The `http` line with one more item; `…` is what stands there already.
    fn http_line(&self, item: &str) -> String {
        match self.joined.granted.http_line {
            Some(_) => format!("http = […, {item}]"),
            None => format!("http = [{item}]"),
        }
    }

    /// What a socket lacks to reach `to`.
    pub(crate) fn socket(&mut self, protocol: Protocol, to: &SocketTarget) {
        let need = self.joined.needs.sockets.iter().find(|need| need.to == *to);
        if need.is_none_or(|need| need.protocol != protocol) {
            self.met(DenialCode::NotNeeded);
            let table = format!("[needs.sockets.{}]", quote(&to.to_string()));
            let allow = format!("protocol = \"{protocol}\"");
            self.author_line(need.map(|need| need.line), table, allow);
        }
        self.socket_grants([to]);
        self.effect(Effect::for_access(Access::Write));
    }

    /// What a name lacks to be resolved.
    pub(crate) fn socket_name(&mut self, host: &Host<String>) {
        let needs = self.socket_needs(|need| need.to.host() == host);
        if needs.is_empty() {
            self.met(DenialCode::NotNeeded);
            let table = format!("[needs.sockets.\"{host}:PORT\"]");
            self.author_line(None, table, "protocol = \"tcp\"".to_owned());
            if !self.joined.granted.sockets.iter().any(|(grant, _)| grant.to.host() == host) {
                self.met(DenialCode::NotGranted);
                self.tool_line(
                    self.joined.granted.sockets_line,
                    self.sockets_line(&[format!("\"{host}:PORT\"")]),
                );
            }
        }
        self.socket_grants(needs);
        self.effect(Effect::for_access(Access::Write));
    }

    /// What a protocol lacks that is not open at all.
    pub(crate) fn sockets(&mut self, protocol: Protocol) {
        let needs = self.socket_needs(|need| need.protocol == protocol);
        if needs.is_empty() {
            self.met(DenialCode::NotNeeded);
            let table = "[needs.sockets.\"HOST:PORT\"]".to_owned();
            self.author_line(None, table, format!("protocol = \"{protocol}\""));
            self.tool_line(
                self.joined.granted.sockets_line,
                self.sockets_line(&["\"HOST:PORT\"".to_owned()]),
            );
        }
        self.socket_grants(needs);
        self.effect(Effect::for_access(Access::Write));
    }

    /// What a name without a public address lacks.
    pub(crate) fn socket_address(&mut self, name: &str) {
        let named = |grant: &SocketGrant| grant.to.name() == Some(name) && grant.address.is_none();
        for (grant, place) in self.joined.granted.sockets.iter().filter(|(grant, _)| named(grant)) {
            let to = quote(&grant.to.to_string());
            let item = format!("{{ to = {to}, address = \"…\" }}");
            match place {
                Place::Tool(line) => self.tool_line(Some(*line), item),
                // A set's line may stay: an address beside the same name is added to it.
                Place::Set(..) | Place::Flag => {
                    self.tool_line(self.joined.granted.sockets_line, self.sockets_line(&[item]));
                }
            }
        }
    }

    fn socket_needs(&self, fits: impl Fn(&SocketNeed) -> bool) -> Vec<&'a SocketTarget> {
        let needs = self.joined.needs.sockets.iter();
        needs.filter(|need| fits(need)).map(|need| &need.to).collect()
    }

    /// The one line that grants those of `targets` that are not. No flag opens a socket.
    fn socket_grants<'t>(&mut self, targets: impl IntoIterator<Item = &'t SocketTarget>) {
        let granted = &self.joined.granted.sockets;
        let lacking = targets.into_iter().filter(|to| !granted.iter().any(|(g, _)| g.to == **to));
        let items: Vec<String> = lacking.map(|to| quote(&to.to_string())).collect();
        if !items.is_empty() {
            self.met(DenialCode::NotGranted);
            self.tool_line(self.joined.granted.sockets_line, self.sockets_line(&items));
        }
    }

    /// The `sockets` line with more items; `…` is what stands there already.
    fn sockets_line(&self, items: &[String]) -> String {
        let items = items.join(", ");
        match self.joined.granted.sockets_line {
            Some(_) => format!("sockets = […, {items}]"),
            None => format!("sockets = [{items}]"),
        }
    }

    fn need(&mut self, need: Option<(Access, u32)>, access: Access, name: &str) {
        let line = match need {
            Some((open, _)) if open >= access => return,
            Some((_, line)) => Some(line),
            None => None,
        };
        self.met(DenialCode::NotNeeded);
        self.author_line(line, format!("[needs.{name}]"), format!("access = \"{access}\""));
    }

    /// A grant that is missing, or that stands at `place` and is too narrow. `in_set` says whether
    /// a line of a grant set is itself to be changed.
    fn grant(&mut self, place: Option<&Place>, in_set: bool, flag: String, allow: String) {
        self.met(DenialCode::NotGranted);
        if self.joined.by_flags {
            self.flag_line(flag);
            return;
        }
        match place {
            Some(Place::Set(name, line)) if in_set => {
                self.operator_line(Some(*line), format!("[grant-set.{name}]"), allow);
            }
            Some(Place::Tool(line)) => self.tool_line(Some(*line), allow),
            Some(Place::Set(..) | Place::Flag) | None => {
                self.tool_line(self.joined.granted.line, allow);
            }
        }
    }

    fn effect(&mut self, lowest: Effect) {
        if self.permit.effect() >= lowest {
            return;
        }
        self.met(DenialCode::EffectForbids);
        let function = self.permit.function();
        let entry = self.joined.manifest.functions.get(function);
        let line = entry.map(|entry| entry.effect_line.unwrap_or(entry.line));
        self.author_line(line, format!("[function.{function}]"), format!("effect = \"{lowest}\""));
    }

    fn met(&mut self, code: DenialCode) {
        self.code.get_or_insert(code);
    }

    fn author_line(&mut self, line: Option<u32>, table: String, allow: String) {
        // Without a manifest the flags say both what is needed and what is given.
        if self.joined.manifest.file == COMMAND_LINE {
            return;
        }
        self.remedies.push(self.joined.author_line(line, table, allow));
    }

    fn tool_line(&mut self, line: Option<u32>, allow: String) {
        self.operator_line(line, self.joined.table(), allow);
    }

    fn operator_line(&mut self, line: Option<u32>, table: String, allow: String) {
        self.remedies.push(self.joined.operator_line(line, table, allow));
    }

    fn flag_line(&mut self, allow: String) {
        let file = COMMAND_LINE.to_owned();
        let table = String::new();
        self.remedies.push(Remedy { owner: FileOwner::Caller, file, line: None, table, allow });
    }
}

/// The flag that gives a root.
pub(crate) fn root_flag(root: &RootName, access: Access) -> String {
    let folder = if root.is_scratch() { "" } else { "=DIR" };
    let suffix = if access == Access::Write { ":rw" } else { "" };
    format!("--fs {root}{folder}{suffix}")
}

/// The line that gives a root. Which folder it is, is not said.
pub(crate) fn root_line(root: &RootName, access: Access, more: &str) -> String {
    let path = if root.is_scratch() { "" } else { "path = \"…\", " };
    format!("fs.{root} = {{ {path}access = \"{access}\"{more} }}")
}

impl Joined {
    /// The operator's table for this tool.
    pub(crate) fn table(&self) -> String {
        format!("[tenant.{}.tool.{}]", self.tenant, self.tool.name)
    }

    /// The line that adds a function to those the operator lists.
    pub(crate) fn list_function(&self, function: &FunctionName) -> Remedy {
        let (listed, line) = match &self.granted.functions {
            Some((names, line)) => (Some(names), Some(*line)),
            None => (None, None),
        };
        let names = listed.into_iter().flatten().chain([function]);
        self.operator_line(line, self.table(), format!("functions = {}", quote_all(names)))
    }

    /// That a bucket is full, and the line that all of the tenant's memory is bounded by.
    pub(crate) fn deny_memory_full(&self, scope: Scope) -> Denial {
        let table = format!("[tenant.{}.quota]", self.tenant);
        let line = self.operator_line(self.memory.1, table, "memory = \"…\"".to_owned());
        Denial::new(DenialCode::QuotaFull, Asked::memory(scope, Access::Write), vec![line])
    }

    /// A line of the manifest.
    pub(crate) fn author_line(&self, line: Option<u32>, table: String, allow: String) -> Remedy {
        let file = file_name(&self.manifest.file).to_owned();
        Remedy { owner: FileOwner::ToolAuthor, file, line, table, allow }
    }

    /// A grant where it stands.
    pub(crate) fn placed_line(&self, place: &Place, flag: String, allow: String) -> Remedy {
        match place {
            Place::Tool(line) => self.operator_line(Some(*line), self.table(), allow),
            Place::Set(name, line) => {
                self.operator_line(Some(*line), format!("[grant-set.{name}]"), allow)
            }
            Place::Flag => Remedy {
                owner: FileOwner::Caller,
                file: COMMAND_LINE.to_owned(),
                line: None,
                table: String::new(),
                allow: flag,
            },
        }
    }

    pub(crate) fn operator_line(&self, line: Option<u32>, table: String, allow: String) -> Remedy {
        // What only a file can say is said of a file also to somebody who typed flags alone.
        let file = match self.grants_file.as_str() {
            COMMAND_LINE => "ringfence.toml".to_owned(),
            file => file.to_owned(),
        };
        Remedy { owner: FileOwner::Operator, file, line, table, allow }
    }
}
