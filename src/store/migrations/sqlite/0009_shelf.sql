-- What connectors keep of systems that have no place for it themselves: by system and name, as text that only the connector understands. The digest
-- is the body's: a write says what it takes the place of, so that of two writers one hears that the other was there first.
CREATE TABLE shelf (
    system TEXT NOT NULL,
    name   TEXT NOT NULL,
    digest TEXT NOT NULL,
    body   TEXT NOT NULL,
    PRIMARY KEY (system, name)
);
