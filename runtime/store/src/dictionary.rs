//! Digests that come again and again (of components, policies, instructions): a number each, under which
//! rows name them. A number is used only once it is durable, so no row names what is not there.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError, RwLock, RwLockReadGuard},
};

use ringfence_event::Digest;
use rusqlite::{Connection, OptionalExtension as _};

use crate::{Error, check::damaged};

/// How many digests have a number at most; a host has some hundred tools and agents.
const KNOWN_MAX: usize = 1 << 16;

/// How many digests that came once are remembered: those of some thousand steps.
const RECENT_MAX: usize = 1 << 14;

/// How many bytes of the hash a row of the table has.
const CHECKSUM_BYTES: usize = 8;

/// The digests that have a number, as far as this process knows.
#[derive(Debug, Default)]
pub(crate) struct Dictionary {
    known: RwLock<Known>,
    recent: Mutex<HashSet<[u8; 32]>>,
}

#[derive(Debug, Default)]
struct Known {
    numbers: HashMap<[u8; 32], u64>,
    digests: HashMap<u64, [u8; 32]>,
}

impl Extend<([u8; 32], u64)> for Known {
    fn extend<I: IntoIterator<Item = ([u8; 32], u64)>>(&mut self, known: I) {
        for (digest, number) in known {
            self.numbers.insert(digest, number);
            self.digests.insert(number, digest);
        }
    }
}

impl Dictionary {
    /// Those that are stored.
    pub(crate) fn load(connection: &Connection) -> Result<Self, Error> {
        let mut statement =
            connection.prepare("SELECT id, digest, checksum FROM digest LIMIT ?1")?;
        let mut rows = statement.query([KNOWN_MAX as u64])?;
        let mut known = Known::default();
        while let Some(row) = rows.next()? {
            // A damaged one is not used again; whoever reads a row that names it is told.
            if let Some(digest) =
                checked(row.get(0)?, &row.get::<_, Vec<u8>>(1)?, &row.get::<_, Vec<u8>>(2)?)
            {
                known.extend([(digest, row.get(0)?)]);
            }
        }
        Ok(Self { known: RwLock::new(known), recent: Mutex::default() })
    }

    /// The number of a digest, if it has one.
    pub(crate) fn number(&self, digest: &[u8; 32]) -> Option<u64> {
        self.known().numbers.get(digest).copied()
    }

    /// The digest that has a number, as far as this process knows.
    pub(crate) fn digest(&self, number: u64) -> Option<[u8; 32]> {
        self.known().digests.get(&number).copied()
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of digests that have no number, those that came before and are to have one.
    pub(crate) fn again(&self, unknown: &[[u8; 32]]) -> Vec<[u8; 32]> {
        if self.known().numbers.len() >= KNOWN_MAX {
            return vec![];
        }
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() + unknown.len() > RECENT_MAX {
            recent.clear();
        }
        // Taken out as it is told, so that it is told once.
        unknown
            .iter()
            .filter(|digest| recent.take(*digest).is_some() || !recent.insert(**digest))
            .copied()
            .collect()
    }

    /// Takes in numbers that are durable.
    pub(crate) fn learned(&self, numbers: Vec<([u8; 32], u64)>) {
        self.known.write().unwrap_or_else(PoisonError::into_inner).extend(numbers);
    }
}

/// Gives digests their numbers, or finds those that another process gave them.
pub(crate) fn learn(
    connection: &Connection,
    digests: Vec<[u8; 32]>,
) -> Result<Vec<([u8; 32], u64)>, Error> {
    let mut numbers = vec![];
    for digest in digests {
        let found: Option<u64> = connection
            .prepare_cached("SELECT id FROM digest WHERE digest = ?1")?
            .query_row([digest], |row| row.get(0))
            .optional()?;
        let id = match found {
            Some(id) => id,
            None => {
                let (last, count): (u64, u64) = connection
                    .prepare_cached(
                        "SELECT coalesce(max(id), 0), (SELECT count(*) FROM digest
                         INDEXED BY sqlite_autoindex_digest_1 WHERE digest IS NOT NULL) FROM digest",
                    )?
                    .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                // A number that is in use and not seen would make of a digest another.
                if last != count {
                    return Err(damaged("the list of digests".into()));
                }
                connection
                    .prepare_cached(
                        "INSERT INTO digest (id, digest, checksum) VALUES (?1, ?2, ?3)",
                    )?
                    .execute((last + 1, digest, checksum(last + 1, &digest)))?;
                last + 1
            }
        };
        numbers.push((digest, id));
    }
    Ok(numbers)
}

/// The digest that has a number; none if it is missing or damaged.
pub(crate) fn get(connection: &Connection, id: u64) -> Result<Option<[u8; 32]>, Error> {
    let row: Option<(Vec<u8>, Vec<u8>)> = connection
        .prepare_cached("SELECT digest, checksum FROM digest WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    Ok(row.and_then(|(digest, sum)| checked(id, &digest, &sum)))
}

fn checked(id: u64, digest: &[u8], sum: &[u8]) -> Option<[u8; 32]> {
    (checksum(id, digest) == sum).then(|| digest.try_into().ok()).flatten()
}

fn checksum(id: u64, digest: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut short = [0; CHECKSUM_BYTES];
    let all = [&id.to_be_bytes()[..], digest].concat();
    short.copy_from_slice(&Digest::of(&all).as_bytes()[..CHECKSUM_BYTES]);
    short
}
