-- What the ledger has said last of things that change: the same is not said twice.
CREATE TABLE recorded (
    name TEXT NOT NULL PRIMARY KEY,
    said TEXT NOT NULL
) WITHOUT ROWID;
