//! Pure data: the record of a rehearsal.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::observation::RehearsalVerdict;

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
    /// The units' measurements, from the first time up.
    pub units: Vec<UnitFacts>,
    /// The verdict.
    pub verdict: RehearsalVerdict,
}
