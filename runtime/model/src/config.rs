//! `[model.NAME]` in `ringfence.toml`: the table as it is written, and the model it sets up.

mod price;
mod url;

use std::{
    fmt,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use ::url::Url;
use ringfence_event::{Price, SecretPlace};
use ringfence_policy::{ConfigError, Count, Millis, SecretGrant};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};
use toml::Spanned;

use self::price::PriceTable;
use crate::TokenLimits;

/// The most time of one request if nothing else is said: long replies of slow models take minutes.
const TIME: Duration = Duration::from_secs(600);
/// The longest silence if nothing else is said: vendors send a sign of life every few seconds, and a
/// model on one's own machine reads a long prompt in less.
const IDLE: Duration = Duration::from_secs(60);
/// Requests under way if nothing else is said: more than one key of a vendor's is allowed to have.
const CONCURRENT_REQUESTS: u32 = 64;
/// Anthropic wants to be told how long a reply may be; this is a long page, and every model writes it.
const ANTHROPIC_OUTPUT_TOKENS: u64 = 4096;

/// One model as an operator writes it. Nothing of it holds until it is [checked](Self::check).
///
/// ```toml
/// [model.main]
/// protocol = "openai-chat"      # or "openai-responses", "anthropic", "scripted"
/// url = "https://api.openai.com/v1"
/// name = "gpt-5-mini"
/// key = { env = "OPENAI_API_KEY" }
/// price = { input = "0.25/Mtok", cached-input = "0.025/Mtok", output = "2/Mtok" }
/// output-tokens = 8192
/// context-tokens = "400k"
/// time = "10min"
/// idle = "60s"
/// ```
///
/// | key | what it is |
/// | --- | --- |
/// | `protocol` | How it is spoken to. `openai-chat` is what Ollama, vLLM and llama.cpp speak too. |
/// | `script` | `scripted` only, and needed there: its script, seen from the folder of the file. |
/// | `url` | What stands before `/chat/completions`, `/responses` or `/messages`; absent: the vendor's own, `https://api.openai.com/v1` or `https://api.anthropic.com/v1`. `http` leads to loopback and private addresses only. |
/// | `name` | The vendor's name for the model. Needed, but not by a script. |
/// | `key` | Where its key is: `{ env = "…" }`, `{ file = "…" }` or `{ keyring = "…", account = "…" }`. Needed at the vendor's own address; elsewhere absent means none is sent. |
/// | `price` | US dollars for a million tokens: `input`, `output`, and `cached-input` for those that the vendor had in its cache (absent: as `input`). Absent: replies cost nothing. |
/// | `output-tokens` | The most tokens of one reply; absent: what the model itself allows, 4096 with `anthropic`. |
/// | `context-tokens` | What the model takes. A request of more, by a quarter of its bytes, is not sent. |
/// | `time` | The most time of one request; absent: 10min. |
/// | `concurrent-requests` | How many requests are under way at one time, of all tenants; absent: 64. |
/// | `idle` | The longest silence of the server, before its answer and in it; absent: 60s. |
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ModelTable {
    #[schemars(with = "Protocol")]
    protocol: Spanned<Protocol>,
    #[schemars(with = "Option<PathBuf>")]
    script: Option<Spanned<PathBuf>>,
    #[schemars(with = "Option<String>")]
    url: Option<Spanned<String>>,
    #[schemars(with = "Option<String>")]
    name: Option<Spanned<String>>,
    #[schemars(with = "Option<SecretGrant>")]
    key: Option<Spanned<SecretGrant>>,
    price: Option<PriceTable>,
    #[schemars(with = "Option<Count>")]
    output_tokens: Option<Spanned<Count>>,
    #[schemars(with = "Option<Count>")]
    context_tokens: Option<Spanned<Count>>,
    #[schemars(with = "Option<Millis>")]
    time: Option<Spanned<Millis>>,
    #[schemars(with = "Option<Millis>")]
    idle: Option<Spanned<Millis>>,
    #[schemars(with = "Option<Count>")]
    concurrent_requests: Option<Spanned<Count>>,
}

/// One model as it is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelConfig {
    /// What its tokens cost; `None`: nothing.
    pub price: Option<Price>,
    /// How much it reads and writes at most.
    pub limits: TokenLimits,
    /// How many requests are under way at one time.
    pub concurrent_requests: u32,
    /// Where its replies come from.
    pub source: ModelSource,
}

