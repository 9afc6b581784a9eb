//! Why something is open or shut: a call decided as any other, the request held against its permit
//! as a guest's would be, and the lines that both come from.

use std::net::IpAddr;

use ringfence_event::{
    Access, Asked, Denial, DenialCode, Digest, Effect, FunctionName, Money, Remedy, RootName,
    Scope, SecretName, UserId,
};
use url::{Host, Url};

use crate::{
    CallRequest, ConfigKey, Decision, HttpGrant, HttpNeed, HttpPass, Method, Permit, SocketPass,
    SocketTarget, ToolPolicy,
    grants::{Granted, HttpGranted, SecretGranted},
    quote::{quote, quote_all},
    refusal::effect_of,
    remedy::{Lines, root_flag, root_line},
    tool_policy::Joined,
};

/// One thing that a guest might ask of its host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// A file or folder, by its path in the guest.
    File {
        /// The path, from `/` on.
        path: String,
        /// How it is to be opened.
        access: Access,
    },
    /// An HTTP request.
    Http {
        /// The method.
        method: String,
        /// Where to.
        url: Url,
    },
    /// A memory bucket.
    Memory {
        /// Its name.
        bucket: String,
        /// How it is to be used.
        access: Access,
    },
    /// A configuration value.
    Config {
        /// Its key.
        key: String,
    },
    /// A socket, by the protocol that the manifest asks for there, or else by TCP.
    Socket {
        /// Where it is to lead.
        to: SocketTarget,
    },
}

/// What becomes of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is allowed, by all of these lines together; by none where nobody has to allow it.
    Allowed {
        /// The lines, with what stands in them.
        by: Vec<Remedy>,
        /// What is only known when it is done, if anything.
        provided: Option<&'static str>,
    },
    /// It is denied.
    Denied(Denial),
}

impl Answer {
    /// Whether it is allowed.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed { .. })
    }
}

/// Something a function may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// What, such as `write /workspace`.
    pub what: String,
    /// The lines that allow it together.
    pub by: Vec<Remedy>,
}

/// A function explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The function.
    pub function: FunctionName,
    /// Its effect; `None` where the tool has no such function.
    pub effect: Option<Effect>,
    /// The tenant's rules that can hold a call of it until a person says yes; with `host` or `path`
    /// only a call that comes to these. Where there is a request, those that can be for it, whatever the
    /// arguments are and the run has cost by then.
    pub holds: Vec<Remedy>,
    /// Whether it may be called at all.
    pub call: Answer,
    /// What would become of the request, where there is one; of the call, if that is denied.
    pub asked: Option<Answer>,
    /// Without a request, everything it may do.
    pub open: Vec<Opening>,
    /// Without a request, what its tool asks or is given and this function may not do.
    pub shut: Vec<Denial>,
}

impl ToolPolicy {
    /// What would become of one request of a function, or everything that the function may do, and
    /// by which lines. `is_public` says of an address whether it may be connected to without being
    /// granted.
    #[must_use]
    pub fn explain(
        &self,
        user: &UserId,
        function: &FunctionName,
        request: Option<&Request>,
        is_public: fn(IpAddr) -> bool,
    ) -> Explanation {
        let (call, permit) = self.explain_call(user, function);
        let mut table = Table::default();
        let asked = match (request, &permit) {
            (Some(request), Some(permit)) => Some(permit.explain(request, is_public)),
            (Some(_), None) => Some(call.clone()),
            (None, Some(permit)) => {
                table.fill(permit);
                None
            }
            (None, None) => None,
        };
        let holds = match request {
            None => self.holds(function, None),
            Some(request) => self.holds_request(function, request, asked.as_ref()),
        };
        let (function, effect) = (function.clone(), self.effect(function));
        Explanation { function, effect, holds, call, asked, open: table.open, shut: table.shut }
    }

    /// The rules that can hold a call for the sake of a request, but for one that the answer names
    /// already.
    fn holds_request(
        &self,
        function: &FunctionName,
        request: &Request,
        answer: Option<&Answer>,
    ) -> Vec<Remedy> {
        let Some(effect) = self.effect(function) else { return Vec::new() };
        let joined = self.joined();
        let rules = joined.holds.of_function(&joined.tool.name, function, effect);
        let lines =
            rules.filter(|rule| rule.may_be_for(request)).map(|rule| joined.holds.line(rule));
        match answer {
            // What is denied for another reason is not held.
            Some(Answer::Denied(denial)) if denial.code != DenialCode::NeedsApproval => Vec::new(),
            Some(Answer::Denied(denial)) => {
                lines.filter(|line| !denial.remedies.contains(line)).collect()
            }
            _ => lines.collect(),
        }
    }

