//! Secrets on both sides: the header that a manifest wants one in, and where the operator keeps it.
//! Which text, and never which value.

use std::{fmt, path::Path};

use ringfence_event::{SecretName, SecretPlace, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

use crate::quote::quote;

/// Stands for the user in an operator's line.
const USER: &str = "{user}";

/// Headers that say how a message travels, that the host sets itself, or by which a server takes one
/// request for another: none of them is a place for a secret.
const KEPT_HEADERS: [&str; 22] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "if-range",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-host",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// The longest text around a secret. A scheme's name takes a few characters.
const AROUND_BYTES: usize = 256;

/// `{ header = "authorization", value = "Bearer {GITHUB_TOKEN}" }`: a header that the host sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretHeader {
    /// The header's name, in lower case.
    pub header: String,
    /// What stands before the secret.
    pub before: String,
    /// The secret.
    pub name: SecretName,
    /// What stands after it.
    pub after: String,
}

impl fmt::Display for SecretHeader {
    /// As it is written in a manifest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = format!("{}{{{}}}{}", self.before, self.name, self.after);
        write!(f, "{{ header = {}, value = {} }}", quote(&self.header), quote(&value))
    }
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as `{ header = \"authorization\", value = \"Bearer {TOKEN}\" }`"
)]
struct HeaderTable {
    header: String,
    value: String,
}

impl<'de> Deserialize<'de> for SecretHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let HeaderTable { header, value } = HeaderTable::deserialize(deserializer)?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let header = header.to_ascii_lowercase();
        if header.is_empty() || header.len() > 64 || !header.bytes().all(token) {
            return Err(de::Error::custom(format!("`{header}` is no name of a header")));
        }
        if KEPT_HEADERS.contains(&header.as_str()) {
            let message = format!("the header `{header}` is not one that a secret goes into");
            return Err(de::Error::custom(message));
        }
        let one = "`value` has one secret in it, such as \"Bearer {TOKEN}\"";
        let (before, rest) = value.split_once('{').ok_or_else(|| de::Error::custom(one))?;
        let (name, after) = rest.split_once('}').ok_or_else(|| de::Error::custom(one))?;
        let plain = |text: &str| {
            text.len() <= AROUND_BYTES && text.bytes().all(|b| matches!(b, b' '..=b'~'))
        };
        if after.contains(['{', '}']) || before.contains('}') {
            return Err(de::Error::custom(one));
        }
        if !plain(before) || !plain(after) {
            let message = "what stands around the secret is short, printable ASCII";
            return Err(de::Error::custom(message));
        }
        let name = name.parse().map_err(de::Error::custom)?;
        Ok(Self { header, before: before.to_owned(), name, after: after.to_owned() })
    }
}

/// The value of `secret` in a need: one header or several.
pub(crate) struct SecretHeaders(pub(crate) Vec<SecretHeader>);

impl<'de> Deserialize<'de> for SecretHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = SecretHeaders;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table such as `{ header = \"authorization\", value = \"Bearer {TOKEN}\" }`, or a list of them")
            }

            fn visit_map<M: de::MapAccess<'de>>(self, map: M) -> Result<SecretHeaders, M::Error> {
                let one = SecretHeader::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(SecretHeaders(vec![one]))
            }

            fn visit_seq<S: de::SeqAccess<'de>>(self, seq: S) -> Result<SecretHeaders, S::Error> {
                let all: Vec<SecretHeader> =
                    Vec::deserialize(de::value::SeqAccessDeserializer::new(seq))?;
                let twice = all.iter().enumerate().find(|(index, header)| {
                    all[..*index].iter().any(|other| other.header == header.header)
                });
                match twice {
                    None => Ok(SecretHeaders(all)),
                    Some((_, SecretHeader { header, .. })) => {
                        Err(de::Error::custom(format!("the header `{header}` stands here twice")))
                    }
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// `secret.NAME = { env = "…" }`, `{ file = "…" }` or `{ keyring = "…", account = "…" }`, each with
/// `user = true` where every user has one of their own: `{user}` then stands in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretGrant {
    /// Where it is kept, `{user}` and a relative path as they were written.
    pub place: SecretPlace,
    /// Whether there is one for each user.
    pub user: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table: `{ env = \"VARIABLE\" }`, `{ file = \"PATH\" }`, or `{ keyring = \"SERVICE\", account = \"ACCOUNT\" }`"
)]
struct GrantTable {
    env: Option<String>,
    file: Option<String>,
    keyring: Option<String>,
    account: Option<String>,
    #[serde(default)]
    user: bool,
}

