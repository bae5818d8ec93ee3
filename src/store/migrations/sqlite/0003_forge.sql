-- What a forge delivered, by its id, so that a delivery that is repeated is known for one.
CREATE TABLE deliveries (
    id    TEXT   NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL
) WITHOUT ROWID;
CREATE INDEX deliveries_by_time ON deliveries (at_ms);

-- What people said to Lockstep on proposals, and what came of it: each once.
CREATE TABLE commands (
    id       TEXT   NOT NULL PRIMARY KEY,
    proposal BIGINT NOT NULL,
    author   TEXT   NOT NULL,
    at_ms    BIGINT NOT NULL,
    body     TEXT   NOT NULL
) WITHOUT ROWID;
CREATE INDEX commands_by_proposal ON commands (proposal, at_ms);

-- When each thing was done first, by name.
CREATE TABLE firsts (
    name  TEXT   NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL
) WITHOUT ROWID;
