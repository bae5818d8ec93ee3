//! The statements. Names are written by [`Ident`] alone, in quotes; everything else is bound, but for the names of types, which come from
//! the database's own catalogue, quoted by it.

use crate::config::connectors::postgres::{Ident, TableName};
use crate::ids::KindName;

/// Lockstep's own tables, in a schema of their own.
pub(super) const RESOURCES: &str = "resources";
pub(super) const JOURNAL: &str = "journal";

/// How a column's values are read and written as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Text,
    /// A type whose text form is all that is known of it: enums, uuid.
    Named,
    Integer,
    Number,
    Boolean,
    Moment,
    Date,
    Json,
    Texts,
}

impl Sort {
    /// By a type's name in the catalogue, and whether it is an enum there.
    pub(super) fn of(short: &str, typtype: &str) -> Option<Self> {
        Some(match (short, typtype) {
            (_, "e") | ("uuid", _) => Self::Named,
            ("text" | "varchar", _) => Self::Text,
            ("int2" | "int4" | "int8", _) => Self::Integer,
            ("numeric" | "float4" | "float8", _) => Self::Number,
            ("bool", _) => Self::Boolean,
            ("timestamptz", _) => Self::Moment,
            ("date", _) => Self::Date,
            ("jsonb", _) => Self::Json,
            ("_text", _) => Self::Texts,
            _ => return None,
        })
    }

    pub(super) fn can_be_key(self) -> bool {
        matches!(self, Self::Text | Self::Integer | Self::Named)
    }
}

/// A field of the spec in its column.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) field: String,
    pub(super) name: Ident,
    pub(super) sort: Sort,
    /// As the catalogue writes it.
    pub(super) type_name: String,
}

impl Column {
    /// The column as JSON in text, the way the spec has it; null where the field is absent.
    fn read(&self) -> String {
        let name = format!("t.{}", self.name);
        match self.sort {
            Sort::Text | Sort::Named => format!("to_jsonb({name}::text)::text"),
            Sort::Integer | Sort::Number | Sort::Boolean | Sort::Texts => {
                format!("to_jsonb({name})::text")
            }
            Sort::Moment => format!(
                "to_jsonb(rtrim(rtrim(to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '0'), '.') || 'Z')::text"
            ),
            Sort::Date => format!("to_jsonb(to_char({name}, 'YYYY-MM-DD'))::text"),
            Sort::Json => format!("{name}::text"),
        }
    }

    /// The field of the spec `d` as the column's value. `field` is the bound field's name.
    fn write(&self, field: &str) -> String {
        match self.sort {
            Sort::Text => format!("(d ->> {field})"),
            Sort::Json => format!("(d -> {field})"),
            Sort::Texts => format!(
                "CASE WHEN jsonb_typeof(d -> {field}) = 'array' THEN ARRAY(SELECT e.v FROM \
                 jsonb_array_elements_text(d -> {field}) WITH ORDINALITY AS e(v, n) ORDER BY e.n) END"
            ),
            // By way of numeric, so that 10.0 is 10; what has a fraction is rounded, and then seen to come back as another.
            Sort::Integer => format!("(d ->> {field})::numeric::{}", self.type_name),
            Sort::Named | Sort::Number | Sort::Boolean | Sort::Moment | Sort::Date => {
                format!("(d ->> {field})::{}", self.type_name)
            }
        }
    }
}

/// A table that holds resources.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: TableName,
    /// The kinds in it: one, but in Lockstep's own.
    pub(super) kinds: Vec<String>,
    layout: Layout,
}

#[derive(Debug)]
enum Layout {
    /// Kind, name and the spec as text.
    Own,
    Mapped {
        key: Ident,
        key_type: String,
        columns: Vec<Column>,
    },
}

/// Which changes of a changeset a statement carries out: its parameters in order are the changeset, the kinds, the number of the first change
/// and that of the first no more, and then the fields of the table's columns.
const WHICH: &str = "s.changeset = $1 AND s.kind = ANY($2) AND s.n >= $3 AND s.n < $4";

/// How a changeset is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// On the state that it was planned on.
    AsPlanned,
    /// On whatever is there: what was decided happens all the same.
    Again,
}

impl Table {
    pub(super) fn own(schema: &Ident, kinds: Vec<String>) -> Self {
        Self {
            name: own_table(schema, RESOURCES),
            kinds,
            layout: Layout::Own,
        }
    }

    pub(super) fn mapped(
        kind: &KindName,
        name: TableName,
        (key, key_type): (Ident, String),
        columns: Vec<Column>,
    ) -> Self {
        Self {
            name,
            kinds: vec![kind.as_str().to_owned()],
            layout: Layout::Mapped {
                key,
                key_type,
                columns,
            },
        }
    }

