//! `deny`: what the workspace may depend on. The rules are here and run everywhere, in a second and
//! without a network; `deny.toml` says the same to cargo-deny, and a test keeps the two together.

mod licence;

use std::collections::{BTreeMap, BTreeSet};
use std::{env, iter};

use anyhow::{Result, bail};

use crate::command::{cargo, output, root, run};
use crate::metadata::{Package, Workspace};

/// The licences under which somebody may give a program built from this workspace to others.
pub const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that must not be in the tree, each with the reason.
pub const BANNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "ring is the one TLS provider"),
    ("aws-lc-sys", "ring is the one TLS provider"),
    ("native-tls", "rustls is the one TLS library"),
    ("openssl", "rustls is the one TLS library"),
    ("openssl-sys", "rustls is the one TLS library"),
];

/// Crates that are in the tree once or not at all: a second version costs minutes of building, and
/// two of them do not talk to each other.
pub const ONCE: &[&str] = &[
    "axum",
    "cap-std",
    "cranelift-codegen",
    "hyper",
    "libsqlite3-sys",
    "reqwest",
    "ring",
    "rmcp",
    "rusqlite",
    "rustls",
    "tokio",
    "wasmtime",
    "wasmtime-wasi",
    "wasmtime-wasi-http",
];

/// The version of cargo-deny that `deny.toml` was written for.
const CARGO_DENY: &str = "0.20.2";

pub(crate) fn deny() -> Result<()> {
    let workspace = Workspace::load()?;
    let mut problems = licences(&workspace);
    problems.extend(sources(&workspace));
    problems.extend(banned(&workspace));
    problems.extend(versions(&workspace));
    if !problems.is_empty() {
        bail!("{} problems\n{}", problems.len(), problems.join("\n"));
    }
    eprintln!("{} packages: licences, sources, bans and versions hold", workspace.packages.len());
    advisories()
}

/// What is under a licence that [`LICENCES`] does not cover.
#[must_use]
pub fn licences(workspace: &Workspace) -> Vec<String> {
    let problem = |package: &Package| match &package.license {
        None => Some(format!("{}: it names no licence", title(package))),
        Some(expression) => match licence::allows(expression, LICENCES) {
            Ok(true) => None,
            Ok(false) => Some(format!(
                "{}: its licence is `{expression}`; use another crate, or add the licence to \
                 `LICENCES` and to deny.toml",
                title(package)
            )),
            Err(why) => Some(format!("{}: its licence `{expression}`: {why}", title(package))),
        },
    };
    workspace.packages.iter().filter_map(problem).collect()
}

/// What comes from anywhere but the registry or this workspace.
#[must_use]
pub fn sources(workspace: &Workspace) -> Vec<String> {
    let mut registries: BTreeMap<&str, &Package> = BTreeMap::new();
    let mut problems = Vec::new();
    for package in &workspace.packages {
        match package.source.as_deref() {
            None if package.member => {}
            None => problems.push(format!(
                "{}: it is a folder outside the workspace; publish it or make it a member",
                title(package)
            )),
            Some(source) if is_registry(source) => {
                registries.entry(source).or_insert(package);
            }
            Some(source) => problems.push(format!(
                "{}: it comes from `{source}`; use a version that is on the registry",
                title(package)
            )),
        }
    }
    if registries.len() > 1 {
        let list: Vec<_> =
            registries.iter().map(|(at, one)| format!("{at} ({})", one.name)).collect();
        problems.push(format!("more than one registry: {}", list.join(", ")));
    }
    problems
}

fn is_registry(source: &str) -> bool {
    source.starts_with("registry+") || source.starts_with("sparse+")
}

/// What is in the tree although it is [`BANNED`].
#[must_use]
pub fn banned(workspace: &Workspace) -> Vec<String> {
    let problem = |package: &Package| {
        let (name, why) = BANNED.iter().find(|(name, _)| package.name == *name)?;
        let by = users(workspace, package);
        Some(format!(
            "{}: {why}; turn off the feature that brings it in ({name} ← {by})",
            title(package)
        ))
    };
    workspace.packages.iter().filter_map(problem).collect()
}

/// What is in the tree in several versions although it is to be there [`ONCE`].
#[must_use]
pub fn versions(workspace: &Workspace) -> Vec<String> {
    let problem = |name: &&str| {
        let found: Vec<&Package> =
            workspace.packages.iter().filter(|package| package.name == *name).collect();
        if found.len() < 2 {
            return None;
        }
        let list: Vec<_> = found
            .iter()
            .map(|package| format!("{} ← {}", package.version, users(workspace, package)))
            .collect();
        Some(format!("{name}: two versions; bring their users together: {}", list.join("; ")))
    };
    ONCE.iter().filter_map(problem).collect()
}

fn title(package: &Package) -> String {
    format!("{} {}", package.name, package.version)
}

