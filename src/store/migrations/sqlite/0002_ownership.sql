-- What on a system is whose, where the revision it was last verified at does not say so. `lockstep`: made by Lockstep or declared by an earlier
-- revision, and not yet deleted. `other`: was there when the system was first looked at, and is nobody's business here; a row of this sort without an
-- id says that the first look has been taken.
CREATE TABLE ownership (
    system TEXT NOT NULL,
    id     TEXT NOT NULL,
    owner  TEXT NOT NULL CHECK (owner IN ('lockstep', 'other')),
    PRIMARY KEY (system, id)
) WITHOUT ROWID;

-- `whole` runs speak for their group; `urgent` ones for one system alone.
ALTER TABLE runs ADD COLUMN reach TEXT NOT NULL DEFAULT 'whole' CHECK (reach IN ('whole', 'urgent'));
CREATE INDEX runs_by_reach ON runs (group_name, reach, id);
