-- What on a system is whose, where the last good revision does not say so. `lockstep`: made by Lockstep, and no longer or not yet in what a
-- good revision declares. `other`: was there when the system was first brought in step, and is nobody's business here.
CREATE TABLE ownership (
    system TEXT NOT NULL,
    id     TEXT NOT NULL,
    owner  TEXT NOT NULL CHECK (owner IN ('lockstep', 'other')),
    PRIMARY KEY (system, id)
) WITHOUT ROWID;
