//! What hold rules see of a call's arguments. Kept here with every key as often as it was written:
//! which of two a tool reads is the tool's affair, and a rule looks at both.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Text(String),
    /// Null, a Boolean or a number, as JSON text.
    Plain(String),
    List(Vec<Json>),
    Table(Vec<(String, Json)>),
}

impl Json {
    /// The arguments of a call; `None` for what is no JSON, or nested too deep.
    pub(crate) fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether `found` is true of any text in it, keys included.
    pub(crate) fn any_text(&self, found: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Text(text) => found(text),
            Self::Plain(_) => false,
            Self::List(items) => items.iter().any(|item| item.any_text(found)),
            Self::Table(entries) => {
                entries.iter().any(|(key, value)| found(key) || value.any_text(found))
            }
        }
    }

    /// Whether `found` is true of any value at a JSON Pointer: of the text it is, or of its JSON.
    pub(crate) fn any_at(&self, pointer: &[String], found: &dyn Fn(&str) -> bool) -> bool {
        let Some((first, rest)) = pointer.split_first() else {
            return match self {
                Self::Text(text) => found(text),
                other => found(&other.to_string()),
            };
        };
        match self {
            Self::Text(_) | Self::Plain(_) => false,
            Self::List(items) => {
                // `01` and `+1` are no indices.
                let index = first.parse::<usize>().ok().filter(|n| n.to_string() == *first);
                index.and_then(|n| items.get(n)).is_some_and(|item| item.any_at(rest, found))
            }
            Self::Table(entries) => {
                entries.iter().any(|(key, value)| key == first && value.any_at(rest, found))
            }
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => serde_json::Value::from(text.as_str()).fmt(f),
            Self::Plain(text) => f.write_str(text),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Self::Table(entries) => {
                f.write_str("{")?;
                for (index, (key, value)) in entries.iter().enumerate() {
                    let comma = if index > 0 { "," } else { "" };
                    write!(f, "{comma}{}:{value}", serde_json::Value::from(key.as_str()))?;
                }
                f.write_str("}")
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values;
        impl<'de> Visitor<'de> for Values {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Plain("null".to_owned()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Plain(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Plain(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Plain(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Plain(serde_json::Value::from(value).to_string()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Text(value.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Json::List(list))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
                let mut table = Vec::new();
                while let Some(entry) = entries.next_entry()? {
                    table.push(entry);
                }
                Ok(Json::Table(table))
            }
        }
        deserializer.deserialize_any(Values)
    }
}
