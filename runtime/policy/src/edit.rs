//! Writes grants into the operator's file: the lines that a manifest's needs come to, put in their
//! place without touching anything else, comments and order included.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_event::{Access, RootName, Scope, SecretName, TenantId, ToolName};
use serde::Deserialize;
use toml_edit::{Array, DocumentMut, InlineTable, Item, Table, TableLike, Value};

use crate::{
    ConfigError, ConfigKey, Manifest, ToolGrant, parse_file,
    quote::{quote, quote_all},
};

/// Grants to write for one tool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantEdit {
    /// Folders for roots; `None` for `scratch`.
    pub fs: BTreeMap<RootName, (Option<String>, Access)>,
    /// Origins, with the methods and paths to narrow them to.
    pub http: Vec<HttpEdit>,
    /// Memory buckets.
    pub memory: BTreeMap<Scope, Access>,
    /// Configuration values.
    pub config: BTreeMap<ConfigKey, String>,
    /// Secrets, each from the variable of its own name.
    pub secrets: BTreeSet<SecretName>,
    /// Where sockets may lead.
    pub sockets: Vec<String>,
}

/// One origin to grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpEdit {
    /// The origin.
    pub url: String,
    /// The methods.
    pub methods: Vec<String>,
    /// The paths.
    pub paths: Vec<String>,
}

/// What would give a tool all it asks, and no more. A root without a path in `paths` gets `.`; which
/// configuration values it gets only the operator knows, so those are left out.
#[must_use]
pub fn suggest_grant(manifest: &Manifest, paths: &BTreeMap<RootName, String>) -> GrantEdit {
    let texts = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<String>>();
    let fs = manifest.needs.fs.iter().map(|(name, need)| {
        let path = paths.get(name).cloned().unwrap_or_else(|| ".".to_owned());
        (name.clone(), ((!name.is_scratch()).then_some(path), need.access))
    });
    let http = manifest.needs.http.iter().map(|need| HttpEdit {
        url: need.origin.to_string(),
        methods: texts(&mut need.methods.iter().map(ToString::to_string)),
        paths: texts(&mut need.paths.iter().map(ToString::to_string)),
    });
    let memory = manifest.needs.memory.iter().map(|(scope, need)| (*scope, need.access));
    let secrets = manifest.needs.http.iter().flat_map(|need| &need.secrets);
    let sockets = texts(&mut manifest.needs.sockets.iter().map(|need| need.to.to_string()));
    GrantEdit {
        fs: fs.collect(),
        http: http.collect(),
        memory: memory.collect(),
        config: BTreeMap::new(),
        secrets: secrets.map(|secret| secret.name.clone()).collect(),
        sockets,
    }
}

impl GrantEdit {
    /// The lines as they would stand in a tool's table that has none yet.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (name, (path, access)) in &self.fs {
            let path = path.as_ref().map(|path| format!("path = {}, ", quote(path)));
            let path = path.unwrap_or_default();
            lines.push(format!("fs.{name} = {{ {path}access = \"{access}\" }}"));
        }
        if !self.http.is_empty() {
            let items: Vec<String> = self.http.iter().map(HttpEdit::text).collect();
            lines.push(format!("http = [{}]", items.join(", ")));
        }
        for (scope, access) in &self.memory {
            lines.push(format!("memory.{scope} = \"{access}\""));
        }
        for (key, value) in &self.config {
            lines.push(format!("config.{} = {}", key.in_toml(), quote(value)));
        }
        for name in &self.secrets {
            lines.push(format!("secret.{name} = {{ env = \"{name}\" }}"));
        }
        if !self.sockets.is_empty() {
            lines.push(format!("sockets = {}", quote_all(&self.sockets)));
        }
        lines
    }
}

impl HttpEdit {
    fn text(&self) -> String {
        let (methods, paths) = (quote_all(&self.methods), quote_all(&self.paths));
        format!("{{ url = {}, methods = {methods}, paths = {paths} }}", quote(&self.url))
    }

    fn value(&self) -> Value {
        let list =
            |items: &[String]| Value::Array(items.iter().map(String::as_str).collect::<Array>());
        let mut table = InlineTable::new();
        table.insert("url", self.url.as_str().into());
        table.insert("methods", list(&self.methods));
        table.insert("paths", list(&self.paths));
        table.into()
    }
}

