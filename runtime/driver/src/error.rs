//! What goes wrong in the host, apart from what a call may end with.

use std::{io, path::PathBuf, sync::Arc};

use ringfence_event::{CallId, KeyId, Limit, SessionId, Spent, TenantId, ToolName, Wait};
use ringfence_policy::ConfigError;

use crate::Refusal;

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
    /// The caller has no such session. Says nothing of what others have.
    #[error("there is no session `{given}`")]
    NoSuchSession {
        /// An id, or the beginning of one.
        given: String,
    },
    /// Several sessions of the caller have ids that begin like this.
    #[error("`{given}` may be any of {}", names(found))]
    AmbiguousSession {
        /// The beginning of an id.
        given: String,
        /// Some of them.
        found: Vec<SessionId>,
    },
    /// Somebody drives the session, and what was asked for cannot be done beside that.
    #[error(
        "session {session} is being driven already; `ringfence session cancel {session}` ends its run"
    )]
    Driven {
        /// Which.
        session: SessionId,
    },
    /// No call of a session waits for such an answer.
    #[error("no call of session {session} waits for {}", awaited(*wait))]
    NothingWaits {
        /// Which.
        session: SessionId,
        /// What for.
        wait: Wait,
    },
    /// Several calls of a session wait for such an answer.
    #[error("several calls wait for {}: name one of {}", awaited(*wait), calls(found))]
    SeveralWait {
        /// What for.
        wait: Wait,
        /// Which.
        found: Vec<CallId>,
    },
    /// An answer does not fit the schema of what a tool asks.
    #[error("the answer to call {call} does not fit its question: {message}")]
    UnfitAnswer {
        /// Which call asks.
        call: CallId,
        /// What does not fit, and where.
        message: String,
    },
    /// Nothing of the caller's is unfinished that this program could go on with.
    #[error("nothing is unfinished; what waits for a person is in `ringfence approvals list`")]
    NothingUnfinished,
    /// An exported session is not one, or is none for here. Nothing was stored.
    #[error("line {line}: {message}")]
    Import {
        /// The line of the file, from 1.
        line: u64,
        /// What is wrong with it, and how to mend it if it can be.
        message: String,
    },
    /// The tenant has a session of this id. Nothing was stored.
    #[error("session {session} is there already: an exported session keeps its id")]
    SessionExists {
        /// Which.
        session: SessionId,
    },
    /// A session holds what no exported file takes.
    #[error("session {session} cannot be exported: {message}")]
    Export {
        /// Which.
        session: SessionId,
        /// Why.
        message: String,
    },
    /// An exported session cannot be read or written.
    #[error("cannot {act} the exported session")]
    Transfer {
        /// `read` or `write`.
        act: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
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
    /// Work was not taken: nothing of it was begun.
    #[error(transparent)]
    NotTaken(#[from] Refusal),
    /// The runtime stopped while a run was under way. What was recorded stays, and the run goes on when
    /// somebody resumes it.
    #[error("the host stops: session {session} goes on when it is resumed")]
    Left {
        /// Which.
        session: SessionId,
    },
    /// What a reload would change cannot change while the runtime is open.
    #[error("{what} cannot change while the runtime is open: start it anew for that")]
    NotReloadable {
        /// What.
        what: &'static str,
    },
    /// A direct call began, and what came of it was not recorded: nobody knows what it did. To make it
    /// again is to do it twice.
    #[error("the call began, and how it ended is not known")]
    Lost {
        /// Why it was not recorded; absent: the host failed in the middle of it.
        #[source]
        source: Option<Box<Self>>,
    },
    /// The same as somebody else was told who said the same under the same key.
    #[error(transparent)]
    Shared(Arc<Self>),
    /// The tenant may begin nothing now: what would happen could not be kept where it must be.
    #[error("tenant `{tenant}` may begin nothing now: {why}")]
    Suspended {
        /// Whose.
        tenant: TenantId,
        /// Why.
        why: String,
    },
    /// The tenant has no such API key that is valid still.
    #[error("there is no valid key `{key}`")]
    NoSuchKey {
        /// Which.
        key: KeyId,
    },
    /// A granted root cannot be opened.
    #[error(transparent)]
    Root(#[from] ringfence_capability::OpenError),
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes: {0}")]
    Entropy(getrandom::Error),
}

/// What an answer is to, in words.
fn awaited(wait: Wait) -> &'static str {
    match wait {
        Wait::Approval => "a yes or a no",
        Wait::Input => "an answer",
        Wait::Reconcile => "somebody to say how it ended",
        Wait::Retry => "another try",
    }
}

fn names(found: &[SessionId]) -> String {
    let names: Vec<&str> = found.iter().map(SessionId::as_str).collect();
    names.join(", ")
}

fn calls(found: &[CallId]) -> String {
    let names: Vec<&str> = found.iter().map(CallId::as_str).collect();
    names.join(", ")
}

impl Error {
    /// The stable code, for programs: `usage` or `host` where no code says more.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            _ if self.as_config().is_some() => "config",
            Self::Refused(refused) => refused.code(),
            Self::NoSuchSession { .. } | Self::Store(ringfence_store::Error::NoSuchSession) => {
                "no-such-session"
            }
            Self::AmbiguousSession { .. } => "ambiguous-session",
            Self::Driven { .. } => "driven",
            Self::NothingWaits { .. } => "not-waiting",
            Self::SeveralWait { .. } => "several-waiting",
            Self::UnfitAnswer { .. } => "unfit-answer",
            Self::NothingUnfinished => "nothing-unfinished",
            Self::Import { .. } => "bad-export",
            Self::SessionExists { .. } => "session-exists",
            Self::Spent { .. } => "spent",
            Self::NotTaken(refusal) => refusal.code(),
            Self::Shared(error) => error.code(),
            Self::Store(ringfence_store::Error::KeyReused { .. }) => "key-reused",
            Self::Left { .. } => "left",
            Self::Lost { .. } => "outcome-unknown",
            Self::NotReloadable { .. } => "not-reloadable",
            Self::Suspended { .. } => "suspended",
            Self::NoSuchKey { .. } => "no-such-key",
            _ if self.is_usage() => "usage",
            _ => "host",
        }
    }

    /// Why work was not taken, if that is what it is.
    #[must_use]
    pub fn as_refusal(&self) -> Option<&Refusal> {
        match self {
            Self::NotTaken(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// As one of several is told.
    pub(crate) fn shared(error: Arc<Self>) -> Self {
        match &*error {
            Self::NotTaken(refusal) => Self::NotTaken(refusal.clone()),
            _ => Arc::try_unwrap(error).unwrap_or_else(Self::Shared),
        }
    }

    /// What stood in the way of recording the end of a call.
    pub(crate) fn lost(source: impl Into<Self>) -> Self {
        Self::Lost { source: Some(Box::new(source.into())) }
    }

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
            Self::Shared(error) => error.as_config(),
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
            | Self::NoSuchSession { .. }
            | Self::AmbiguousSession { .. }
            | Self::Driven { .. }
            | Self::NothingWaits { .. }
            | Self::SeveralWait { .. }
            | Self::UnfitAnswer { .. }
            | Self::NothingUnfinished
            | Self::Import { .. }
            | Self::SessionExists { .. }
            | Self::NotReloadable { .. }
            | Self::NoSuchKey { .. }
            | Self::Refused(_) => true,
            Self::Store(error) => matches!(
                error,
                ringfence_store::Error::NoSuchSession | ringfence_store::Error::KeyReused { .. }
            ),
            Self::Shared(error) => error.is_usage(),
            _ => false,
        }
    }
}
