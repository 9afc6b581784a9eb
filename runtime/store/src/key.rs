//! API keys: who they are for and what they open, and the hash of a secret that nobody keeps.

use ringfence_event::{Digest, Key, KeyId, KeyScope, TenantId, Timestamp};
use rusqlite::{Connection, Row, types::ValueRef};

use crate::{
    Error,
    check::{self, damaged, maybe_number, maybe_text, number, text, twice},
    record::parsed,
};

/// A key as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// The key.
    pub key: Key,
    /// The SHA-256 of its secret.
    pub secret: Digest,
}

/// A change of a tenant's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// There is a key more.
    Create(Box<StoredKey>),
    /// A key that is valid ends now.
    Revoke {
        /// Whose.
        tenant: TenantId,
        /// Which.
        key: KeyId,
        /// When.
        at: Timestamp,
    },
    /// A key that is valid ends at this time, or earlier if it ended earlier already.
    Expire {
        /// Whose.
        tenant: TenantId,
        /// Which.
        key: KeyId,
        /// When the change is made.
        now: Timestamp,
        /// When it ends.
        at: Timestamp,
    },
}

const COLUMNS: &str =
    "tenant, id, digest, user, scopes, name, created, expires, revoked, replaces, checksum";

/// Carries out a change.
pub(crate) fn change(connection: &Connection, change: &KeyChange) -> Result<(), Error> {
    match change {
        KeyChange::Create(stored) => put(connection, stored),
        KeyChange::Revoke { tenant, key, at } => {
            let mut stored = valid(connection, tenant, key, *at)?;
            stored.key.revoked = Some(*at);
            put(connection, &stored)
        }
        KeyChange::Expire { tenant, key, now, at } => {
            let mut stored = valid(connection, tenant, key, *now)?;
            stored.key.expires = Some(stored.key.expires.map_or(*at, |end| end.min(*at)));
            put(connection, &stored)
        }
    }
}

fn valid(
    connection: &Connection,
    tenant: &TenantId,
    key: &KeyId,
    now: Timestamp,
) -> Result<StoredKey, Error> {
    let found = get(connection, tenant.as_str(), key.as_str())?;
    found
        .filter(|stored| stored.key.is_valid(now))
        .ok_or_else(|| Error::NoSuchKey { key: key.clone() })
}

fn put(connection: &Connection, StoredKey { key, secret }: &StoredKey) -> Result<(), Error> {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let scopes = scopes.join(" ");
    let sql = format!(
        "INSERT INTO key ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
         ON CONFLICT DO UPDATE SET expires = excluded.expires, revoked = excluded.revoked,
             checksum = excluded.checksum"
    );
    check::write(
        connection,
        "key",
        &sql,
        &[
            text(key.tenant.as_str()),
            text(key.id.as_str()),
            ValueRef::Blob(secret.as_bytes()),
            maybe_text(key.user.as_ref().map(ringfence_event::UserId::as_str)),
            text(&scopes),
            maybe_text(key.name.as_deref()),
            number(key.created.0)?,
            maybe_number(key.expires.map(|at| at.0))?,
            maybe_number(key.revoked.map(|at| at.0))?,
            maybe_text(key.replaces.as_ref().map(KeyId::as_str)),
        ],
    )?;
    Ok(())
}

fn get(connection: &Connection, tenant: &str, id: &str) -> Result<Option<StoredKey>, Error> {
    let what = || format!("the API key {id}");
    let sql = format!("SELECT {COLUMNS} FROM key WHERE tenant = ?1 AND id = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query((tenant, id))?;
    if let Some(row) = rows.next()? {
        check::whole("key", row, what)?;
        return Ok(Some(stored(row)?));
    }
    let twin = "SELECT 1 FROM key INDEXED BY key_twin WHERE tenant = ?1 AND id = ?2";
    check::absent(connection, twin, (tenant, id), what)?;
    Ok(None)
}

fn stored(row: &Row<'_>) -> Result<StoredKey, Error> {
    let digest: Vec<u8> = row.get(2)?;
    let digest = <[u8; 32]>::try_from(digest).map_err(|_| damaged("an API key".to_owned()))?;
    let user: Option<String> = row.get(3)?;
    let replaces: Option<String> = row.get(9)?;
    let unread = |_| damaged("an API key".to_owned());
    let scopes: String = row.get(4)?;
    let scopes = scopes.split_whitespace().map(str::parse);
    let scopes = scopes.collect::<Result<Vec<KeyScope>, _>>();
    Ok(StoredKey {
        secret: Digest::from_bytes(digest),
        key: Key {
            tenant: parsed(row, 0)?,
            id: parsed(row, 1)?,
            user: user.map(|user| user.parse()).transpose().map_err(unread)?,
            scopes: scopes.map_err(|_| damaged("an API key".to_owned()))?,
            name: row.get(5)?,
            created: Timestamp(row.get(6)?),
            expires: row.get::<_, Option<u64>>(7)?.map(Timestamp),
            revoked: row.get::<_, Option<u64>>(8)?.map(Timestamp),
            replaces: replaces.map(|id| id.parse()).transpose().map_err(unread)?,
        },
    })
}

/// All keys of a tenant, or of all, each with how reading it went: one that is damaged takes no other
/// with it, and opens nothing.
pub(crate) fn list(
    connection: &Connection,
    tenant: Option<&TenantId>,
) -> Result<Vec<Result<StoredKey, Error>>, Error> {
    let sql = |index: &str| {
        format!(
            "SELECT tenant, id FROM key INDEXED BY {index}
             WHERE ?1 IS NULL OR tenant = ?1 ORDER BY tenant, id"
        )
    };
    let names = twice(connection, sql, ["key_list", "key_twin"], |statement| {
        let rows = statement
            .query_map([tenant.map(TenantId::as_str)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect::<Result<Vec<(String, String)>, _>>()
    })?;
    let one = |(tenant, id): (String, String)| {
        get(connection, &tenant, &id)?.ok_or_else(|| damaged(format!("the API key {id}")))
    };
    Ok(names.into_iter().map(one).collect())
}
