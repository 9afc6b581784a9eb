//! Every dependency has a line of reason in `ARCHITECTURE.md`.

use std::collections::BTreeSet;

use xtask::metadata::Workspace;

/// What members depend on directly and the last table of the text does not name, and what it names
/// and nothing depends on.
pub(crate) fn missing(workspace: &Workspace, text: &str) -> Vec<String> {
    let (_, table) = text.split_once("\n## Dependencies, and why\n").unwrap_or_default();
    // What is for another workspace is not in the data of this one.
    let own = table.lines().filter(|line| !line.contains("a workspace of its own"));
    let cells = own.filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let names = |cell: &str| -> Vec<String> {
        let bare = cell.split(", ").map(|name| name.split(" (").next().unwrap_or(name).trim());
        bare.filter(|name| !matches!(*name, "crate" | "---")).map(str::to_owned).collect()
    };
    let given: BTreeSet<String> = cells.flat_map(names).collect();
    let mut used = BTreeSet::new();
    for edge in workspace.members().flat_map(|member| &member.dependencies) {
        let package = workspace.packages.iter().find(|package| package.id == edge.id);
        used.extend(package.filter(|package| !package.member).map(|package| package.name.clone()));
    }
    let without = used
        .difference(&given)
        .map(|name| format!("ARCHITECTURE.md: say in the last table what `{name}` is for"));
    let unused = given.difference(&used).map(|name| {
        format!("ARCHITECTURE.md: nothing depends on `{name}`: take it out of the last table")
    });
    without.chain(unused).collect()
}

#[cfg(test)]
mod tests {
    use xtask::metadata::{Dependency, Kind, Package};

    use super::*;

    #[test]
    fn a_dependency_without_a_reason_is_found() {
        let package = |name: &str, member, dependencies: &[&str]| Package {
            id: name.to_owned(),
            name: name.to_owned(),
            member,
            dependencies: dependencies
                .iter()
                .map(|id| Dependency { id: (*id).to_owned(), kind: Kind::Normal })
                .collect(),
            ..Package::default()
        };
        let packages = vec![
            package("ours", true, &["b", "c", "own"]),
            package("own", true, &[]),
            package("b", false, &["deep"]),
            package("c", false, &[]),
            package("deep", false, &[]),
        ];
        let workspace = Workspace { packages, ..Workspace::default() };
        let check = |rows: &str, expected: usize| {
            let text = format!("| x | y |\n## Dependencies, and why\n\n{rows}");
            let problems = missing(&workspace, &format!("\n{text}"));
            assert_eq!(problems.len(), expected, "{rows}: {problems:?}");
        };
        check("| crate | for |\n| --- | --- |\n| b, c (with a feature) | both |\n", 0);
        check("| b | one |\n", 1);
        check("| b, c | two |\n| fuzz | fuzzing, in a workspace of its own |\n", 0);
        check("| b, c, gone | three |\n", 1);
        check("", 2);
    }
}
