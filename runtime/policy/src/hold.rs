//! Rules that hold a call until a person says yes. Of several that match the stricter wins: any of
//! them holds, the shortest expiry counts, a no at the end of it goes before a yes, and an answer
//! for one call before one for the session.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr};

use ringfence_event::{
    ApprovalScope, Binding, Digest, Effect, FileOwner, FunctionName, Money, OnExpiry, Remedy,
    ToolName,
};
use url::Url;

use crate::{
    CallRequest, FilePattern, HostPattern, Millis, Permit, Request, Root, SocketPass,
    arguments::Json,
    file_pattern,
    quote::{quote, quote_all},
    tool_policy::file_name,
};

/// All hold rules of one file's owner: a tenant's, or an agent's.
#[derive(Clone, Debug)]
pub struct HoldRules {
    file: String,
    owner: FileOwner,
    table: String,
    rules: Vec<HoldRule>,
    digest: Digest,
}

/// One rule. All that it names must match.
#[derive(Clone, Debug)]
pub(crate) struct HoldRule {
    pub(crate) tool: Option<ToolName>,
    pub(crate) function: Option<FunctionName>,
    pub(crate) effects: Option<BTreeSet<Effect>>,
    pub(crate) host: Option<HostPattern>,
    pub(crate) path: Option<FilePattern>,
    pub(crate) argument: Option<ArgumentMatch>,
    /// What the run has cost so far, or more.
    pub(crate) spent: Option<Money>,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) on_expiry: OnExpiry,
    /// The widest answer that it allows.
    pub(crate) scope: ApprovalScope,
    pub(crate) line: u32,
}

/// `argument = { at = "/amount", matches = "*00" }`
#[derive(Clone, Debug)]
pub(crate) struct ArgumentMatch {
    at: String,
    pointer: Vec<String>,
    matches: String,
}

/// A person's yes, and what it was given for.
#[derive(Clone, Copy, Debug)]
pub enum Approval<'a> {
    /// For one call.
    Call(&'a Binding),
    /// For a function in this session.
    Session(&'a Binding),
}

/// Why a call is held, and what an answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Each rule that the yes is for: those that hold the call, and those whose host or path it
    /// opens.
    pub rules: Vec<Remedy>,
    /// What the answer is bound to.
    pub binding: Binding,
    /// How long a person may take, in milliseconds; `None`: without an end.
    pub expires_ms: Option<u64>,
    /// What happens then.
    pub on_expiry: OnExpiry,
    /// The widest answer that is allowed.
    pub scope: ApprovalScope,
}

/// What a call may not open because nobody said yes to it.
#[derive(Debug, Default)]
pub(crate) struct Closed {
    pub(crate) hosts: Vec<(HostPattern, Remedy)>,
    pub(crate) paths: Vec<(FilePattern, Remedy)>,
}

impl Closed {
    /// The rule that shuts the host of a request, by its name or by the address that is granted beside
    /// it.
    pub(crate) fn host(&self, url: &Url, address: Option<IpAddr>) -> Option<&Remedy> {
        let shuts = |host: &HostPattern| {
            host.matches_url(url) || address.is_some_and(|address| host.matches_address(address))
        };
        self.hosts.iter().find(|(host, _)| shuts(host)).map(|(_, rule)| rule)
    }

    /// The rule that shuts a socket, by the name or by the address that it leads to.
    pub(crate) fn socket(&self, pass: &SocketPass) -> Option<&Remedy> {
        let shuts = |host: &HostPattern| {
            host.matches(pass.to.host())
                || pass.address.is_some_and(|address| host.matches_address(address))
        };
        self.hosts.iter().find(|(host, _)| shuts(host)).map(|(_, rule)| rule)
    }
}

/// What rules make of a call.
pub(crate) enum Verdict {
    /// It may run with this shut.
    Run(Closed),
    /// A person is asked first.
    Hold(Box<Held>),
}

impl Default for HoldRules {
    fn default() -> Self {
        Self::new("", FileOwner::AgentAuthor, "", Vec::new())
    }
}

