//! Names that people choose and ids that Ringfence makes: one type each, so that a tenant is never
//! taken for a user. Cheap to clone; parsed once, valid from then on.

use std::{fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Digest, as_text};

/// A name broke its rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {what}: {rule}")]
pub struct InvalidName {
    /// The kind of name, in words.
    pub what: &'static str,
    /// What was given, cut to 80 characters.
    pub given: String,
    /// The rule it broke.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        ///
        #[doc = concat!("Rule: ", $rule, ".")]
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
        #[schemars(try_from = "String", into = "String")]
        pub struct $type(Arc<str>);

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                as_text::parsed(deserializer)
            }
        }

        impl $type {
            /// The name itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(given: &str) -> Result<Self, InvalidName> {
                let valid: fn(&str) -> bool = $valid;
                if valid(given) {
                    Ok(Self(given.into()))
                } else {
                    let given = given.chars().take(80).collect();
                    Err(InvalidName { what: $what, given, rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(given: String) -> Result<Self, InvalidName> {
                given.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

fn is_plain(text: &str, longest: usize, first: fn(u8) -> bool, rest: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    (1..=longest).contains(&bytes.len()) && first(bytes[0]) && bytes[1..].iter().all(|b| rest(*b))
}

fn lower_or_digit(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

fn lower_digit_dash(byte: u8) -> bool {
    lower_or_digit(byte) || byte == b'-'
}

fn lower_digit_dash_underscore(byte: u8) -> bool {
    lower_digit_dash(byte) || byte == b'_'
}

name!(
    /// Whose work it is: the wall that nothing crosses.
    TenantId, "tenant",
    "1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit",
    |text| is_plain(text, 63, lower_or_digit, lower_digit_dash_underscore)
);
name!(
    /// On whose behalf a session runs, inside a tenant. May be an address such as `ann@example.com`.
    UserId, "user",
    "1 to 128 of A-Z, a-z, 0-9 and . _ @ + -, beginning with a letter or digit",
    |text| is_plain(text, 128, |b| b.is_ascii_alphanumeric(), |b| b.is_ascii_alphanumeric() || b"._@+-".contains(&b))
);
name!(
    /// An agent's name, from its `agent.toml`.
    AgentName, "agent name",
    "1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit",
    |text| is_plain(text, 63, lower_or_digit, lower_digit_dash_underscore)
);
name!(
    /// A model's name in `ringfence.toml`.
    ModelName, "model name",
    "1 to 63 of a-z, 0-9, - and _, beginning with a letter or digit",
    |text| is_plain(text, 63, lower_or_digit, lower_digit_dash_underscore)
);
name!(
    /// A tool's name, from its manifest. It has no underscore, so that `TOOL_FUNCTION`, the name a
    /// model sees, splits one way only.
    ToolName, "tool name",
    "1 to 40 of a-z, 0-9 and -, beginning with a letter",
    |text| is_plain(text, 40, |b| b.is_ascii_lowercase(), lower_digit_dash)
);
name!(
    /// One function of a tool.
    FunctionName, "function name",
    "1 to 40 of a-z, 0-9, - and _, beginning with a letter",
    |text| is_plain(text, 40, |b| b.is_ascii_lowercase(), lower_digit_dash_underscore)
);
name!(
    /// A filesystem root of a manifest; the guest sees it as `/NAME`.
    RootName, "root name",
    "1 to 40 of a-z, 0-9, - and _, beginning with a letter",
    |text| is_plain(text, 40, |b| b.is_ascii_lowercase(), lower_digit_dash_underscore)
);
name!(
    /// A secret, as a manifest and a grant call it; its value has no name and no place in any text.
    SecretName, "secret name",
    "1 to 64 of A-Z, 0-9 and _, beginning with a letter",
    |text| is_plain(text, 64, |b| b.is_ascii_uppercase(), |b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
);
name!(
    /// A session's id: 128 random bits in hexadecimal, so that it cannot be guessed.
    SessionId, "session id",
    "32 hexadecimal digits",
    |text| text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
);
name!(
    /// A call's id: `r1.s2.c3` in a session, `d-` and 32 hexadecimal digits for a direct call.
    CallId, "call id",
    "rN.sN.cN, or d- and 32 hexadecimal digits",
    is_call_id
);

name!(
    /// An API key's id: no secret, and no part of one.
    KeyId, "key id",
    "k- and 32 hexadecimal digits",
    |text| text.strip_prefix("k-").is_some_and(|hex| hex.parse::<SessionId>().is_ok())
);

fn is_call_id(text: &str) -> bool {
    if let Some(hex) = text.strip_prefix("d-") {
        return hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit());
    }
    let mut parts = text.split('.');
    ["r", "s", "c"].iter().all(|letter| {
        parts
            .next()
            .and_then(|part| part.strip_prefix(letter))
            .is_some_and(|n| n.parse::<u32>().is_ok())
    }) && parts.next().is_none()
}

fn hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

impl TenantId {
    /// The tenant when nobody says: `local`.
    #[must_use]
    pub fn local() -> Self {
        Self("local".into())
    }
}

impl UserId {
    /// The user when nobody says: `local`.
    #[must_use]
    pub fn local() -> Self {
        Self("local".into())
    }
}

impl RootName {
    /// The root that is no folder of the operator's but one of the session's own: `scratch`.
    #[must_use]
    pub fn scratch() -> Self {
        Self("scratch".into())
    }

    /// Whether it is [`scratch`](Self::scratch).
    #[must_use]
    pub fn is_scratch(&self) -> bool {
        &*self.0 == "scratch"
    }
}

impl KeyId {
    /// The id made of these random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("k-{}", hex(bytes)).into())
    }
}

impl SessionId {
    /// The id made of these random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(hex(bytes).into())
    }
}

/// One input driven to a final answer: counted from 1 in its session. Printed as `r1`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct RunId(pub u32);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// One model reply and the calls it asked for: counted from 1 in its run. Printed as `r1.s2`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct StepId {
    /// The run it belongs to.
    pub run: RunId,
    /// Its place in the run, from 1.
    pub step: u32,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.s{}", self.run, self.step)
    }
}

impl CallId {
    /// The `index`-th call (from 1) of a step.
    #[must_use]
    pub fn in_step(step: StepId, index: u32) -> Self {
        Self(format!("{step}.c{index}").into())
    }

    /// The run it belongs to; none for a direct call.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        let (run, _) = self.0.strip_prefix('r')?.split_once('.')?;
        run.parse().ok().map(RunId)
    }

    /// The id of a direct call, made of these random bytes.
    #[must_use]
    pub fn direct(bytes: [u8; 16]) -> Self {
        Self(format!("d-{}", hex(bytes)).into())
    }
}

/// Equal for every try of one call and for no other: what a service takes as `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct IdempotencyKey(pub String);

impl IdempotencyKey {
    /// The key of a call in a session: from session, call (which names run and step) and the
    /// arguments' hash.
    #[must_use]
    pub fn derive(session: &SessionId, call: &CallId, arguments: &Digest) -> Self {
        let text = format!("{session}\n{call}\n{arguments}");
        Self(Digest::of(text.as_bytes()).hex())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_rules() {
        let check = |text: &str, tool: bool, tenant: bool, user: bool| {
            assert_eq!(text.parse::<ToolName>().is_ok(), tool, "tool {text:?}");
            assert_eq!(text.parse::<TenantId>().is_ok(), tenant, "tenant {text:?}");
            assert_eq!(text.parse::<UserId>().is_ok(), user, "user {text:?}");
        };
        check("files", true, true, true);
        check("repo-search", true, true, true);
        check("a_b", false, true, true);
        check("9lives", false, true, true);
        check("ann@example.com", false, false, true);
        check("Ann", false, false, true);
        check("", false, false, false);
        check("../x", false, false, false);
        check("a b", false, false, false);
        check("-x", false, false, false);
        check("ä", false, false, false);
        check(&"a".repeat(64), false, false, true);
        check(&"a".repeat(129), false, false, false);
    }

    #[test]
    fn call_ids_are_of_two_forms() {
        let step = StepId { run: RunId(1), step: 2 };
        assert_eq!(CallId::in_step(step, 3).as_str(), "r1.s2.c3");
        assert_eq!(CallId::in_step(step, 3).run(), Some(RunId(1)));
        assert_eq!(CallId::direct([7; 16]).run(), None);
        for (text, valid) in [
            ("r1.s2.c3", true),
            (CallId::direct([7; 16]).as_str(), true),
            ("r1.s2", false),
            ("r1.s2.c3.x", false),
            ("r1.s2.cx", false),
            ("d-7", false),
        ] {
            assert_eq!(text.parse::<CallId>().is_ok(), valid, "{text}");
        }
    }

    #[test]
    fn a_key_changes_with_each_part() {
        let session = SessionId::from_random([1; 16]);
        let call = CallId::direct([2; 16]);
        let key = IdempotencyKey::derive(&session, &call, &Digest::of(b"{}"));
        assert_eq!(key, IdempotencyKey::derive(&session, &call, &Digest::of(b"{}")));
        assert_ne!(key, IdempotencyKey::derive(&session, &call, &Digest::of(b"{ }")));
        assert_ne!(
            key,
            IdempotencyKey::derive(&session, &CallId::direct([3; 16]), &Digest::of(b"{}"))
        );
    }
}
