//! Denials in part: each says which wall was met, and names every line, on both sides, that would
//! have to be written for the same thing to be allowed. No path of the host is ever in one.

use std::net::SocketAddr;

use ringfence_event::{
    Access, Asked, Denial, DenialCode, Effect, Remedy, RootName, Scope, SecretFault, SecretName,
    neutralise_line,
};
use url::{Host, Url};

use crate::{
    ConfigKey, Full, Method, Origin, Permit, Protocol, SecretHeader, SocketPass, SocketTarget,
    path, remedy::Lines, socket::is_one,
};

/// The longest text of a guest that a denial repeats: enough for any real path or URL.
const ASKED_CHARS_MAX: usize = 1024;

impl Permit {
    /// The denial for a file or folder that is not open so far. `path` is the guest's.
    #[must_use]
    pub fn deny_file(&self, path: &str, access: Access) -> Denial {
        let asked = Asked::File { path: shown(path), access };
        let first = path.strip_prefix('/').and_then(|rest| rest.split('/').next());
        let Some(first) = first.filter(|name| !name.is_empty()) else {
            return Denial::new(DenialCode::OutsideRoot, asked, Vec::new());
        };
        match first.parse::<RootName>() {
            Ok(root) => {
                let mut lines = Lines::new(self);
                lines.root(&root, access);
                lines.denial(asked)
            }
            // No manifest can name such a root.
            Err(_) => Denial::new(DenialCode::NeverOpen, asked, Vec::new()),
        }
    }

    /// The denial of a path that a rule shuts.
    pub(crate) fn deny_held_file(&self, path: &str, access: Access, rule: &Remedy) -> Denial {
        held(Asked::File { path: shown(path), access }, rule)
    }

    /// The denial of a request to a host that a rule shuts.
    pub(crate) fn deny_held_http(&self, method: &str, url: &Url, rule: &Remedy) -> Denial {
        held(asked_http(method, url), rule)
    }

    /// The rule that shuts a socket which is open otherwise.
    fn shuts_socket(&self, leads: impl Fn(&SocketPass) -> bool) -> Option<&Remedy> {
        let closed = self.closed()?;
        self.rules().sockets.iter().filter(|pass| leads(pass)).find_map(|pass| closed.socket(pass))
    }

    /// The denial for a path that leads out of its root, or for a link or rename between two.
    #[must_use]
    pub fn deny_outside(&self, path: &str, access: Access) -> Denial {
        let asked = Asked::File { path: shown(path), access };
        Denial::new(DenialCode::OutsideRoot, asked, Vec::new())
    }

    /// The denial for what is neither a regular file nor a folder, such as a FIFO or a device.
    #[must_use]
    pub fn deny_special(&self, path: &str, access: Access) -> Denial {
        let asked = Asked::File { path: shown(path), access };
        Denial::new(DenialCode::NeverOpen, asked, Vec::new())
    }

    /// The denial for what belongs to the host: the store, and the files that say what tools may do.
    #[must_use]
    pub fn deny_protected(&self, path: &str, access: Access) -> Denial {
        let asked = Asked::File { path: shown(path), access };
        Denial::new(DenialCode::Protected, asked, Vec::new())
    }

    /// The denial for what does not fit into a quota.
    #[must_use]
    pub fn deny_quota(&self, root: &RootName, path: &str, access: Access, full: Full) -> Denial {
        let mut lines = Lines::new(self);
        lines.quota(root, full);
        let asked = Asked::File { path: shown(path), access };
        Denial { code: DenialCode::QuotaFull, ..lines.denial(asked) }
    }

    /// The denial for a request whose host has no public address, where no address is granted.
    #[must_use]
    pub fn deny_address(&self, method: &str, url: &Url) -> Denial {
        let mut lines = Lines::new(self);
        lines.address(url);
        Denial { code: DenialCode::AddressForbidden, ..lines.denial(asked_http(method, url)) }
    }

