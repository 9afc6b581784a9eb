//! What `cargo metadata` says of the workspace, as plain data that a test can also write by hand.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command;

/// The workspace and all that it depends on, on every platform and with every feature in use.
#[derive(Clone, Debug, Default)]
pub struct Workspace {
    /// The folder of the root `Cargo.toml`.
    pub root: PathBuf,
    /// Where cargo builds.
    pub target: PathBuf,
    /// Members and dependencies.
    pub packages: Vec<Package>,
}

/// One crate in one version.
#[derive(Clone, Debug, Default)]
pub struct Package {
    /// What cargo tells packages apart by.
    pub id: String,
    /// As in its manifest.
    pub name: String,
    /// As in its manifest.
    pub version: String,
    /// The SPDX expression of its manifest.
    pub license: Option<String>,
    /// The oldest compiler that it promises to build with.
    pub rust_version: Option<String>,
    /// Where it was got from; nothing for a path.
    pub source: Option<String>,
    /// The folder of its manifest.
    pub folder: PathBuf,
    /// Whether it belongs to this workspace.
    pub member: bool,
    /// Its libraries and programs.
    pub targets: Vec<Target>,
    /// What it is built from, as resolved.
    pub dependencies: Vec<Dependency>,
}

/// One library or program of a package.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// As in the manifest.
    pub name: String,
    /// `lib`, `cdylib`, `proc-macro`, `bin`, `test`, …
    pub kinds: Vec<String>,
    /// The root source file.
    pub source: PathBuf,
}

/// An edge from a package to another.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// [`Package::id`] of the other.
    pub id: String,
    /// What it is needed for.
    pub kind: Kind,
}

/// What a dependency is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The crate itself.
    Normal,
    /// Its build script.
    Build,
    /// Its tests, benchmarks and examples.
    Dev,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    ///
    /// When cargo cannot resolve the workspace.
    pub fn load() -> Result<Self> {
        let printed = command::output(&mut command::cargo(["metadata", "--format-version", "1"]))?;
        Self::parse(&printed)
    }

    /// Reads what `cargo metadata --format-version 1` prints.
    ///
    /// # Errors
    ///
    /// When the text is something else.
    pub fn parse(printed: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(printed).context("cargo metadata")?;
        let members = array(&value, "workspace_members")?;
        let mut edges = edges(&value["resolve"])?;
        let packages = array(&value, "packages")?
            .iter()
            .map(|package| {
                let id = text(package, "id")?;
                Ok(Package {
                    name: text(package, "name")?,
                    version: text(package, "version")?,
                    license: package["license"].as_str().map(str::to_owned),
                    rust_version: package["rust_version"].as_str().map(str::to_owned),
                    source: package["source"].as_str().map(str::to_owned),
                    folder: PathBuf::from(text(package, "manifest_path")?)
                        .parent()
                        .context("a manifest in no folder")?
                        .to_owned(),
                    member: members.iter().any(|member| member.as_str() == Some(&id)),
                    targets: targets(package)?,
                    dependencies: edges.remove(&id).unwrap_or_default(),
                    id,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            root: text(&value, "workspace_root")?.into(),
            target: text(&value, "target_directory")?.into(),
            packages,
        })
    }

    /// The packages of this workspace.
    pub fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.member)
    }

    /// The packages that `package` itself names, each with what it is needed for.
    pub fn direct<'a>(&'a self, package: &'a Package) -> impl Iterator<Item = (&'a Package, Kind)> {
        package.dependencies.iter().filter_map(|dependency| {
            let other = self.packages.iter().find(|other| other.id == dependency.id)?;
            Some((other, dependency.kind))
        })
    }

    /// Everything that is in `package` once it is built, by name, each with the way that leads there
    /// (`a → b → c`). Build scripts and tests are not in it.
    #[must_use]
    pub fn closure(&self, package: &Package) -> BTreeMap<String, String> {
        let by_id: HashMap<&str, &Package> =
            self.packages.iter().map(|package| (package.id.as_str(), package)).collect();
        let mut ways = BTreeMap::new();
        let mut waiting = vec![(package, package.name.clone())];
        while let Some((package, way)) = waiting.pop() {
            let normal = package.dependencies.iter().filter(|next| next.kind == Kind::Normal);
            for next in normal.filter_map(|next| by_id.get(next.id.as_str())) {
                let way = format!("{way} → {}", next.name);
                if ways.insert(next.id.as_str(), (next.name.clone(), way.clone())).is_none() {
                    waiting.push((next, way));
                }
            }
        }
        ways.into_values().collect()
    }
}

