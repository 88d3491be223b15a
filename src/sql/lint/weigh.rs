//! How much something matters here: lock, size and traffic.

use std::fmt;

use super::Severity;
use crate::sql::foresight::Heavy;
use crate::sql::snapshot::{Activity, Relation, Snapshot};

/// Rows up to which long work is over before anybody feels it: at 0.04 microseconds to read a row and two to write one,
/// some ten milliseconds.
const FEW_ROWS: f64 = 10_000.0;
/// Rows from which it lasts.
const MANY_ROWS: f64 = 100_000.0;
/// The same in bytes, for tables of few but wide rows.
const FEW_BYTES: u64 = 16 * 1024 * 1024;
const MANY_BYTES: u64 = 128 * 1024 * 1024;
/// Uses in each second from which somebody is always there to wait.
const BUSY: f64 = 100.0;
/// Uses in each second below which nobody is likely to come just then.
const IDLE: f64 = 0.01;

/// The size of a table, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    rows: Option<f64>,
    bytes: Option<u64>,
}

/// A rough size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Magnitude {
    /// No rows at all.
    Empty,
    /// Work on all of it is not felt.
    Small,
    /// It may be felt.
    Middling,
    /// It is felt; what is not known counts as this.
    Large,
}

impl Size {
    /// A table that was made just now.
    pub const EMPTY: Self = Self { rows: Some(0.0), bytes: Some(0) };
    /// A table that nothing is known of.
    pub const UNKNOWN: Self = Self { rows: None, bytes: None };

    /// The size of a relation of the catalog. Rows that were never counted are estimated from the bytes, and bytes count
    /// only if a server told them.
    pub fn of(relation: &Relation, catalog: &Snapshot) -> Self {
        let told = catalog.complete || relation.total_bytes > 0;
        Self {
            rows: relation.rows.filter(|rows| *rows >= 0.0),
            bytes: told.then_some(relation.total_bytes.max(relation.bytes)),
        }
    }

    /// Two sizes together; what is unknown stays so.
    pub fn plus(self, other: Self) -> Self {
        Self {
            rows: self.rows.zip(other.rows).map(|(one, other)| one + other),
            bytes: self.bytes.zip(other.bytes).map(|(one, other)| one + other),
        }
    }

    /// The rough size: rows or bytes, whichever is more.
    pub fn magnitude(self) -> Magnitude {
        let by_rows = self.rows.map(|rows| match rows {
            _ if rows < 1.0 => Magnitude::Empty,
            _ if rows <= FEW_ROWS => Magnitude::Small,
            _ if rows <= MANY_ROWS => Magnitude::Middling,
            _ => Magnitude::Large,
        });
        let by_bytes = self.bytes.map(|bytes| match bytes {
            0 => Magnitude::Empty,
            _ if bytes <= FEW_BYTES => Magnitude::Small,
            _ if bytes <= MANY_BYTES => Magnitude::Middling,
            _ => Magnitude::Large,
        });
        match (by_rows, by_bytes) {
            (None, None) => Magnitude::Large,
            (rows, bytes) => rows.max(bytes).unwrap_or(Magnitude::Large),
        }
    }

    /// Whether it is known that there are no rows.
    pub fn is_empty(self) -> bool {
        self.magnitude() == Magnitude::Empty
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.rows, self.bytes) {
            (None, None) => f.write_str("size unknown"),
            (Some(rows), None) => f.write_str(&count(rows)),
            (None, Some(bytes)) => f.write_str(&amount(bytes)),
            (Some(rows), Some(bytes)) => write!(f, "{}, {}", count(rows), amount(bytes)),
        }
    }
}

/// Rows, for people.
fn count(rows: f64) -> String {
    match rows {
        _ if rows >= 999_500_000.0 => format!("{:.1} G rows", rows / 1e9),
        _ if rows >= 999_500.0 => format!("{:.1} M rows", rows / 1e6),
        _ if rows >= 9_999.5 => format!("{:.0} k rows", rows / 1e3),
        _ if (0.5..1.5).contains(&rows) => "1 row".to_owned(),
        _ => format!("{rows:.0} rows"),
    }
}