/// `text` with the grants in `[tenant.T.tool.X]`. A root that stands there keeps its path and
/// becomes no narrower; an origin is added unless the very same line stands there; a configuration
/// value takes the place of the one that stands there; a secret that stands there keeps its source.
///
/// # Errors
/// A text that is no TOML, or in which something else stands where the grant belongs.
pub fn edit_grant(
    file: &str,
    text: &str,
    tenant: &TenantId,
    tool: &ToolName,
    edit: &GrantEdit,
) -> Result<String, ConfigError> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        ConfigError::at(file, text, error.span().unwrap_or(0..0), error.message())
    })?;
    let blocked = |key: &str| {
        ConfigError::new(
            file,
            format!("`{key}` is not what a grant has in this place, so none can be written"),
        )
    };
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for key in ["tenant", tenant.as_str(), "tool"] {
        table = below(table, key, implicit).ok_or_else(|| blocked(key))?;
    }
    let table = below(table, tool.as_str(), Table::new).ok_or_else(|| blocked(tool.as_str()))?;

    if !edit.fs.is_empty() {
        let fs = below(table, "fs", dotted).ok_or_else(|| blocked("fs"))?;
        for (name, (path, access)) in &edit.fs {
            match fs.get_mut(name.as_str()).and_then(Item::as_table_like_mut) {
                Some(root) => widen(root, "access", *access),
                None => {
                    let mut root = InlineTable::new();
                    if let Some(path) = path {
                        root.insert("path", path.as_str().into());
                    }
                    root.insert("access", access.to_string().into());
                    fs.insert(name.as_str(), Item::Value(root.into()));
                }
            }
        }
    }
    if !edit.http.is_empty() {
        let origins = table.entry("http").or_insert_with(|| Item::Value(Array::new().into()));
        let origins = origins.as_array_mut().ok_or_else(|| blocked("http"))?;
        for origin in &edit.http {
            let value = origin.value();
            let plain = |value: &Value| value.clone().decorated("", "").to_string();
            if !origins.iter().any(|old| plain(old) == plain(&value)) {
                origins.push(value);
            }
        }
    }
    if !edit.memory.is_empty() {
        let memory = below(table, "memory", dotted).ok_or_else(|| blocked("memory"))?;
        for (scope, access) in &edit.memory {
            widen(memory, scope.as_str(), *access);
        }
    }
    if !edit.config.is_empty() {
        let config = below(table, "config", dotted).ok_or_else(|| blocked("config"))?;
        for (key, value) in &edit.config {
            replace(config, key.as_str(), value);
        }
    }
    if !edit.secrets.is_empty() {
        let secrets = below(table, "secret", dotted).ok_or_else(|| blocked("secret"))?;
        for name in &edit.secrets {
            // Where somebody keeps it already is where it is kept.
            if !secrets.contains_key(name.as_str()) {
                let mut place = InlineTable::new();
                place.insert("env", name.as_str().into());
                secrets.insert(name.as_str(), Item::Value(place.into()));
            }
        }
    }
    if !edit.sockets.is_empty() {
        let targets = table.entry("sockets").or_insert_with(|| Item::Value(Array::new().into()));
        let targets = targets.as_array_mut().ok_or_else(|| blocked("sockets"))?;
        for to in &edit.sockets {
            // One that stands there with its address is the same one.
            let same = |old: &Value| {
                let table = old.as_inline_table().and_then(|table| table.get("to"));
                table.unwrap_or(old).as_str() == Some(to.as_str())
            };
            if !targets.iter().any(same) {
                targets.push(to.as_str());
            }
        }
    }
    let edited = document.to_string();
    check(file, &edited)?;
    Ok(edited)
}

/// A grant is never made narrower by an edit that only adds.
fn widen(table: &mut dyn TableLike, key: &str, access: Access) {
    let old = table.get(key).and_then(Item::as_str);
    if old == Some("write") || old == Some(access.to_string().as_str()) {
        return;
    }
    replace(table, key, &access.to_string());
}

/// Sets a key to a text and keeps the remarks beside it.
fn replace(table: &mut dyn TableLike, key: &str, text: &str) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(value) => {
            let decor = value.decor().clone();
            *value = text.into();
            *value.decor_mut() = decor;
        }
        None => {
            table.insert(key, toml_edit::value(text));
        }
    }
}

