//! A component that comes without a manifest, called with flags: what the flags give is also what it
//! needs, since one person says both.

use std::sync::Arc;

use ringfence_event::ToolName;

use crate::{
    COMMAND_LINE, FsNeed, Grants, HttpNeed, Manifest, MemoryNeed, Method, Needs, PathPattern,
};

/// What a bare component may send where a flag names only the origin: everything that is no tunnel.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

impl Grants {
    /// The manifest of a bare component under these flags.
    #[must_use]
    pub fn bare_manifest(&self, name: ToolName) -> Manifest {
        let mut needs = Needs::default();
        if let Some(flags) = self.flags() {
            for (root, granted) in &flags.fs {
                let need = FsNeed { access: granted.access, reason: None, access_line: 0 };
                needs.fs.insert(root.clone(), need);
            }
            needs.http.extend(flags.http.iter().map(|granted| HttpNeed {
                origin: granted.grant.origin.clone(),
                methods: METHODS.iter().filter_map(|name| Method::parse(name).ok()).collect(),
                paths: PathPattern::parse("/**").into_iter().collect(),
                secrets: Vec::new(),
                reason: None,
                line: 0,
                methods_line: None,
                paths_line: None,
            }));
            for (scope, (access, _)) in &flags.memory {
                let need = MemoryNeed { access: *access, reason: None, access_line: 0 };
                needs.memory.insert(*scope, need);
            }
        }
        Manifest { file: COMMAND_LINE.to_owned(), needs: Arc::new(needs), ..Manifest::bare(name) }
    }
}
