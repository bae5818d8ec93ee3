-- The store's tables, as SQLite has them. Forward only: a change is a new file, this one is never edited again.
--
-- Times are whole milliseconds since 1970-01-01T00:00Z (BIGINT), ids and digests are text as people see them, JSON is text.
-- The statements in the Rust files are the same for every engine; types, triggers and pragmas that differ stay here and
-- in engine.rs.

CREATE TABLE runs (
    id          TEXT   NOT NULL PRIMARY KEY,
    group_name  TEXT   NOT NULL,
    revision    TEXT   NOT NULL,
    fence       BIGINT NOT NULL,
    body        TEXT   NOT NULL,
    outcome     TEXT,
    finished_ms BIGINT,
    CHECK ((outcome IS NULL) = (finished_ms IS NULL))
);
CREATE INDEX runs_open ON runs (group_name, id) WHERE outcome IS NULL;
CREATE INDEX runs_by_group ON runs (group_name, id);
CREATE INDEX runs_by_revision ON runs (revision, id);

CREATE TABLE decisions (
    run      TEXT   NOT NULL REFERENCES runs (id),
    ordinal  BIGINT NOT NULL,
    decision TEXT   NOT NULL,
    body     TEXT   NOT NULL,
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (run, ordinal),
    UNIQUE (run, decision)
);

CREATE TABLE groups (
    name            TEXT NOT NULL PRIMARY KEY,
    good_revision   TEXT,
    failed_revision TEXT,
    failed_why      TEXT,
    seen_revision   TEXT,
    CHECK ((failed_revision IS NULL) = (failed_why IS NULL))
);

CREATE TABLE systems (
    name           TEXT NOT NULL PRIMARY KEY,
    revision       TEXT,
    digest         TEXT,
    condition      TEXT NOT NULL,
    last_change_ms BIGINT,
    last_seen_ms   BIGINT
);

-- Deletes and updates, by resource: ceilings count each resource once over their window. Creates are not limited and not kept.
CREATE TABLE changes (
    run    TEXT   NOT NULL,
    system TEXT   NOT NULL,
    id     TEXT   NOT NULL,
    op     TEXT   NOT NULL,
    at_ms  BIGINT NOT NULL,
    PRIMARY KEY (run, system, id)
);
CREATE INDEX changes_by_system ON changes (system, at_ms);

CREATE TABLE heat (
    system   TEXT             NOT NULL,
    resource TEXT             NOT NULL,
    heat     DOUBLE PRECISION NOT NULL,
    at_ms    BIGINT           NOT NULL,
    PRIMARY KEY (system, resource)
);

CREATE TABLE releases (
    id          INTEGER NOT NULL PRIMARY KEY,
    plan        TEXT    NOT NULL,
    released_by TEXT    NOT NULL,
    because     TEXT    NOT NULL,
    at_ms       BIGINT  NOT NULL,
    used_by     TEXT
);
-- Released twice before it is used is released once.
CREATE UNIQUE INDEX releases_unused ON releases (plan) WHERE used_by IS NULL;
CREATE INDEX releases_by_plan ON releases (plan, used_by);

CREATE TABLE ledger (
    seq        INTEGER NOT NULL PRIMARY KEY,
    id         TEXT    NOT NULL UNIQUE,
    at_ms      BIGINT  NOT NULL,
    actor      TEXT    NOT NULL,
    action     TEXT    NOT NULL,
    group_name TEXT,
    system     TEXT,
    run        TEXT,
    revision   TEXT,
    -- The leaf: what is hashed, to the byte.
    leaf       TEXT    NOT NULL,
    -- Only where the leaf holds the body's digest instead of the body.
    body       TEXT,
    hash       TEXT    NOT NULL
);
CREATE INDEX ledger_by_time ON ledger (at_ms, seq);
CREATE INDEX ledger_by_revision ON ledger (revision, seq);
CREATE INDEX ledger_by_run ON ledger (run, seq);

CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
-- INSERT OR REPLACE deletes without asking the trigger above, so what it would replace is refused here.
CREATE TRIGGER ledger_append_only BEFORE INSERT ON ledger
WHEN NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM ledger) OR EXISTS (SELECT 1 FROM ledger WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TABLE outbox (
    id           INTEGER NOT NULL PRIMARY KEY,
    destination  TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    body         TEXT    NOT NULL,
    created_ms   BIGINT  NOT NULL,
    attempts     BIGINT  NOT NULL,
    next_ms      BIGINT  NOT NULL,
    delivered_ms BIGINT,
    error        TEXT,
    UNIQUE (destination, key)
);
CREATE INDEX outbox_due ON outbox (next_ms, id) WHERE delivered_ms IS NULL;

CREATE TABLE leases (
    name       TEXT   NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    fence      BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
