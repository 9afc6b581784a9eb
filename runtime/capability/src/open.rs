//! From a permit to what it opens.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use ringfence_event::{Denial, TenantId, Timestamp, Usage};
use ringfence_policy::Permit;
use ringfence_vault::{Redactor, Vault};

use crate::{
    ambient::Clock,
    config::Configuration,
    denials::DenialLog,
    fs::{Claim, Files, Held, Kept, RootError, Roots, Scratch, Scratches},
    http::{Clients, Gate, NoCertificate},
    memory::{Buckets, Memory, Writes},
    meter::Meter,
    network::{Network, SystemNetwork},
    secrets::{CallSecrets, Secrets},
    sockets::Sockets,
};

/// What outlives single calls: root handles, HTTP clients, the network and the way to secrets. One
/// a process.
#[derive(Clone)]
pub struct Host {
    roots: Arc<Roots>,
    scratch: Option<Arc<Scratch>>,
    clients: Arc<Clients>,
    secrets: Secrets,
    network: Arc<dyn Network>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

/// A granted root that cannot be opened: the operator's to mend.
#[derive(Debug, thiserror::Error)]
#[error("cannot open {path}, granted as root `{root}`")]
pub struct OpenError {
    /// The root.
    pub root: String,
    /// Its path on the host.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub source: RootError,
}

impl Host {
    /// A host that has opened nothing yet, on the operating system's network, and has no environment
    /// to read secrets from.
    #[must_use]
    pub fn new() -> Self {
        Self::on(Arc::new(SystemNetwork::default()))
    }

    /// The same with another place to read secrets from.
    #[must_use]
    pub fn with_vault(self, vault: Vault) -> Self {
        Self { secrets: Secrets::new(vault), ..self }
    }

    /// The same, trusting one authority more than those of the web: its certificate, X.509 in DER.
    ///
    /// # Errors
    /// When that is no certificate.
    pub fn with_authority(self, certificate: &[u8]) -> Result<Self, NoCertificate> {
        Ok(Self { clients: Arc::new(self.clients.trusting(certificate)?), ..self })
    }

    /// The same on another network.
    #[must_use]
    pub fn on(network: Arc<dyn Network>) -> Self {
        let clients = Arc::new(Clients::new(network.clone()));
        let (roots, secrets) = (Arc::default(), Secrets::new(Vault::new()));
        Self { roots, scratch: None, clients, network, secrets }
    }

    /// The same for calls whose root `scratch` is this folder.
    #[must_use]
    pub fn with_scratch(&self, scratch: Arc<Scratch>) -> Self {
        Self { scratch: Some(scratch), ..self.clone() }
    }

    /// The folders of sessions and direct calls, which lie in this one. It need not be there yet.
    #[must_use]
    pub fn scratches(&self, folder: PathBuf) -> Scratches {
        Scratches::new(folder, self.roots.clone())
    }

    /// A host that keeps these for itself.
    ///
    /// # Errors
    /// When one of them cannot be looked at.
    pub fn keeping(kept: &Kept) -> io::Result<Self> {
        Ok(Self { roots: Arc::new(Roots::keeping(kept)?), ..Self::default() })
    }

    /// Looks at a folder that a tenant is to get as a root, and holds it from then on.
    ///
    /// # Errors
    /// When it cannot be opened, or is none that a tenant may have.
    pub fn register(&self, claim: &Claim<'_>) -> Result<(), RootError> {
        self.roots.register(claim)
    }

