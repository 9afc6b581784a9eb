//! The contract in `wit/`: every item of ours says what it is, and nothing of others comes without a
//! version.

use std::fs;
use std::path::Path;

/// A file of the contract, by its path from the root.
pub(crate) struct Interface {
    path: String,
    text: String,
}

impl Interface {
    fn lines(&self) -> impl Iterator<Item = (String, &str)> {
        let place = |number: usize| format!("{}:{}", self.path, number + 1);
        self.text.lines().enumerate().map(move |(number, line)| (place(number), line.trim()))
    }
}

/// Reads our own interfaces.
pub(crate) fn own(root: &Path) -> Vec<Interface> {
    read(root, "wit")
}

/// Reads the interfaces of others that ours build on.
pub(crate) fn foreign(root: &Path) -> Vec<Interface> {
    let folders = fs::read_dir(root.join("wit/deps")).expect("the folder `wit/deps`");
    let names = folders.map(|folder| folder.expect("an entry").file_name());
    names.flat_map(|name| read(root, &format!("wit/deps/{}", name.to_string_lossy()))).collect()
}

fn read(root: &Path, folder: &str) -> Vec<Interface> {
    let mut interfaces = Vec::new();
    for entry in fs::read_dir(root.join(folder)).expect("a folder of interfaces") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "wit") {
            let name = path.file_name().expect("a name").to_string_lossy();
            let text = fs::read_to_string(&path).expect("an interface");
            interfaces.push(Interface { path: format!("{folder}/{name}"), text });
        }
    }
    assert!(!interfaces.is_empty(), "there is no interface in {folder}");
    interfaces
}

/// Items, cases, fields and functions without a `///` line above them. What a world imports and
/// exports is said where it is defined.
pub(crate) fn undocumented(interfaces: &[Interface]) -> Vec<String> {
    let mut problems = Vec::new();
    for interface in interfaces {
        let mut above = "";
        for (place, line) in interface.lines() {
            let first = line.split([' ', '{', '}', ':', '(', ',']).next().unwrap_or_default();
            let is_plain = matches!(first, "" | "package" | "use" | "import" | "export");
            if is_plain || line.starts_with("//") {
                above = line;
                continue;
            }
            if !above.starts_with("///") {
                problems.push(format!("{place}: `{first}` has no `///` line above it"));
            }
            if line.split_once('{').is_some_and(|(_, body)| !body.trim().is_empty()) {
                problems.push(format!("{place}: `{first}`: give each of its parts a line"));
            }
            above = line;
        }
    }
    problems
}

/// Packages that are declared or used without a version.
pub(crate) fn unpinned(interfaces: &[Interface]) -> Vec<String> {
    let mut problems = Vec::new();
    for interface in interfaces {
        for (place, line) in interface.lines() {
            let mut words = line.split_whitespace();
            let names = matches!(words.next(), Some("package" | "use" | "import" | "export"));
            let package = words.next().filter(|word| names && word.contains(':'));
            // `import name: interface {` names no package.
            let package = package.filter(|word| !word.ends_with(':'));
            if let Some(package) = package.filter(|word| !word.contains('@')) {
                problems.push(format!("{place}: `{package}` has no version: write `@X.Y.Z`"));
            }
        }
    }
    // A package of several files declares its version in one of them.
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(text: &str) -> [Interface; 1] {
        [Interface { path: "a.wit".to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn what_says_nothing_of_itself_is_found() {
        let check = |text: &str, expected: usize| {
            let problems = undocumented(&interface(text));
            assert_eq!(problems.len(), expected, "{text}: {problems:?}");
        };
        let documented = "package a:b@0.1.0;\n\n/// A.\ninterface a {\n  use b.{c};\n\n  /// R.\n  \
                          record r {\n    /// F.\n    f: u8,\n  }\n\n  /// G.\n  g: func() -> u8;\n}\n";
        check(documented, 0);
        for doc in ["/// A.", "/// R.", "/// F.", "/// G."] {
            check(&documented.replace(doc, ""), 1);
            check(&documented.replace(doc, &doc[1..]), 1);
        }
        check("/// E.\nenum e { a, b }\n", 1);
        check("/// E.\nenum e {\n  a,\n  /// B.\n  b,\n}\n", 1);
    }

    #[test]
    fn a_package_without_a_version_is_found() {
        let check = |text: &str, expected: usize| {
            let problems = unpinned(&interface(text));
            assert_eq!(problems.len(), expected, "{text}: {problems:?}");
        };
        check("package a:b@0.1.0;\nworld w {\n  import wasi:io/poll@0.2.12;\n  import own;\n}", 0);
        check("package a:b;", 1);
        check("  import wasi:io/poll;", 1);
        check("  export wasi:cli/run;", 1);
        check("  use wasi:io/poll.{pollable};", 1);
        check("  use wasi:io/poll@0.2.12.{pollable};", 0);
    }
}
