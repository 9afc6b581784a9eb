//! Rules over manifests and over the root file of every crate.

use std::fs;

use xtask::metadata::{Package, Workspace};

use crate::token::{self, matches};

/// Every crate's licence.
const LICENCE: &str = "Apache-2.0";

/// The oldest compiler that every crate builds with.
const COMPILER: &str = "1.95";

/// Crates that may contain unsafe code, each with what it needs it for. Guests may too: what the
/// SDK's macro exports is unsafe by nature.
pub(crate) const UNSAFE: &[(&str, &str)] = &[
    ("ringfence-sandbox", "loads compiled code that it has authenticated"),
    ("ringfence-sdk", "generated bindings"),
];

/// One crate's root source file.
pub(crate) struct Root {
    package: String,
    path: String,
    text: String,
    guest: bool,
}

/// The root files of all libraries and programs.
pub(crate) fn roots(workspace: &Workspace) -> Vec<Root> {
    let mut roots = Vec::new();
    for member in workspace.members() {
        let shipped = |kind: &str| matches!(kind, "lib" | "rlib" | "cdylib" | "proc-macro" | "bin");
        let targets = member.targets.iter();
        for target in targets.filter(|target| target.kinds.iter().any(|kind| shipped(kind))) {
            roots.push(Root {
                package: member.name.clone(),
                path: target.source.display().to_string(),
                text: fs::read_to_string(&target.source).expect("a root file"),
                guest: member.is_guest(),
            });
        }
    }
    roots
}

/// Root files that do not forbid unsafe code, and exceptions that nothing needs any more.
pub(crate) fn unsafe_code(roots: &[Root], exceptions: &[(&str, &str)]) -> Vec<String> {
    let mut problems = Vec::new();
    for root in roots {
        let excepted = root.guest || exceptions.iter().any(|(name, _)| *name == root.package);
        let tokens = token::tokens(&root.text);
        let attribute = ["#", "!", "[", "forbid", "(", "unsafe_code", ")", "]"];
        let forbids = (0..tokens.len()).any(|at| matches(&tokens[at..], &attribute));
        if !forbids && !excepted {
            problems.push(format!("{}: add `#![forbid(unsafe_code)]`", root.path));
        }
        if forbids && excepted && !root.guest {
            problems.push(format!("{} forbids unsafe code: take it off `UNSAFE`", root.package));
        }
    }
    for (name, _) in exceptions {
        if !roots.iter().any(|root| root.package == *name) {
            problems.push(format!("{name} is not in the workspace: take it off `UNSAFE`"));
        }
    }
    problems
}

/// Crates with another licence or compiler, or none.
pub(crate) fn fields(workspace: &Workspace) -> Vec<String> {
    let mut problems = Vec::new();
    for Package { name, license, rust_version, .. } in workspace.members() {
        if license.as_deref() != Some(LICENCE) {
            problems.push(format!("{name}: write `license.workspace = true` (it is {license:?})"));
        }
        if rust_version.as_deref() != Some(COMPILER) {
            problems.push(format!(
                "{name}: write `rust-version.workspace = true` (it is {rust_version:?})"
            ));
        }
    }
    problems
}

/// The names of all crates with the text of their manifests.
pub(crate) fn texts(workspace: &Workspace) -> Vec<(String, String)> {
    let text = |member: &Package| {
        fs::read_to_string(member.folder.join("Cargo.toml")).expect("the manifest of a member")
    };
    workspace.members().map(|member| (member.name.clone(), text(member))).collect()
}

/// Crates that do not take the workspace's lints.
pub(crate) fn lints(texts: &[(String, String)]) -> Vec<String> {
    let inherits = |text: &str| {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true")
    };
    let without = texts.iter().filter(|(_, text)| !inherits(text));
    without.map(|(name, _)| format!("{name}: write `[lints]` with `workspace = true`")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(package: &str, text: &str, guest: bool) -> Root {
        Root { package: package.to_owned(), path: package.to_owned(), text: text.to_owned(), guest }
    }

    #[test]
    fn a_root_that_does_not_forbid_unsafe_code_is_found() {
        let forbids = "//! A.\n#![forbid(unsafe_code)]\n";
        let roots = [
            root("a", forbids, false),
            root("b", "// #![forbid(unsafe_code)]", false),
            root("guest", "", true),
            root("engine", "", false),
        ];
        let problems = unsafe_code(&roots, &[("engine", "why")]);
        assert_eq!(problems, ["b: add `#![forbid(unsafe_code)]`"]);
        let problems = unsafe_code(&roots[..1], &[("a", "why"), ("gone", "why")]);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }

    #[test]
    fn another_licence_and_another_compiler_are_found() {
        let member = |license: Option<&str>, rust_version: Option<&str>| Package {
            name: "a".to_owned(),
            member: true,
            license: license.map(str::to_owned),
            rust_version: rust_version.map(str::to_owned),
            ..Package::default()
        };
        for (package, expected) in [
            (member(Some(LICENCE), Some(COMPILER)), 0),
            (member(Some("MIT"), Some(COMPILER)), 1),
            (member(None, None), 2),
        ] {
            let workspace = Workspace { packages: vec![package], ..Workspace::default() };
            assert_eq!(fields(&workspace).len(), expected);
        }
    }

    #[test]
    fn a_crate_with_lints_of_its_own_is_found() {
        let texts = [
            ("a".to_owned(), "[lints]\nworkspace = true\n".to_owned()),
            ("b".to_owned(), "[lints.rust]\nmissing_docs = \"allow\"\n".to_owned()),
            ("c".to_owned(), "[package]\n".to_owned()),
        ];
        assert_eq!(lints(&texts).len(), 2);
    }
}