    /// The denial for a request whose secret cannot be used as the operator keeps it.
    #[must_use]
    pub fn deny_fault(
        &self,
        secret: &SecretName,
        method: &str,
        url: &Url,
        fault: SecretFault,
    ) -> Denial {
        let mut lines = Lines::new(self);
        lines.fault(secret);
        let asked = asked_secret(secret, method, url, Some(fault));
        Denial { code: DenialCode::SecretUnavailable, ..lines.denial(asked) }
    }

    /// The denial for a request that is to carry secrets which nobody gives, or whose host no grant
    /// names.
    pub(crate) fn deny_secrets(
        &self,
        secrets: &[SecretHeader],
        named: bool,
        method: &str,
        url: &Url,
    ) -> Denial {
        let mut lines = Lines::new(self);
        if !named {
            lines.name_host(url);
        }
        let mut missing: Vec<&SecretName> = secrets.iter().map(|secret| &secret.name).collect();
        missing.retain(|name| lines.secret(name));
        let name = missing.first().copied().or(secrets.first().map(|secret| &secret.name));
        match name {
            Some(name) => lines.denial(asked_secret(name, method, url, None)),
            None => lines.denial(asked_http(method, url)),
        }
    }

    /// The denial for a request that would carry secrets unencrypted to another machine.
    pub(crate) fn deny_clear(&self, secrets: &[SecretHeader], method: &str, url: &Url) -> Denial {
        let mut lines = Lines::new(self);
        lines.encrypt(secrets, url);
        let asked = match secrets.first() {
            Some(secret) => asked_secret(&secret.name, method, url, None),
            None => asked_http(method, url),
        };
        Denial { code: DenialCode::SecretInClear, ..lines.denial(asked) }
    }

    /// The denial for something that is not even a URL.
    #[must_use]
    pub fn deny_url(&self, method: &str, url: &str) -> Denial {
        let asked = Asked::Http { method: shown(method), url: shown(url) };
        Denial::new(DenialCode::NeverOpen, asked, Vec::new())
    }

    /// The denial for a socket of a protocol of which nothing is open at all.
    #[must_use]
    pub fn deny_sockets(&self, protocol: Protocol) -> Denial {
        let asked = Asked::Socket { address: format!("any address by {protocol}") };
        if let Some(rule) = self.shuts_socket(|pass| pass.protocol == protocol) {
            return held(asked, rule);
        }
        let mut lines = Lines::new(self);
        lines.sockets(protocol);
        lines.denial(asked)
    }

    /// The denial for a name that may not be resolved. The name as the guest spelled it.
    #[must_use]
    pub fn deny_name(&self, name: &str) -> Denial {
        let asked = Asked::Socket { address: shown(name) };
        match SocketTarget::read_host(name) {
            Some(host @ Host::Domain(_)) => {
                if let Some(rule) = self.shuts_socket(|pass| *pass.to.host() == host) {
                    return held(asked, rule);
                }
                let mut lines = Lines::new(self);
                lines.socket_name(&host);
                lines.denial(asked)
            }
            _ => Denial::new(DenialCode::NeverOpen, asked, Vec::new()),
        }
    }

    /// The denial for a name that has no public address, where no address is granted beside it.
    #[must_use]
    pub fn deny_name_address(&self, name: &str) -> Denial {
        let mut lines = Lines::new(self);
        lines.socket_address(name);
        let asked = Asked::Socket { address: shown(name) };
        Denial { code: DenialCode::AddressForbidden, ..lines.denial(asked) }
    }

    /// The denial for an address that a socket may not reach. `name` is what the guest resolved to
    /// get there, if it did.
    #[must_use]
    pub fn deny_socket(&self, protocol: Protocol, to: SocketAddr, name: Option<&str>) -> Denial {
        let address = SocketTarget::from(to);
        let asked = Asked::Socket { address: format!("{address} by {protocol}") };
        if to.port() == 0 || !is_one(to.ip().to_canonical()) {
            return Denial::new(DenialCode::NeverOpen, asked, Vec::new());
        }
        let named = name.and_then(|name| format!("{name}:{}", to.port()).parse().ok());
        let denial = self.deny_target(protocol, &named.unwrap_or(address));
        Denial { asked, ..denial }
    }

