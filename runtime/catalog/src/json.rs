//! JSON from strangers: no name twice in an object, no depth that a recursion could fall into.

use std::fmt;

use serde::{
    Deserializer,
    de::{self, DeserializeSeed},
};
use serde_json::{Map, Value};

/// Deeper than any sane schema or argument, and far from any stack's end.
pub(crate) const DEPTH_MAX: usize = 64;

/// Reads one JSON value.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = Strict { depth: 0 }.deserialize(&mut deserializer).map_err(|e| e.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(value)
}

/// The one text of a value: names sorted, no spaces, whatever order a map keeps in this build.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(name, _)| *name);
            let entries: Vec<String> = entries
                .into_iter()
                .map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), canonical(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(canonical).collect();
            format!("[{}]", items.join(","))
        }
        plain => plain.to_string(),
    }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom(format!("it is nested deeper than {DEPTH_MAX}")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> de::Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<S: de::SeqAccess<'de>>(self, mut seq: S) -> Result<Value, S::Error> {
        let inner = self.deeper()?;
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(inner)? {
            items.push(item);
        }
        Ok(items.into())
    }
    fn visit_map<M: de::MapAccess<'de>>(self, mut access: M) -> Result<Value, M::Error> {
        let inner = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            if map.contains_key(&name) {
                // Which of the two counts would differ between us and the tool.
                return Err(de::Error::custom(format!("`{name}` stands in one object twice")));
            }
            let value = access.next_value_seed(inner)?;
            map.insert(name, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_json_is_refused() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        for (text, fine) in [
            (r#"{"a": [1, 2.5, null, true, "x"]}"#, true),
            (&deep(64), true),
            (&deep(65), false),
            (&deep(100_000), false),
            (r#"{"a": 1, "a": 2}"#, false),
            (r#"{"a": {"b": 1, "\u0062": 2}}"#, false),
            ("1e400", false),
            (r#""\ud800""#, false),
            ("\u{feff}{}", false),
            ("{} x", false),
            ("", false),
            ("NaN", false),
        ] {
            assert_eq!(parse(text).is_ok(), fine, "{}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn canonical_text_has_one_order() {
        let value = parse(r#"{ "b": [1, {"d": "ä\n", "c": null}], "a": 1.5 }"#).unwrap();
        assert_eq!(canonical(&value), r#"{"a":1.5,"b":[1,{"c":null,"d":"ä\n"}]}"#);
    }
}
