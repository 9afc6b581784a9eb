//! The operator's file, read again while the runtime is open: all of it holds from then on, or nothing is
//! changed.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, PoisonError},
};

use ringfence_capability::fs::Claim;
use ringfence_catalog::Lock;
use ringfence_event::{Body, ModelName, Stream, TenantId, ToolName, UserId};
use ringfence_model::Model;
use ringfence_store::{Append, Batch, NewEvent};

use crate::{
    Config, Error, Runtime, entropy, revoke::Basis, root, runtime::Inner, tool::same_build,
};

/// What a reload has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Whose grant of which tool is another one now: each is told as `grant.changed` in its tenant's stream.
    pub grants: Vec<(TenantId, ToolName)>,
    /// How many calls that ran were ended, because what they ran by was taken away.
    pub ended: usize,
}

impl Runtime {
    /// Takes another reading of the operator's file: grants, tenants, budgets, limits and models; and the
    /// lock file as it is now. Either all of it holds when this returns, or what was read before does and
    /// the error says what is wrong where.
    ///
    /// A call that runs by a grant which gives less now, in anything that its function had open, or of a
    /// tool that was removed or accepted as another one, is ended
    /// as [`Cancelled`](ringfence_event::Outcome::Cancelled), with a denial that says why; any other goes on
    /// untouched. What was decided and has not begun is refused if its grant changed at all. What calls may
    /// spend is settled when they begin, and so is how many slots there are: what has one keeps it. Runs go
    /// on; one whose model is gone fails with its next step, and goes on from there when it is back.
    ///
    /// What was [revoked](Self::revoke) stays so. The clock and the places to read secrets from stay those
    /// that the runtime was opened with.
    ///
    /// # Errors
    /// [`Error::NotReloadable`] for what cannot change while the runtime is open: the home folder, the file's
    /// own place, and `concurrent-calls` and `memory` under `[host]`, for which the engine has made room.
    /// Otherwise the first mistake in what the file says, or that the change could not be recorded.
    pub async fn reload(&self, config: Config) -> Result<Reloaded, Error> {
        let inner = &self.0;
        let _one_at_a_time = inner.reloading.lock().await;
        let before = inner.current();
        check_fixed(&before, &config)?;
        let (vault, clock) = (inner.config.vault.clone(), inner.config.clock.clone());
        let config = Arc::new(config.with_vault(vault).with_clock(clock));
        let models = inner.new_models(&before, &config)?;
        let (lock, accepted) = (Lock::load(&inner.config.lock_file())?, inner.tools.accepted());
        // Seen with nothing else on this machine first, so that its own mistakes are told in its own lines.
        root::host(&config)?;
        inner.reclaim(&config)?;
        let changed = changed(&before, &config);
        if let Err(error) = self.tell_changed(&config, &changed).await {
            // What was claimed before is nobody else's, so it can be had again.
            inner.reclaim(&before)?;
            return Err(error);
        }
        *inner.current.write().unwrap_or_else(PoisonError::into_inner) = config.clone();
        *inner.models.lock().unwrap_or_else(PoisonError::into_inner) = models;
        inner.policies.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let gone = |by: &Basis| {
            let of = |lock: &Lock| {
                let entry = lock.get(&by.installed.manifest.name);
                entry.is_some_and(|entry| same_build(entry, &by.installed.entry))
            };
            of(&accepted.lock) && !of(&lock)
        };
        inner.tools.reload(lock.clone());
        inner.admit.reload(&config);
        let ended = inner.calls.end(|by| {
            let policy = inner.policy(&by.tenant, &by.installed);
            gone(by) || policy.takes_away(&by.policy, &by.function)
        });
        // What a call opened between the two that it should not have any more.
        inner.reclaim(&config)?;
        Ok(Reloaded { grants: changed, ended })
    }

    /// Tells each tenant of its grants that are others now, all in one commit.
    async fn tell_changed(
        &self,
        config: &Config,
        changed: &[(TenantId, ToolName)],
    ) -> Result<(), Error> {
        if changed.is_empty() {
            return Ok(());
        }
        let trace = entropy::trace()?.to_string();
        let event = |(tenant, tool): &(TenantId, ToolName)| NewEvent {
            at: config.clock.now(),
            body: Body::GrantChanged {
                tool: tool.clone(),
                lines: config.grants.grant_lines(tenant, tool),
            },
            cause: None,
            trace: Some(trace.clone()),
        };
        let appends = changed.chunk_by(|a, b| a.0 == b.0).map(|of_tenant| Append {
            stream: Stream::Tenant(of_tenant[0].0.clone()),
            tenant: of_tenant[0].0.clone(),
            user: UserId::local(),
            fence: None,
            expected_seq: None,
            events: of_tenant.iter().map(event).collect(),
        });
        let batch = Batch { appends: appends.collect(), ..Batch::default() };
        self.0.store()?.commit(batch).await?;
        Ok(())
    }
}

/// Refuses by name what cannot change.
fn check_fixed(before: &Config, config: &Config) -> Result<(), Error> {
    let same = [
        ("the operator's file", before.file == config.file && before.folder == config.folder),
        ("`home` under [host]", before.home == config.home),
        ("`concurrent-calls` under [host]", before.concurrent_calls == config.concurrent_calls),
        ("`memory` under [host]", before.memory == config.memory),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        None => Ok(()),
        Some((what, _)) => Err(Error::NotReloadable { what }),
    }
}

/// The grants that are others, by tenant and tool.
fn changed(before: &Config, after: &Config) -> Vec<(TenantId, ToolName)> {
    let named = |config: &Config| -> BTreeSet<(TenantId, ToolName)> {
        let tenants = config.grants.tenants();
        let of_tenant = |tenant: &TenantId| {
            let tools = config.grants.tools(tenant).cloned();
            tools.map(|tool| (tenant.clone(), tool)).collect::<Vec<_>>()
        };
        tenants.flat_map(of_tenant).collect()
    };
    let all: BTreeSet<_> = named(before).union(&named(after)).cloned().collect();
    let version = |config: &Config, (tenant, tool): &(TenantId, ToolName)| {
        config.grants.grant_version(tenant, tool)
    };
    all.into_iter().filter(|grant| version(before, grant) != version(after, grant)).collect()
}

impl Inner {
    /// The models of another reading of the file: those that are as they were stay what they are, and those
    /// that are not are made now where that can fail.
    fn new_models(
        &self,
        before: &Config,
        config: &Config,
    ) -> Result<HashMap<ModelName, Arc<dyn Model>>, Error> {
        let mut models: HashMap<_, _> =
            self.models.lock().unwrap_or_else(PoisonError::into_inner).clone();
        models.retain(|name, _| config.models.get(name) == before.models.get(name));
        for (name, model) in &config.models {
            if before.models.get(name) != Some(model) {
                models.insert(name.clone(), self.make_model(model)?);
            }
        }
        Ok(models)
    }

    /// Has the folders that a file grants, and no others, be the tenants'.
    fn reclaim(&self, config: &Config) -> Result<(), Error> {
        let roots: Vec<_> = config.grants.roots().filter(|root| root.tenant.is_some()).collect();
        let claims: Vec<Claim<'_>> = roots
            .iter()
            .filter_map(|root| {
                let tenant = root.tenant?;
                Some(Claim { tenant, path: root.path, access: root.access, quota: root.quota })
            })
            .collect();
        let reclaimed = self.host.reclaim(&claims);
        reclaimed.map_err(|(at, error)| root::is_none(config, &roots[at], error))
    }
}
