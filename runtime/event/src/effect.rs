//! What a function does to the world, and what a permit lets it touch.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What calling a function twice with the same arguments would do. Ordered: a later one may do
/// more. Enforced by narrowing the permit; see `wit/types.wit`.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Depends on its arguments alone.
    Pure,
    /// Looks, changes nothing.
    Read,
    /// Twice with the same idempotency key is as once: the author's promise.
    Idempotent,
    /// Anything else, and what a function is that declares nothing.
    #[default]
    Unsafe,
}

impl Effect {
    /// Whether the host may run such a call again after a crash without asking anybody.
    #[must_use]
    pub fn may_repeat(self) -> bool {
        self != Self::Unsafe
    }

    /// Whether the intent must be durable before such a call starts: a crash must find it.
    #[must_use]
    pub fn needs_durable_intent(self) -> bool {
        self >= Self::Idempotent
    }

    /// The lowest effect that may do `access`.
    #[must_use]
    pub fn for_access(access: Access) -> Self {
        match access {
            Access::Read => Self::Read,
            Access::Write => Self::Idempotent,
        }
    }

    /// The word, as it is written in manifests and events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pure => "pure",
            Self::Read => "read",
            Self::Idempotent => "idempotent",
            Self::Unsafe => "unsafe",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a root or a bucket is open. `write` includes `read`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Look, change nothing.
    Read,
    /// Look and change.
    Write,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// Who shares a memory bucket. The guest opens a bucket by this word.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// This session; for a direct call, this call.
    Session,
    /// All sessions of this user in this tenant.
    User,
    /// All sessions of this agent in this tenant.
    Agent,
    /// Everybody in this tenant.
    Tenant,
}

impl Scope {
    /// All of them, narrowest first.
    pub const ALL: [Self; 4] = [Self::Session, Self::User, Self::Agent, Self::Tenant];

    /// The word, which is also the bucket's name in the guest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::User => "user",
            Self::Agent => "agent",
            Self::Tenant => "tenant",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
