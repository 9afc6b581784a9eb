//! JSON as clients send it, read strictly: no name stands twice in an object, however deep, nothing
//! follows it, and what cannot be kept as it was said is refused.

use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};

use crate::problem::{Code, Problem};

/// How deep objects and arrays may lie in each other. serde's own bound of 128 stands behind it.
const DEPTH_MAX: usize = 64;

/// Reads a body.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        Problem::new(Code::BadJson, format!("the body is not UTF-8: see byte {at}"))
    })?;
    if text.starts_with('\u{feff}') {
        let said = "the body begins with a byte order mark: JSON has none";
        return Err(Problem::new(Code::BadJson, said));
    }
    let bad = |error: serde_json::Error| Problem::new(Code::BadJson, error.to_string());
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Strict { depth: 0 }.deserialize(&mut deserializer).map_err(bad)?;
    deserializer.end().map_err(bad)?;
    if !text.trim_start().starts_with('{') {
        // Where a struct is read, serde takes its fields in a row for one, too.
        return Err(Problem::new(Code::Invalid, "the body is a JSON object"));
    }
    serde_json::from_str(text).map_err(|error| {
        // Whether it is JSON at all was looked at before.
        Problem::new(Code::Invalid, error.to_string())
    })
}

/// A value that is looked at and not kept.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth < DEPTH_MAX {
            true => Ok(Self { depth: self.depth + 1 }),
            false => Err(E::custom(format!("it is nested more than {DEPTH_MAX} deep"))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        match number.is_finite() {
            true => Ok(()),
            false => Err(E::custom("number out of range")),
        }
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if names.contains(&name) {
                let shown: String = name.chars().take(40).collect();
                return Err(A::Error::custom(format!("the name `{shown}` stands there twice")));
            }
            names.insert(name);
            map.next_value_seed(inner)?;
        }
        Ok(())
    }
}

/// One JSON object, kept as the client wrote it, to the last digit.
#[derive(Clone, Debug)]
pub(crate) struct Object(pub(crate) Box<serde_json::value::RawValue>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<serde_json::value::RawValue>::deserialize(deserializer)?;
        match raw.get().trim_start().starts_with('{') {
            true => Ok(Self(raw)),
            false => Err(D::Error::custom("invalid type: it is a JSON object")),
        }
    }
}

impl schemars::JsonSchema for Object {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Object".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "object" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[serde(default)]
        #[expect(dead_code, reason = "what matters is that it is read")]
        text: Option<String>,
        #[serde(default)]
        object: Option<Object>,
    }

    /// The code that a body is refused with; nothing for one that is taken.
    fn check(body: &[u8], expected: Option<Code>) {
        let read = read::<Body>(body).map_err(|problem| problem.code);
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(read.err(), expected, "{shown}");
    }

    #[test]
    fn i1_what_is_json_in_every_reader_is_taken_and_nothing_else() {
        let bad = Some(Code::BadJson);
        check(br#"{"text":"a"}"#, None);
        check(br#" {"text":"a","object":{"a":[1,2.5,{"b":null}]}} "#, None);
        check(br#"{"text":"a","text":"b"}"#, bad);
        check(br#"{"object":{"a":{"b":1,"b":2}}}"#, bad);
        check(br#"{"object":{"a":1,"\u0061":2}}"#, bad);
        check(br#"{"text":"a"} {}"#, bad);
        check(br#"{"text":"a"}x"#, bad);
        check(b"\xef\xbb\xbf{}", bad);
        check(br#"{"text":"\ud800"}"#, bad);
        check(br#"{"text":"\udc00\ud800"}"#, bad);
        check(br#"{"object":{"a":1e400}}"#, bad);
        check(br#"{"text":"a""#, bad);
        check(b"", bad);
        check(b"\xff\xfe{}", bad);
        check(br#"{"text":NaN}"#, bad);
        check(br#"{"text":"a",}"#, bad);
        check(br#"{'text':"a"}"#, bad);
        check(b"{\"text\":\"a\nb\"}", bad);
        check(br#"{"other":1}"#, Some(Code::Invalid));
        check(br#"{"text":1}"#, Some(Code::Invalid));
        check(br#"{"object":[1]}"#, Some(Code::Invalid));
        check(br#"[]"#, Some(Code::Invalid));
    }

    #[test]
    fn i1_nothing_is_too_deep_for_the_stack() {
        let nested = |depth: usize| {
            let object = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
            format!("{{\"object\":{{\"a\":{object}}}}}").into_bytes()
        };
        check(&nested(DEPTH_MAX - 2), None);
        check(&nested(DEPTH_MAX - 1), Some(Code::BadJson));
        check(&nested(100_000), Some(Code::BadJson));
        check(&b"[".repeat(100_000), Some(Code::BadJson));
        check(&b"{\"a\":".repeat(100_000), Some(Code::BadJson));
    }

    #[test]
    fn an_object_is_kept_to_the_last_digit() {
        let body = br#"{"object": {"n": 12345678901234567890123, "x":1.10 }}"#;
        let Body { object, .. } = read(body).unwrap();
        assert_eq!(object.unwrap().0.get(), r#"{"n": 12345678901234567890123, "x":1.10 }"#);
    }
}