impl HoldRules {
    pub(crate) fn new(file: &str, owner: FileOwner, table: &str, rules: Vec<HoldRule>) -> Self {
        let mut lines: Vec<String> = rules.iter().map(HoldRule::canonical).collect();
        lines.sort();
        lines.dedup();
        let digest = Digest::of(format!("ringfence holds 1\n{}", lines.join("\n")).as_bytes());
        let (file, table) = (file_name(file).to_owned(), table.to_owned());
        Self { file, owner, table, rules, digest }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The hash of what they say. Order, comments, lines and a rule that stands twice do not count.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Those that can hold calls of a tool.
    pub(crate) fn of_tool(&self, tool: &ToolName) -> Self {
        let mine = self.rules.iter().filter(|rule| rule.tool.as_ref().is_none_or(|t| t == tool));
        Self::new(&self.file, self.owner, &self.table, mine.cloned().collect())
    }

    /// Those that can hold calls of a function, whatever its arguments.
    pub(crate) fn of_function<'a>(
        &'a self,
        tool: &'a ToolName,
        function: &'a FunctionName,
        effect: Effect,
    ) -> impl Iterator<Item = &'a HoldRule> {
        self.rules.iter().filter(move |rule| rule.may_hold(tool, function, effect))
    }

    pub(crate) fn line(&self, rule: &HoldRule) -> Remedy {
        Remedy {
            owner: self.owner,
            file: self.file.clone(),
            line: Some(rule.line),
            table: self.table.clone(),
            allow: rule.canonical(),
        }
    }
}

impl HoldRule {
    fn may_hold(&self, tool: &ToolName, function: &FunctionName, effect: Effect) -> bool {
        self.tool.as_ref().is_none_or(|own| own == tool)
            && self.function.as_ref().is_none_or(|own| own == function)
            && self.effects.as_ref().is_none_or(|own| own.contains(&effect))
    }

    /// Whether it applies to a call, as far as that is known before the call starts.
    fn applies(&self, spent: Money, arguments: &mut Arguments<'_>) -> bool {
        self.spent.is_none_or(|least| spent >= least)
            && self.argument.as_ref().is_none_or(|wanted| {
                let found = |text: &str| matches_glob(&wanted.matches, text);
                arguments.any(|json| json.any_at(&wanted.pointer, &found))
            })
    }

    /// Whether it asks about the whole call: because it names nothing that is opened later, or
    /// because the arguments name it already.
    fn asks_first(&self, roots: &[Root], arguments: &mut Arguments<'_>) -> bool {
        match (&self.host, &self.path) {
            (None, None) => true,
            (Some(host), _) => arguments.any(|json| json.any_text(&|text| host.matches_text(text))),
            (None, Some(path)) => {
                arguments.any(|json| json.any_text(&|text| names_path(path, roots, text)))
            }
        }
    }

    /// Whether a call that comes to a request may be held by it, whatever else is so then.
    pub(crate) fn may_be_for(&self, request: &Request) -> bool {
        match (&self.host, &self.path, request) {
            (None, None, _) => true,
            (Some(host), _, Request::Http { url, .. }) => host.matches_url(url),
            (Some(host), _, Request::Socket { to }) => host.matches(to.host()),
            (_, Some(path), Request::File { path: asked, .. }) => {
                let asked = file_pattern::normalise(asked);
                path.matches(&asked) || path.matches_below(&asked)
            }
            _ => false,
        }
    }

    /// As a line of TOML: the keys in the order of the documentation, defaults left out.
    fn canonical(&self) -> String {
        let mut keys = Vec::new();
        if let Some(tool) = &self.tool {
            keys.push(format!("tool = \"{tool}\""));
        }
        if let Some(function) = &self.function {
            keys.push(format!("function = \"{function}\""));
        }
        if let Some(effects) = &self.effects {
            keys.push(format!("effect = {}", quote_all(effects)));
        }
        if let Some(host) = &self.host {
            keys.push(format!("host = {}", quote(&host.to_string())));
        }
        if let Some(path) = &self.path {
            keys.push(format!("path = {}", quote(&path.to_string())));
        }
        if let Some(ArgumentMatch { at, matches, .. }) = &self.argument {
            let (at, matches) = (quote(at), quote(matches));
            keys.push(format!("argument = {{ at = {at}, matches = {matches} }}"));
        }
        if let Some(spent) = self.spent {
            keys.push(format!("spent = \"{spent}\""));
        }
        let mut line = keys.join(", ");
        if let Some(expires) = self.expires_ms {
            let _ = write!(line, ", expires = \"{}\"", Millis(expires));
        }
        if self.on_expiry == OnExpiry::Approve {
            line.push_str(", on-expiry = \"approve\"");
        }
        if self.scope == ApprovalScope::Call {
            line.push_str(", answer = \"call\"");
        }
        line
    }
}

