//! What work costs per row, measured on PostgreSQL 14 to 18 with tables in memory (`benches/README.md`).

use crate::sql::{ColumnFacts, ConstraintKind, IndexFacts, QueryPlan, Relation};

/// A statement that changes the catalog only, in milliseconds.
pub(super) const CATALOG_CHANGE: f64 = 2.0;
/// Bytes of a row, with its header, that the costs below were measured with.
const REFERENCE_WIDTH: f64 = 100.0;
/// Rows at which the costs of sorts below hold.
const REFERENCE_ROWS: f64 = 1_000_000.0;
/// Bytes that the server adds to each row: header, line pointer, alignment.
const ROW_OVERHEAD: f64 = 28.0;
/// Bytes that the server adds to each index entry, with the free space of a page.
const ENTRY_OVERHEAD: f64 = 18.0;
/// Width of a column of which nothing is known.
const UNKNOWN_WIDTH: f64 = 16.0;

/// Work, with what it writes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// Milliseconds.
    pub ms: f64,
    /// Bytes of write-ahead log.
    pub wal: f64,
    /// Bytes that the disk has to have free, without the log.
    pub disk: f64,
}

impl Load {
    pub fn plus(self, other: Self) -> Self {
        Self { ms: self.ms + other.ms, wal: self.wal + other.wal, disk: self.disk + other.disk }
    }

    fn reading(micros_per_row: f64, table: Size) -> Self {
        Self { ms: micros_per_row * table.rows * table.breadth() / 1000.0, ..Self::default() }
    }
}

/// How large a table is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size {
    pub rows: f64,
    pub bytes: f64,
}

impl Size {
    /// The size of a relation, if anything is known of it.
    pub fn of(relation: &Relation) -> Option<Self> {
        let bytes = u32::try_from(relation.bytes / 1024).map_or(f64::MAX, |kib| f64::from(kib) * 1024.0);
        match relation.rows {
            Some(rows) if rows > 0.0 && bytes > 0.0 => Some(Self { rows, bytes }),
            Some(rows) => Some(Self { rows, bytes: rows * row_width(relation) }),
            None if bytes > 0.0 => Some(Self { rows: bytes / row_width(relation), bytes }),
            None => None,
        }
    }

    /// How much longer a row takes than one of the reference width. Half of the cost is per row, half per byte.
    fn breadth(self) -> f64 {
        if self.rows < 1.0 { 1.0 } else { 0.5 + 0.5 * self.bytes / self.rows / REFERENCE_WIDTH }
    }

    /// `n log n` instead of `n`.
    fn sorting(self) -> f64 {
        self.rows.max(2.0).ln() / REFERENCE_ROWS.ln()
    }
}

/// Bytes of a row, from its columns.
pub(super) fn row_width(relation: &Relation) -> f64 {
    let columns: f64 = relation.columns.iter().map(column_width).sum();
    ROW_OVERHEAD + if relation.columns.is_empty() { REFERENCE_WIDTH } else { columns }
}

/// Bytes of a column: what the statistics say, or what its type takes.
fn column_width(column: &ColumnFacts) -> f64 {
    if let Some(width) = column.width {
        return f64::from(width);
    }
    match column.data_type.as_str() {
        "boolean" | "\"char\"" => 1.0,
        "smallint" => 2.0,
        "integer" | "date" | "real" => 4.0,
        "bigint" | "double precision" => 8.0,
        text if text.starts_with("timestamp") => 8.0,
        "uuid" => 16.0,
        _ => UNKNOWN_WIDTH,
    }
}

/// Whether values of a type are compared as numbers, which is quicker than as text.
fn is_number(data_type: &str) -> bool {
    ["smallint", "integer", "bigint", "boolean", "date", "real", "double precision", "uuid"]
        .contains(&data_type)
        || data_type.starts_with("timestamp")
}

/// `CHECK`, `SET NOT NULL`, the search for rows that do not fit.
pub(super) fn check(table: Size) -> Load {
    Load::reading(0.035, table)
}

/// The check of a foreign key.
pub(super) fn foreign_key(table: Size) -> Load {
    Load::reading(0.06, table)
}