/// Who names the package in a manifest.
fn users(workspace: &Workspace, package: &Package) -> String {
    let uses = |user: &&Package| user.dependencies.iter().any(|next| next.id == package.id);
    let users: BTreeSet<&str> =
        workspace.packages.iter().filter(uses).map(|user| user.name.as_str()).collect();
    users.into_iter().collect::<Vec<_>>().join(", ")
}

/// Known vulnerabilities. They need a program and a network that not every machine has, so their
/// absence is said and is no failure; a vulnerability is one.
fn advisories() -> Result<()> {
    let tools = root().join("target/tools/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(iter::once(tools).chain(env::split_paths(&path)))?;
    if output(cargo(["deny", "--version"]).env("PATH", &path)).is_err() {
        eprintln!(
            "advisories: SKIPPED, cargo-deny is not installed (`cargo install cargo-deny --locked \
             --version {CARGO_DENY} --root target/tools`)"
        );
        return Ok(());
    }
    if let Err(error) = output(cargo(["deny", "fetch", "db"]).env("PATH", &path)) {
        eprintln!("advisories: SKIPPED, the database cannot be reached: {error:#}");
        return Ok(());
    }
    run(cargo(["deny", "check", "--disable-fetch", "advisories"]).env("PATH", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Dependency, Kind};

    /// A workspace of one member that depends on these, each NAME VERSION LICENCE SOURCE.
    fn workspace(packages: &[[&str; 4]]) -> Workspace {
        let packages = packages.iter().map(|[name, version, license, source]| Package {
            id: format!("{name}@{version}"),
            name: (*name).to_owned(),
            version: (*version).to_owned(),
            license: Some((*license).to_owned()).filter(|license| !license.is_empty()),
            source: Some((*source).to_owned()).filter(|source| !source.is_empty()),
            ..Package::default()
        });
        let mut packages: Vec<Package> = packages.collect();
        let dependencies = packages
            .iter()
            .map(|package| Dependency { id: package.id.clone(), kind: Kind::Normal })
            .collect();
        packages.push(Package {
            name: "host".to_owned(),
            license: Some("Apache-2.0".to_owned()),
            member: true,
            dependencies,
            ..Package::default()
        });
        Workspace { packages, ..Workspace::default() }
    }

    fn check(problems: &[String], expected: &[&str]) {
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_licence_that_nobody_allowed_is_a_problem() {
        let workspace = workspace(&[
            ["good", "1.0.0", "MIT OR GPL-3.0", "registry+r"],
            ["bad", "1.0.0", "GPL-3.0", "registry+r"],
            ["silent", "1.0.0", "", "registry+r"],
        ]);
        check(&licences(&workspace), &["bad 1.0.0: its licence", "silent 1.0.0: it names no"]);
    }

    #[test]
    fn a_source_that_is_not_the_registry_is_a_problem() {
        let one = workspace(&[["a", "1.0.0", "MIT", "registry+r"]]);
        check(&sources(&one), &[]);
        let many = workspace(&[
            ["a", "1.0.0", "MIT", "registry+r"],
            ["b", "1.0.0", "MIT", "sparse+other"],
            ["c", "1.0.0", "MIT", "git+somewhere#1234"],
            ["d", "1.0.0", "MIT", ""],
        ]);
        check(&sources(&many), &["c 1.0.0", "d 1.0.0: it is a folder", "more than one registry"]);
    }

    #[test]
    fn a_banned_crate_is_a_problem_and_its_user_is_named() {
        let workspace = workspace(&[["aws-lc-rs", "1.0.0", "ISC", "registry+r"]]);
        check(&banned(&workspace), &["(aws-lc-rs ← host)"]);
    }

    #[test]
    fn a_second_version_of_a_heavy_crate_is_a_problem() {
        let workspace = workspace(&[
            ["tokio", "1.0.0", "MIT", "registry+r"],
            ["tokio", "2.0.0", "MIT", "registry+r"],
            ["light", "1.0.0", "MIT", "registry+r"],
            ["light", "2.0.0", "MIT", "registry+r"],
        ]);
        check(&versions(&workspace), &["1.0.0 ← host; 2.0.0 ← host"]);
    }

    #[test]
    fn deny_toml_says_the_same() {
        let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
        let section = |name: &str| {
            let (_, rest) = text.split_once(&format!("\n{name} = [\n")).expect(name);
            let (list, _) = rest.split_once("\n]").expect(name);
            let first_string = |line: &str| line.split('"').nth(1).map(str::to_owned);
            list.lines().filter_map(first_string).collect::<Vec<_>>()
        };
        assert_eq!(section("allow"), LICENCES);
        let banned: Vec<_> = BANNED.iter().map(|(name, _)| *name).collect();
        assert_eq!(section("deny"), banned);
    }
}