    fn explain_call(&self, user: &UserId, function: &FunctionName) -> (Answer, Option<Permit>) {
        let arguments = Digest::of(b"{}");
        let call = CallRequest {
            user,
            function,
            arguments,
            arguments_text: "{}",
            limits: None,
            rules: None,
            spent: Money::ZERO,
            approval: None,
        };
        let permit = match self.decide(&call) {
            Decision::Permit(permit) | Decision::Hold(permit, _) => permit,
            Decision::Denial(denial) => return (Answer::Denied(denial), None),
        };
        let by = permit.joined().call_lines();
        (Answer::Allowed { by, provided: None }, Some(permit))
    }
}

impl Permit {
    fn explain(&self, request: &Request, is_public: fn(IpAddr) -> bool) -> Answer {
        let joined = self.joined();
        let allowed = |by| Answer::Allowed { by, provided: None };
        match request {
            // It is there for every call, and holds nothing but the roots.
            Request::File { path, access: Access::Read } if path == "/" => allowed(vec![]),
            Request::File { path, access } => match self.file(path, *access) {
                Ok(root) => Answer::Allowed {
                    by: joined.root_lines(&root.name),
                    provided: Some("no link on the way leads out of the root"),
                },
                Err(denial) => Answer::Denied(denial),
            },
            Request::Http { method, url } => match self.http(method, url) {
                Err(denial) => Answer::Denied(denial),
                Ok(pass) => {
                    let literal = match url.host() {
                        Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
                        Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
                        _ => None,
                    };
                    let provided = match (pass.address, literal) {
                        (Some(_), _) => None,
                        (None, Some(address)) if is_public(address.to_canonical()) => None,
                        (None, Some(_)) => return Answer::Denied(self.deny_address(method, url)),
                        (None, None) => Some("its name leads to a public address"),
                    };
                    let by = self
                        .opened_by(method, url)
                        .map(|(need, granted)| joined.http_lines(need, granted));
                    Answer::Allowed { by: by.unwrap_or_default(), provided }
                }
            },
            Request::Memory { bucket, access } => match self.bucket(bucket, *access) {
                Ok(scope) => allowed(joined.bucket_lines(scope)),
                Err(denial) => Answer::Denied(denial),
            },
            Request::Config { key } => match self.config(key) {
                Ok(_) => allowed(joined.config_lines(key)),
                Err(denial) => Answer::Denied(denial),
            },
            Request::Socket { to } => self.explain_socket(to),
        }
    }

    fn explain_socket(&self, to: &SocketTarget) -> Answer {
        let leads = |pass: &&SocketPass| {
            // An address is open also where it is granted beside a name.
            pass.to == *to
                || pass.to.port() == to.port()
                    && to.address().is_some_and(|a| pass.address == Some(a))
        };
        let joined = self.joined();
        match self.sockets().iter().find(leads) {
            Some(pass) => Answer::Allowed {
                by: joined.socket_lines(&pass.to),
                provided: pass.address.is_none().then_some("its name leads to a public address"),
            },
            None => {
                let need = joined.needs.sockets.iter().find(|need| need.to == *to);
                let protocol = need.map(|need| need.protocol).unwrap_or_default();
                Answer::Denied(self.deny_target(protocol, to))
            }
        }
    }
}

/// What is open and what is shut, while it is collected.
#[derive(Default)]
struct Table {
    open: Vec<Opening>,
    shut: Vec<Denial>,
}

impl Table {
    fn fill(&mut self, permit: &Permit) {
        let joined = permit.joined();
        for name in joined
            .needs
            .fs
            .keys()
            .chain(joined.granted.fs.keys().filter(|name| !joined.needs.fs.contains_key(*name)))
        {
            let asked = joined.needs.fs.get(name).map(|need| need.access);
            let path = format!("/{name}");
            self.widest(permit, asked, |access| Request::File { path: path.clone(), access });
        }
        for need in &joined.needs.http {
            self.http(permit, need);
        }
        for granted in &joined.granted.http {
            if !joined.needs.http.iter().any(|need| need.origin.overlaps(&granted.grant.origin)) {
                self.shut.push(permit.deny_unasked(granted));
            }
        }
        for scope in Scope::ALL {
            let asked = joined.needs.memory.get(&scope).map(|need| need.access);
            if asked.is_some() || joined.granted.memory.contains_key(&scope) {
                let bucket = scope.to_string();
                self.widest(permit, asked, |access| Request::Memory {
                    bucket: bucket.clone(),
                    access,
                });
            }
        }
        let needed = joined.needs.sockets.iter().map(|need| &need.to);
        let mut targets: Vec<&SocketTarget> = needed.collect();
        for (grant, _) in &joined.granted.sockets {
            if !targets.contains(&&grant.to) {
                targets.push(&grant.to);
            }
        }
        for to in targets {
            self.widest(permit, None, |_| Request::Socket { to: to.clone() });
        }
        let needed = joined.needs.config.iter().flat_map(|need| &need.keys);
        let mut keys: Vec<&ConfigKey> = needed.chain(joined.granted.config.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            self.widest(permit, None, |_| Request::Config { key: key.to_string() });
        }
    }