impl JsonSchema for SecretGrant {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SecretGrant".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        GrantTable::json_schema(generator)
    }
}

impl<'de> Deserialize<'de> for SecretGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let GrantTable { env, file, keyring, account, user } =
            GrantTable::deserialize(deserializer)?;
        let wrong = |message: &str| Err(de::Error::custom(message));
        let place = match (env, file, keyring, account) {
            (Some(variable), None, None, None) => {
                if variable.is_empty() || variable.contains(['=', '\0']) {
                    return wrong("`env` is the name of a variable");
                }
                SecretPlace::Environment { variable }
            }
            (None, Some(path), None, None) => {
                if path.is_empty() || path.contains('\0') {
                    return wrong("`file` is the path of a file");
                }
                SecretPlace::File { path: path.into() }
            }
            (None, None, Some(service), Some(account)) => {
                // The kernel's keyring knows one name for both, SERVICE@ACCOUNT.
                if service.is_empty() || service.contains(['@', '\0']) {
                    return wrong("`keyring` is the name of a service, without `@`");
                }
                if account.is_empty() || account.contains('\0') {
                    return wrong("`account` is the name of an account at that service");
                }
                if service.contains(USER) {
                    return wrong("`{user}` belongs into `account`");
                }
                SecretPlace::Keyring { service, account }
            }
            (None, None, Some(_), None) => return wrong("`keyring` goes with an `account`"),
            _ => {
                return wrong(
                    "a secret has one source: `env`, `file`, or `keyring` with `account`",
                );
            }
        };
        let grant = Self { place, user };
        match (user, grant.names_user()) {
            (true, false) => wrong("with `user = true`, `{user}` stands in the source's text"),
            (false, true) => wrong("`{user}` goes with `user = true`"),
            _ => Ok(grant),
        }
    }
}

impl SecretGrant {
    fn names_user(&self) -> bool {
        match &self.place {
            SecretPlace::Environment { variable } => variable.contains(USER),
            SecretPlace::File { path } => path.to_str().is_some_and(|path| path.contains(USER)),
            SecretPlace::Keyring { account, .. } => account.contains(USER),
        }
    }

    /// Where it is kept for this user. A user's name has no slash and begins with no dot, so it is
    /// one part of a path.
    /// Relative paths start from `folder`.
    pub(crate) fn place_for(&self, user: &UserId, folder: &Path) -> SecretPlace {
        let put = |text: &str| match self.user {
            true => text.replace(USER, user.as_str()),
            false => text.to_owned(),
        };
        match &self.place {
            SecretPlace::Environment { variable } => {
                SecretPlace::Environment { variable: put(variable) }
            }
            SecretPlace::File { path } => {
                // It was read from TOML, so it is text.
                SecretPlace::File { path: folder.join(put(path.to_str().unwrap_or_default())) }
            }
            SecretPlace::Keyring { service, account } => {
                SecretPlace::Keyring { service: service.clone(), account: put(account) }
            }
        }
    }

    /// The source as a line is written, for the policy version.
    pub(crate) fn canonical(&self, folder: &Path) -> String {
        let source = match &self.place {
            SecretPlace::Environment { variable } => format!("env {}", quote(variable)),
            SecretPlace::File { path } => format!("file {:?}", folder.join(path)),
            SecretPlace::Keyring { service, account } => {
                format!("keyring {} {}", quote(service), quote(account))
            }
        };
        format!("{source} user {}", self.user)
    }
}
