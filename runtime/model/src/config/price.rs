//! Prices as vendors write them: dollars for a million tokens.

use ringfence_event::{Money, Price};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de};

/// What a price is for.
const UNIT: &str = "/Mtok";

/// `price = { input = "2.50/Mtok", output = "10/Mtok" }`
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a table such as `{ input = \"2.50/Mtok\", output = \"10/Mtok\" }`"
)]
pub(super) struct PriceTable {
    input: PerMillion,
    cached_input: Option<PerMillion>,
    output: PerMillion,
}

impl PriceTable {
    pub(super) fn price(self) -> Price {
        Price {
            input: self.input.0,
            cached_input: self.cached_input.map(|price| price.0),
            output: self.output.0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct PerMillion(Money);

impl JsonSchema for PerMillion {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PerMillion".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let said = "US dollars for a million tokens, such as `2.50/Mtok`.";
        schemars::json_schema!({ "type": "string", "description": said })
    }
}

impl<'de> Deserialize<'de> for PerMillion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = String::deserialize(deserializer)?;
        let price = given.strip_suffix(UNIT).and_then(|dollars| dollars.parse().ok());
        price.map(Self).ok_or_else(|| {
            let given: String = given.chars().take(40).collect();
            de::Error::custom(format!(
                "`{given}` is no price: US dollars for a million tokens, such as \"2.50{UNIT}\""
            ))
        })
    }
}