    /// The widest access that is open, and the denial of what is asked beyond it.
    fn widest(
        &mut self,
        permit: &Permit,
        asked: Option<Access>,
        request: impl Fn(Access) -> Request,
    ) {
        // Nothing here is an address.
        let explain = |access| permit.explain(&request(access), |_| false);
        let asked = asked.unwrap_or(Access::Read);
        let answers = match asked {
            Access::Write => {
                vec![(Access::Write, explain(Access::Write)), (Access::Read, explain(Access::Read))]
            }
            Access::Read => vec![(Access::Read, explain(Access::Read))],
        };
        for (access, answer) in answers {
            match answer {
                Answer::Allowed { by, .. } => {
                    self.open.push(Opening { what: what(&request(access)), by });
                    return;
                }
                // What may not even be read is told once, with all that it lacks.
                Answer::Denied(denial) if access == asked => self.shut.push(denial),
                Answer::Denied(_) => {}
            }
        }
    }

    /// A need with each grant that it meets. Which requests fit both is for their patterns to say.
    fn http(&mut self, permit: &Permit, need: &HttpNeed) {
        let joined = permit.joined();
        let fits = |method: &&Method| permit.effect() >= effect_of(method);
        let mut met = false;
        for granted in &joined.granted.http {
            let grant = &granted.grant;
            let given =
                |method: &&Method| grant.methods.as_ref().is_none_or(|all| all.contains(method));
            let methods: Vec<&str> =
                need.methods.iter().filter(fits).filter(given).map(Method::as_str).collect();
            if !need.origin.overlaps(&grant.origin) || methods.is_empty() {
                continue;
            }
            met = true;
            if let Some(denial) = permit.lacks_secret(need, granted) {
                self.shut.push(denial);
                continue;
            }
            let origin = need.origin.narrower(&grant.origin);
            let mut what = format!("{} {origin}", methods.join(", "));
            let paths = |paths: &[crate::PathPattern]| {
                paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
            };
            what += &format!(" at {}", paths(&need.paths));
            if let Some(narrower) = &grant.paths {
                what += &format!(" and at {}", paths(narrower));
            }
            self.open.push(Opening { what, by: joined.http_lines(need, granted) });
        }
        if !met {
            self.shut.push(permit.deny_need(need));
        }
    }
}

impl Permit {
    /// The denial of everything that a need asks.
    fn deny_need(&self, need: &HttpNeed) -> Denial {
        let methods: Vec<&str> = need.methods.iter().map(Method::as_str).collect();
        let paths: Vec<String> = need.paths.iter().map(ToString::to_string).collect();
        let url = format!("{}{}", need.origin, paths.join(" or "));
        let mut lines = Lines::new(self);
        lines.whole_need(need);
        lines.denial(Asked::Http { method: methods.join(", "), url })
    }

    /// The denial of a need's requests under a grant, where a secret is missing or may not travel.
    fn lacks_secret(&self, need: &HttpNeed, granted: &HttpGranted) -> Option<Denial> {
        if need.secrets.is_empty() {
            return None;
        }
        let pass = HttpPass { address: Granted::address(&granted.grant), secrets: &need.secrets };
        let named = granted.grant.origin.is_exact();
        let method = need.methods.first().map_or("GET", Method::as_str);
        // A need with a secret names one host, so its origin is a URL.
        let url = Url::parse(&need.origin.to_string()).ok()?;
        self.check_secrets(&pass, named, method, &url).err()
    }

    /// The denial of an origin that the operator gives and nobody asks.
    fn deny_unasked(&self, granted: &HttpGranted) -> Denial {
        let origin = granted.grant.origin.to_string();
        let mut lines = Lines::new(self);
        let method = granted.grant.methods.as_ref().and_then(|all| all.first());
        let method = method.map_or("GET", Method::as_str).to_owned();
        lines.unasked_origin(&origin, &method);
        lines.denial(Asked::Http { method, url: origin })
    }
}

fn what(request: &Request) -> String {
    match request {
        Request::File { path, access } => format!("{access} {path}"),
        Request::Http { method, url } => format!("{method} {url}"),
        Request::Memory { bucket, access } => format!("{access} memory bucket {bucket}"),
        Request::Config { key } => format!("read configuration {key}"),
        Request::Socket { to } => format!("connect to {to}"),
    }
}

