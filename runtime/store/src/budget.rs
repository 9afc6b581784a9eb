//! Budgets of tenants: what is spent and what is reserved within a window of time. Which ceiling
//! holds, and how long a window is, the caller says.

use ringfence_event::{Limit, TenantId, Timestamp};
use rusqlite::Connection;

use crate::{
    BudgetChange, BudgetState, Error,
    check::{self, number, text},
};

/// The database's numbers have a sign.
const AMOUNT_MAX: u64 = i64::MAX as u64;

/// How a budget stands; one that was never touched is whole.
pub(crate) fn state(
    connection: &Connection,
    tenant: &TenantId,
    limit: Limit,
    window: Timestamp,
) -> Result<BudgetState, Error> {
    let key = (tenant.as_str(), limit.as_str(), window.0);
    let what = || format!("the budget of {limit} of the tenant `{tenant}`");
    let mut statement = connection.prepare_cached(
        "SELECT tenant, kind, window, spent, reserved, checksum FROM budget
         WHERE tenant = ?1 AND kind = ?2 AND window = ?3",
    )?;
    let mut rows = statement.query(key)?;
    let (spent, reserved) = if let Some(row) = rows.next()? {
        check::whole("budget", row, what)?;
        (row.get(3)?, row.get(4)?)
    } else {
        let twin = "SELECT 1 FROM budget INDEXED BY budget_twin
             WHERE tenant = ?1 AND kind = ?2 AND window = ?3";
        check::absent(connection, twin, key, what)?;
        (0, 0)
    };
    Ok(BudgetState { limit, spent, reserved })
}

/// Makes one change, and says how the budget stands then.
pub(crate) fn change(connection: &Connection, change: &BudgetChange) -> Result<BudgetState, Error> {
    let BudgetChange { tenant, limit, window_start, owner, spent, reserved, of } = change;
    let before = state(connection, tenant, *limit, *window_start)?;
    let held = reservation(connection, change)?;
    let reserved = (*reserved).min(AMOUNT_MAX);
    let after = BudgetState {
        limit: *limit,
        spent: before.spent.saturating_add(*spent).min(AMOUNT_MAX),
        reserved: before.reserved.saturating_sub(held).saturating_add(reserved).min(AMOUNT_MAX),
    };
    if let Some(of) = *of
        && reserved > held
        && after.spent.saturating_add(after.reserved) > of
    {
        let BudgetState { limit, spent, reserved } = before;
        return Err(Error::BudgetSpent { limit, spent, reserved, of });
    }
    begin_window(connection, change)?;
    put(connection, tenant, window_start.0, after)?;
    let key = (tenant.as_str(), limit.as_str(), window_start.0, owner);
    if reserved == 0 && held > 0 {
        connection
            .prepare_cached(
                "DELETE FROM reservation
                 WHERE tenant = ?1 AND kind = ?2 AND window = ?3 AND owner = ?4",
            )?
            .execute(key)?;
    } else if reserved != held {
        let (tenant, kind, window, owner) = key;
        check::write(
            connection,
            "reservation",
            "INSERT INTO reservation (tenant, kind, window, owner, amount, checksum)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT DO UPDATE SET amount = excluded.amount, checksum = excluded.checksum",
            &[text(tenant), text(kind), number(window)?, text(owner), number(reserved)?],
        )?;
    }
    Ok(after)
}

fn put(
    connection: &Connection,
    tenant: &TenantId,
    window: u64,
    BudgetState { limit, spent, reserved }: BudgetState,
) -> Result<(), Error> {
    check::write(
        connection,
        "budget",
        "INSERT INTO budget (tenant, kind, window, spent, reserved, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT DO UPDATE SET spent = excluded.spent, reserved = excluded.reserved,
             checksum = excluded.checksum",
        &[
            text(tenant.as_str()),
            text(limit.as_str()),
            number(window)?,
            number(spent)?,
            number(reserved)?,
        ],
    )?;
    Ok(())
}

/// What this owner has reserved.
fn reservation(connection: &Connection, change: &BudgetChange) -> Result<u64, Error> {
    let BudgetChange { tenant, limit, window_start, owner, .. } = change;
    let key = (tenant.as_str(), limit.as_str(), window_start.0, owner);
    let what = || format!("what `{owner}` has reserved of {limit}");
    let mut statement = connection.prepare_cached(
        "SELECT tenant, kind, window, owner, amount, checksum FROM reservation
         WHERE tenant = ?1 AND kind = ?2 AND window = ?3 AND owner = ?4",
    )?;
    let mut rows = statement.query(key)?;
    if let Some(row) = rows.next()? {
        check::whole("reservation", row, what)?;
        return Ok(row.get(4)?);
    }
    let twin = "SELECT 1 FROM reservation INDEXED BY reservation_twin
         WHERE tenant = ?1 AND kind = ?2 AND window = ?3 AND owner = ?4";
    check::absent(connection, twin, key, what)?;
    Ok(0)
}

/// Voids what is still reserved in earlier windows: owners that died there never settle it.
fn begin_window(connection: &Connection, change: &BudgetChange) -> Result<(), Error> {
    let BudgetChange { tenant, limit, window_start, .. } = change;
    let key = (tenant.as_str(), limit.as_str(), window_start.0);
    let has_begun = connection
        .prepare_cached("SELECT 1 FROM budget WHERE tenant = ?1 AND kind = ?2 AND window = ?3")?
        .exists(key)?;
    if has_begun {
        return Ok(());
    }
    connection
        .prepare_cached("DELETE FROM reservation WHERE tenant = ?1 AND kind = ?2 AND window < ?3")?
        .execute(key)?;
    let earlier = connection
        .prepare_cached(
            "SELECT window FROM budget
             WHERE tenant = ?1 AND kind = ?2 AND window < ?3 AND reserved <> 0",
        )?
        .query_map(key, |row| row.get(0))?
        .collect::<Result<Vec<u64>, _>>()?;
    for window in earlier {
        let before = state(connection, tenant, *limit, Timestamp(window))?;
        put(connection, tenant, window, BudgetState { reserved: 0, ..before })?;
    }
    Ok(())
}
