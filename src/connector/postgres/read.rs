//! What the tables hold, as a state. The server says in one query what each bucket is in short; only the buckets whose short differs from
//! the one known are sent and read. So a row that anybody changed is seen, by whatever means, and nothing else is transferred.

use std::sync::Arc;

use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgConnection};

use super::server::Doing as _;
use super::shape::Shape;
use super::sql::Table;
use crate::connector::ConnectorError;
use crate::ids::ResourceRef;
use crate::state::{BUCKETS, Bucket, Item, Spec, State};

/// What was read, and what the server said of it in short.
#[derive(Debug)]
pub(super) struct View {
    /// Of everything.
    pub(super) print: Vec<u8>,
    /// Of each bucket; `None` where it is empty.
    prints: Vec<Option<Vec<u8>>>,
    pub(super) state: State,
}

/// The short of everything, the buckets that are not empty, and the short of each; the last two only where the first is not the one known.
type Prints = (Vec<u8>, Option<Vec<i32>>, Option<Vec<Vec<u8>>>);

/// Reads what there is. On a connection whose statements see one moment.
pub(super) async fn view(
    on: &mut PgConnection,
    shape: &Shape,
    known: Option<&Arc<View>>,
) -> Result<Arc<View>, ConnectorError> {
    let (print, indexes, shorts) = prints(on, shape, known).await?;
    if let Some(known) = known.filter(|known| known.print == print) {
        return Ok(known.clone());
    }
    let mut prints: Vec<Option<Vec<u8>>> = vec![None; BUCKETS];
    let indexes = indexes.unwrap_or_default();
    for (index, short) in indexes.into_iter().zip(shorts.unwrap_or_default()) {
        if let Some(place) = usize::try_from(index).ok().and_then(|i| prints.get_mut(i)) {
            *place = Some(short);
        }
    }
    let is_known = |index: usize| {
        let before = known.and_then(|known| known.prints.get(index));
        before.is_some() && before == prints.get(index)
    };
    let wanted: Vec<i32> = (0..=255_i32)
        .filter(|i| {
            let index = usize::try_from(*i).unwrap_or_default();
            !is_known(index) && prints.get(index).is_some_and(Option::is_some)
        })
        .collect();
    let mut fetched: Vec<Vec<Arc<Item>>> = vec![Vec::new(); BUCKETS];
    if !wanted.is_empty() {
        for table in &shape.tables {
            for item in rows(on, table, &wanted).await? {
                if let Some(bucket) = fetched.get_mut(usize::from(item.bucket)) {
                    bucket.push(item);
                }
            }
        }
    }
    let buckets = fetched.into_iter().enumerate().map(|(index, items)| {
        let kept = known.filter(|_| is_known(index));
        let kept = kept.and_then(|known| known.state.buckets().get(index));
        kept.cloned()
            .unwrap_or_else(|| Arc::new(Bucket::new(items)))
    });
    let state = State::from_buckets(buckets.collect());
    Ok(Arc::new(View {
        print,
        prints,
        state,
    }))
}

async fn prints(
    on: &mut PgConnection,
    shape: &Shape,
    known: Option<&Arc<View>>,
) -> Result<Prints, ConnectorError> {
    let mut query = sqlx::query_as(AssertSqlSafe(shape.prints.clone()));
    query = query.bind(known.map(|known| known.print.clone()));
    for table in &shape.tables {
        query = query.bind(&table.kinds);
    }
    query.fetch_one(on).await.doing("ask what the tables hold")
}

type Row = (String, String, Vec<Option<String>>);

async fn rows(
    on: &mut PgConnection,
    table: &Table,
    buckets: &[i32],
) -> Result<Vec<Arc<Item>>, ConnectorError> {
    let rows: Vec<Row> = sqlx::query_as(AssertSqlSafe(table.rows()))
        .bind(&table.kinds)
        .bind(buckets)
        .fetch_all(on)
        .await
        .doing("read the rows")?;
    let read = rows.into_iter().map(|row| item(table, row));
    read.collect()
}

/// One row as a resource. One that is none is an error with its place: left out, it would be taken for deleted.
fn item(table: &Table, (kind, name, values): Row) -> Result<Arc<Item>, ConnectorError> {
    let wrong = |why: String| ConnectorError::Terminal {
        message: format!(
            "the row {kind}/{name} of {} is no resource: {why}; mend it, nothing is done before it can be read",
            table.name.shown()
        ),
    };
    let id = ResourceRef::new(&kind, &name).map_err(|e| wrong(e.to_string()))?;
    let parsed = |text: &str| serde_json::from_str::<Value>(text).map_err(|e| wrong(e.to_string()));
    let spec = match table.columns() {
        None => Spec::from_text(values.into_iter().flatten().next().as_deref().unwrap_or("")),
        Some(columns) => {
            let mut fields = Map::new();
            for (column, value) in columns.iter().zip(values) {
                if let Some(value) = value {
                    fields.insert(column.field.clone(), parsed(&value)?);
                }
            }
            Spec::from_value(&Value::Object(fields))
        }
    };
    let spec = spec.map_err(|e| wrong(e.to_string()))?;
    Ok(Arc::new(Item::new(id, spec)))
}
