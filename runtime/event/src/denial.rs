//! Why something was refused, in a form that a person, a model and a program can act on: what was
//! asked, and which line of which file would allow it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Access, FunctionName, Scope, SecretFault, SecretName, ToolName};

/// One refusal. A call is refused *whole* before its intent, or *in part*: one thing it tried in
/// the sandbox was not opened by its permit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Denial {
    /// The stable code.
    pub code: DenialCode,
    /// What was asked.
    pub asked: Asked,
    /// Each line that is missing or in the way. All of them are needed together.
    pub remedies: Vec<Remedy>,
    /// How often the call asked this. At least 1.
    pub times: u64,
    /// Whether the operator had given it and took it back while the host ran. Its file counts again when
    /// the host is started anew.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
}

/// Which wall was met. A code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DenialCode {
    /// No tool of this name is installed, or it has no such function.
    NoSuchFunction,
    /// The agent does not list the function.
    NotInAgent,
    /// The manifest does not ask for it.
    NotNeeded,
    /// The operator does not give it to this tenant.
    NotGranted,
    /// The function's effect forbids it.
    EffectForbids,
    /// The path leads out of its root, or between two roots.
    OutsideRoot,
    /// The address is private, loopback, link-local or otherwise not public, and is not granted as
    /// an address.
    AddressForbidden,
    /// The request would carry a secret unencrypted to another machine.
    SecretInClear,
    /// A secret that the request is to carry cannot be read, or cannot be used as it is.
    SecretUnavailable,
    /// It belongs to the host: the store's folder, or a file that says what tools may do.
    Protected,
    /// It does not fit into what the operator lets the root or the tenant hold.
    QuotaFull,
    /// A person must say yes before the call begins, and was not asked: nothing in the arguments told
    /// that the call would come to this.
    NeedsApproval,
    /// The component, its definitions or its needs are not what was accepted.
    NotAccepted,
    /// The tool, or what it needs and is granted, changed between the call's intent and its start,
    /// with a restart of the host in between. No line allows this call; a new one is decided anew.
    ChangedSince,
    /// The session has used another build of the tool, and stays with it. A new session uses the one
    /// that is installed.
    OtherBuild,
    /// No manifest and no grant can open it in this version.
    NeverOpen,
}

impl DenialCode {
    /// The code as it is written in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoSuchFunction => "no-such-function",
            Self::NotInAgent => "not-in-agent",
            Self::NotNeeded => "not-needed",
            Self::NotGranted => "not-granted",
            Self::EffectForbids => "effect-forbids",
            Self::OutsideRoot => "outside-root",
            Self::AddressForbidden => "address-forbidden",
            Self::SecretInClear => "secret-in-clear",
            Self::SecretUnavailable => "secret-unavailable",
            Self::Protected => "protected",
            Self::QuotaFull => "quota-full",
            Self::NeedsApproval => "needs-approval",
            Self::NotAccepted => "not-accepted",
            Self::ChangedSince => "changed-since",
            Self::OtherBuild => "other-build",
            Self::NeverOpen => "never-open",
        }
    }
}

/// What was asked for, as the guest or the model named it: never a path or an address of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Asked {
    /// A function of a tool. `name` is what the model said when it names no installed function.
    Function {
        /// The tool, where the name has one.
        tool: Option<ToolName>,
        /// The function, where the name has one.
        function: Option<FunctionName>,
        /// What was said.
        name: String,
    },
    /// A file or folder.
    File {
        /// The path in the guest, such as `/workspace/../etc`.
        path: String,
        /// How it was to be opened.
        access: Access,
    },
    /// An HTTP request.
    Http {
        /// The method.
        method: String,
        /// The URL, without user name and password.
        url: String,
    },
    /// A secret to go with an HTTP request.
    Secret {
        /// Its name.
        name: SecretName,
        /// The method.
        method: String,
        /// The URL, without user name and password.
        url: String,
        /// What is wrong with it where the operator keeps it, if that is why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fault: Option<SecretFault>,
    },
    /// A memory bucket.
    Memory {
        /// The bucket's name as the guest gave it; a [`Scope`] or anything else.
        bucket: String,
        /// How it was to be used.
        access: Access,
    },
    /// What a socket was to reach, or a name to resolve.
    Socket {
        /// The address or name, such as `db.example:5432 by tcp`.
        address: String,
    },
    /// What a socket was to be bound to.
    Bind {
        /// The address, such as `0.0.0.0:80 by tcp`.
        address: String,
    },
    /// A configuration value.
    Config {
        /// The key, or `*` for all.
        key: String,
    },
}

impl Asked {
    /// A bucket by its scope.
    #[must_use]
    pub fn memory(scope: Scope, access: Access) -> Self {
        Self::Memory { bucket: scope.to_string(), access }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Function { name, .. } => write!(f, "call {name}"),
            Self::File { path, access } => write!(f, "{access} {path}"),
            Self::Http { method, url } => write!(f, "{method} {url}"),
            Self::Secret { name, method, url, fault } => {
                write!(f, "secret {name} for {method} {url}")?;
                match fault {
                    Some(fault) => write!(f, " ({fault})"),
                    None => Ok(()),
                }
            }
            Self::Memory { bucket, access } => write!(f, "{access} memory bucket {bucket}"),
            Self::Socket { address } => write!(f, "connect to {address}"),
            Self::Bind { address } => write!(f, "be reached at {address}"),
            Self::Config { key } => write!(f, "read configuration {key}"),
        }
    }
}