    pub(crate) fn deny_target(&self, protocol: Protocol, to: &SocketTarget) -> Denial {
        let asked = Asked::Socket { address: format!("{to} by {protocol}") };
        let leads = |pass: &SocketPass| {
            let at = pass.to.port() == to.port()
                && to.address().is_some_and(|a| pass.address == Some(a));
            pass.protocol == protocol && (pass.to == *to || at)
        };
        if let Some(rule) = self.shuts_socket(leads) {
            return held(asked, rule);
        }
        let mut lines = Lines::new(self);
        lines.socket(protocol, to);
        lines.denial(asked)
    }

    /// The denial for a socket that others could reach.
    #[must_use]
    pub fn deny_bind(&self, protocol: Protocol, to: SocketAddr) -> Denial {
        let address = format!("{} by {protocol}", SocketTarget::from(to));
        Denial::new(DenialCode::NeverOpen, Asked::Bind { address }, Vec::new())
    }

    pub(crate) fn deny_config(&self, key: &str) -> Denial {
        let asked = Asked::Config { key: shown(key) };
        // What is no key stands in no manifest.
        let Ok(key) = key.parse::<ConfigKey>() else {
            return Denial::new(DenialCode::NeverOpen, asked, Vec::new());
        };
        let mut lines = Lines::new(self);
        lines.config(&key);
        lines.denial(asked)
    }

    pub(crate) fn deny_config_all(&self) -> Denial {
        let mut lines = Lines::new(self);
        lines.config_all();
        lines.denial(Asked::Config { key: "*".to_owned() })
    }

    /// The denial for what does not fit into a bucket, or into all of the tenant's.
    #[must_use]
    pub fn deny_memory_full(&self, scope: Scope) -> Denial {
        self.joined().deny_memory_full(scope)
    }

    pub(crate) fn deny_bucket(&self, name: &str, access: Access) -> Denial {
        let asked = Asked::Memory { bucket: shown(name), access };
        let Some(scope) = Scope::ALL.into_iter().find(|scope| scope.as_str() == name) else {
            return Denial::new(DenialCode::NeverOpen, asked, Vec::new());
        };
        let mut lines = Lines::new(self);
        lines.bucket(scope, access);
        lines.denial(asked)
    }

    pub(crate) fn deny_http(&self, method: &str, url: &Url) -> Denial {
        let asked = asked_http(method, url);
        let origin = Origin::of(url);
        let (Some(origin), Some(path), Ok(parsed)) =
            (origin, path::normalise(url.path()), Method::parse(method))
        else {
            // An ambiguous path, a tunnel, another scheme: no line of any file opens these.
            return Denial::new(DenialCode::NeverOpen, asked, Vec::new());
        };
        let mut lines = Lines::new(self);
        lines.request(&parsed, url, &origin, &path);
        lines.denial(asked)
    }
}

fn held(asked: Asked, rule: &Remedy) -> Denial {
    Denial::new(DenialCode::NeedsApproval, asked, vec![rule.clone()])
}

/// The lowest effect that may send a method: what HTTP itself says of doing it twice.
pub(crate) fn effect_of(method: &Method) -> Effect {
    match method.as_str() {
        "GET" | "HEAD" => Effect::Read,
        "PUT" | "DELETE" | "OPTIONS" => Effect::Idempotent,
        _ => Effect::Unsafe,
    }
}

fn asked_secret(name: &SecretName, method: &str, url: &Url, fault: Option<SecretFault>) -> Asked {
    let (method, url) = (shown(method), shown(bare(url).as_str()));
    Asked::Secret { name: name.clone(), method, url, fault }
}

fn asked_http(method: &str, url: &Url) -> Asked {
    Asked::Http { method: shown(method), url: shown(bare(url).as_str()) }
}

/// A URL without what is nobody's business.
fn bare(url: &Url) -> Url {
    let mut bare = url.clone();
    // Both fail only where there is no host, and then there is no user either.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.set_fragment(None);
    bare
}

/// A guest's text, cut and made safe to show.
fn shown(text: &str) -> String {
    let cut: String = text.chars().take(ASKED_CHARS_MAX).collect();
    let mut shown = neutralise_line(&cut).into_owned();
    if cut.len() < text.len() {
        shown.push('…');
    }
    shown
}