/// Where the replies of a model come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelSource {
    /// A script.
    Script {
        /// Its file, as it was written: seen from the folder of the configuration file.
        file: PathBuf,
    },
    /// A server.
    Vendor(VendorConfig),
}

/// A model behind HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VendorConfig {
    /// How it is spoken to.
    pub protocol: VendorProtocol,
    /// What the path of the protocol is put behind. `http` only leads to addresses that are loopback
    /// or private.
    pub url: Url,
    /// The vendor's name for the model.
    pub name: String,
    /// Where its key is, a relative path seen from the folder of the configuration file; `None`: it
    /// asks for none.
    pub key: Option<SecretPlace>,
    /// The most time of one request.
    pub time: Duration,
    /// The longest silence of the server.
    pub idle: Duration,
}

/// A protocol of vendors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VendorProtocol {
    /// Chat completions of OpenAI, and of all who took them over.
    OpenAiChat,
    /// The Responses API of OpenAI.
    OpenAiResponses,
    /// The Messages API of Anthropic.
    Anthropic,
}

impl VendorProtocol {
    /// The word in TOML.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiResponses => "openai-responses",
            Self::Anthropic => "anthropic",
        }
    }

    /// The vendor's own address.
    pub(crate) fn own_url(self) -> &'static str {
        match self {
            Self::OpenAiChat | Self::OpenAiResponses => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com/v1",
        }
    }
}

/// How a model is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Scripted,
    Vendor(VendorProtocol),
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scripted => "scripted",
            Self::Vendor(protocol) => protocol.as_str(),
        })
    }
}

impl JsonSchema for Protocol {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Protocol".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": Self::KNOWN })
    }
}

impl Protocol {
    /// All of them, as they are written.
    const KNOWN: &[&str] = &["openai-chat", "openai-responses", "anthropic", "scripted"];
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match String::deserialize(deserializer)?.as_str() {
            "scripted" => Self::Scripted,
            "openai-chat" => Self::Vendor(VendorProtocol::OpenAiChat),
            "openai-responses" => Self::Vendor(VendorProtocol::OpenAiResponses),
            "anthropic" => Self::Vendor(VendorProtocol::Anthropic),
            other => return Err(de::Error::unknown_variant(other, Self::KNOWN)),
        })
    }
}

impl ModelTable {
    /// The model that the table sets up. `text` is that of the file the table was read from, `file`
    /// what errors call it, `folder` where its relative paths start.
    ///
    /// # Errors
    /// The first thing that is wrong with the table, with its place.
    pub fn check(self, file: &str, text: &str, folder: &Path) -> Result<ModelConfig, ConfigError> {
        let place = Place { file, text };
        let protocol = *self.protocol.get_ref();
        let limits = TokenLimits {
            output: tokens(place, self.output_tokens, "output-tokens")?.or(match protocol {
                Protocol::Vendor(VendorProtocol::Anthropic) => Some(ANTHROPIC_OUTPUT_TOKENS),
                _ => None,
            }),
            context: tokens(place, self.context_tokens, "context-tokens")?,
        };
        let price = self.price.map(PriceTable::price);
        let concurrent_requests = concurrent(place, self.concurrent_requests)?;
        let source = match protocol {
            Protocol::Scripted => {
                let others = [
                    (span(&self.url), "url"),
                    (span(&self.name), "name"),
                    (span(&self.key), "key"),
                    (span(&self.time), "time"),
                    (span(&self.idle), "idle"),
                ];
                place.without(protocol, others)?;
                let help = "such as `script = \"script.toml\"`";
                let script = self
                    .script
                    .ok_or_else(|| place.missing(protocol, self.protocol.span(), "script", help))?;
                ModelSource::Script { file: script.into_inner() }
            }
            Protocol::Vendor(vendor) => {
                place.without(protocol, [(span(&self.script), "script")])?;
                let missing = |key, help| place.missing(protocol, self.protocol.span(), key, help);
                if self.url.is_none() && self.key.is_none() {
                    let help = "such as `key = { env = \"API_KEY\" }`; a `url` of a server that \
                                asks for none goes without";
                    return Err(missing("key", help));
                }
                let name = self.name.ok_or_else(|| {
                    missing("name", "the vendor's name for the model, such as `name = \"gpt-5\"`")
                })?;
                ModelSource::Vendor(VendorConfig {
                    protocol: vendor,
                    url: url::check(place, self.url, vendor)?,
                    name: model_name(place, name)?,
                    key: self.key.map(|key| key_place(place, key, folder)).transpose()?,
                    time: duration(place, self.time, "time", TIME)?,
                    idle: duration(place, self.idle, "idle", IDLE)?,
                })
            }
        };
        Ok(ModelConfig { price, limits, concurrent_requests, source })
    }
}

