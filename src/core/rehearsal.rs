//! Pure data: the record of a rehearsal.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::observation::{RehearsalVerdict, UnitStatus};
use super::preview::Prediction;

/// A lock that a statement took, named as PostgreSQL does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lock {
    /// Schema-qualified name of the relation.
    pub relation: String,
    /// For example `ACCESS EXCLUSIVE`.
    pub mode: String,
}

/// What one statement did on the copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatementFacts {
    /// The statement in one line.
    pub summary: String,
    /// From sending it to its answer.
    pub duration: Duration,
    /// The locks that it added to those held before.
    pub locks: Vec<Lock>,
}

/// What one unit did on the copy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnitFacts {
    /// Index into the plan's units.
    pub unit: usize,
    /// From its first statement to its commit.
    pub duration: Duration,
    /// From the first lock that blocks somebody to the commit.
    pub held: Duration,
    /// Its statements.
    pub statements: Vec<StatementFacts>,
    /// What its batches did, if it changes rows in batches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batches: Option<BatchFacts>,
}

/// What the batches of a backfill did on the copy, where nothing holds them back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BatchFacts {
    /// Keys that were gone over.
    pub keys: u64,
    /// Rows that were changed.
    pub rows: u64,
    /// Transactions.
    pub batches: u64,
    /// Time in which they ran.
    pub worked: Duration,
    /// What the server wrote to its log meanwhile, in bytes.
    pub wal_bytes: u64,
}

impl BatchFacts {
    /// Returns the rows that were changed in a second; `None` where none was.
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.worked.as_secs_f64();
        (self.rows > 0 && seconds > 0.0).then(|| number(self.rows) / seconds)
    }

    /// Returns the bytes of the log for each row that was changed; `None` where none was.
    pub fn wal_per_row(&self) -> Option<f64> {
        (self.rows > 0).then(|| number(self.wal_bytes) / number(self.rows))
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers for people")]
fn number(count: u64) -> f64 {
    count as f64
}

/// How far a round trip got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoundTrip {
    /// Up, down, up, down, with equal catalogs.
    Complete,
    /// Up only, because the plan has no way back.
    UpOnly,
    /// It stopped before its end.
    Broken,
}

/// The record of a rehearsal, bound to a plan hash by the run that holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Where it ran.
    pub replica: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// How far it got.
    pub round_trip: RoundTrip,
    /// The structural fingerprint of the copy before, equal to the primary's.
    pub fingerprint: String,
    /// The fingerprint after each unit; empty where that was not read.
    #[serde(default)]
    pub reached: Vec<String>,
    /// The units' measurements, from the first time up.
    pub units: Vec<UnitFacts>,
    /// The verdict.
    pub verdict: RehearsalVerdict,
    /// What that lets expect of the primary; absent where the catalog of the copy could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<Box<Prediction>>,
}

impl Rehearsal {
    /// Returns the structure that the primary must have before a unit, as the rehearsal met it there; `None` where that
    /// is not known, or where a part of the unit may be in force.
    pub fn before(&self, unit: usize, units: &[UnitStatus]) -> Option<&str> {
        let none_of = |status: &UnitStatus| matches!(status, UnitStatus::Open | UnitStatus::Undone);
        let (done, rest) = units.split_at_checked(unit)?;
        if !done.iter().all(|status| *status == UnitStatus::Done) || !rest.iter().all(none_of) {
            return None;
        }
        match unit.checked_sub(1) {
            None => Some(&self.fingerprint),
            Some(last) => self.reached.get(last).map(String::as_str),
        }
    }
}

#[cfg(test)]
mod tests {
    use UnitStatus::{Done, Intent, Open, Reverting, Undone};

    use super::*;

    #[test]
    fn a_structure_is_expected_only_at_the_edge_of_what_is_applied() {
        let rehearsal = Rehearsal {
            replica: String::new(),
            started_at: Timestamp::UNIX_EPOCH,
            finished_at: Timestamp::UNIX_EPOCH,
            round_trip: RoundTrip::Complete,
            fingerprint: "f0".to_owned(),
            reached: vec!["f1".to_owned(), "f2".to_owned()],
            units: Vec::new(),
            verdict: RehearsalVerdict::Passed,
            prediction: None,
        };
        let check = |unit, units: &[UnitStatus], expected| {
            assert_eq!(rehearsal.before(unit, units), expected, "{unit} {units:?}");
        };
        check(0, &[Open, Open, Open], Some("f0"));
        check(0, &[Undone, Open, Open], Some("f0"));
        check(1, &[Done, Open, Open], Some("f1"));
        check(2, &[Done, Done, Undone], Some("f2"));
        check(1, &[Done, Intent, Open], None);
        check(0, &[Open, Done, Open], None);
        check(1, &[Reverting { blocks: 1 }, Open, Open], None);
        check(3, &[Done, Done, Done], None);
        check(9, &[Open], None);
    }
}
