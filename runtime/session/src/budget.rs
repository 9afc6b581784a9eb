//! What a run and its session may spend and have spent. A budget of a level above a call is looked at
//! before a step begins and before a call is decided; what a step spends stands in its events.

use ringfence_event::{BudgetLevel, Limit, Money, Spent, TokenUsage};

use crate::{Definition, ModelChoice, Run, Session};

/// The budgets that are counted over calls and steps, in the order in which they are told.
pub(crate) const COUNTED: [Limit; 4] = [Limit::Calls, Limit::Tokens, Limit::Money, Limit::Fuel];

/// Of a hundred, when it is told that a budget is nearly spent.
const WARN_PERCENT: u128 = 80;

/// What a level may spend; `None`: anything.
fn of(definition: &Definition, level: BudgetLevel, limit: Limit) -> Option<u64> {
    let (run, session) = (&definition.limits, &definition.session_limits);
    let nanos = |money: Option<Money>| money.map(Money::nanos);
    match (level, limit) {
        (BudgetLevel::Run, Limit::Calls) => Some(u64::from(run.calls)),
        (BudgetLevel::Run, Limit::Tokens) => Some(run.tokens),
        (BudgetLevel::Run, Limit::Money) => nanos(run.usd),
        (BudgetLevel::Run, Limit::Fuel) => Some(run.fuel),
        (BudgetLevel::Session, Limit::Calls) => session.calls,
        (BudgetLevel::Session, Limit::Tokens) => session.tokens,
        (BudgetLevel::Session, Limit::Money) => nanos(session.usd),
        (BudgetLevel::Session, Limit::Fuel) => session.fuel,
        _ => None,
    }
}

/// How much of a budget is spent, where there is one.
pub(crate) fn spent(
    session: &Session,
    definition: &Definition,
    level: BudgetLevel,
    limit: Limit,
) -> Option<Spent> {
    let of = of(definition, level, limit)?;
    let totals = match level {
        BudgetLevel::Run => session.run().map(Run::totals).unwrap_or_default(),
        _ => session.totals(),
    };
    Some(Spent { level, spent: totals.counted(limit), asked: 0, of, reopens: None })
}

/// The same where more is counted than there may be, because what was refused for it is counted too: that
/// was asked for and not spent.
pub(crate) fn with_refused(counted: Spent) -> Spent {
    let asked = counted.spent.saturating_sub(counted.of);
    Spent { spent: counted.spent - asked, asked, ..counted }
}

/// The budget of run or session that has the least left, if one of them has a limit.
pub(crate) fn least_left(
    session: &Session,
    definition: &Definition,
    limit: Limit,
) -> Option<Spent> {
    let levels = [BudgetLevel::Run, BudgetLevel::Session];
    let spent = levels.into_iter().filter_map(|level| spent(session, definition, level, limit));
    spent.min_by_key(|spent| spent.of.saturating_sub(spent.spent))
}

/// What run and session both have left; [`u64::MAX`] where neither has a limit.
pub(crate) fn left(session: &Session, definition: &Definition, limit: Limit) -> u64 {
    let least = least_left(session, definition, limit);
    least.map_or(u64::MAX, |spent| spent.of.saturating_sub(spent.spent))
}

/// What no call has spent or reserved.
pub(crate) fn fuel_left(session: &Session, definition: &Definition) -> u64 {
    let reserved = session.run().map_or(0, Run::fuel_reserved);
    left(session, definition, Limit::Fuel).saturating_sub(reserved)
}

/// The first budget of the session or the run that has nothing left.
pub(crate) fn exhausted(session: &Session, definition: &Definition, limit: Limit) -> Option<Spent> {
    let levels = [BudgetLevel::Session, BudgetLevel::Run];
    let spent = levels.into_iter().filter_map(|level| spent(session, definition, level, limit));
    spent.filter(|spent| spent.spent >= spent.of).min_by_key(|spent| spent.level)
}

/// The first budget that has less left than a request of so many tokens takes, and a reply to it of at
/// least one.
pub(crate) fn unaffordable(
    session: &Session,
    definition: &Definition,
    choice: &ModelChoice,
    input: u64,
) -> Option<(Limit, Spent)> {
    let tokens = TokenUsage { input, output: 1, cached: 0 };
    let cost = choice.price.map(|price| price.of(tokens)).unwrap_or_default();
    let wanted = [(Limit::Tokens, tokens.total()), (Limit::Money, cost.nanos())];
    let levels = [BudgetLevel::Session, BudgetLevel::Run];
    wanted.into_iter().find_map(|(limit, asked)| {
        let spent = levels.into_iter().filter_map(|level| spent(session, definition, level, limit));
        let mut over = spent.filter(|spent| spent.spent.saturating_add(asked) > spent.of);
        over.next().map(|spent| (limit, Spent { asked, ..spent }))
    })
}

/// The first budget that is four fifths spent and that nobody was told of.
pub(crate) fn to_warn(session: &Session, definition: &Definition) -> Option<(Limit, Spent)> {
    let run = session.run()?;
    let told = |spent: &Spent, limit| match spent.level {
        BudgetLevel::Run => run.was_warned(spent.level, limit),
        level => session.was_warned(level, limit, None),
    };
    let near = |spent: &Spent| {
        u128::from(spent.spent) * 100 >= u128::from(spent.of) * WARN_PERCENT && spent.spent > 0
    };
    let levels = [BudgetLevel::Session, BudgetLevel::Run];
    levels.into_iter().flat_map(|level| COUNTED.map(|limit| (level, limit))).find_map(
        |(level, limit)| {
            let spent = spent(session, definition, level, limit)?;
            (near(&spent) && !told(&spent, limit)).then_some((limit, spent))
        },
    )
}