/// The lines of both sides, as they stand there.
impl Joined {
    pub(crate) fn call_lines(&self) -> Vec<Remedy> {
        let mut lines = vec![];
        if let Some(line) = self.granted.line {
            lines.push(self.operator_line(Some(line), String::new(), self.table()));
        }
        if let Some((digest, line)) = &self.granted.digest {
            let text = format!("digest = \"{digest}\"");
            lines.push(self.operator_line(Some(*line), self.table(), text));
        }
        if let Some((names, line)) = &self.granted.functions {
            let text = format!("functions = {}", quote_all(names));
            lines.push(self.operator_line(Some(*line), self.table(), text));
        }
        lines
    }

    pub(crate) fn root_lines(&self, name: &RootName) -> Vec<Remedy> {
        let need = self.needs.fs.get(name).map(|need| {
            let text = format!("access = \"{}\"", need.access);
            self.author_line(Some(need.access_line), format!("[needs.fs.{name}]"), text)
        });
        let granted = self.granted.fs.get(name).map(|granted| {
            let (flag, text) =
                (root_flag(name, granted.access), root_line(name, granted.access, ""));
            self.placed_line(&granted.place, flag, text)
        });
        need.into_iter().chain(granted).collect()
    }

    pub(crate) fn bucket_lines(&self, scope: Scope) -> Vec<Remedy> {
        let need = self.needs.memory.get(&scope).map(|need| {
            let text = format!("access = \"{}\"", need.access);
            self.author_line(Some(need.access_line), format!("[needs.memory.{scope}]"), text)
        });
        let granted = self.granted.memory.get(&scope).map(|(access, place)| {
            let text = format!("memory.{scope} = \"{access}\"");
            self.placed_line(place, format!("--bucket {scope}"), text)
        });
        need.into_iter().chain(granted).collect()
    }

    pub(crate) fn config_lines(&self, key: &str) -> Vec<Remedy> {
        let need = self.needs.config.as_ref().map(|need| {
            let text = format!("keys = {}", quote_all(&need.keys));
            self.author_line(Some(need.keys_line), "[needs.config]".to_owned(), text)
        });
        let granted = self.granted.config.get_key_value(key).map(|(key, (_, place))| {
            self.placed_line(place, String::new(), format!("config.{} = \"…\"", key.in_toml()))
        });
        need.into_iter().chain(granted).collect()
    }

    fn http_lines(&self, need: &HttpNeed, granted: &HttpGranted) -> Vec<Remedy> {
        let mut lines = vec![self.http_need_line(need), self.http_grant_line(granted)];
        for secret in &need.secrets {
            if let Some(granted) = self.granted.secrets.get(&secret.name) {
                lines.push(self.secret_line(&secret.name, granted));
            }
        }
        lines
    }

    /// The operator's line of a secret.
    pub(crate) fn secret_line(&self, name: &SecretName, granted: &SecretGranted) -> Remedy {
        self.operator_line(Some(granted.line), self.table(), granted.shown(name))
    }

    pub(crate) fn socket_lines(&self, to: &SocketTarget) -> Vec<Remedy> {
        let need = self.needs.sockets.iter().find(|need| need.to == *to).map(|need| {
            let table = format!("[needs.sockets.{}]", quote(&to.to_string()));
            self.author_line(Some(need.line), table, format!("protocol = \"{}\"", need.protocol))
        });
        let granted = self.granted.sockets.iter().filter(|(grant, _)| grant.to == *to);
        let granted = granted.map(|(grant, place)| {
            let to = quote(&to.to_string());
            let text = match grant.address {
                Some(_) => format!("{{ to = {to}, address = \"…\" }}"),
                None => to,
            };
            self.placed_line(place, String::new(), text)
        });
        need.into_iter().chain(granted).collect()
    }

    fn http_need_line(&self, need: &HttpNeed) -> Remedy {
        let table = format!("[needs.http.{}]", quote(&need.origin.to_string()));
        let mut text =
            format!("methods = {}, paths = {}", quote_all(&need.methods), quote_all(&need.paths));
        if !need.secrets.is_empty() {
            let secrets: Vec<String> = need.secrets.iter().map(ToString::to_string).collect();
            text += &format!(", secret = [{}]", secrets.join(", "));
        }
        self.author_line(Some(need.line), table, text)
    }

    pub(crate) fn http_grant_line(&self, granted: &HttpGranted) -> Remedy {
        let grant = &granted.grant;
        let origin = grant.origin.to_string();
        let url = quote(&origin);
        if *grant == HttpGrant::from(grant.origin.clone()) {
            return self.placed_line(&granted.place, format!("--http {origin}"), url);
        }
        let mut text = format!("{{ url = {url}");
        if let Some(methods) = &grant.methods {
            text += &format!(", methods = {}", quote_all(methods));
        }
        if let Some(paths) = &grant.paths {
            text += &format!(", paths = {}", quote_all(paths));
        }
        if grant.address.is_some() {
            text += ", address = \"…\"";
        }
        text += " }";
        self.placed_line(&granted.place, format!("--http {origin}"), text)
    }
}
