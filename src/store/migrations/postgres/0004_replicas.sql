-- Processes that share the store.
CREATE TABLE replicas (
    holder   TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    since_ms BIGINT NOT NULL,
    seen_ms  BIGINT NOT NULL
);

-- A delivery that was given up: kept, shown, and sent again when a person says so. It keeps no later one waiting.
ALTER TABLE outbox ADD COLUMN dead_ms BIGINT;
CREATE INDEX outbox_by_destination ON outbox (destination, id) WHERE delivered_ms IS NULL AND dead_ms IS NULL;
