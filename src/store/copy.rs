//! A store into another, on whichever engine: backups, bringing one back, and moving from a file to a server.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::engine::{self, Doing as _, Query, Tx, Value, query};
use super::reader::Texts;
use super::{Chain, Durability, Store, StoreError};

/// Rows of one statement.
const ROWS: usize = 500;

/// A table as it is copied.
struct Table {
    name: &'static str,
    columns: &'static [(&'static str, Sort)],
    /// The columns that rows are in order by, and that no two rows share: one, or as a list.
    key: &'static [&'static str],
}

#[derive(Clone, Copy)]
enum Sort {
    Text,
    Int,
    Float,
}

use Sort::{Float, Int, Text};

/// In an order in which what is referred to comes first. Numbers that the engine gives itself are left to it: rows keep their order.
const TABLES: &[Table] = &[
    Table {
        name: "runs",
        columns: &[
            ("id", Text),
            ("group_name", Text),
            ("revision", Text),
            ("fence", Int),
            ("body", Text),
            ("outcome", Text),
            ("finished_ms", Int),
            ("reach", Text),
        ],
        key: &["id"],
    },
    Table {
        name: "decisions",
        columns: &[
            ("run", Text),
            ("ordinal", Int),
            ("decision", Text),
            ("body", Text),
            ("at_ms", Int),
        ],
        key: &["run", "ordinal"],
    },
    Table {
        name: "groups",
        columns: &[
            ("name", Text),
            ("good_revision", Text),
            ("failed_revision", Text),
            ("failed_why", Text),
            ("seen_revision", Text),
        ],
        key: &["name"],
    },
    Table {
        name: "systems",
        columns: &[
            ("name", Text),
            ("revision", Text),
            ("digest", Text),
            ("condition", Text),
            ("last_change_ms", Int),
            ("last_seen_ms", Int),
        ],
        key: &["name"],
    },
    Table {
        name: "changes",
        columns: &[
            ("run", Text),
            ("system", Text),
            ("id", Text),
            ("op", Text),
            ("at_ms", Int),
        ],
        key: &["run", "system", "id"],
    },
    Table {
        name: "heat",
        columns: &[
            ("system", Text),
            ("resource", Text),
            ("heat", Float),
            ("at_ms", Int),
        ],
        key: &["system", "resource"],
    },
    Table {
        name: "releases",
        columns: &[
            ("plan", Text),
            ("released_by", Text),
            ("because", Text),
            ("at_ms", Int),
            ("used_by", Text),
        ],
        key: &["id"],
    },
    Table {
        name: "recorded",
        columns: &[("name", Text), ("said", Text)],
        key: &["name"],
    },
    Table {
        name: "ledger",
        columns: &[
            ("seq", Int),
            ("id", Text),
            ("at_ms", Int),
            ("actor", Text),
            ("action", Text),
            ("group_name", Text),
            ("system", Text),
            ("run", Text),
            ("revision", Text),
            ("leaf", Text),
            ("body", Text),
            ("hash", Text),
        ],
        key: &["seq"],
    },
    Table {
        name: "outbox",
        columns: &[
            ("destination", Text),
            ("key", Text),
            ("body", Text),
            ("created_ms", Int),
            ("attempts", Int),
            ("next_ms", Int),
            ("delivered_ms", Int),
            ("error", Text),
            ("dead_ms", Int),
        ],
        key: &["id"],
    },
    // Fences must never go backwards, whoever holds what.
    Table {
        name: "leases",
        columns: &[
            ("name", Text),
            ("holder", Text),
            ("fence", Int),
            ("expires_ms", Int),
        ],
        key: &["name"],
    },
    Table {
        name: "ownership",
        columns: &[("system", Text), ("id", Text), ("owner", Text)],
        key: &["system", "id"],
    },
    Table {
        name: "shelf",
        columns: &[
            ("system", Text),
            ("name", Text),
            ("digest", Text),
            ("body", Text),
        ],
        key: &["system", "name"],
    },
    Table {
        name: "deliveries",
        columns: &[("id", Text), ("at_ms", Int)],
        key: &["id"],
    },
    Table {
        name: "commands",
        columns: &[
            ("id", Text),
            ("proposal", Int),
            ("author", Text),
            ("at_ms", Int),
            ("body", Text),
        ],
        key: &["id"],
    },
    Table {
        name: "firsts",
        columns: &[("name", Text), ("at_ms", Int)],
        key: &["name"],
    },
];

