//! Pure: whose turn it is among the Migrations of one database.
//!
//! Within a stream versions go upwards, one after the other; a version that failed or was rolled back holds up the higher
//! ones. One run at a time in a database.

use std::time::Duration;

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
    /// The stall budgets of its steps' own, which are not in the hash.
    pub budgets: Vec<Option<Duration>>,
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
    /// The stall budgets of the steps' own.
    pub budgets: Vec<Option<Duration>>,
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
    if let Some(earlier) = waited_for(me, all, in_force) {
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
        // Another budget is the way out that the message names.
        Outcome::RolledBack(cause) | Outcome::Failed(cause)
            if cause.reason == Reason::StallBudgetExceeded && me.budgets != latest.budgets =>
        {
            None
        }
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

/// Whom to name of those that go before: the first one that waits for a person, or else the one just before, since that name
/// stays true while the others end one after the other.
fn waited_for<'a>(me: &Candidate, all: &'a [Candidate], in_force: &InForce) -> Option<&'a Candidate> {
    let before = || all.iter().filter(|other| goes_before(other, me, in_force));
    let stands = |one: &&Candidate| {
        let ended = |latest: &Latest| matches!(latest.state, State::Held { .. } | State::Done { .. });
        one.wish.suspend || one.latest.as_ref().is_some_and(ended)
    };
    before().filter(stands).min_by_key(|one| &one.version).or(before().max_by_key(|one| &one.version))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text, "version").unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn candidate(uid: &str, number: &str) -> Candidate {
        Candidate {
            uid: uid.to_owned(),
            name: uid.to_owned(),
            created: at(1),
            stream: "default".to_owned(),
            version: version(number),
            hash: "sha256:a".to_owned(),
            budgets: vec![None],
            wish: Wish::default(),
            latest: None,
        }
    }

    fn with_run(mut candidate: Candidate, hash: &str, outcome: Outcome) -> Candidate {
        let state = State::Done { at: at(2), outcome };
        candidate.latest =
            Some(Latest { uid: candidate.uid.clone(), hash: hash.to_owned(), budgets: vec![None], state });
        candidate
    }

    fn failed() -> Outcome {
        Outcome::Failed(Cause::new(Reason::RehearsalFailed, "no"))
    }

    fn applied(numbers: &[&str]) -> InForce {
        let versions = numbers.iter().map(|number| ("default".to_owned(), version(number))).collect();
        InForce { versions, baseline: None, out_of_order: false }
    }

    /// Names each place in one word, with the reason where it has one.
    fn places(candidates: &[Candidate], in_force: &InForce) -> Vec<String> {
        let word = |place: Place| match place {
            Place::Begin => "begin".to_owned(),
            Place::Resume => "resume".to_owned(),
            Place::Show => "show".to_owned(),
            Place::Covered(_) => "covered".to_owned(),
            Place::Wait(cause) => format!("wait {}", cause.reason),
            Place::Refuse(cause) => format!("refuse {}", cause.reason),
        };
        order(candidates, in_force).into_iter().map(word).collect()
    }

    fn check(candidates: &[Candidate], in_force: &InForce, expected: &[&str]) {
        assert_eq!(places(candidates, in_force), expected);
    }

    #[test]
    fn versions_go_upwards_one_after_the_other() {
        let two = [candidate("b", "10"), candidate("a", "9")];
        check(&two, &applied(&[]), &["wait WaitingForEarlierVersion", "begin"]);
        let stuck = [with_run(candidate("a", "9"), "sha256:a", failed()), candidate("b", "10")];
        check(&stuck, &applied(&[]), &["show", "wait WaitingForEarlierVersion"]);
        let done = [with_run(candidate("a", "9"), "sha256:a", Outcome::Succeeded), candidate("b", "10")];
        check(&done, &applied(&["9"]), &["show", "begin"]);
    }

    #[test]
    fn who_waits_is_told_of_the_one_just_before_or_of_the_one_that_waits_for_a_person() {
        let check = |first: Candidate, expected: &str| {
            let all = [first, candidate("b", "10"), candidate("c", "11")];
            let Some(Place::Wait(cause)) = order(&all, &applied(&[])).pop() else { panic!("it waits") };
            assert!(cause.message.contains(expected), "{}", cause.message);
        };
        check(candidate("a", "9"), "Migration b");
        check(with_run(candidate("a", "9"), "sha256:a", failed()), "Migration a");
        let suspended = Wish { suspend: true, ..Wish::default() };
        check(Candidate { wish: suspended, ..candidate("a", "9") }, "Migration a");
    }

    #[test]
    fn streams_do_not_wait_for_each_other() {
        let other = Candidate { stream: "audit".to_owned(), ..candidate("b", "10") };
        check(&[candidate("a", "9"), other], &applied(&[]), &["begin", "begin"]);
    }

    #[test]
    fn a_late_version_is_refused_and_holds_nobody_up() {
        let late = [candidate("a", "8"), candidate("b", "10")];
        check(&late, &applied(&["9"]), &["refuse OutOfOrder", "begin"]);
        let allowed = InForce { out_of_order: true, ..applied(&["9"]) };
        check(&late, &allowed, &["begin", "wait WaitingForEarlierVersion"]);
        let baseline = InForce { baseline: Some(version("9")), ..applied(&[]) };
        check(&late, &baseline, &["covered", "begin"]);
    }

    #[test]
    fn of_two_objects_with_one_version_the_older_has_it() {
        let younger = Candidate { created: at(5), ..candidate("b", "9") };
        check(&[candidate("a", "9"), younger.clone()], &applied(&[]), &["begin", "refuse VersionConflict"]);
        let owner =
            with_run(Candidate { created: at(5), ..candidate("b", "9") }, "sha256:a", Outcome::Succeeded);
        let late = Candidate { latest: owner.latest.clone(), ..candidate("a", "9") };
        check(&[late, owner], &applied(&["9"]), &["refuse VersionConflict", "show"]);
    }

    #[test]
    fn what_is_applied_runs_once_whatever_becomes_of_the_object() {
        let again = Candidate {
            uid: "new".to_owned(),
            ..with_run(candidate("old", "9"), "sha256:a", Outcome::Succeeded)
        };
        check(std::slice::from_ref(&again), &applied(&["9"]), &["show"]);
        let changed = Candidate { hash: "sha256:b".to_owned(), ..again };
        check(&[changed], &applied(&["9"]), &["refuse ChecksumMismatch"]);
    }

    #[test]
    fn a_failure_is_tried_again_for_another_plan_or_a_token_only() {
        let same = with_run(candidate("a", "9"), "sha256:a", failed());
        check(std::slice::from_ref(&same), &applied(&[]), &["show"]);
        let edited = Candidate { hash: "sha256:b".to_owned(), ..same.clone() };
        check(&[edited], &applied(&[]), &["begin"]);
        let asked = Candidate { wish: Wish { retry: true, ..Wish::default() }, ..same };
        check(&[asked], &applied(&[]), &["begin"]);
    }

    #[test]
    fn people_can_take_back_what_is_applied_and_hold_back_what_is_not() {
        let applied_one = with_run(candidate("a", "9"), "sha256:a", Outcome::Succeeded);
        let back = Candidate { wish: Wish { rollback: true, ..Wish::default() }, ..applied_one };
        check(&[back], &applied(&["9"]), &["resume"]);
        let suspended = Candidate { wish: Wish { suspend: true, ..Wish::default() }, ..candidate("a", "9") };
        check(&[suspended], &applied(&[]), &["wait Suspended"]);
    }

    #[test]
    fn another_budget_is_a_way_out_of_one_that_was_exceeded() {
        let check = |reason: Reason, budget: Option<Duration>, expected: Place| {
            let cause = Cause::new(reason, "too long");
            let mut one = with_run(candidate("a", "1"), "sha256:a", Outcome::Failed(cause));
            one.budgets = vec![budget];
            assert_eq!(order(&[one], &InForce::default()), [expected], "{reason} {budget:?}");
        };
        let larger = Some(Duration::from_secs(5));
        check(Reason::StallBudgetExceeded, larger, Place::Begin);
        check(Reason::StallBudgetExceeded, None, Place::Show);
        check(Reason::ApplyFailed, larger, Place::Show);
    }
}
