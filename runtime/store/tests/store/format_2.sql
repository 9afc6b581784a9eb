PRAGMA foreign_keys = OFF;
BEGIN;
CREATE TABLE stream (
    tenant TEXT NOT NULL, stream TEXT NOT NULL,
    seq INTEGER NOT NULL, fence INTEGER NOT NULL, worker TEXT,
    PRIMARY KEY (tenant, stream)
) STRICT, WITHOUT ROWID;
CREATE TABLE event (
    tenant TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL,
    format INTEGER NOT NULL, user TEXT NOT NULL, at INTEGER NOT NULL, kind TEXT NOT NULL,
    body TEXT, blob BLOB, cause INTEGER, trace TEXT, checksum BLOB NOT NULL,
    PRIMARY KEY (tenant, stream, seq),
    FOREIGN KEY (tenant, stream) REFERENCES stream (tenant, stream),
    FOREIGN KEY (tenant, blob) REFERENCES blob (tenant, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE blob (
    tenant TEXT NOT NULL, digest BLOB NOT NULL, bytes BLOB NOT NULL,
    PRIMARY KEY (tenant, digest)
) STRICT;
CREATE TABLE session (
    tenant TEXT NOT NULL, id TEXT NOT NULL, user TEXT NOT NULL, agent TEXT NOT NULL,
    created INTEGER NOT NULL, last INTEGER NOT NULL, status TEXT, title TEXT,
    PRIMARY KEY (tenant, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_by_last ON session (tenant, last);
CREATE TABLE inbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant TEXT NOT NULL, session TEXT NOT NULL, at INTEGER NOT NULL, command TEXT NOT NULL,
    FOREIGN KEY (tenant, session) REFERENCES session (tenant, id)
) STRICT;
CREATE INDEX inbox_by_session ON inbox (tenant, session, id);
CREATE TABLE memory (
    tenant TEXT NOT NULL, scope TEXT NOT NULL, owner TEXT NOT NULL, key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (tenant, scope, owner, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE bucket (
    tenant TEXT NOT NULL, scope TEXT NOT NULL, owner TEXT NOT NULL, bytes INTEGER NOT NULL,
    keys INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, scope, owner)
) STRICT, WITHOUT ROWID;
CREATE TABLE memory_total (
    tenant TEXT NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA application_id = 1380339267;
PRAGMA user_version = 2;
COMMIT;
PRAGMA journal_mode = WAL;