/// Bytes, for people.
#[allow(clippy::cast_precision_loss, reason = "rounded for people")]
fn amount(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        _ if bytes >= 1024.0 * 1024.0 * 1024.0 => format!("{:.1} GiB", bytes / 1024.0 / 1024.0 / 1024.0),
        _ if bytes >= 10.0 * 1024.0 * 1024.0 => format!("{:.0} MiB", bytes / 1024.0 / 1024.0),
        _ if bytes >= 1024.0 * 1024.0 => format!("{:.1} MiB", bytes / 1024.0 / 1024.0),
        _ => format!("{:.0} KiB", bytes / 1024.0),
    }
}

/// The severity of long work while somebody waits.
pub fn weight(heavy: Heavy, size: Size, activity: Option<Activity>) -> Severity {
    let uses = activity.map(|activity| match heavy {
        Heavy::Writes => activity.writes_per_second,
        Heavy::None | Heavy::Everything => activity.reads_per_second + activity.writes_per_second,
    });
    let busy = uses.is_some_and(|uses| uses >= BUSY);
    let idle = uses.is_some_and(|uses| uses < IDLE);
    match (heavy, size.magnitude()) {
        (Heavy::None, _) | (_, Magnitude::Empty) => Severity::Info,
        (_, Magnitude::Small) => Severity::Low,
        (Heavy::Everything, Magnitude::Middling) if busy => Severity::High,
        (_, Magnitude::Middling) if idle => Severity::Low,
        (_, Magnitude::Middling) => Severity::Medium,
        // Statistics may be young, and a large table is there to be used.
        (_, Magnitude::Large) => Severity::High,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(rows: Option<f64>, bytes: u64) -> Size {
        let catalog = Snapshot { complete: true, ..Snapshot::default() };
        Size::of(&Relation { rows, bytes, total_bytes: bytes, ..Relation::default() }, &catalog)
    }

    #[test]
    fn severity_grows_with_lock_size_and_traffic() {
        let check = |heavy: Heavy, size: Size, uses: Option<f64>, expected: Severity| {
            let activity = uses.map(|uses| Activity { reads_per_second: uses, writes_per_second: uses });
            assert_eq!(weight(heavy, size, activity), expected, "{heavy:?} {size} {uses:?}");
        };
        check(Heavy::Everything, size(Some(1_000.0), 100_000), None, Severity::Low);
        check(Heavy::Everything, size(Some(5_000_000.0), 1 << 30), None, Severity::High);
        check(Heavy::Everything, size(Some(5_000_000.0), 1 << 30), Some(0.0), Severity::High);
        check(Heavy::Everything, size(Some(50_000.0), 5_000_000), None, Severity::Medium);
        check(Heavy::Everything, size(Some(50_000.0), 5_000_000), Some(500.0), Severity::High);
        check(Heavy::Everything, size(Some(50_000.0), 5_000_000), Some(0.0), Severity::Low);
        check(Heavy::Writes, size(Some(50_000.0), 5_000_000), Some(500.0), Severity::Medium);
        check(Heavy::Everything, Size::UNKNOWN, None, Severity::High);
        check(Heavy::Everything, Size::EMPTY, None, Severity::Info);
        check(Heavy::Everything, size(Some(10.0), 4 << 30), None, Severity::High);
        check(Heavy::None, Size::UNKNOWN, None, Severity::Info);
    }

    #[test]
    fn sizes_are_for_people() {
        let check = |size: Size, expected: &str| assert_eq!(size.to_string(), expected);
        check(Size::UNKNOWN, "size unknown");
        check(size(Some(1.0), 8192), "1 row, 8 KiB");
        check(size(Some(2_100_000.0), 325_058_560), "2.1 M rows, 310 MiB");
        check(size(Some(12_345.0), 3 << 20), "12 k rows, 3.0 MiB");
        check(size(None, 3 << 30), "3.0 GiB");
        check(size(Some(3e9), 3 << 40), "3.0 G rows, 3072.0 GiB");
    }
}
