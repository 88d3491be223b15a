//! Pure: whose turn it is among the Migrations of one database.
//!
//! Within a stream versions go upwards, one after the other; a version that failed or was rolled back holds up the higher
//! ones. One run at a time in a database.

use jiff::Timestamp;

use super::observation::Wish;
use super::state::{Cause, Outcome, State};
use crate::api::{Reason, Version};

/// A Migration that wants something.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// Identity of the object.
    pub uid: String,
    /// Name of the object, for messages.
    pub name: String,
    /// When it was created; of two objects with one version the older has it.
    pub created: Timestamp,
    /// The line of versions.
    pub stream: String,
    /// The version.
    pub version: Version,
    /// Hash of what it asks for.
    pub hash: String,
    /// What people ask for, against the tokens that its latest run answered.
    pub wish: Wish,
    /// The latest run of this stream and version, whoever asked for it.
    pub latest: Option<Latest>,
}

/// The latest run of a version.
#[derive(Clone, Debug)]
pub struct Latest {
    /// UID of the object that asked for it.
    pub uid: String,
    /// Hash of what was planned.
    pub hash: String,
    /// Where it is.
    pub state: State,
}

/// What a Migration may do now.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// Begin a run.
    Begin,
    /// Go on with its latest run: a person asked for its way back.
    Resume,
    /// Nothing is to be done: show the latest run.
    Show,
    /// Nothing is to be done: the version is at or below the baseline.
    Covered(Cause),
    /// Wait for another one.
    Wait(Cause),
    /// It cannot run as it is.
    Refuse(Cause),
}

/// What is in force in a database.
#[derive(Clone, Debug, Default)]
pub struct InForce {
    /// Applied versions by stream.
    pub versions: Vec<(String, Version)>,
    /// Up to here everything counts as applied.
    pub baseline: Option<Version>,
    /// Whether a lower version than the current one may still be applied.
    pub out_of_order: bool,
}

impl InForce {
    /// Returns the highest version that is in force in a stream, the baseline included.
    pub fn current(&self, stream: &str) -> Option<&Version> {
        let applied =
            self.versions.iter().filter(|(name, _)| name == stream).map(|(_, version)| version).max();
        applied.max(self.baseline.as_ref())
    }
}

/// Decides each candidate's place; the answers are in the order of the candidates.
pub fn order(candidates: &[Candidate], in_force: &InForce) -> Vec<Place> {
    candidates.iter().map(|candidate| place(candidate, candidates, in_force)).collect()
}

fn place(me: &Candidate, all: &[Candidate], in_force: &InForce) -> Place {
    if let Some(other) = all.iter().find(|other| has_older_claim(other, me)) {
        let message = format!(
            "Migration {} has version {} of stream {} already; use another version",
            other.name, me.version, me.stream
        );
        return Place::Refuse(Cause::new(Reason::VersionConflict, message));
    }
    if let Some(latest) = &me.latest
        && let Some(settled) = of_latest(me, latest)
    {
        return settled;
    }
    if me.wish.gone {
        return Place::Wait(Cause::new(Reason::Pending, "the Migration is being deleted"));
    }
    if in_force.baseline.as_ref().is_some_and(|baseline| me.version <= *baseline) {
        let message = format!(
            "version {} is at or below the baseline of the database, and counts as applied",
            me.version
        );
        return Place::Covered(Cause::new(Reason::Succeeded, message));
    }
    if !in_force.out_of_order
        && let Some(current) = in_force.current(&me.stream)
        && me.version < *current
    {
        let message = format!(
            "version {} is lower than {current}, which is in force in stream {}; use a higher version, or allow policy.outOfOrder",
            me.version, me.stream
        );
        return Place::Refuse(Cause::new(Reason::OutOfOrder, message));
    }
    if let Some(earlier) =
        all.iter().filter(|other| goes_before(other, me, in_force)).min_by_key(|other| &other.version)
    {
        let message = format!("waiting for Migration {} with version {}", earlier.name, earlier.version);
        return Place::Wait(Cause::new(Reason::WaitingForEarlierVersion, message));
    }
    if me.wish.suspend {
        return Place::Wait(Cause::new(
            Reason::Suspended,
            "spec.suspend is true: nothing begins until it is false",
        ));
    }
    Place::Begin
}

/// What the latest run of the version means, if it settles the matter.
fn of_latest(me: &Candidate, latest: &Latest) -> Option<Place> {
    let State::Done { outcome, .. } = &latest.state else {
        return Some(Place::Resume);
    };
    let same = latest.hash == me.hash;
    match outcome {
        Outcome::Succeeded if me.wish.rollback && same => Some(Place::Resume),
        Outcome::Succeeded if same => Some(Place::Show),
        Outcome::Succeeded => {
            let message = format!(
                "version {} is applied with other content (planned {}, now {}); restore its text, and put the change into a new version",
                me.version,
                short(&latest.hash),
                short(&me.hash)
            );
            Some(Place::Refuse(Cause::new(Reason::ChecksumMismatch, message)))
        }
        Outcome::RollbackFailed(_) if me.wish.retry || me.wish.rollback => Some(Place::Resume),
        Outcome::RollbackFailed(_) => Some(Place::Show),
        Outcome::RolledBack(_) | Outcome::Failed(_) | Outcome::Aborted(_) if same && !me.wish.retry => {
            // A new object with the same content after a deletion is a new wish, unless something was rolled back.
            let fresh = latest.uid != me.uid && matches!(outcome, Outcome::Aborted(_));
            (!fresh).then_some(Place::Show)
        }
        Outcome::RolledBack(_) | Outcome::Failed(_) | Outcome::Aborted(_) => None,
    }
}

fn short(hash: &str) -> &str {
    hash.get(..19).unwrap_or(hash)
}

fn same_version(a: &Candidate, b: &Candidate) -> bool {
    a.stream == b.stream && a.version == b.version
}

fn has_older_claim(other: &Candidate, me: &Candidate) -> bool {
    if other.uid == me.uid || other.wish.gone || !same_version(other, me) {
        return false;
    }
    let owns =
        |candidate: &Candidate| candidate.latest.as_ref().is_some_and(|latest| latest.uid == candidate.uid);
    match (owns(other), owns(me)) {
        (true, false) => true,
        (false, true) => false,
        _ => (other.created, &other.uid) < (me.created, &me.uid),
    }
}

fn goes_before(other: &Candidate, me: &Candidate, in_force: &InForce) -> bool {
    // What comes too late itself holds nobody up.
    let passed = in_force.current(&other.stream).is_some_and(|current| other.version < *current);
    if passed && !in_force.out_of_order {
        return false;
    }
    let applied = other
        .latest
        .as_ref()
        .is_some_and(|latest| matches!(latest.state, State::Done { outcome: Outcome::Succeeded, .. }));
    other.uid != me.uid
        && !other.wish.gone
        && other.stream == me.stream
        && other.version < me.version
        && !applied
}
