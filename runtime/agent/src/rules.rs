//! What an agent says of trying again, of long conversations and of a second model.

use ringfence_event::{
    CompactionRule, FallbackRule, ModelFailureClass, ModelName, RetryRule, RetryRules,
};
use ringfence_policy::{ConfigError, Count, Millis};
use serde::Deserialize;
use toml::Spanned;

use crate::limits::Given;

/// `[retry]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetryTable {
    model: RetryRuleTable,
    call: RetryRuleTable,
}

/// `[retry.model]` and `[retry.call]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RetryRuleTable {
    attempts: Option<Spanned<Count>>,
    first: Option<Spanned<Millis>>,
    most: Option<Spanned<Millis>>,
    time: Option<Spanned<Millis>>,
}

/// `[compaction]`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompactionTable {
    above: Spanned<Count>,
    keep: Option<Spanned<Count>>,
}

/// `fallback = { use = "backup" }`
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table such as `{ use = \"backup\" }`")]
pub(crate) struct FallbackTable {
    #[serde(rename = "use")]
    pub(crate) name: Spanned<ModelName>,
    on: Option<Spanned<Vec<Spanned<ModelFailureClass>>>>,
    after: Option<Spanned<Count>>,
}

/// Steps that stay as they are where nothing is said: what a model is in the middle of.
const KEEP_DEFAULT: u32 = 6;
/// Failed tries of the first model before another is asked, where nothing is said: one may be chance.
const AFTER_DEFAULT: u32 = 2;

impl RetryTable {
    pub(crate) fn rules(self, file: &str, text: &str) -> Result<RetryRules, ConfigError> {
        let RetryRules { model, call } = RetryRules::DEFAULT;
        Ok(RetryRules {
            model: self.model.rule(model, file, text)?,
            call: self.call.rule(call, file, text)?,
        })
    }
}

impl RetryRuleTable {
    fn rule(self, default: RetryRule, file: &str, text: &str) -> Result<RetryRule, ConfigError> {
        let millis = |given: Option<Spanned<Millis>>, default| match given {
            None => Ok(default),
            Some(given) => {
                Given::from((given.get_ref().0, given.span())).read(u64::MAX, file, text)
            }
        };
        let spoken = self.first.as_ref().map(|first| (first.get_ref().0, first.span()));
        let most_ms = millis(self.most, default.most_ms)?;
        // A shorter longest pause bounds the first one where nothing is said of it.
        let first_ms = millis(self.first, default.first_ms.min(most_ms))?;
        if let Some((_, span)) = spoken.filter(|(first, _)| *first > most_ms) {
            let message = "the first pause is longer than the longest one";
            let help = format!("`most` is {} here: raise it, or lower `first`", Millis(most_ms));
            return Err(ConfigError::at(file, text, span, message).with_help(help));
        }
        Ok(RetryRule {
            attempts: small(self.attempts, default.attempts, file, text)?,
            first_ms,
            most_ms,
            time_ms: millis(self.time, default.time_ms)?,
        })
    }
}

impl CompactionTable {
    pub(crate) fn rule(self, file: &str, text: &str) -> Result<CompactionRule, ConfigError> {
        let above = Given::from((self.above.get_ref().0, self.above.span()));
        Ok(CompactionRule {
            above: above.required().read(u64::MAX, file, text)?,
            keep: small(self.keep, KEEP_DEFAULT, file, text)?,
        })
    }
}

impl FallbackTable {
    pub(crate) fn rule(
        self,
        first: &ModelName,
        file: &str,
        text: &str,
    ) -> Result<FallbackRule, ConfigError> {
        let wrong = |span, message: &str, help: &str| {
            Err(ConfigError::at(file, text, span, message).with_help(help))
        };
        if self.name.get_ref() == first {
            let message = "the fallback is the model itself";
            return wrong(self.name.span(), message, "name another one of the operator's file");
        }
        let mut on = vec![
            ModelFailureClass::RateLimited,
            ModelFailureClass::Unavailable,
            ModelFailureClass::Cut,
        ];
        if let Some(given) = self.on {
            if given.get_ref().is_empty() {
                let message = "the fallback is for no failure at all";
                return wrong(given.span(), message, "such as `on = [\"unavailable\"]`");
            }
            on.clear();
            for class in given.into_inner() {
                let word = *class.get_ref();
                let settled = [ModelFailureClass::Refused, ModelFailureClass::TooLong];
                if !word.is_passing() && !settled.contains(&word) {
                    let message = format!("no other model helps against `{}`", word.as_str());
                    let help = "it may be `rate-limited`, `unavailable`, `cut`, `unusable`, \
                                `refused`, `too-long`";
                    return wrong(class.span(), &message, help);
                }
                on.push(word);
            }
        }
        on.sort();
        on.dedup();
        let after = small(self.after, AFTER_DEFAULT, file, text)?;
        Ok(FallbackRule { model: self.name.into_inner(), on, after })
    }
}

fn small(
    given: Option<Spanned<Count>>,
    default: u32,
    file: &str,
    text: &str,
) -> Result<u32, ConfigError> {
    let Some(given) = given else { return Ok(default) };
    let number =
        Given::from((given.get_ref().0, given.span())).read(u32::MAX.into(), file, text)?;
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}
