//! What a session may spend, and how much of it is spent.

use ringfence_agent::{Agent as Definition, RunLimits};
use ringfence_event::{BudgetLevel, Limit, Money, SessionLimits, Spent, TenantId};
use ringfence_policy::TenantBudget;
use ringfence_session::{Run, Session, Totals};

use crate::{Caller, Error, Runtime, run::kept_agent};

impl Runtime {
    /// How much is spent of each limit that holds for a session: of those of the run that is under way,
    /// or else of its last one, of the session, and of its tenant within the windows of time that are
    /// open now. The limits of run and session are those of the agent as the session used it last;
    /// where it has kept none they are left out.
    ///
    /// # Errors
    /// When the store fails.
    pub fn spending(
        &self,
        caller: &Caller,
        session: &Session,
    ) -> Result<Vec<(Limit, Spent)>, Error> {
        let mut all = vec![];
        match kept_agent(&self.0, caller, session) {
            Ok(agent) => {
                let Definition { limits, session_limits, .. } = &agent.definition;
                let run = session.run().or_else(|| session.runs().last().map(AsRef::as_ref));
                if let Some(run) = run {
                    all.extend(of_run(session, run, limits));
                }
                all.extend(of_session(&session.totals(), session_limits));
            }
            // Whoever goes on with the session is told why there is none.
            Err(error) if error.is_usage() => {}
            Err(error) => return Err(error),
        }
        let current = self.0.current();
        let budget = current.grants.tenant_budget(&caller.tenant);
        all.extend(self.budget_spending(&caller.tenant, budget)?);
        Ok(all)
    }

    /// How much is spent of each budget of a tenant, within the windows of time that are open now.
    pub(crate) fn budget_spending(
        &self,
        tenant: &TenantId,
        budget: Option<&TenantBudget>,
    ) -> Result<Vec<(Limit, Spent)>, Error> {
        let mut all = vec![];
        let now = self.0.config.clock.now();
        for entry in budget.into_iter().flat_map(|budget| &budget.entries) {
            let (start, reopens) = entry.window.of(now);
            let state = self.0.store()?.budget(tenant, entry.limit, start)?;
            let (level, reopens) = (BudgetLevel::Tenant, Some(reopens));
            all.push((
                entry.limit,
                Spent { level, spent: state.spent, of: entry.of, asked: 0, reopens },
            ));
        }
        Ok(all)
    }
}

fn of_run(session: &Session, run: &Run, limits: &RunLimits) -> Vec<(Limit, Spent)> {
    let totals = run.totals();
    let counted = |limit, of| (limit, totals.counted(limit), of);
    let all = [
        Some((Limit::Steps, run.steps().len() as u64, u64::from(limits.steps))),
        Some(counted(Limit::Calls, u64::from(limits.calls))),
        Some(counted(Limit::Tokens, limits.tokens)),
        limits.usd.map(|usd| counted(Limit::Money, usd.nanos())),
        Some(counted(Limit::Fuel, limits.fuel)),
        // What comes after the last event nobody counts before the next one.
        Some((Limit::Time, run.active_ms(session.last_at()), limits.time_ms)),
    ];
    let level = BudgetLevel::Run;
    let all = all.into_iter().flatten();
    all.map(|(limit, spent, of)| (limit, Spent { level, spent, of, asked: 0, reopens: None }))
        .collect()
}

fn of_session(totals: &Totals, limits: &SessionLimits) -> Vec<(Limit, Spent)> {
    let SessionLimits { calls, tokens, fuel, usd } = *limits;
    let all = [
        (Limit::Calls, calls),
        (Limit::Tokens, tokens),
        (Limit::Money, usd.map(Money::nanos)),
        (Limit::Fuel, fuel),
    ];
    let all = all.into_iter().filter_map(|(limit, of)| Some((limit, of?)));
    let level = BudgetLevel::Session;
    all.map(|(limit, of)| {
        (limit, Spent { level, spent: totals.counted(limit), of, asked: 0, reopens: None })
    })
    .collect()
}