    /// From now on these are the folders that tenants have, and no others: all of them or, when one is none
    /// that its tenant may have, nothing is changed. What calls have open stays open to them. One that
    /// cannot be opened now may be there when it is called for.
    ///
    /// # Errors
    /// The first claim that cannot be, by its place in the list, and why.
    pub fn reclaim(&self, claims: &[Claim<'_>]) -> Result<(), (usize, RootError)> {
        self.roots.reclaim(claims)
    }

    /// What a tenant's folder holds, if that is counted: after the first call that has it as a root.
    #[must_use]
    pub fn held(&self, tenant: &TenantId, path: &Path) -> Option<Held> {
        self.roots.held(tenant, path)
    }

    /// The same as [`Host::open`], for whoever must not wait there: folders that are counted for the
    /// first time are looked through on other threads. Dropped, nobody gets what was opened.
    pub async fn open_away(
        &self,
        permit: Permit,
        start: Timestamp,
        seed: u64,
        buckets: Arc<dyn Buckets>,
    ) -> Result<Opened, OpenError> {
        let Some(pool) = self.roots.counting(&permit) else {
            return self.open(permit, start, seed, buckets);
        };
        let first = permit.roots().first();
        let first =
            first.map(|root| (root.name.to_string(), root.path.clone().unwrap_or_default()));
        let host = self.clone();
        let opened = pool.start(move || Ok(host.open(permit, start, seed, buckets))).await;
        opened.unwrap_or_else(|lost| {
            let (root, path) = first.unwrap_or_default();
            Err(OpenError { root, path, source: io::Error::other(lost).into() })
        })
    }

    /// Opens what a permit opens, for one call that starts at `start`, draws its random bytes from
    /// `seed` and has this memory. The permit is used up. The first time that a quota holds for a
    /// folder, all of it is looked through here and now.
    pub fn open(
        &self,
        permit: Permit,
        start: Timestamp,
        seed: u64,
        buckets: Arc<dyn Buckets>,
    ) -> Result<Opened, OpenError> {
        let permit = Arc::new(permit);
        let denials = Arc::new(DenialLog::default());
        let roots = self
            .roots
            .open(&permit, &denials, self.scratch.as_deref())
            .map_err(|(root, path, source)| OpenError { root: root.to_string(), path, source })?;
        let meter = Arc::new(Meter::new(*permit.limits()));
        let clock = Clock::new(start, permit.effect());
        let secrets = self.secrets.of_call(permit.clone());
        let clients = self.clients.clone();
        let sockets =
            Sockets::new(permit.clone(), self.network.clone(), meter.clone(), denials.clone());
        Ok(Opened {
            files: Arc::new(Files::new(permit.clone(), roots, meter.clone(), denials.clone())),
            config: Configuration::new(permit.clone(), meter.clone(), denials.clone()),
            gate: Gate::new(
                permit.clone(),
                clients,
                secrets.clone(),
                meter.clone(),
                denials.clone(),
            ),
            secrets,
            sockets: Arc::new(sockets),
            memory: Arc::new(Memory::new(permit.clone(), buckets, meter.clone(), denials.clone())),
            clock,
            seed,
            permit,
            meter,
            denials,
        })
    }
}

/// What one call holds.
pub struct Opened {
    /// The files.
    pub files: Arc<Files>,
    /// The way of HTTP to the network.
    pub gate: Gate,
    /// The way of sockets to it.
    pub sockets: Arc<Sockets>,
    /// The memory.
    pub memory: Arc<Memory>,
    /// The configuration.
    pub config: Configuration,
    clock: Clock,
    seed: u64,
    permit: Arc<Permit>,
    secrets: CallSecrets,
    meter: Arc<Meter>,
    denials: Arc<DenialLog>,
}

impl Opened {
    /// The permit it was opened with.
    #[must_use]
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// The call's meter.
    #[must_use]
    pub fn meter(&self) -> &Arc<Meter> {
        &self.meter
    }

    /// What takes the secrets that the call's requests carried out of everything that leaves it.
    #[must_use]
    pub fn redactor(&self) -> &Arc<Redactor> {
        self.secrets.redactor()
    }

    /// The call's clock.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// Where the call's random bytes come from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Closes everything. What is left is what was denied, written and spent; `fuel_left` is the
    /// engine's last count.
    #[must_use]
    pub fn close(self, fuel_left: Option<u64>) -> (Vec<Denial>, Writes, Usage) {
        (self.denials.take(), self.memory.take_writes(), self.meter.usage(fuel_left))
    }
}
