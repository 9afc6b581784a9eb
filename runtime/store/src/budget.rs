//! Budgets of tenants: what is spent and what is reserved within a window of time. Which ceiling
//! holds, and how long a window is, the caller says.

use ringfence_event::{Limit, TenantId, Timestamp};
use rusqlite::{Connection, OptionalExtension as _};

use crate::{BudgetChange, BudgetState, Error};

/// The database's numbers have a sign.
const AMOUNT_MAX: u64 = i64::MAX as u64;

/// How a budget stands; one that was never touched is whole.
pub(crate) fn state(
    connection: &Connection,
    tenant: &TenantId,
    limit: Limit,
    window: Timestamp,
) -> Result<BudgetState, Error> {
    let row = connection
        .prepare_cached(
            "SELECT spent, reserved FROM budget WHERE tenant = ?1 AND kind = ?2 AND window = ?3",
        )?
        .query_row((tenant.as_str(), limit.as_str(), window.0), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (spent, reserved) = row.unwrap_or((0, 0));
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
    connection
        .prepare_cached(
            "INSERT INTO budget (tenant, kind, window, spent, reserved) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET spent = excluded.spent, reserved = excluded.reserved",
        )?
        .execute((tenant.as_str(), limit.as_str(), window_start.0, after.spent, after.reserved))?;
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
        connection
            .prepare_cached(
                "INSERT INTO reservation (tenant, kind, window, owner, amount)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET amount = excluded.amount",
            )?
            .execute((tenant, kind, window, owner, reserved))?;
    }
    Ok(after)
}

/// What this owner has reserved.
fn reservation(connection: &Connection, change: &BudgetChange) -> Result<u64, Error> {
    let BudgetChange { tenant, limit, window_start, owner, .. } = change;
    let held = connection
        .prepare_cached(
            "SELECT amount FROM reservation
             WHERE tenant = ?1 AND kind = ?2 AND window = ?3 AND owner = ?4",
        )?
        .query_row((tenant.as_str(), limit.as_str(), window_start.0, owner), |row| row.get(0))
        .optional()?;
    Ok(held.unwrap_or(0))
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
    connection
        .prepare_cached(
            "UPDATE budget SET reserved = 0 WHERE tenant = ?1 AND kind = ?2 AND window < ?3",
        )?
        .execute(key)?;
    Ok(())
}