fn below<'a>(
    table: &'a mut dyn TableLike,
    key: &str,
    new: fn() -> Table,
) -> Option<&'a mut dyn TableLike> {
    table.entry(key).or_insert_with(|| Item::Table(new())).as_table_like_mut()
}

/// A table that needs no header of its own: `[a.b]` makes `[a]`.
fn implicit() -> Table {
    let mut table = Table::new();
    table.set_implicit(true);
    table
}

/// A table that is written as `name.key = value`.
fn dotted() -> Table {
    let mut table = Table::new();
    table.set_dotted(true);
    table
}

/// Whether the tools' tables of an edited text are read as grants.
fn check(file: &str, text: &str) -> Result<(), ConfigError> {
    #[derive(Deserialize)]
    struct File {
        tenant: BTreeMap<TenantId, Tenant>,
    }
    #[derive(Deserialize)]
    struct Tenant {
        #[serde(default)]
        tool: BTreeMap<ToolName, ToolGrant>,
    }
    let read: File = parse_file(file, text)?;
    let tools = read.tenant.values().map(|tenant| tenant.tool.len()).sum::<usize>();
    debug_assert!(tools > 0, "the edit wrote at least one tool");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        tool = { name = "files", component = "files.wasm" }
        [needs.fs.workspace]
        access = "write"
        [needs.fs.scratch]
        access = "write"
        [needs.http."https://api.github.com"]
        methods = ["GET"]
        paths = ["/repos/**"]
        secret = { header = "Authorization", value = "Bearer {GITHUB_TOKEN}" }
        [needs.memory.user]
        access = "read"
        [needs.sockets."DB.example:5432"]
    "#;

    fn check(text: &str) -> String {
        let manifest = Manifest::parse("tool.toml", MANIFEST).unwrap();
        let paths = BTreeMap::from([("workspace".parse().unwrap(), "src".to_owned())]);
        let mut edit = suggest_grant(&manifest, &paths);
        for (key, value) in [("base-url", "https://x"), ("app.name", "\"y\"")] {
            edit.config.insert(key.parse().unwrap(), value.to_owned());
        }
        let (tenant, tool) = ("acme".parse().unwrap(), "files".parse().unwrap());
        let edited = match edit_grant("ringfence.toml", text, &tenant, &tool, &edit) {
            Ok(edited) => edited,
            Err(error) => return error.to_string(),
        };
        assert_eq!(
            edit_grant("ringfence.toml", &edited, &tenant, &tool, &edit).unwrap(),
            edited,
            "the same edit again changes nothing"
        );
        edited
    }

    #[test]
    fn grants_are_written_in_their_place() {
        let mut shown = String::new();
        for text in [
            "",
            "# head\n[host]\nhome = \".ringfence\" # here\n\n[tenant.other]\n\n[model.main]\nname = \"x\"\n",
            "[tenant.acme.tool.files]\n# keep\nfs.workspace = { path = \"/srv\", access = \"read\" } # why\nhttp = [\"https://a\"]\n\n[tenant.acme.tool.files.limits]\nfuel = \"1G\"\n",
            "[tenant.acme.tool.files]\nsockets = [\"cache.example:1\", { to = \"db.example:5432\", address = \"10.0.0.5\" }]\n",
            "[tenant.acme.tool.files]\nmemory = { user = \"write\" }\n\n[tenant.acme.tool.files.fs.workspace]\npath = \"/srv\"\n",
            "[tenant.acme.tool.files]\nfs.scratch = { access = \"read\", bytes = \"1GiB\" } # kept\n",
            "[tenant.acme.tool.files]\nconfig.base-url = \"old\" # why\n",
            "[tenant.acme.tool.files]\nsecret.GITHUB_TOKEN = { file = \"token\" } # kept\n",
            "[tenant.acme.tool]\nfiles = {}\n",
            "[tenant.acme.tool.files]\nhttp = 7\n",
            "tenant = 7\n",
            "[tenant\n",
            "[tenant.acme.tool.Bad]\n",
        ] {
            shown += &format!("<<<\n{text}>>>\n{}\n\n", check(text));
        }
        let manifest = Manifest::parse("tool.toml", MANIFEST).unwrap();
        shown += &suggest_grant(&manifest, &BTreeMap::new()).lines().join("\n");
        insta::assert_snapshot!(shown);
    }
}