/// Whose file a line stands in, and so who can be asked to change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FileOwner {
    /// The tool's author: `tool.toml`, or the tool's own code.
    ToolAuthor,
    /// The operator: `ringfence.toml` and `ringfence.lock`.
    Operator,
    /// Whoever defines the agent: `agent.toml`.
    AgentAuthor,
    /// Whoever typed the command: its flags.
    Caller,
}

impl fmt::Display for FileOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ToolAuthor => "the tool author's",
            Self::Operator => "the operator's",
            Self::AgentAuthor => "the agent author's",
            Self::Caller => "the caller's",
        })
    }
}

/// A line that would allow what was asked; where something that is allowed is explained, one that
/// does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Remedy {
    /// Whose file it is.
    pub owner: FileOwner,
    /// The file's name, such as `ringfence.toml`; `command line` for flags.
    pub file: String,
    /// The line that is in the way or that the new one belongs under, from 1; absent where the
    /// file has nothing of it yet.
    pub line: Option<u32>,
    /// The table the line belongs in, such as `[tenant.acme.tool.files]`; empty at the top.
    pub table: String,
    /// The line itself, such as `fs.workspace = { path = "…", access = "write" }`.
    pub allow: String,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.allow)?;
        if !self.table.is_empty() {
            write!(f, " under {}", self.table)?;
        }
        write!(f, " in {}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, " ({} file)", self.owner)
    }
}

impl Denial {
    /// A denial that was met once.
    #[must_use]
    pub fn new(code: DenialCode, asked: Asked, remedies: Vec<Remedy>) -> Self {
        Self { code, asked, remedies, times: 1, revoked: false }
    }

    /// The same for what was given and taken back while the host ran.
    #[must_use]
    pub fn revoked(self) -> Self {
        Self { revoked: true, ..self }
    }

    /// The same with no text longer than `bytes`: what a guest asked may be as long as it likes, and
    /// its denials are kept, recorded and shown.
    #[must_use]
    pub fn shortened(mut self, bytes: usize) -> Self {
        match &mut self.asked {
            Asked::Function { name: text, .. }
            | Asked::File { path: text, .. }
            | Asked::Memory { bucket: text, .. }
            | Asked::Socket { address: text }
            | Asked::Bind { address: text }
            | Asked::Config { key: text } => shorten(text, bytes),
            Asked::Http { method, url } | Asked::Secret { method, url, .. } => {
                shorten(method, bytes);
                shorten(url, bytes);
            }
        }
        for remedy in &mut self.remedies {
            shorten(&mut remedy.allow, bytes);
        }
        self
    }

    /// Why, in words, without what would allow it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self.code {
            DenialCode::NotGranted if self.revoked => {
                "the operator has revoked it; its file counts again when the host is started anew"
            }
            DenialCode::NoSuchFunction => "no installed tool has this function",
            DenialCode::NotInAgent => "the agent does not list this function",
            DenialCode::NotNeeded => "the tool's manifest does not ask for it",
            DenialCode::NotGranted => "the operator has not granted it",
            DenialCode::EffectForbids => "the function's declared effect does not allow it",
            DenialCode::OutsideRoot => "the path leads out of its root",
            DenialCode::AddressForbidden => "the address is not a public one",
            DenialCode::SecretInClear => "it would leave this machine unencrypted",
            DenialCode::SecretUnavailable => "it cannot be used as the operator keeps it",
            DenialCode::Protected => "it belongs to the host",
            DenialCode::QuotaFull => "the quota is full",
            DenialCode::NotAccepted => "the tool is not what was accepted",
            DenialCode::ChangedSince => {
                "the tool or its grants changed since it was decided; a new call is decided anew"
            }
            DenialCode::OtherBuild => {
                "the session has used another build of this tool; a new session uses this one"
            }
            DenialCode::NeverOpen => "nothing opens it in this version of Ringfence",
            DenialCode::NeedsApproval => "a person must say yes before the call begins",
        }
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied: {}: {}", self.asked, self.reason())?;
        if self.times > 1 {
            write!(f, " (asked {} times)", self.times)?;
        }
        for (index, remedy) in self.remedies.iter().enumerate() {
            f.write_str(if index == 0 { "; what would allow it: " } else { ", and " })?;
            write!(f, "{remedy}")?;
        }
        Ok(())
    }
}

fn shorten(text: &mut String, bytes: usize) {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
        text.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_denial_is_cut() {
        let asked = |text: &str| Asked::Config { key: text.into() };
        let denial = |text: &str| Denial::new(DenialCode::NotNeeded, asked(text), vec![]);
        assert_eq!(denial("äöü").shortened(6), denial("äöü"));
        assert_eq!(denial("äöü").shortened(5), denial("äö…"));
    }

    #[test]
    fn a_denial_names_the_line_and_whose_it_is() {
        let denial = Denial::new(
            DenialCode::NotGranted,
            Asked::File { path: "/workspace/a.txt".into(), access: Access::Write },
            vec![Remedy {
                owner: FileOwner::Operator,
                file: "ringfence.toml".into(),
                line: Some(12),
                table: "[tenant.acme.tool.files]".into(),
                allow: "fs.workspace = { path = \"…\", access = \"write\" }".into(),
            }],
        );
        assert_eq!(
            denial.to_string(),
            "denied: write /workspace/a.txt: the operator has not granted it; what would allow it: \
             `fs.workspace = { path = \"…\", access = \"write\" }` under [tenant.acme.tool.files] in \
             ringfence.toml:12 (the operator's file)"
        );
    }
}