impl ArgumentMatch {
    /// `None` if `at` is no JSON Pointer.
    pub(crate) fn new(at: &str, matches: &str) -> Option<Self> {
        let mut pointer = Vec::new();
        if !at.is_empty() {
            for part in at.strip_prefix('/')?.split('/') {
                let rest = part.replace("~0", "").replace("~1", "");
                if rest.contains('~') {
                    return None;
                }
                pointer.push(part.replace("~1", "/").replace("~0", "~"));
            }
        }
        Some(Self { at: at.to_owned(), pointer, matches: matches.to_owned() })
    }
}

/// The arguments, read when a rule first looks at them.
struct Arguments<'a> {
    text: &'a str,
    read: Option<Option<Json>>,
}

impl Arguments<'_> {
    /// What cannot be read may hold anything.
    fn any(&mut self, found: impl FnOnce(&Json) -> bool) -> bool {
        let text = self.text;
        self.read.get_or_insert_with(|| Json::read(text)).as_ref().is_none_or(found)
    }
}

/// Decides by the rules of tenant and agent. `permit` is what the call gets if nothing is shut.
pub(crate) fn decide(permit: &Permit, request: &CallRequest<'_>) -> Verdict {
    let (tool, function, effect) = (permit.tool(), permit.function(), permit.effect());
    let none = HoldRules::default();
    let own = request.rules.unwrap_or(&none);
    let binding = Binding {
        user: request.user.clone(),
        tool: tool.clone(),
        function: function.clone(),
        component: permit.component(),
        definitions: permit.definitions(),
        policy: permit.version(),
        rules: own.digest(),
        arguments: request.arguments,
    };
    let approved = |rule: &HoldRule| match request.approval {
        Some(Approval::Call(given)) => *given == binding,
        Some(Approval::Session(given)) => {
            rule.scope == ApprovalScope::Session && given.is_same_function(&binding)
        }
        None => false,
    };
    let mut arguments = Arguments { text: request.arguments_text, read: None };
    let mut asks_first = false;
    let mut unanswered = Vec::new();
    for rules in [&permit.joined().holds, own] {
        for rule in rules.of_function(tool, function, effect) {
            if rule.applies(request.spent, &mut arguments) && !approved(rule) {
                asks_first |= rule.asks_first(permit.roots(), &mut arguments);
                unanswered.push((rules, rule));
            }
        }
    }
    if asks_first {
        return Verdict::Hold(Box::new(strictest(&unanswered, binding)));
    }
    let mut closed = Closed::default();
    for (rules, rule) in unanswered {
        if let Some(host) = &rule.host {
            closed.hosts.push((host.clone(), rules.line(rule)));
        }
        if let Some(path) = &rule.path {
            closed.paths.push((path.clone(), rules.line(rule)));
        }
    }
    Verdict::Run(closed)
}

fn strictest(rules: &[(&HoldRules, &HoldRule)], binding: Binding) -> Held {
    let each = || rules.iter().map(|(_, rule)| rule);
    let session = each().all(|rule| rule.scope == ApprovalScope::Session);
    // A rule without an expiry never says yes by itself, so no other may for it.
    let approve = each().all(|rule| rule.on_expiry == OnExpiry::Approve);
    Held {
        rules: rules.iter().map(|(rules, rule)| rules.line(rule)).collect(),
        binding,
        expires_ms: each().filter_map(|rule| rule.expires_ms).min(),
        on_expiry: if approve { OnExpiry::Approve } else { OnExpiry::Decline },
        scope: if session { ApprovalScope::Session } else { ApprovalScope::Call },
    }
}

/// Whether a text of the arguments is a path that matches: from `/` on, or below any root.
fn names_path(pattern: &FilePattern, roots: &[Root], text: &str) -> bool {
    let matches = |path: &str| pattern.matches(&file_pattern::normalise(path));
    matches(text)
        || !text.starts_with('/')
            && roots.iter().any(|root| matches(&format!("/{}/{text}", root.name)))
}

/// `*` stands for any text, also for none.
fn matches_glob(glob: &str, text: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut left) = text.strip_prefix(first) else { return false };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for literal in middle.split('*') {
        let Some(index) = left.find(literal) else { return false };
        left = &left[index + literal.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_texts() {
        for (glob, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("*", "a/b\nc", true),
            ("a*", "ab", true),
            ("a*", "ba", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("*b*", "abc", true),
            ("a*b*c", "a1b2c", true),
            ("a*b*c", "a1c2b", false),
            ("a**c", "ac", true),
            ("a", "A", false),
        ] {
            assert_eq!(matches_glob(glob, text), expected, "{glob} {text}");
        }
    }
}
