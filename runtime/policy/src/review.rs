//! What is strange about a grant beside the manifest it is for: wider than anybody asked, wider than
//! anybody should want, or for nothing.

use std::path::{Component, Path};

use ringfence_event::{Access, Remedy, RootName, Scope};

use crate::{
    Method, ToolPolicy,
    grants::{HttpGranted, RootGranted},
    quote::quote,
    tool_policy::Joined,
};

/// Something to look at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line.
    pub line: Remedy,
    /// What about it.
    pub what: String,
}

/// Folders of which no tool needs the whole.
const SYSTEM: [&str; 12] = [
    "/bin", "/boot", "/etc", "/home", "/lib", "/opt", "/root", "/run", "/sbin", "/srv", "/usr",
    "/var",
];

impl ToolPolicy {
    /// What is strange about the grants of this tool to this tenant. `home` is the home folder of
    /// whoever asks, if that is known.
    #[must_use]
    pub fn review(&self, home: Option<&Path>) -> Vec<Remark> {
        let joined = self.joined();
        let mut remarks = Remarks(vec![]);
        remarks.call(joined);
        for (name, root) in &joined.granted.fs {
            remarks.root(joined, name, root, home);
        }
        for granted in &joined.granted.http {
            remarks.origin(joined, granted);
        }
        for (scope, (access, _)) in &joined.granted.memory {
            remarks.bucket(joined, *scope, *access);
        }
        for key in joined.granted.config.keys() {
            if !joined.needs.config.iter().any(|need| need.keys.contains(key)) {
                let line = joined.config_lines(key.as_str()).pop();
                remarks.add(line, "the manifest does not ask for this value".to_owned());
            }
        }
        for (grant, _) in &joined.granted.sockets {
            if !joined.needs.sockets.iter().any(|need| need.to == grant.to) {
                let line = joined.socket_lines(&grant.to).pop();
                remarks.add(line, "the manifest does not ask for this socket".to_owned());
            }
        }
        let secrets: Vec<_> = joined.needs.http.iter().flat_map(|need| &need.secrets).collect();
        for (name, granted) in &joined.granted.secrets {
            if !secrets.iter().any(|secret| secret.name == *name) {
                let line = joined.secret_line(name, granted);
                remarks.add(Some(line), "the manifest names no such secret".to_owned());
            }
        }
        remarks.0
    }
}

struct Remarks(Vec<Remark>);

impl Remarks {
    fn add(&mut self, line: Option<Remedy>, what: String) {
        if let Some(line) = line {
            self.0.push(Remark { line, what });
        }
    }

    fn call(&mut self, joined: &Joined) {
        let lines = joined.call_lines();
        let starting =
            |start: &str| lines.iter().find(|line| line.allow.starts_with(start)).cloned();
        if let Some((pinned, _)) = &joined.granted.digest
            && *pinned != joined.tool.component
        {
            let what = format!("the component is {}: every call is refused", joined.tool.component);
            self.add(starting("digest"), what);
        }
        for name in joined.granted.functions.iter().flat_map(|(names, _)| names) {
            if !joined.tool.functions.iter().any(|(known, _)| known == name) {
                self.add(starting("functions"), format!("the tool has no function `{name}`"));
            }
        }
    }

    fn root(&mut self, joined: &Joined, name: &RootName, root: &RootGranted, home: Option<&Path>) {
        let line = || joined.root_lines(name).pop();
        if let Some(folder) = root.path.as_ref().and_then(|path| too_wide(path, home)) {
            self.add(line(), format!("it gives {folder}"));
        }
        match joined.needs.fs.get(name) {
            None => self.add(line(), "the manifest does not ask for this root".to_owned()),
            Some(need) if need.access < root.access => {
                self.add(line(), format!("the manifest asks no more than `{}`", need.access));
            }
            Some(_) => {}
        }
    }

    fn origin(&mut self, joined: &Joined, granted: &HttpGranted) {
        let grant = &granted.grant;
        let line = || Some(joined.http_grant_line(granted));
        if !grant.origin.is_exact() {
            self.add(
                line(),
                format!("it gives any host that fits {}", quote(&grant.origin.to_string())),
            );
        }
        let mut needs = joined.needs.http.iter().filter(|need| need.origin.overlaps(&grant.origin));
        if needs.clone().next().is_none() {
            self.add(line(), "the manifest does not ask for this origin".to_owned());
        } else if let Some(methods) = &grant.methods
            && !needs.any(|need| need.methods.iter().any(|method| methods.contains(method)))
        {
            let methods: Vec<&str> = methods.iter().map(Method::as_str).collect();
            self.add(line(), format!("the manifest does not ask for {} here", methods.join(", ")));
        }
    }

    fn bucket(&mut self, joined: &Joined, scope: Scope, access: Access) {
        let line = || joined.bucket_lines(scope).pop();
        match joined.needs.memory.get(&scope) {
            None => self.add(line(), "the manifest does not ask for this bucket".to_owned()),
            Some(need) if need.access < access => {
                self.add(line(), format!("the manifest asks no more than `{}`", need.access));
            }
            Some(_) => {}
        }
    }
}

/// What a folder is, if no tool should have all of it. By its text: where links lead is seen when it
/// is opened.
fn too_wide(path: &Path, home: Option<&Path>) -> Option<&'static str> {
    let mut plain = std::path::PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    if plain == Path::new("/") {
        Some("the whole machine")
    } else if home.is_some_and(|home| home == plain) {
        Some("a whole home folder")
    } else if home.is_some_and(|home| home.starts_with(&plain)) && plain.is_absolute() {
        Some("a folder of home folders")
    } else if SYSTEM.iter().any(|folder| plain == Path::new(folder)) {
        Some("a whole folder of the system's")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_are_too_wide_are_told_by_their_text() {
        let home = Path::new("/home/ann");
        for (path, wide) in [
            ("/", true),
            ("/srv/..", true),
            ("/home/ann", true),
            ("/home/ann/src/..", true),
            ("/home", true),
            ("/etc", true),
            ("/etc/ringfence", false),
            ("/home/ann/src", false),
            ("/srv/acme", false),
            ("data", false),
        ] {
            assert_eq!(too_wide(Path::new(path), Some(home)).is_some(), wide, "{path}");
        }
        assert!(too_wide(Path::new("/home/ann"), None).is_none());
    }
}
