//! Rules over the graph of dependencies.

use xtask::metadata::{Kind, Package, Workspace};

/// Dependencies (all whose names start so) and the only crates that may name them.
pub(crate) const OWNERS: &[(&str, &[&str])] = &[
    ("wasmtime", &["ringfence-sandbox", "ringfence-tests"]), // the benchmark's baseline
    ("cranelift", &["ringfence-sandbox"]),
    ("rusqlite", &["ringfence-store"]),
    ("libsqlite3-sys", &["ringfence-store"]),
    ("sse-stream", &["ringfence-model", "ringfence-mcp"]),
    ("axum", &["ringfence-server", "ringfence-tests"]), // the benchmark's baseline
    ("rmcp", &["ringfence-mcp"]),
];

/// The crates that decide and do nothing.
pub(crate) const CORE: &[&str] =
    &["ringfence-event", "ringfence-policy", "ringfence-agent", "ringfence-session"];

/// What must not be in the core, however far down.
pub(crate) const ABSENT: &[&str] =
    &["tokio", "wasmtime", "rusqlite", "hyper", "rustls", "reqwest", "mio", "async-std", "smol"];

/// Who may depend on whom: each crate of `runtime/` and what of it it may name, in the order of
/// ARCHITECTURE.md. A crate without a row is a problem.
pub(crate) const LAYERS: &[(&str, &[&str])] = &[
    ("ringfence-event", &[]),
    ("ringfence-policy", &["ringfence-event"]),
    ("ringfence-agent", &["ringfence-event", "ringfence-policy"]),
    ("ringfence-session", &["ringfence-event", "ringfence-agent"]),
    ("ringfence-model", &["ringfence-event", "ringfence-policy"]),
    ("ringfence-store", &["ringfence-event"]),
    ("ringfence-vault", &["ringfence-event"]),
    ("ringfence-capability", &["ringfence-event", "ringfence-policy", "ringfence-vault"]),
    ("ringfence-catalog", &["ringfence-event", "ringfence-policy"]),
    ("ringfence-sandbox", &["ringfence-event", "ringfence-policy", "ringfence-capability"]),
    (
        "ringfence",
        &[
            "ringfence-event",
            "ringfence-policy",
            "ringfence-agent",
            "ringfence-session",
            "ringfence-model",
            "ringfence-store",
            "ringfence-vault",
            "ringfence-capability",
            "ringfence-catalog",
            "ringfence-sandbox",
        ],
    ),
    ("ringfence-observe", &["ringfence-event"]),
    ("ringfence-mcp", &["ringfence"]),
    ("ringfence-server", &["ringfence", "ringfence-mcp", "ringfence-observe"]),
    ("ringfence-cli", &["ringfence", "ringfence-server", "ringfence-mcp", "ringfence-observe"]),
];

/// Where the crates of the host live.
const RUNTIME: &str = "runtime";