impl Package {
    /// Whether this is a guest: a library that becomes a component.
    #[must_use]
    pub fn is_guest(&self) -> bool {
        self.member && self.component().is_some()
    }

    /// The library that becomes a component, if there is one.
    #[must_use]
    pub fn component(&self) -> Option<&Target> {
        self.targets.iter().find(|target| target.is("cdylib"))
    }
}

impl Target {
    /// Whether the target is of that kind.
    #[must_use]
    pub fn is(&self, kind: &str) -> bool {
        self.kinds.iter().any(|known| known == kind)
    }
}

fn edges(resolve: &Value) -> Result<HashMap<String, Vec<Dependency>>> {
    let mut edges: HashMap<String, Vec<Dependency>> = HashMap::new();
    for node in array(resolve, "nodes")? {
        let from = edges.entry(text(node, "id")?).or_default();
        for dependency in array(node, "deps")? {
            for kind in array(dependency, "dep_kinds")? {
                let kind = match kind["kind"].as_str() {
                    Some("dev") => Kind::Dev,
                    Some("build") => Kind::Build,
                    _ => Kind::Normal,
                };
                from.push(Dependency { id: text(dependency, "pkg")?, kind });
            }
        }
    }
    Ok(edges)
}

fn targets(package: &Value) -> Result<Vec<Target>> {
    array(package, "targets")?
        .iter()
        .map(|target| {
            let kinds = array(target, "kind")?;
            Ok(Target {
                name: text(target, "name")?,
                kinds: kinds.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
                source: text(target, "src_path")?.into(),
            })
        })
        .collect()
}

fn array<'a>(value: &'a Value, key: &str) -> Result<&'a [Value]> {
    let array = value[key].as_array();
    array.map(Vec::as_slice).with_context(|| format!("cargo metadata has no list `{key}`"))
}

fn text(value: &Value, key: &str) -> Result<String> {
    let text = value[key].as_str();
    text.map(str::to_owned).with_context(|| format!("cargo metadata has no text `{key}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = r#"{
        "workspace_root": "/w", "target_directory": "/w/target", "workspace_members": ["a", "g"],
        "packages": [
            {"id": "a", "name": "a", "version": "1.0.0", "license": "MIT", "rust_version": "1.95",
             "source": null, "manifest_path": "/w/a/Cargo.toml",
             "targets": [{"name": "a", "kind": ["lib"], "src_path": "/w/a/src/lib.rs"}]},
            {"id": "g", "name": "tool", "version": "1.0.0", "license": null, "rust_version": null,
             "source": null, "manifest_path": "/w/g/Cargo.toml",
             "targets": [{"name": "g", "kind": ["cdylib"], "src_path": "/w/g/src/lib.rs"}]},
            {"id": "r#b", "name": "b", "version": "2.0.0", "license": null, "rust_version": null,
             "source": "registry+r", "manifest_path": "/r/b/Cargo.toml", "targets": []}],
        "resolve": {"nodes": [
            {"id": "a", "deps": [{"pkg": "g", "dep_kinds": [{"kind": null}, {"kind": "dev"}]}]},
            {"id": "g", "deps": [{"pkg": "r#b", "dep_kinds": [{"kind": null}]},
                                 {"pkg": "a", "dep_kinds": [{"kind": "dev"}]}]},
            {"id": "r#b", "deps": []}]}
    }"#;

    #[test]
    fn members_edges_and_guests_are_read() {
        let workspace = Workspace::parse(PRINTED).unwrap();
        let members: Vec<_> = workspace.members().map(|package| package.name.as_str()).collect();
        assert_eq!(members, ["a", "tool"]);
        let a = &workspace.packages[0];
        let direct: Vec<_> =
            workspace.direct(a).map(|(other, kind)| (other.name.as_str(), kind)).collect();
        assert_eq!(direct, [("tool", Kind::Normal), ("tool", Kind::Dev)]);
        assert!(!a.is_guest());
        assert!(workspace.packages[1].is_guest());
    }

    #[test]
    fn a_closure_follows_what_is_built_in_and_tells_the_way() {
        let workspace = Workspace::parse(PRINTED).unwrap();
        let closure = workspace.closure(&workspace.packages[0]);
        let ways: Vec<_> = closure.values().map(String::as_str).collect();
        assert_eq!(ways, ["a → tool → b", "a → tool"]);
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(Workspace::parse("{}").is_err());
    }
}
