-- The store's tables, as PostgreSQL has them: at once what SQLite's migrations 1 to 3 give. Forward only: a change is a new file with the same number
-- on both engines, this one is never edited again.
--
-- Times are whole milliseconds since 1970-01-01T00:00Z, ids and digests are text as people see them, JSON is text. Names are compared byte by
-- byte, as SQLite does.

CREATE TABLE runs (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    group_name  TEXT   NOT NULL,
    revision    TEXT   NOT NULL,
    fence       BIGINT NOT NULL,
    body        TEXT   NOT NULL,
    outcome     TEXT,
    finished_ms BIGINT,
    reach       TEXT   NOT NULL DEFAULT 'whole' CHECK (reach IN ('whole', 'urgent')),
    CHECK ((outcome IS NULL) = (finished_ms IS NULL))
);
CREATE INDEX runs_open ON runs (group_name, id) WHERE outcome IS NULL;
CREATE INDEX runs_by_group ON runs (group_name, id);
CREATE INDEX runs_by_revision ON runs (revision, id);
CREATE INDEX runs_by_reach ON runs (group_name, reach, id);

CREATE TABLE decisions (
    run      TEXT COLLATE "C" NOT NULL REFERENCES runs (id),
    ordinal  BIGINT NOT NULL,
    decision TEXT   NOT NULL,
    body     TEXT   NOT NULL,
    at_ms    BIGINT NOT NULL,
    PRIMARY KEY (run, ordinal),
    UNIQUE (run, decision)
);

CREATE TABLE groups (
    name            TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    good_revision   TEXT,
    failed_revision TEXT,
    failed_why      TEXT,
    seen_revision   TEXT,
    CHECK ((failed_revision IS NULL) = (failed_why IS NULL))
);

CREATE TABLE systems (
    name           TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    revision       TEXT,
    digest         TEXT,
    condition      TEXT NOT NULL,
    last_change_ms BIGINT,
    last_seen_ms   BIGINT
);

-- Deletes and updates, by resource: ceilings count each resource once over their window. Creates are not limited and not kept.
CREATE TABLE changes (
    run    TEXT COLLATE "C" NOT NULL,
    system TEXT COLLATE "C" NOT NULL,
    id     TEXT COLLATE "C" NOT NULL,
    op     TEXT   NOT NULL,
    at_ms  BIGINT NOT NULL,
    PRIMARY KEY (run, system, id)
);
CREATE INDEX changes_by_system ON changes (system, at_ms);

CREATE TABLE heat (
    system   TEXT COLLATE "C"  NOT NULL,
    resource TEXT COLLATE "C"  NOT NULL,
    heat     DOUBLE PRECISION NOT NULL,
    at_ms    BIGINT           NOT NULL,
    PRIMARY KEY (system, resource)
);

CREATE TABLE releases (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    plan        TEXT   NOT NULL,
    released_by TEXT   NOT NULL,
    because     TEXT   NOT NULL,
    at_ms       BIGINT NOT NULL,
    used_by     TEXT
);
-- Released twice before it is used is released once.
CREATE UNIQUE INDEX releases_unused ON releases (plan) WHERE used_by IS NULL;
CREATE INDEX releases_by_plan ON releases (plan, used_by);

CREATE TABLE ledger (
    seq        BIGINT NOT NULL PRIMARY KEY,
    id         TEXT COLLATE "C" NOT NULL UNIQUE,
    at_ms      BIGINT NOT NULL,
    actor      TEXT   NOT NULL,
    action     TEXT   NOT NULL,
    group_name TEXT,
    system     TEXT,
    run        TEXT,
    revision   TEXT,
    -- The leaf: what is hashed, to the byte.
    leaf       TEXT   NOT NULL,
    -- Only where the leaf holds the body's digest instead of the body.
    body       TEXT,
    hash       TEXT   NOT NULL
);
CREATE INDEX ledger_by_time ON ledger (at_ms, seq);
CREATE INDEX ledger_by_revision ON ledger (revision, seq);
CREATE INDEX ledger_by_run ON ledger (run, seq);

CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the ledger is append-only'; END
$$;
CREATE FUNCTION ledger_appends() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.seq <> (SELECT COALESCE(MAX(seq), 0) + 1 FROM ledger) THEN
        RAISE EXCEPTION 'the ledger is append-only';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER ledger_no_change BEFORE UPDATE OR DELETE ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER ledger_no_truncate BEFORE TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
CREATE TRIGGER ledger_append_only BEFORE INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION ledger_appends();

CREATE TABLE outbox (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    destination  TEXT COLLATE "C" NOT NULL,
    key          TEXT COLLATE "C" NOT NULL,
    body         TEXT   NOT NULL,
    created_ms   BIGINT NOT NULL,
    attempts     BIGINT NOT NULL,
    next_ms      BIGINT NOT NULL,
    delivered_ms BIGINT,
    error        TEXT,
    UNIQUE (destination, key)
);
CREATE INDEX outbox_due ON outbox (next_ms, id) WHERE delivered_ms IS NULL;

CREATE TABLE leases (
    name       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder     TEXT   NOT NULL,
    fence      BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);

-- What on a system is whose, where the revision it was last verified at does not say so. `lockstep`: made by Lockstep or declared by an earlier
-- revision, and not yet deleted. `other`: was there when the system was first looked at, and is nobody's business here; a row of this sort without an
-- id says that the first look has been taken.
CREATE TABLE ownership (
    system TEXT COLLATE "C" NOT NULL,
    id     TEXT COLLATE "C" NOT NULL,
    owner  TEXT NOT NULL CHECK (owner IN ('lockstep', 'other')),
    PRIMARY KEY (system, id)
);

-- What a forge delivered, by its id, so that a delivery that is repeated is known for one.
CREATE TABLE deliveries (
    id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL
);
CREATE INDEX deliveries_by_time ON deliveries (at_ms);

-- What people said to Lockstep on proposals, and what came of it: each once.
CREATE TABLE commands (
    id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    proposal BIGINT NOT NULL,
    author   TEXT   NOT NULL,
    at_ms    BIGINT NOT NULL,
    body     TEXT   NOT NULL
);
CREATE INDEX commands_by_proposal ON commands (proposal, at_ms);

-- When each thing was done first, by name.
CREATE TABLE firsts (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL
);
