//! How much work it is to check one value against one schema, found out before it is done. The
//! validator follows every branch anew, so a schema that applies itself twice to each level of a
//! value takes twice as long for each; this counts the same walk with every place counted once.

use std::collections::HashMap;

use serde_json::{Map, Value};

use crate::schema::in_place;

/// The most subschemas that are applied in one check: some tens of milliseconds.
const APPLIED_MAX: u64 = 1_000_000;

/// The most that are applied within each other: the validator recurses, on a thread's stack.
const NESTED_MAX: usize = 512;

/// Whether a check is affordable.
pub(crate) fn is_affordable(schema: &Value, value: &Value) -> bool {
    let mut work = Work { root: schema, known: HashMap::new(), steps: 0 };
    work.count(schema, value, 0).is_some_and(|applied| applied <= APPLIED_MAX)
}

struct Work<'a> {
    root: &'a Value,
    /// What was counted of the target of a reference, at a value. Both are told by their place in
    /// memory: equal values at two places are two checks.
    known: HashMap<(usize, usize), u64>,
    steps: u64,
}

impl<'a> Work<'a> {
    /// How many subschemas are applied; `None` for too many.
    fn count(&mut self, schema: &'a Value, value: &Value, nested: usize) -> Option<u64> {
        self.steps += 1;
        if self.steps > APPLIED_MAX || nested > NESTED_MAX {
            return None;
        }
        let Some(map) = schema.as_object() else { return Some(1) };
        let mut applied: u64 = 1;
        for inner in in_place(map) {
            applied = applied.saturating_add(self.count(inner, value, nested + 1)?);
        }
        if let Some(target) = map.get("$ref").and_then(Value::as_str) {
            let inner = self.root.pointer(target.strip_prefix('#').unwrap_or(target))?;
            let place = (std::ptr::from_ref(inner) as usize, std::ptr::from_ref(value) as usize);
            let counted = match self.known.get(&place) {
                Some(counted) => *counted,
                None => {
                    let counted = self.count(inner, value, nested + 1)?;
                    self.known.insert(place, counted);
                    counted
                }
            };
            applied = applied.saturating_add(counted);
        }
        for (inner, part) in parts(map, value) {
            applied = applied.saturating_add(self.count(inner, part, nested + 1)?);
        }
        // What is unevaluated is found by going through everything once more.
        if map.contains_key("unevaluatedProperties") || map.contains_key("unevaluatedItems") {
            applied = applied.saturating_mul(2);
        }
        Some(applied)
    }
}

/// The subschemas that apply to parts of a value. Every pattern is taken to match.
fn parts<'a, 'v>(map: &'a Map<String, Value>, value: &'v Value) -> Vec<(&'a Value, &'v Value)> {
    let mut parts = Vec::new();
    match value {
        Value::Object(members) => {
            let named = map.get("properties").and_then(Value::as_object);
            let patterns = map.get("patternProperties").and_then(Value::as_object);
            for (name, member) in members {
                match named.and_then(|named| named.get(name)) {
                    Some(inner) => parts.push((inner, member)),
                    None => {
                        parts.extend(map.get("additionalProperties").map(|inner| (inner, member)));
                    }
                }
                parts.extend(
                    patterns.into_iter().flat_map(Map::values).map(|inner| (inner, member)),
                );
                parts.extend(map.get("unevaluatedProperties").map(|inner| (inner, member)));
            }
        }
        Value::Array(items) => {
            let first =
                map.get("prefixItems").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            for (index, item) in items.iter().enumerate() {
                parts.extend(
                    first.get(index).or_else(|| map.get("items")).map(|inner| (inner, item)),
                );
                for name in ["contains", "unevaluatedItems"] {
                    parts.extend(map.get(name).map(|inner| (inner, item)));
                }
            }
        }
        _ => {}
    }
    parts
}