/// As many requests as a place may have.
fn concurrent(place: Place<'_>, given: Option<Spanned<Count>>) -> Result<u32, ConfigError> {
    let Some(given) = given else { return Ok(CONCURRENT_REQUESTS) };
    let count = u32::try_from(given.get_ref().0).ok().filter(|count| (1..=10_000).contains(count));
    count.ok_or_else(|| {
        let message = "concurrent-requests is a number from 1 to 10000";
        ConfigError::at(place.file, place.text, given.span(), message)
    })
}

fn span<T>(key: &Option<Spanned<T>>) -> Option<Range<usize>> {
    key.as_ref().map(Spanned::span)
}

/// The file, for errors.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a str,
    text: &'a str,
}

impl Place<'_> {
    fn error(&self, span: Range<usize>, message: impl AsRef<str>) -> ConfigError {
        ConfigError::at(self.file, self.text, span, message)
    }

    /// Refuses keys that would do nothing.
    fn without<const N: usize>(
        &self,
        protocol: Protocol,
        keys: [(Option<Range<usize>>, &str); N],
    ) -> Result<(), ConfigError> {
        for (span, key) in keys {
            if let Some(span) = span {
                let message = format!("the protocol `{protocol}` has no `{key}`");
                return Err(self.error(span, message).with_help("take it out"));
            }
        }
        Ok(())
    }

    fn missing(
        &self,
        protocol: Protocol,
        span: Range<usize>,
        key: &str,
        help: &str,
    ) -> ConfigError {
        self.error(span, format!("the protocol `{protocol}` needs a `{key}`")).with_help(help)
    }
}

fn tokens(
    place: Place<'_>,
    given: Option<Spanned<Count>>,
    key: &str,
) -> Result<Option<u64>, ConfigError> {
    match given {
        Some(given) if given.get_ref().0 == 0 => {
            let help = format!("such as `{key} = 8192`");
            Err(place.error(given.span(), format!("`{key}` is at least 1")).with_help(help))
        }
        given => Ok(given.map(|given| given.into_inner().0)),
    }
}

fn duration(
    place: Place<'_>,
    given: Option<Spanned<Millis>>,
    key: &str,
    otherwise: Duration,
) -> Result<Duration, ConfigError> {
    match given {
        None => Ok(otherwise),
        Some(given) if given.get_ref().0 == 0 => {
            let message = format!("`{key}` of nothing leaves no time for an answer");
            let help = format!("such as `{key} = \"60s\"`");
            Err(place.error(given.span(), message).with_help(help))
        }
        Some(given) => Ok(Duration::from_millis(given.into_inner().0)),
    }
}

fn model_name(place: Place<'_>, name: Spanned<String>) -> Result<String, ConfigError> {
    let is_name = |name: &str| !name.trim().is_empty() && !name.contains(char::is_control);
    if is_name(name.get_ref()) {
        return Ok(name.into_inner());
    }
    let message = "`name` is the vendor's name for the model, on one line";
    Err(place.error(name.span(), message).with_help("such as `name = \"gpt-5\"`"))
}

fn key_place(
    place: Place<'_>,
    key: Spanned<SecretGrant>,
    folder: &Path,
) -> Result<SecretPlace, ConfigError> {
    if key.get_ref().user {
        let message = "a model's key is the same for all users";
        let help = "take out `user` and `{user}`";
        return Err(place.error(key.span(), message).with_help(help));
    }
    Ok(match key.into_inner().place {
        SecretPlace::File { path } => SecretPlace::File { path: folder.join(path) },
        other => other,
    })
}
