//! Pure: how long a plan will take: three numbers for each statement and unit, and what it writes.
//!
//! From the catalog alone, the numbers are rows and bytes times measured unit costs, and may be three times too large or
//! too small. After a rehearsal they are its durations, scaled by how much more there is to do on the primary: linear in
//! rows, `n log n` where rows are sorted.

mod band;
mod batches;
mod cost;
mod rehearsed;
mod resize;
#[cfg(test)]
mod tests;
mod work;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sql::{Foreseen, Relation, RelationName, Snapshot, Statement};
pub use band::Band;
pub use batches::{in_batches, measured};
pub use rehearsed::{Rehearsal, rehearsed};
pub use resize::resize;
use work::Stage;

/// How many times an estimate from the catalog alone may be too large or too small.
const CATALOG_BAND: f64 = 3.0;
/// Bytes of the smallest change of a catalog in the log.
const CATALOG_WAL: f64 = 8192.0;

/// What the numbers rest on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Basis {
    /// Sizes from the catalog and unit costs.
    #[default]
    Catalog,
    /// Durations of the same statements on a copy.
    Rehearsed,
}

/// How long, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Estimate {
    /// What the numbers rest on.
    pub basis: Basis,
    /// Milliseconds that it waits for others, from the ages of the transactions that were open; absent if those are not
    /// known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait_ms: Option<Band>,
    /// Milliseconds for which readers or writers wait for it.
    pub hold_ms: Band,
    /// Milliseconds from its first to its last moment, without the wait.
    pub total_ms: Band,
    /// Bytes of write-ahead log.
    pub wal_bytes: Band,
    /// Bytes of disk that it needs while it runs, log included.
    pub disk_peak_bytes: Band,
}

impl Estimate {
    /// Whether somebody waits for it.
    pub fn is_felt(&self) -> bool {
        self.hold_ms != Band::default()
    }
}

/// Why a statement cannot be estimated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The size of a relation is not known.
    #[error("the size of {0} is not known")]
    Size(RelationName),
    /// Its text does not tell what it does.
    #[error("what it does cannot be known from its text")]
    Text,
    /// It is not foreseen how many rows it concerns.
    #[error("how many rows it concerns cannot be foreseen")]
    Rows,
    /// The planner was not asked about the query whose rows it stores, or did not tell.
    #[error("how many rows its query has, only the planner of a database tells{}", because(.0.as_deref()))]
    Plan(Option<String>),
}

fn because(why: Option<&str>) -> String {
    why.map(|why| format!(": {why}")).unwrap_or_default()
}

/// Estimates each statement of a plan, or tells why that cannot be.
pub fn estimate(
    statements: &[Statement],
    foreseen: &[Foreseen],
    catalog: &Snapshot,
) -> Vec<Result<Estimate, Missing>> {
    let mut stage = Stage::new(catalog);
    let each = statements.iter().zip(foreseen).zip(felt(statements, foreseen, catalog));
    each.map(|((statement, foreseen), felt)| {
        let load = work::load(statement, foreseen, &stage);
        stage.pass(statement);
        let load = load?;
        let whole = Band::within(load.ms, CATALOG_BAND);
        // How many rows a condition leaves is not known; one is the least.
        let total_ms = if work::is_partial(statement) {
            Band::of(whole.expected, whole.low.min(work::LEAST), whole.high)
        } else {
            whole
        };
        let written = load.wal + if statement.transactional { CATALOG_WAL } else { 2.0 * CATALOG_WAL };
        Ok(Estimate {
            basis: Basis::Catalog,
            wait_ms: wait(statement, foreseen, catalog),
            hold_ms: if felt.is_empty() { Band::default() } else { total_ms },
            total_ms,
            wal_bytes: Band::within(written, CATALOG_BAND),
            disk_peak_bytes: Band::within(load.disk + written, CATALOG_BAND),
        })
    })
    .collect()
}

/// Adds up the statements of a unit, in order, each with whether somebody waits for it. A lock is held to the end of a
/// transaction: the hold of the unit begins with its first statement that blocks somebody.
pub fn of_unit(statements: &[(Option<Estimate>, bool)], transactional: bool) -> Option<Estimate> {
    let mut whole =
        Estimate { basis: Basis::Rehearsed, wait_ms: Some(Band::default()), ..Estimate::default() };
    let mut held = false;
    for (estimate, blocks) in statements {
        let one = (*estimate)?;
        held |= blocks;
        whole.basis = whole.basis.min(one.basis);
        whole.wait_ms = whole.wait_ms.zip(one.wait_ms).map(|(sum, wait)| sum.plus(wait));
        whole.hold_ms = match (held, transactional) {
            (true, true) => whole.hold_ms.plus(one.total_ms),
            _ => whole.hold_ms.max(one.hold_ms),
        };
        whole.total_ms = whole.total_ms.plus(one.total_ms);
        whole.wal_bytes = whole.wal_bytes.plus(one.wal_bytes);
        whole.disk_peak_bytes = whole.disk_peak_bytes.plus(one.disk_peak_bytes);
    }
    Some(whole)
}

/// The relations at which readers or writers wait for each statement, the one that it names first; not those that the plan
/// makes.
pub fn felt<'a>(
    statements: &[Statement],
    foreseen: &'a [Foreseen],
    catalog: &Snapshot,
) -> Vec<Vec<&'a RelationName>> {
    let mut stage = Stage::new(catalog);
    let each = statements.iter().zip(foreseen);
    each.map(|(statement, foreseen)| {
        let strong = foreseen.locks.iter().filter(|lock| lock.mode.blocks_writes());
        let felt = strong.map(|lock| &lock.relation).filter(|name| stage.is_used(name)).collect();
        stage.pass(statement);
        felt
    })
    .collect()
}

/// Rows of a relation: what the server estimates, or what its bytes suggest.
pub fn rows(relation: &Relation) -> Option<f64> {
    cost::Size::of(relation).map(|size| size.rows)
}

/// How long a statement waits for the transactions that are open. A statement that builds concurrently waits for all of
/// them; any other for those that use its tables, which the ages do not tell: none of them, or the oldest. A transaction
/// is expected to last once more as long as it has lasted.
fn wait(statement: &Statement, foreseen: &Foreseen, catalog: &Snapshot) -> Option<Band> {
    if foreseen.locks.is_empty() {
        return Some(Band::default());
    }
    if !catalog.complete && catalog.transaction_ages.is_empty() {
        return None;
    }
    let mut ages: Vec<f64> = catalog.transaction_ages.iter().map(|seconds| seconds * 1000.0).collect();
    ages.sort_by(f64::total_cmp);
    let oldest = ages.last().copied().unwrap_or_default();
    if !statement.transactional {
        return Some(Band::of(oldest, oldest / CATALOG_BAND, oldest * CATALOG_BAND));
    }
    let median = ages.get(ages.len() / 2).copied().unwrap_or_default();
    Some(Band::of(median.min(oldest / 2.0), 0.0, oldest))
}