/// Tables that say who is there now, which a copy does not.
#[cfg(test)]
const LEFT_OUT: [&str; 1] = ["replicas"];

impl Store {
    /// Copies everything, as of one moment, into a new SQLite file, whichever engine this is; the file appears once it is whole and
    /// verified. Gives back how many ledger entries it holds. A file that is there already is left alone.
    pub async fn backup(&self, to: &Path) -> Result<u64, StoreError> {
        let failed = |source| StoreError::Folder {
            path: to.to_owned(),
            source,
        };
        if to.exists() {
            return Err(failed(std::io::ErrorKind::AlreadyExists.into()));
        }
        let part = beside(to);
        let copied = self.copied_into(&part).await;
        let placed = copied.and_then(|entries| {
            place(&part, to).map_err(failed)?;
            Ok(entries)
        });
        for leftover in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(engine::beside(&part, leftover));
        }
        placed
    }

    async fn copied_into(&self, part: &Path) -> Result<u64, StoreError> {
        let copy = Self::open(part).await?;
        self.copy_into(&copy).await?;
        copy.close().await;
        // Looked at as whoever gets the file will: what a full disk kept in the log is not in it.
        engine::fold_log(part).await?;
        let copy = Self::open(part).await?;
        let faults = copy.check().await.faults;
        if let Some(fault) = faults.into_iter().next() {
            return Err(StoreError::Damaged {
                what: format!("the copy: {fault}"),
            });
        }
        let chain = copy.verify_chain().await?;
        copy.close().await;
        engine::fold_log(part).await?;
        match chain {
            Chain::Intact { entries, .. } => Ok(entries),
            Chain::Broken { seq, why } => Err(StoreError::Damaged {
                what: format!("ledger entry {seq} of the copy: {why}"),
            }),
        }
    }

    /// Opens a copy of another store's file, brought up to date and looked over: the file itself is left as it is. A server's store is
    /// opened where it is.
    pub async fn open_copy(location: &str) -> Result<Self, StoreError> {
        let place = engine::place(location.as_ref())?;
        let engine::Place::File(path) = place else {
            return Self::open(location).await;
        };
        let failed = |source| StoreError::Folder {
            path: path.clone(),
            source,
        };
        let folder = tempfile::tempdir().map_err(failed)?;
        let copy = folder.path().join("store.db");
        std::fs::copy(&path, &copy).map_err(failed)?;
        let log = engine::beside(&path, "-wal");
        if log.exists() {
            std::fs::copy(log, engine::beside(&copy, "-wal")).map_err(failed)?;
        }
        let mut store = Self::open(&copy).await?;
        store._folder = Some(std::sync::Arc::new(folder));
        let checked = store.check().await;
        let nothing = (checked.entries == 0 && checked.runs == 0)
            .then(|| "nothing has ever happened in it".to_owned());
        match checked.faults.into_iter().next().or(nothing) {
            Some(fault) => Err(StoreError::Damaged {
                what: format!("{}: {fault}", path.display()),
            }),
            None => Ok(store),
        }
    }

    /// Makes a store of what another one holds, in a place where nothing has happened yet or a store was lost. Where that fails, the place is
    /// as it was.
    pub async fn restored(location: impl AsRef<OsStr>, source: &Self) -> Result<Self, StoreError> {
        let place = engine::place(location.as_ref())?;
        let is_new = engine::is_new(&place);
        let store = Self {
            pools: engine::open_lost(&place).await?,
            place,
            _folder: None,
        };
        let copied = source.copy_into(&store).await;
        if let (Err(_), true, Some(path)) = (&copied, is_new, store.file()) {
            store.close().await;
            for ending in ["", "-wal", "-shm"] {
                let _ = std::fs::remove_file(engine::beside(path, ending));
            }
        }
        copied.map(|()| store)
    }

    /// Copies everything, as of one moment, into a store in which nothing has happened yet.
    pub async fn copy_into(&self, target: &Self) -> Result<(), StoreError> {
        let doing = "copy the store";
        let mut source = self.pools.snapshot(doing).await?;
        let mut tx = target.write(Durability::Full, doing).await?;
        for table in TABLES {
            let used: bool = exists(&mut tx, table.name).await?;
            if used && table.name != "leases" {
                return Err(StoreError::Used {
                    store: target.place.to_string(),
                });
            }
        }
        query("DELETE FROM leases")
            .execute(&mut tx)
            .await
            .doing(doing)?;
        for table in TABLES {
            copy_table(table, &mut source, &mut tx).await?;
        }
        query("UPDATE leases SET holder = '', expires_ms = 0")
            .execute(&mut tx)
            .await
            .doing(doing)?;
        tx.commit().await.doing(doing)
    }
}