    /// The columns that fields are mapped to; `None` where a spec is kept whole.
    pub(super) fn columns(&self) -> Option<&[Column]> {
        match &self.layout {
            Layout::Own => None,
            Layout::Mapped { columns, .. } => Some(columns),
        }
    }

    /// The fields in the order in which the statements that write want them bound.
    pub(super) fn fields(&self) -> impl Iterator<Item = &str> {
        self.columns()
            .into_iter()
            .flatten()
            .map(|c| c.field.as_str())
    }

    /// A resource's `kind/name` in one row `t`; `$1` are the kinds.
    fn full_name(&self) -> String {
        match &self.layout {
            Layout::Own => "t.kind || '/' || t.name".to_owned(),
            Layout::Mapped { key, .. } => format!("($1::text[])[1] || '/' || t.{key}::text"),
        }
    }

    fn place(&self) -> String {
        format!("sha256(convert_to({}, 'UTF8'))", self.full_name())
    }

    /// The rows of some buckets: kind, name, and the spec or its fields. `$1` are the kinds, `$2` the buckets.
    pub(super) fn rows(&self) -> String {
        let table = &self.name;
        let place = self.place();
        match &self.layout {
            Layout::Own => format!(
                "SELECT t.kind, t.name, ARRAY[t.spec] FROM {table} t \
                 WHERE t.kind = ANY($1) AND get_byte({place}, 0) = ANY($2)"
            ),
            Layout::Mapped { key, columns, .. } => {
                let fields: Vec<String> = columns.iter().map(Column::read).collect();
                format!(
                    "SELECT ($1::text[])[1], t.{key}::text, ARRAY[{}] FROM {table} t WHERE get_byte({place}, 0) = ANY($2)",
                    fields.join(", ")
                )
            }
        }
    }

    /// Each row's place and content in short, of the kinds in the parameter `kinds`.
    fn shorts(&self, kinds: &str) -> String {
        let table = &self.name;
        let place = self.place().replace("$1", kinds);
        match &self.layout {
            Layout::Own => format!(
                "SELECT {place} AS place, sha256(convert_to(t.spec, 'UTF8')) AS content FROM {table} t \
                 WHERE t.kind = ANY({kinds}::text[])"
            ),
            Layout::Mapped { columns, .. } => {
                let names: Vec<String> = columns.iter().map(|c| format!("t.{}", c.name)).collect();
                format!(
                    "SELECT {place} AS place, sha256(convert_to(ROW({})::text, 'UTF8')) AS content FROM {table} t",
                    names.join(", ")
                )
            }
        }
    }

    pub(super) fn delete(&self, staged: &TableName) -> String {
        let table = &self.name;
        let same = match &self.layout {
            Layout::Own => "t.kind = s.kind AND t.name = s.name".to_owned(),
            Layout::Mapped { key, key_type, .. } => format!("t.{key} = s.name::{key_type}"),
        };
        format!(
            "DELETE FROM {table} t USING {staged} s WHERE {WHICH} AND s.op = 'delete' AND {same}"
        )
    }

    pub(super) fn insert(&self, staged: &TableName, way: Way) -> String {
        let table = &self.name;
        let op = match way {
            Way::AsPlanned => "s.op = 'create'",
            Way::Again => "s.op <> 'delete'",
        };
        let unless = |same: &str| match way {
            Way::AsPlanned => String::new(),
            Way::Again => format!(" AND NOT EXISTS (SELECT 1 FROM {table} t WHERE {same})"),
        };
        match &self.layout {
            Layout::Own => {
                let unless = unless("t.kind = s.kind AND t.name = s.name");
                format!(
                    "INSERT INTO {table} (kind, name, spec) SELECT s.kind, s.name, s.spec FROM {staged} s \
                     WHERE {WHICH} AND {op}{unless}"
                )
            }
            Layout::Mapped {
                key,
                key_type,
                columns,
            } => {
                let names: Vec<String> = columns.iter().map(|c| c.name.to_string()).collect();
                let unless = unless(&format!("t.{key} = s.name::{key_type}"));
                format!(
                    "INSERT INTO {table} ({key}, {}) SELECT s.name::{key_type}, {} FROM {staged} s \
                     CROSS JOIN LATERAL (SELECT s.spec::jsonb AS d) j WHERE {WHICH} AND {op}{unless}",
                    names.join(", "),
                    written(columns).join(", ")
                )
            }
        }
    }

