//! What the values of a file look like to an editor, where a type reads them in a way of its own.

/// A text, with what it says.
macro_rules! text {
    ($($type:ty: $name:literal, $description:expr;)*) => {$(
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "description": $description })
            }
        }
    )*};
}

/// A text or a table, whichever says more.
macro_rules! text_or {
    ($type:ty: $name:literal, $description:literal, $table:ty) => {
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let table = <$table as schemars::JsonSchema>::json_schema(generator);
                let text = schemars::json_schema!({ "type": "string" });
                schemars::json_schema!({ "description": $description, "anyOf": [text, table] })
            }
        }
    };
}

pub(crate) use text_or;

use crate::{
    Bytes, ConfigKey, Count, FilePattern, Fuel, HostPattern, Method, Millis, PathPattern, Rate, Usd,
};

text! {
    Fuel: "Fuel", "An amount of fuel, such as `200M`.";
    Bytes: "Bytes", "A number of bytes, such as `64MiB`.";
    Millis: "Time", "A duration, such as `5s`.";
    Rate: "Rate", "How much in which time, such as `100 per s`.";
    Usd: "Dollars", "An amount of US dollars, such as `0.50`.";
    Method: "Method", "An HTTP method, such as `GET`.";
    PathPattern: "PathPattern", "The paths of a URL, such as `/repos/**`.";
    FilePattern: "FilePattern", "Paths of files in the guest, such as `/workspace/secrets/**`.";
    HostPattern: "HostPattern", "A host, or those beneath one, such as `*.example.com`.";
    ConfigKey: "ConfigKey", "The name of a configuration value.";
}

impl schemars::JsonSchema for Count {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Count".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A whole number, such as `32` or `10k`.",
            "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string" }],
        })
    }
}