/// Gives the finished file its name, where nobody has taken it meanwhile, so that it is there after a power cut.
fn place(part: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::File::open(part)?.sync_all()?;
    let file = tempfile::TempPath::try_from_path(part)?;
    file.persist_noclobber(to).map_err(|e| e.error)?;
    let folder = match to.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    std::fs::File::open(folder)?.sync_all()
}

/// The file that is written until it is whole.
fn beside(to: &Path) -> PathBuf {
    engine::beside(to, &format!(".{}.part", std::process::id()))
}

async fn exists(tx: &mut Tx, table: &'static str) -> Result<bool, StoreError> {
    let mut select = query("SELECT EXISTS (SELECT 1 FROM ");
    select.push(table).push(")");
    select.value(tx).await.doing("look into the store")
}

async fn copy_table(table: &Table, source: &mut Tx, tx: &mut Tx) -> Result<(), StoreError> {
    let doing = "copy the store";
    let names = table.columns.iter().map(|(name, _)| *name);
    let mut last: Option<Vec<Value>> = None;
    loop {
        let mut select = query("SELECT ");
        for (n, name) in table.key.iter().copied().chain(names.clone()).enumerate() {
            select.push(if n == 0 { "CAST(" } else { ", CAST(" });
            select.push(name).push(" AS TEXT)");
        }
        select.push(" FROM ").push(table.name);
        if let Some(last) = last.take() {
            select.push(" WHERE (");
            push_key(&mut select, table);
            select.push(") > ").push_list(last);
        }
        select.push(" ORDER BY ");
        push_key(&mut select, table);
        select.push(" LIMIT ");
        select.push_bind(i64::try_from(ROWS).unwrap_or(i64::MAX));
        let mut rows: Vec<Texts> = select.fetch_all(&mut *source).await.doing(doing)?;
        let Some(Texts(row)) = rows.last() else {
            return Ok(());
        };
        let key = row.iter().take(table.key.len()).cloned().collect();
        last = Some(key_values(table, key)?);
        let mut insert = query("INSERT INTO ");
        insert.push(table.name).push(" (");
        for (n, name) in names.clone().enumerate() {
            insert.push(if n == 0 { "" } else { ", " }).push(name);
        }
        insert.push(") ");
        let values = rows
            .iter_mut()
            .map(|Texts(row)| values(table, row.split_off(table.key.len())))
            .collect::<Result<Vec<_>, _>>()?;
        insert.push_rows(values);
        insert.execute(&mut *tx).await.doing(doing)?;
    }
}

/// With the table's name: alone it would mean what was selected, which is text.
fn push_key(statement: &mut Query, table: &Table) {
    for (n, name) in table.key.iter().enumerate() {
        statement.push(if n == 0 { "" } else { ", " });
        statement.push(table.name).push(".").push(name);
    }
}

/// The values of a row's key, from their text.
fn key_values(table: &Table, key: Vec<Option<String>>) -> Result<Vec<Value>, StoreError> {
    let sorts = table.key.iter().map(|name| {
        let known = table.columns.iter().find(|(column, _)| column == name);
        // The number that the engine gives itself is no column of the copy.
        (*name, known.map_or(Int, |(_, sort)| *sort))
    });
    typed(table.name, sorts, key)
}

fn values(table: &Table, row: Vec<Option<String>>) -> Result<Vec<Value>, StoreError> {
    typed(table.name, table.columns.iter().copied(), row)
}

fn typed<'a>(
    table: &str,
    columns: impl Iterator<Item = (&'a str, Sort)>,
    row: Vec<Option<String>>,
) -> Result<Vec<Value>, StoreError> {
    columns
        .zip(row)
        .map(|((name, sort), text)| {
            let damaged = || StoreError::Damaged {
                what: format!("a number in {table}.{name} can't be read"),
            };
            Ok(match (sort, text) {
                (Text, text) => Value::Text(text),
                (Int, None) => Value::Int(None),
                (Int, Some(n)) => Value::Int(Some(n.parse().map_err(|_| damaged())?)),
                (Float, n) => Value::Float(n.unwrap_or_default().parse().map_err(|_| damaged())?),
            })
        })
        .collect()
}

#[cfg(test)]
pub(super) fn known_tables() -> Vec<&'static str> {
    let copied = TABLES.iter().map(|table| table.name);
    copied.chain(LEFT_OUT).collect()
}