/// Members that name a dependency which is another crate's, for whatever kind of build.
pub(crate) fn owners(workspace: &Workspace, owners: &[(&str, &[&str])]) -> Vec<String> {
    let mut problems = Vec::new();
    for member in workspace.members() {
        for (dependency, _) in workspace.direct(member) {
            let row = owners.iter().find(|(prefix, _)| dependency.name.starts_with(prefix));
            let Some((_, names)) = row else { continue };
            if !names.contains(&member.name.as_str()) {
                problems.push(format!(
                    "{} depends on {}, which only {} may: let that crate offer what is needed",
                    member.name,
                    dependency.name,
                    names.join(", ")
                ));
            }
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

/// What is in a crate of the core although it must be absent, with the way that leads there.
pub(crate) fn absences(workspace: &Workspace, core: &[&str], absent: &[&str]) -> Vec<String> {
    let mut problems = Vec::new();
    for name in core {
        let Some(member) = workspace.members().find(|member| member.name == *name) else {
            problems.push(format!("{name} is not in the workspace: mend the list `CORE`"));
            continue;
        };
        let closure = workspace.closure(member);
        problems.extend(closure.iter().filter(|(name, _)| absent.contains(&name.as_str())).map(
            |(_, way)| format!("{way}: do it in a crate above and hand {name} the result as data"),
        ));
    }
    problems
}

/// Edges between crates of the host that the table does not have. Tests may look anywhere.
pub(crate) fn layers(workspace: &Workspace, layers: &[(&str, &[&str])]) -> Vec<String> {
    let mut problems = Vec::new();
    for member in workspace.members().filter(|member| is_host(workspace, member)) {
        let Some((_, below)) = layers.iter().find(|(name, _)| *name == member.name) else {
            problems.push(format!("{} has no row in `LAYERS`: say what it may use", member.name));
            continue;
        };
        for (dependency, kind) in workspace.direct(member) {
            let counts = dependency.member && kind != Kind::Dev;
            if counts && !below.contains(&dependency.name.as_str()) {
                problems.push(format!(
                    "{} depends on {}, which is not below it: move what is needed down, or change \
                     ARCHITECTURE.md and `LAYERS`",
                    member.name, dependency.name
                ));
            }
        }
    }
    problems
}

/// Members outside the host that contain a crate of the host. This crate exists to use them.
pub(crate) fn guests(workspace: &Workspace) -> Vec<String> {
    let mut problems = Vec::new();
    let tests = env!("CARGO_PKG_NAME");
    for member in workspace.members() {
        if is_host(workspace, member) || member.name == tests {
            continue;
        }
        let closure = workspace.closure(member);
        problems.extend(
            workspace
                .members()
                .filter(|host| is_host(workspace, host))
                .filter_map(|host| closure.get(&host.name))
                .map(|way| format!("{way}: a guest and its host share wit/ and nothing else")),
        );
    }
    problems
}

fn is_host(workspace: &Workspace, member: &Package) -> bool {
    member.folder.starts_with(workspace.root.join(RUNTIME))
}

#[cfg(test)]
mod tests {
    use xtask::metadata::Dependency;

    use super::*;

    /// A workspace whose members are the keys: `ringfence…` below `runtime/`, others beside it.
    fn workspace(edges: &[(&str, &[(&str, Kind)])]) -> Workspace {
        let mut packages: Vec<Package> = Vec::new();
        for (name, dependencies) in edges {
            let top = if name.starts_with("ringfence") { RUNTIME } else { "tools" };
            packages.push(Package {
                id: (*name).to_owned(),
                name: (*name).to_owned(),
                folder: ["/w", top, name].iter().collect(),
                member: true,
                dependencies: dependencies
                    .iter()
                    .map(|(id, kind)| Dependency { id: (*id).to_owned(), kind: *kind })
                    .collect(),
                ..Package::default()
            });
        }
        for (name, _) in edges.iter().flat_map(|(_, dependencies)| *dependencies) {
            if !packages.iter().any(|package| package.id == *name) {
                let name = (*name).to_owned();
                packages.push(Package { id: name.clone(), name, ..Package::default() });
            }
        }
        Workspace { root: "/w".into(), packages, ..Workspace::default() }
    }

    #[test]
    fn a_dependency_of_another_owner_is_found_even_in_tests() {
        let workspace = workspace(&[
            ("ringfence-sandbox", &[("wasmtime-wasi", Kind::Normal)]),
            ("ringfence", &[("wasmtime", Kind::Dev)]),
        ]);
        let problems = owners(&workspace, OWNERS);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("ringfence depends on wasmtime"), "{problems:?}");
    }

    #[test]
    fn what_must_be_absent_is_found_however_deep() {
        let workspace = workspace(&[
            ("ringfence-policy", &[("ringfence-event", Kind::Normal), ("tokio", Kind::Dev)]),
            ("ringfence-event", &[("rusqlite", Kind::Normal)]),
        ]);
        let problems = absences(&workspace, &["ringfence-policy"], ABSENT);
        assert_eq!(problems.len(), 1, "{problems:?}");
        let way = "ringfence-policy → ringfence-event → rusqlite: ";
        assert!(problems[0].starts_with(way), "{problems:?}");
    }

    #[test]
    fn a_list_that_names_nobody_is_found() {
        assert_eq!(absences(&workspace(&[]), &["ringfence-event"], ABSENT).len(), 1);
    }

    #[test]
    fn an_edge_upwards_and_a_crate_without_a_row_are_found() {
        let workspace = workspace(&[
            ("ringfence-event", &[("ringfence-policy", Kind::Build), ("serde", Kind::Normal)]),
            ("ringfence-policy", &[("ringfence-event", Kind::Normal), ("ringfence", Kind::Dev)]),
            ("ringfence-common", &[]),
        ]);
        let problems = layers(&workspace, LAYERS);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("ringfence-event depends on ringfence-policy"));
        assert!(problems[1].starts_with("ringfence-common has no row"));
    }

    #[test]
    fn a_guest_that_contains_the_host_is_found() {
        let workspace = workspace(&[
            ("tool", &[("kit", Kind::Normal)]),
            ("kit", &[("ringfence-event", Kind::Normal)]),
            ("ringfence-event", &[]),
        ]);
        let problems = guests(&workspace);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].starts_with("tool → kit → ringfence-event: "), "{problems:?}");
    }

    #[test]
    fn the_table_of_layers_has_no_way_up() {
        for (at, (name, below)) in LAYERS.iter().enumerate() {
            for lower in *below {
                let lower_at = LAYERS.iter().position(|(name, _)| name == lower);
                assert!(lower_at.is_some_and(|lower_at| lower_at < at), "{name} over {lower}");
            }
        }
    }
}
