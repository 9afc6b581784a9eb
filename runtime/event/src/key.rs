//! API keys, as everybody but whoever holds one may know them: the secret itself is in none of these.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{KeyId, TenantId, Timestamp, UserId};

/// What a key may be used for. None includes another, but for `admin`, which includes all.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum KeyScope {
    /// Look at sessions, their events, tools, grants and what was spent.
    Read,
    /// Start and end runs, and call functions.
    Run,
    /// Answer what waits for a person.
    Approve,
    /// All of this, and look at the tenant's keys.
    Admin,
}

impl KeyScope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Run, Self::Approve, Self::Admin];

    /// The word, as it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Run => "run",
            Self::Approve => "approve",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for KeyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for KeyScope {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no scope: read, run, approve or admin"))
    }
}

/// An API key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Key {
    /// Its id, which is no secret.
    pub id: KeyId,
    /// Whose.
    pub tenant: TenantId,
    /// The one user it is for; absent: for the whole tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<UserId>,
    /// What it may be used for.
    pub scopes: Vec<KeyScope>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// When somebody ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
    /// The key that it takes the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<KeyId>,
}

impl Key {
    /// Whether it opens anything at this time.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|end| now < end)
    }

    /// Whether it may be used for this.
    #[must_use]
    pub fn has(&self, scope: KeyScope) -> bool {
        self.scopes.iter().any(|given| *given == scope || *given == KeyScope::Admin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_opens_what_it_is_for_until_it_ends() {
        let key = |scopes: &[KeyScope], expires, revoked| Key {
            id: "k-00112233445566778899aabbccddeeff".parse().unwrap(),
            tenant: TenantId::local(),
            user: None,
            scopes: scopes.to_vec(),
            name: None,
            created: Timestamp(1),
            expires,
            revoked,
            replaces: None,
        };
        let at = Timestamp(10);
        for (expires, revoked, valid) in [
            (None, None, true),
            (Some(Timestamp(11)), None, true),
            (Some(at), None, false),
            (None, Some(Timestamp(2)), false),
        ] {
            assert_eq!(key(&[], expires, revoked).is_valid(at), valid);
        }
        for asked in KeyScope::ALL {
            assert!(key(&[KeyScope::Admin], None, None).has(asked));
            assert_eq!(key(&[KeyScope::Run], None, None).has(asked), asked == KeyScope::Run);
            assert_eq!(asked.as_str().parse(), Ok(asked));
        }
    }
}
