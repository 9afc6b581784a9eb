//! What a component asks of its host, in three classes: always there, there but shut without a
//! permit, and unknown.

use wasmtime::component::{Component, types::ComponentItem};

/// How an import is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImportClass {
    /// Linked for every call, and charged.
    Ambient,
    /// Linked for every call, but empty without a permit that opens it.
    Gated,
    /// Nothing here offers it; the component is refused.
    Unknown,
}

/// One import of a component.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Import {
    /// Its class.
    pub class: ImportClass,
    /// Its name, such as `wasi:http/outgoing-handler@0.2.4`.
    pub name: String,
}

/// The interfaces of `wit/world.wit`, without versions of WASI 0.2, which are compatible.
const AMBIENT: &[&str] = &[
    "ringfence:tool/context",
    "ringfence:tool/types",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

const GATED: &[&str] = &[
    "wasi:config/store",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:http/outgoing-handler",
    "wasi:http/types",
    "wasi:keyvalue/atomics",
    "wasi:keyvalue/batch",
    "wasi:keyvalue/store",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// The packages whose version is not 0.2.x.
const VERSIONS: &[(&str, &str)] = &[
    ("ringfence:tool/", "0.1."),
    ("wasi:config/", "0.2.0-rc.1"),
    ("wasi:keyvalue/", "0.2.0-draft"),
];

/// The class of an import's name.
fn classify(name: &str) -> ImportClass {
    let Some((interface, version)) = name.split_once('@') else { return ImportClass::Unknown };
    let wanted = VERSIONS.iter().find(|(package, _)| interface.starts_with(package));
    let wanted = wanted.map_or("0.2.", |(_, version)| version);
    let pre_release = version.contains('-') && !wanted.contains('-');
    if !version.starts_with(wanted) || pre_release {
        ImportClass::Unknown
    } else if AMBIENT.contains(&interface) {
        ImportClass::Ambient
    } else if GATED.contains(&interface) {
        ImportClass::Gated
    } else {
        ImportClass::Unknown
    }
}

/// All imports of a component, by class and name.
pub(crate) fn imports(component: &Component) -> Vec<Import> {
    let engine = component.engine();
    let mut imports: Vec<_> = component
        .component_type()
        .imports(engine)
        .map(|(name, item)| {
            // A type that the world names is no request; anything but an interface is unknown.
            let class = match item.ty {
                ComponentItem::ComponentInstance(_) => classify(name),
                ComponentItem::Type(_) | ComponentItem::Resource(_) => ImportClass::Ambient,
                _ => ImportClass::Unknown,
            };
            Import { class, name: name.to_owned() }
        })
        .collect();
    imports.sort();
    imports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imports_are_classified_by_name_and_version() {
        use ImportClass::{Ambient, Gated, Unknown};
        for (name, class) in [
            ("wasi:io/poll@0.2.0", Ambient),
            ("wasi:io/poll@0.2.12", Ambient),
            ("wasi:io/poll@0.3.0", Unknown),
            ("wasi:io/poll@0.2.0-rc-2023-11-10", Unknown),
            ("wasi:io/poll", Unknown),
            ("wasi:http/outgoing-handler@0.2.4", Gated),
            ("wasi:http/incoming-handler@0.2.4", Unknown),
            ("wasi:keyvalue/store@0.2.0-draft", Gated),
            ("wasi:keyvalue/store@0.2.0-draft2", Gated),
            ("wasi:keyvalue/store@0.2.0", Unknown),
            ("ringfence:tool/context@0.1.0", Ambient),
            ("ringfence:tool/context@0.2.0", Unknown),
            ("ringfence:tool/tools@0.1.0", Unknown),
            ("acme:secret/store@0.2.0", Unknown),
        ] {
            assert_eq!(classify(name), class, "{name}");
        }
    }
}
