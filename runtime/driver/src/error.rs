//! What goes wrong in the host, apart from what a call may end with.

use std::{io, path::PathBuf};

use ringfence_event::{Limit, Spent, TenantId, ToolName};
use ringfence_policy::ConfigError;

/// The host could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that people write is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file that people write cannot be read or written.
    #[error("cannot {act} {}", path.display())]
    File {
        /// `read`, `write` or `remove`.
        act: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What was asked for makes no sense as it stands.
    #[error("{message}")]
    Input {
        /// What is wrong, and how to mend it.
        message: String,
    },
    /// A tool cannot be used.
    #[error("tool `{tool}`: {source}")]
    Tool {
        /// Which.
        tool: ToolName,
        /// Why.
        #[source]
        source: ringfence_sandbox::Error,
    },
    /// A tool is not what was accepted.
    #[error(transparent)]
    Changed(#[from] ringfence_catalog::Difference),
    /// The catalog cannot do it.
    #[error(transparent)]
    Catalog(#[from] ringfence_catalog::Error),
    /// A model's script is wrong.
    #[error(transparent)]
    Script(#[from] ringfence_model::ScriptError),
    /// The engine cannot start.
    #[error(transparent)]
    Sandbox(#[from] ringfence_sandbox::Error),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ringfence_store::Error),
    /// A session's journal contradicts itself.
    #[error("the session's journal is damaged")]
    Journal(#[from] ringfence_session::Corrupt),
    /// The session does not take this now.
    #[error(transparent)]
    Refused(#[from] ringfence_session::Refused),
    /// The tenant has spent what it may spend in this window of time. Nothing was begun.
    #[error(
        "tenant `{tenant}` has spent its limit of {limit}, {} ({file}:{line})",
        spent.words(*limit)
    )]
    Spent {
        /// Whose.
        tenant: TenantId,
        /// What is counted.
        limit: Limit,
        /// How much of how much, and when it can be spent again.
        spent: Spent,
        /// The operator's file.
        file: String,
        /// The line that says so.
        line: u32,
    },
    /// A granted root cannot be opened.
    #[error(transparent)]
    Root(#[from] ringfence_capability::OpenError),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Entropy(getrandom::Error),
}

impl Error {
    pub(crate) fn input(message: impl Into<String>) -> Self {
        Self::Input { message: message.into() }
    }

    /// The mistake in a file that people write, if that is what it is.
    #[must_use]
    pub fn as_config(&self) -> Option<&ConfigError> {
        match self {
            Self::Config(error) | Self::Catalog(ringfence_catalog::Error::Config(error)) => {
                Some(error)
            }
            _ => None,
        }
    }

    /// Whether whoever asked can mend it: a file, a flag, an argument. Otherwise the host failed.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::File { act: "read", .. }
            | Self::Input { .. }
            | Self::Tool { source: ringfence_sandbox::Error::Refused(_), .. }
            | Self::Changed(_)
            | Self::Catalog(_)
            | Self::Script(_)
            | Self::Refused(_) => true,
            Self::Store(error) => matches!(error, ringfence_store::Error::NoSuchSession),
            _ => false,
        }
    }
}