/// A table written anew, without its indexes.
pub(super) fn rewrite(table: Size, computed: bool) -> Load {
    let micros = if computed { 1.4 } else { 0.5 };
    Load { wal: table.bytes * 1.02, disk: table.bytes, ..Load::reading(micros, table) }
}

/// One more version of every row, and of its index entries.
pub(super) fn update(table: Size, indexes: usize) -> Load {
    let written = table.bytes + table.rows * ENTRY_OVERHEAD * count(indexes);
    let micros = 3.0 + 0.85 * count(indexes);
    Load { wal: written + table.rows * 40.0, disk: written, ..Load::reading(micros, table) }
}

/// Every row marked as gone.
pub(super) fn delete(table: Size) -> Load {
    Load { wal: table.rows * 60.0, ..Load::reading(1.2, table) }
}

/// A query whose result is stored.
pub(super) fn refresh(view: Size) -> Load {
    Load { wal: view.bytes, disk: view.bytes, ..Load::reading(1.0, view) }
}

/// Milliseconds of a unit of the planner's cost.
const PLANNED: f64 = 0.006;

/// The result of a query, run and stored in a new relation, or in one that is there.
pub(super) fn stored(plan: &QueryPlan, into: Option<&Relation>) -> Load {
    let indexes = count(into.map_or(0, |table| table.indexes.len()));
    let keys = into.into_iter().flat_map(|table| &table.constraints);
    let keys = count(keys.filter(|one| one.kind == ConstraintKind::ForeignKey).count());
    let rows = Size { rows: plan.rows, bytes: plan.rows * (plan.width + ROW_OVERHEAD) };
    let beside = (1.5 * indexes + 4.0 * keys) * plan.rows / 1000.0;
    let written = rows.bytes + rows.rows * ENTRY_OVERHEAD * indexes;
    let ms = PLANNED * plan.cost + beside;
    Load { ms, wal: written, disk: written }.plus(Load::reading(0.6, rows))
}

/// `VACUUM`: every page is looked at, and the indexes with it.
pub(super) fn vacuum(table: Size) -> Load {
    Load { wal: table.bytes * 0.05, ..Load::reading(0.1, table) }
}

/// `ANALYZE`: 300 times the statistics target of 100 rows are read, however many there are.
pub(super) fn analyze(table: Size) -> Load {
    Load { ms: 8.0 * table.rows.min(30_000.0) / 1000.0, ..Load::default() }
}

/// Files of a table taken off the disk.
pub(super) fn unlink(bytes: f64) -> Load {
    Load { ms: bytes / 1e7, ..Load::default() }
}

/// How an index is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Build {
    /// In one pass.
    Plain,
    /// In two passes, while others write.
    Concurrent,
}

/// A new index on these columns.
pub(super) fn index(relation: &Relation, table: Size, columns: &[String], build: Build) -> Load {
    let known: Vec<&ColumnFacts> =
        relation.columns.iter().filter(|column| columns.contains(&column.name)).collect();
    let numeric = !known.is_empty() && known.iter().all(|column| is_number(&column.data_type));
    let width: f64 = known.iter().map(|column| column_width(column)).sum();
    let width = if known.is_empty() { UNKNOWN_WIDTH } else { width };
    let micros = match (numeric, build) {
        (true, Build::Plain) => 0.18,
        (true, Build::Concurrent) => 0.45,
        (false, Build::Plain) => 0.55,
        (false, Build::Concurrent) => 0.95,
    };
    let bytes = table.rows * (width + ENTRY_OVERHEAD);
    Load { ms: micros * table.rows * table.sorting() / 1000.0, wal: bytes, disk: bytes }
}

/// An index that is there, built again.
pub(super) fn rebuild(relation: &Relation, table: Size, of: &IndexFacts, build: Build) -> Load {
    let columns: Vec<String> = of.columns.iter().flatten().cloned().collect();
    let load = index(relation, table, &columns, build);
    let bytes = u32::try_from(of.bytes / 1024).map_or(load.disk, |kib| f64::from(kib) * 1024.0);
    if bytes > 0.0 { Load { wal: bytes, disk: bytes, ..load } } else { load }
}

fn count(items: usize) -> f64 {
    u32::try_from(items).map_or(0.0, f64::from)
}
