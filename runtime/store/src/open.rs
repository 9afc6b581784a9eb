//! Making a store and opening one. A store is complete or absent: it is made beside its place and
//! linked there, so that no process ever meets half of one.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::{
        ffi::{OsStrExt as _, OsStringExt as _},
        fs::{DirBuilderExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use rusqlite::{
    Connection,
    ErrorCode::{DatabaseCorrupt, NotADatabase},
    OpenFlags,
    config::DbConfig,
};

use crate::{
    Error,
    check::damaged,
    migrate::migrate,
    schema::{self, TABLES},
};

/// The version of the tables that this code writes. A store of a newer one is refused.
pub const STORE_FORMAT: u32 = 5;

/// `RFNC`, in the header of the file.
const APPLICATION_ID: u32 = 0x5246_4e43;

/// Another process holds the lock for one transaction, so a few milliseconds; this long only on a
/// disk that hangs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// How many pages of 4 KiB the log holds before it is folded into the file. Folding waits for the disk
/// twice more, so it comes once in some hundred commits of many sessions, and in some thousand of one;
/// a process that starts after a crash reads that log in some milliseconds.
const LOG_PAGES: u32 = 4096;

/// More than there are different statements, so that none is compiled twice.
const STATEMENTS_MAX: usize = 128;

/// A connection to the store at `path`, which is made if there is none.
pub(crate) fn open(path: &Path) -> Result<Connection, Error> {
    if !is_store(path)? {
        make(path)?;
        is_store(path)?;
    }
    let connection = connect(path)?;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found < STORE_FORMAT {
        upgrade(&connection)?;
    }
    schema::verify(&connection)?;
    Ok(connection)
}

/// Brings the tables of an earlier version up to this one's, whole or not at all. Another process
/// may have done it meanwhile; the file's header tells only later.
fn upgrade(connection: &Connection) -> Result<(), Error> {
    // Tables that others refer to are replaced.
    connection.execute_batch("PRAGMA foreign_keys = OFF; BEGIN IMMEDIATE")?;
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    migrate(connection, found)?;
    connection.execute_batch(&format!(
        "PRAGMA user_version = {STORE_FORMAT}; COMMIT; PRAGMA foreign_keys = ON"
    ))?;
    // An earlier version looks at the header in the file itself, and must find this one there.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(())
}

/// A connection to a store that is there.
pub(crate) fn connect(path: &Path) -> Result<Connection, Error> {
    // SQLite's own locks are per connection here, and ours are never shared between threads.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // The log is folded into the file while the store is in use; doing it on closing as well would
    // cost a short-lived process two waits for the disk.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.execute_batch(&format!(
        "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON;
         PRAGMA wal_autocheckpoint = {LOG_PAGES}"
    ))?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    // Again, through the log this time: a later version may have put its number only there so far.
    let word = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    if word("application_id")? != APPLICATION_ID {
        return Err(Error::NotAStore { path: path.to_owned() });
    }
    check_format(path, word("user_version")?)?;
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        // Without its log the file is some time old.
        return Err(damaged("the header of the file".to_owned()));
    }
    Ok(connection)
}

fn check_format(path: &Path, found: u32) -> Result<(), Error> {
    if found > STORE_FORMAT {
        return Err(Error::NewerFormat { path: path.to_owned(), found, newest: STORE_FORMAT });
    }
    Ok(())
}

/// Whether there is a store at `path`; an error if it is none that this version can read. Looks at the
/// file alone, as it lies there: nothing is put beside a store that is not for us to touch. SQLite does the looking,
/// since whoever else opens and closes the file takes the locks of this process's stores with it.
fn is_store(path: &Path) -> Result<bool, Error> {
    if let Err(error) = fs::metadata(path) {
        return match error.kind() {
            io::ErrorKind::NotFound => Ok(false),
            _ => Err(broken(path, error)),
        };
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    let connection = Connection::open_with_flags(immutable(path), flags)?;
    let word = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let (found, application) = match (word("user_version"), word("application_id")) {
        (Ok(found), Ok(application)) => (found, application),
        (Err(error), _) | (_, Err(error)) if error.sqlite_error_code() == Some(NotADatabase) => {
            return Err(Error::NotAStore { path: path.to_owned() });
        }
        // The power went while the log was folded into the file: only through the log it is whole, and
        // that is asked next.
        (Err(error), _) | (_, Err(error))
            if error.sqlite_error_code() == Some(DatabaseCorrupt) && has_log(path) =>
        {
            return Ok(true);
        }
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    if application != APPLICATION_ID {
        return Err(Error::NotAStore { path: path.to_owned() });
    }
    check_format(path, found).map(|()| true)
}

/// Whether something lies in the log of the store at `path`.
fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// A file as a URI that opens it without its log. https://www.sqlite.org/uri.html
fn immutable(path: &Path) -> OsString {
    let mut uri = b"file:".to_vec();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'?' | b'#' | b'%' => uri.extend(format!("%{byte:02x}").bytes()),
            _ => uri.push(*byte),
        }
    }
    uri.extend(b"?immutable=1");
    OsString::from_vec(uri)
}

/// Makes an empty store: complete under a name of its own, durable, then linked to its place. If
/// another process was faster, its store is as good.
fn make(path: &Path) -> Result<(), Error> {
    let io = |error| broken(path, error);
    let home = match path.parent() {
        Some(home) if !home.as_os_str().is_empty() => home,
        _ => Path::new("."),
    };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(io)?;
    let fresh = fresh_name(path);
    let made = fill(&fresh).and_then(|()| match fs::hard_link(&fresh, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io(error)),
        _ => Ok(()),
    });
    let removed = fs::remove_file(&fresh).map_err(io);
    made?;
    removed?;
    fs::File::open(home).and_then(|home| home.sync_all()).map_err(io)
}

fn fresh_name(path: &Path) -> PathBuf {
    // Two threads of one process can be here at the same time.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".new-{}-{count}", process::id()));
    name.into()
}

fn fill(fresh: &Path) -> Result<(), Error> {
    // SQLite gives the files it puts beside this one the same mode.
    let file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(fresh);
    file.map_err(|error| broken(fresh, error))?;
    let connection = Connection::open_with_flags(fresh, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         BEGIN;
         {TABLES}
         PRAGMA application_id = {APPLICATION_ID};
         PRAGMA user_version = {STORE_FORMAT};
         COMMIT;
         PRAGMA journal_mode = WAL;"
    ))?;
    // Folds its log into the file and removes it, so that the header can be read from the file.
    connection.close().map_err(|(_, error)| error.into())
}

fn broken(path: &Path, source: io::Error) -> Error {
    Error::Io { path: path.to_owned(), source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is acknowledged must have reached the disk, on every connection that writes or may.
    #[test]
    fn a_commit_waits_for_the_disk() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ringfence.db");
        for connection in [open(&path).unwrap(), connect(&path).unwrap()] {
            let asked = |pragma: &str| -> String {
                let text = format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}");
                connection.query_row(&text, [], |row| row.get(0)).unwrap()
            };
            // https://www.sqlite.org/pragma.html#pragma_synchronous: 2 is FULL.
            assert_eq!(asked("synchronous"), "2");
            assert_eq!(asked("journal_mode"), "wal");
            assert_eq!(asked("foreign_keys"), "1");
        }
    }
}
