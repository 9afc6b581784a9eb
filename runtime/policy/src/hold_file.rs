//! Hold rules as people write them, in `ringfence.toml` and in `agent.toml`.

use std::{collections::BTreeSet, fmt, ops::Range};

use ringfence_event::{ApprovalScope, Effect, FileOwner, FunctionName, OnExpiry, ToolName};
use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{
        self,
        value::{SeqAccessDeserializer, StrDeserializer},
    },
};
use toml::Spanned;

use crate::{
    ConfigError, FilePattern, HoldRules, HostPattern, Millis, Usd,
    config::line_of,
    hold::{ArgumentMatch, HoldRule},
};

/// `[[hold]]`: which calls a person must say yes to. All the keys that are given must match.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HoldTable {
    tool: Option<ToolName>,
    #[schemars(with = "Option<FunctionName>")]
    function: Option<Spanned<FunctionName>>,
    effect: Option<EffectList>,
    host: Option<HostPattern>,
    #[schemars(with = "Option<FilePattern>")]
    path: Option<Spanned<FilePattern>>,
    argument: Option<ArgumentTable>,
    spent: Option<Usd>,
    #[schemars(with = "Option<Millis>")]
    expires: Option<Spanned<Millis>>,
    #[schemars(with = "Option<OnExpiry>")]
    on_expiry: Option<Spanned<OnExpiry>>,
    answer: Option<ApprovalScope>,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    expecting = "a table such as `{ at = \"/amount\", matches = \"*00\" }`"
)]
struct ArgumentTable {
    #[schemars(with = "String")]
    at: Spanned<String>,
    matches: String,
}

#[derive(Clone, Debug)]
struct EffectList(BTreeSet<Effect>);

impl JsonSchema for EffectList {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EffectList".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<Effect>();
        schemars::json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

impl<'de> Deserialize<'de> for EffectList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Effects;
        impl<'de> de::Visitor<'de> for Effects {
            type Value = EffectList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an effect such as \"unsafe\", or a list of them")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<EffectList, E> {
                let effect = Effect::deserialize(StrDeserializer::<E>::new(word))?;
                Ok(EffectList(BTreeSet::from([effect])))
            }

            fn visit_seq<S: de::SeqAccess<'de>>(self, words: S) -> Result<EffectList, S::Error> {
                let effects = BTreeSet::deserialize(SeqAccessDeserializer::new(words))?;
                if effects.is_empty() {
                    return Err(de::Error::invalid_length(0, &self));
                }
                Ok(EffectList(effects))
            }
        }
        deserializer.deserialize_any(Effects)
    }
}

impl HoldRules {
    /// The rules of a file: its name and text, whose it is, and the name of their table, such as
    /// `[[hold]]`.
    ///
    /// # Errors
    /// A rule that matches nothing in particular, or whose keys say nothing together.
    pub fn read(
        file: &str,
        text: &str,
        owner: FileOwner,
        table: &str,
        tables: Vec<Spanned<HoldTable>>,
    ) -> Result<Self, ConfigError> {
        let rules = tables.into_iter().map(|table| rule(file, text, table));
        Ok(Self::new(file, owner, table, rules.collect::<Result<_, _>>()?))
    }
}

fn rule(file: &str, text: &str, given: Spanned<HoldTable>) -> Result<HoldRule, ConfigError> {
    let wrong = |span: Range<usize>, message: &str, help: &str| {
        ConfigError::at(file, text, span, message).with_help(help)
    };
    let span = given.span();
    let table = given.into_inner();
    let matching = table.tool.is_some()
        || table.function.is_some()
        || table.effect.is_some()
        || table.host.is_some()
        || table.path.is_some()
        || table.argument.is_some()
        || table.spent.is_some();
    if !matching {
        let message = "the rule does not say which calls it holds";
        return Err(wrong(
            span,
            message,
            "add `tool`, `effect`, `host`, `path`, `argument` or `spent`, such as `effect = \"unsafe\"`",
        ));
    }
    if let (None, Some(function)) = (&table.tool, &table.function) {
        let message = "`function` needs `tool` beside it";
        return Err(wrong(function.span(), message, "such as `tool = \"mail\"`"));
    }
    if let (Some(_), Some(path)) = (&table.host, &table.path) {
        let message = "a rule has `host` or `path`: nothing that a call opens has both";
        return Err(wrong(path.span(), message, "write two rules"));
    }
    let expires_ms = match &table.expires {
        Some(expires) if expires.get_ref().0 == 0 => {
            let message = "nobody can answer in no time";
            return Err(wrong(expires.span(), message, "such as `expires = \"1h\"`"));
        }
        expires => expires.as_ref().map(|expires| expires.get_ref().0),
    };
    if let (Some(on_expiry), None) = (&table.on_expiry, expires_ms) {
        let message = "`on-expiry` needs `expires` beside it";
        return Err(wrong(on_expiry.span(), message, "such as `expires = \"1h\"`"));
    }
    let argument = match table.argument {
        None => None,
        Some(ArgumentTable { at, matches }) => match ArgumentMatch::new(at.get_ref(), &matches) {
            Some(argument) => Some(argument),
            None => {
                let message = format!("`{}` is no JSON Pointer", at.get_ref());
                let help = "such as `/amount` or `/to/0`; a `/` in a name is `~1`, a `~` is `~0`";
                return Err(wrong(at.span(), &message, help));
            }
        },
    };
    Ok(HoldRule {
        tool: table.tool,
        function: table.function.map(Spanned::into_inner),
        effects: table.effect.map(|effects| effects.0),
        host: table.host,
        path: table.path.map(Spanned::into_inner),
        argument,
        spent: table.spent.map(|usd| usd.0),
        expires_ms,
        on_expiry: table.on_expiry.map(Spanned::into_inner).unwrap_or_default(),
        scope: table.answer.unwrap_or(ApprovalScope::Session),
        line: line_of(text, span.start),
    })
}
