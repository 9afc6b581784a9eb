//! What changed between what was accepted and what lies there now, for a person to read before
//! accepting it.

use std::{collections::BTreeMap, fmt};

use ringfence_event::{
    Asked, Denial, DenialCode, FileOwner, FunctionName, Remedy, ToolName, neutralise_line,
};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::{Function, LOCK_FILE, model_name};

/// How a tool differs from what was accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Difference {
    /// The tool.
    pub tool: ToolName,
    /// What changed; empty where the tool was never added.
    pub changes: Vec<Change>,
}

/// One thing that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What, such as ``function `read`: description``.
    pub what: String,
    /// What was accepted; empty where there was nothing.
    pub old: String,
    /// What is there now; empty where there is nothing.
    pub new: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return write!(
                f,
                "tool `{0}` was never added: `ringfence tool add` does that",
                self.tool
            );
        }
        write!(f, "tool `{}` is not what was accepted", self.tool)?;
        self.changes.iter().try_for_each(|change| write!(f, "\n{change}"))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  {}", self.what)?;
        for change in TextDiff::from_lines(&self.old, &self.new).iter_all_changes() {
            let sign = match change.tag() {
                ChangeTag::Equal => continue,
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            write!(f, "\n{sign} {}", neutralise_line(change.value().trim_end_matches('\n')))?;
        }
        Ok(())
    }
}

impl Difference {
    /// The denial of a call to a tool that is not what was accepted.
    #[must_use]
    pub fn denial(&self, function: &FunctionName) -> Denial {
        let verb = if self.changes.is_empty() { "add" } else { "accept" };
        let remedy = Remedy {
            owner: FileOwner::Operator,
            file: LOCK_FILE.to_owned(),
            line: None,
            table: String::new(),
            allow: format!("ringfence tool {verb} {}", self.tool),
        };
        let asked = Asked::Function {
            tool: Some(self.tool.clone()),
            function: Some(function.clone()),
            name: model_name(&self.tool, function),
        };
        Denial::new(DenialCode::NotAccepted, asked, vec![remedy])
    }
}

/// Collects changes.
#[derive(Default)]
pub(crate) struct Comparison(Vec<Change>);

impl Comparison {
    pub(crate) fn text(&mut self, what: impl Into<String>, old: &str, new: &str) {
        if old != new {
            let (old, new) = (old.to_owned(), new.to_owned());
            self.0.push(Change { what: what.into(), old, new });
        }
    }

    pub(crate) fn functions(&mut self, old: &[Function], new: &[Function]) {
        let by_name = |functions: &[Function]| -> BTreeMap<FunctionName, Function> {
            functions.iter().map(|function| (function.name.clone(), function.clone())).collect()
        };
        let (old, new) = (by_name(old), by_name(new));
        for (name, old) in &old {
            match new.get(name) {
                Some(new) => self.function(old, new),
                None => self.text(format!("function `{name}`"), &whole(old), ""),
            }
        }
        for (name, new) in &new {
            if !old.contains_key(name) {
                self.text(format!("function `{name}`"), "", &whole(new));
            }
        }
    }

    fn function(&mut self, old: &Function, new: &Function) {
        for ((field, old_text), (_, new_text)) in fields(old).iter().zip(&fields(new)) {
            self.text(format!("function `{}`: {field}", old.name), old_text, new_text);
        }
    }

    /// The difference, if there is any.
    pub(crate) fn of(self, tool: &ToolName) -> Result<(), Difference> {
        match self.0.is_empty() {
            true => Ok(()),
            false => Err(Difference { tool: tool.clone(), changes: self.0 }),
        }
    }
}

fn fields(function: &Function) -> [(&'static str, String); 5] {
    [
        ("effect", function.effect.to_string()),
        ("title", function.title.clone().unwrap_or_default()),
        ("description", function.description.clone()),
        ("input schema", pretty(Some(&function.input_schema))),
        ("output schema", pretty(function.output_schema.as_ref())),
    ]
}

fn whole(function: &Function) -> String {
    let fields = fields(function);
    let given = fields.iter().filter(|(_, text)| !text.is_empty());
    given.map(|(field, text)| format!("{field}: {text}")).collect::<Vec<_>>().join("\n")
}

/// A schema over several lines, its names sorted as the digest sorts them.
fn pretty(schema: Option<&Value>) -> String {
    fn lines(value: &Value, indent: usize, text: &mut String) {
        let (open, close, inner): (_, _, Vec<(String, &Value)>) = match value {
            Value::Object(map) if !map.is_empty() => {
                let mut inner: Vec<_> = map
                    .iter()
                    .map(|(name, value)| (format!("{}: ", Value::from(name.as_str())), value))
                    .collect();
                inner.sort_by(|a, b| a.0.cmp(&b.0));
                ('{', '}', inner)
            }
            Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
                ('[', ']', items.iter().map(|item| (String::new(), item)).collect())
            }
            plain => return text.push_str(&plain.to_string()),
        };
        text.push(open);
        for (index, (name, value)) in inner.iter().enumerate() {
            text.push_str(if index == 0 { "\n" } else { ",\n" });
            text.push_str(&"  ".repeat(indent + 1));
            text.push_str(name);
            lines(value, indent + 1, text);
        }
        text.push('\n');
        text.push_str(&"  ".repeat(indent));
        text.push(close);
    }
    let mut text = String::new();
    if let Some(schema) = schema {
        lines(schema, 0, &mut text);
    }
    text
}
