//! Values that are set from outside, such as by the environment, in place of what a file says.

use toml_edit::{DocumentMut, Item, Value};

use crate::ConfigError;

/// A value that goes before the file's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Its table, such as `service`.
    pub table: String,
    /// Its key.
    pub key: String,
    /// The value: TOML, or a text without quotes.
    pub value: String,
    /// Where it comes from, for errors.
    pub from: String,
}

/// The text of a file with other values in it.
///
/// # Errors
/// When the file is no TOML, or what is to be a table in it is none.
pub fn overlay(file: &str, text: &str, overrides: &[Override]) -> Result<String, ConfigError> {
    if overrides.is_empty() {
        return Ok(text.to_owned());
    }
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        ConfigError::at(file, text, error.span().unwrap_or(0..0), error.message())
    })?;
    for Override { table, key, value, from } in overrides {
        let entry = document.entry(table).or_insert(Item::Table(toml_edit::Table::new()));
        let Some(entry) = entry.as_table_like_mut() else {
            let message = format!("`{table}` is no table, so {from} cannot set `{key}` in it");
            return Err(ConfigError::new(file, message));
        };
        let parsed: Value = value.parse().unwrap_or_else(|_| Value::from(value.as_str()));
        entry.insert(key, Item::Value(parsed));
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_outside_goes_before_the_file() {
        let set = |key: &str, value: &str| Override {
            table: "service".into(),
            key: key.into(),
            value: value.into(),
            from: "TEST".into(),
        };
        let check = |text: &str, overrides: &[Override], expected: &str| {
            assert_eq!(overlay("ringfence.toml", text, overrides).unwrap(), expected);
        };
        let file = "# ours\n[service]\nlisten = \"a\" # here\n\n[host]\n";
        check(file, &[], file);
        let listen = [set("listen", "127.0.0.1:1")];
        check("", &listen, "[service]\nlisten = \"127.0.0.1:1\"\n");
        let text = overlay("ringfence.toml", file, &listen).unwrap();
        assert!(text.contains("listen = \"127.0.0.1:1\"") && text.contains("[host]"), "{text}");
        let text = overlay("ringfence.toml", "", &[set("connections", "7"), set("body", "2MiB")]);
        assert_eq!(text.unwrap(), "[service]\nconnections = 7\nbody = \"2MiB\"\n");
        assert!(overlay("ringfence.toml", "service = 1", &listen).is_err());
        assert!(overlay("ringfence.toml", "[", &listen).is_err());
    }
}