    pub(super) fn update(&self, staged: &TableName, way: Way) -> String {
        let table = &self.name;
        let op = match way {
            Way::AsPlanned => "s.op = 'update'",
            Way::Again => "s.op <> 'delete'",
        };
        match &self.layout {
            Layout::Own => format!(
                "UPDATE {table} t SET spec = s.spec FROM {staged} s \
                 WHERE {WHICH} AND {op} AND t.kind = s.kind AND t.name = s.name"
            ),
            Layout::Mapped {
                key,
                key_type,
                columns,
            } => {
                let sets: Vec<String> = columns
                    .iter()
                    .zip(written(columns))
                    .map(|(c, value)| format!("{} = {value}", c.name))
                    .collect();
                format!(
                    "UPDATE {table} t SET {} FROM {staged} s CROSS JOIN LATERAL (SELECT s.spec::jsonb AS d) j \
                     WHERE {WHICH} AND {op} AND t.{key} = s.name::{key_type}",
                    sets.join(", ")
                )
            }
        }
    }
}

fn written(columns: &[Column]) -> Vec<String> {
    let numbered = columns.iter().zip(5..);
    numbered
        .map(|(c, n)| c.write(&format!("${n}::text")))
        .collect()
}

pub(super) fn own_table(schema: &Ident, table: &'static str) -> TableName {
    TableName {
        schema: schema.clone(),
        table: Ident::known(table),
    }
}

/// What all tables hold, in short: one digest of everything, and, where that is not `$1`, one for each bucket that is not empty. The
/// parameters from `$2` are the kinds of each table. The rows are read by the server and stay there, and each is hashed once: taken into what
/// follows, the hashes would be worked out again wherever they are named.
pub(super) fn prints(tables: &[Table]) -> String {
    let shorts: Vec<String> = tables
        .iter()
        .zip(2..)
        .map(|(table, n)| table.shorts(&format!("${n}")))
        .collect();
    let shorts = if shorts.is_empty() {
        "SELECT '\\x00'::bytea AS place, '\\x00'::bytea AS content WHERE false".to_owned()
    } else {
        shorts.join(" UNION ALL ")
    };
    format!(
        "WITH shorts AS MATERIALIZED ({shorts}), \
         buckets AS (SELECT get_byte(place, 0) AS bucket, sha256(string_agg(place || content, ''::bytea ORDER BY place, content)) \
           AS print FROM shorts GROUP BY 1), \
         whole AS (SELECT sha256(coalesce(string_agg(set_byte('\\x00'::bytea, 0, bucket) || print, ''::bytea ORDER BY bucket), \
           ''::bytea)) AS print FROM buckets) \
         SELECT print, (SELECT array_agg(bucket ORDER BY bucket) FROM buckets WHERE whole.print IS DISTINCT FROM $1), \
           (SELECT array_agg(print ORDER BY bucket) FROM buckets WHERE whole.print IS DISTINCT FROM $1) FROM whole"
    )
}

/// The schema of Lockstep's own. A name sorts by its bytes, whatever the database's language.
pub(super) fn books(schema: &Ident) -> Vec<String> {
    vec![
        format!("CREATE SCHEMA IF NOT EXISTS {schema}"),
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}.resources (kind text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL, \
             spec text NOT NULL, PRIMARY KEY (kind, name))"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}.staged (changeset text NOT NULL, n integer NOT NULL, op text NOT NULL, \
             kind text COLLATE \"C\" NOT NULL, name text COLLATE \"C\" NOT NULL, spec text, PRIMARY KEY (changeset, kind, name))"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}.done (changeset text PRIMARY KEY, revision text NOT NULL)"
        ),
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}.journal (one boolean PRIMARY KEY DEFAULT true CHECK (one), journal text, revision text)"
        ),
        format!("INSERT INTO {schema}.journal (one) VALUES (true) ON CONFLICT DO NOTHING"),
        format!(
            "CREATE OR REPLACE FUNCTION {schema}.told() RETURNS trigger LANGUAGE plpgsql AS $told$ BEGIN \
             IF current_setting('lockstep.quiet', true) IS DISTINCT FROM 'on' THEN PERFORM pg_notify(TG_ARGV[0], ''); END IF; \
             RETURN NULL; END $told$"
        ),
    ]
}

/// Has a table say on a channel that it was changed. A trigger's arguments can't be bound; the channel is of our own making.
pub(super) fn tells(schema: &Ident, table: &TableName, channel: &Ident) -> String {
    format!(
        "CREATE TRIGGER lockstep_told AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} \
         FOR EACH STATEMENT EXECUTE FUNCTION {schema}.told({channel})"
    )
}
