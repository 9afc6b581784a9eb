PRAGMA foreign_keys = OFF;
BEGIN;
    CREATE TABLE blob (
        tenant TEXT NOT NULL, digest BLOB NOT NULL, bytes BLOB NOT NULL, size INTEGER,
        PRIMARY KEY (tenant, digest)
    ) STRICT;
    CREATE INDEX blob_twin ON blob (digest, tenant);
    CREATE TABLE stream (
        id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, stream TEXT NOT NULL,
        seq INTEGER NOT NULL, fence INTEGER NOT NULL, worker TEXT, damaged INTEGER,
        checksum BLOB NOT NULL,
        UNIQUE (tenant, stream)
    ) STRICT;
    CREATE INDEX stream_twin ON stream (tenant, stream);
    CREATE TABLE journal (
        id INTEGER PRIMARY KEY, list INTEGER NOT NULL, first INTEGER NOT NULL,
        checksum BLOB NOT NULL, events BLOB NOT NULL, size INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX journal_place ON journal (list, first);
    CREATE TABLE digest (
        id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, checksum BLOB NOT NULL
    ) STRICT;
    CREATE TABLE quarantine (
        tenant TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, what TEXT NOT NULL,
        checksum BLOB NOT NULL,
        PRIMARY KEY (tenant, stream)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX quarantine_list ON quarantine (tenant, stream);
    CREATE INDEX quarantine_twin ON quarantine (stream, tenant);
    CREATE TABLE session (
        tenant TEXT NOT NULL, id TEXT NOT NULL, user TEXT NOT NULL, agent TEXT NOT NULL,
        created INTEGER NOT NULL, last INTEGER NOT NULL, status TEXT, title TEXT,
        open TEXT, waits TEXT, wake INTEGER, recent INTEGER NOT NULL, checksum BLOB NOT NULL,
        PRIMARY KEY (tenant, id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX session_id ON session (tenant, user, id);
    CREATE INDEX session_id_twin ON session (tenant, id, user);
    CREATE INDEX session_recent ON session (tenant, recent, user);
    CREATE INDEX session_recent_twin ON session (tenant, recent, user);
    CREATE INDEX session_open ON session (tenant, id, open) WHERE open IS NOT NULL;
    CREATE INDEX session_open_twin ON session (tenant, id, open) WHERE open IS NOT NULL;
    CREATE INDEX session_waits ON session (tenant, waits, user) WHERE waits IS NOT NULL;
    CREATE INDEX session_waits_twin ON session (tenant, waits, user) WHERE waits IS NOT NULL;
    CREATE INDEX session_wake ON session (wake) WHERE wake IS NOT NULL;
    CREATE INDEX session_wake_twin ON session (wake) WHERE wake IS NOT NULL;
    CREATE TABLE inbox (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        tenant TEXT NOT NULL, session TEXT NOT NULL, at INTEGER NOT NULL, command TEXT NOT NULL,
        checksum BLOB NOT NULL,
        FOREIGN KEY (tenant, session) REFERENCES session (tenant, id)
    ) STRICT;
    CREATE INDEX inbox_by_session ON inbox (tenant, session);
    CREATE INDEX inbox_twin ON inbox (tenant, session);
    CREATE TABLE inbox_key (
        tenant TEXT NOT NULL, session TEXT NOT NULL, key TEXT NOT NULL, inbox INTEGER NOT NULL,
        digest BLOB NOT NULL, checksum BLOB NOT NULL,
        PRIMARY KEY (tenant, session, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX inbox_key_twin ON inbox_key (tenant, key, session);
    CREATE TABLE memory (
        tenant TEXT NOT NULL, scope TEXT NOT NULL, owner TEXT NOT NULL, key TEXT NOT NULL,
        value BLOB NOT NULL, checksum BLOB NOT NULL,
        PRIMARY KEY (tenant, scope, owner, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX memory_key ON memory (tenant, scope, owner, key);
    CREATE INDEX memory_twin ON memory (tenant, owner, scope, key);
    CREATE TABLE bucket (
        tenant TEXT NOT NULL, scope TEXT NOT NULL, owner TEXT NOT NULL, bytes INTEGER NOT NULL,
        keys INTEGER NOT NULL, checksum BLOB NOT NULL,
        PRIMARY KEY (tenant, scope, owner)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX bucket_twin ON bucket (tenant, owner, scope);
    CREATE TABLE memory_total (
        tenant TEXT NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL, checksum BLOB NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX memory_total_twin ON memory_total (tenant);
    CREATE TABLE budget (
        tenant TEXT NOT NULL, kind TEXT NOT NULL, window INTEGER NOT NULL,
        spent INTEGER NOT NULL, reserved INTEGER NOT NULL, checksum BLOB NOT NULL,
        PRIMARY KEY (tenant, kind, window)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX budget_twin ON budget (tenant, window, kind);
    CREATE TABLE reservation (
        tenant TEXT NOT NULL, kind TEXT NOT NULL, window INTEGER NOT NULL, owner TEXT NOT NULL,
        amount INTEGER NOT NULL, checksum BLOB NOT NULL,
        PRIMARY KEY (tenant, kind, window, owner)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX reservation_twin ON reservation (tenant, owner, window, kind);
PRAGMA application_id = 1380339267;
PRAGMA user_version = 4;
COMMIT;
PRAGMA journal_mode = WAL;
