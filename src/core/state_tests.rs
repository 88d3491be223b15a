//! Tests of the states: the whole table of transitions, and what holds in each state.

use super::*;
use crate::core::fixture::at;

fn cause() -> Cause {
    Cause::new(Reason::MetricBreached, "error-rate 0.41 > 0.05 in 3 of the last 5 samples")
}

/// Every state, each outcome of its own, under a short name.
fn all() -> Vec<(&'static str, State)> {
    let done = |outcome| State::Done { at: at(9), outcome };
    vec![
        ("Planned", State::Planned),
        ("Rehearsing", State::Rehearsing { since: at(1) }),
        ("Applying", State::Applying { since: at(2) }),
        ("Watching", State::Watching { applied_at: at(3), since: at(3) }),
        ("Held", State::Held { applied_at: at(3), cause: cause() }),
        ("RollingBack", State::RollingBack { since: at(4), cause: cause(), aborted: false }),
        ("Succeeded", done(Outcome::Succeeded)),
        ("RolledBack", done(Outcome::RolledBack(cause()))),
        ("Failed", done(Outcome::Failed(cause()))),
        ("RollbackFailed", done(Outcome::RollbackFailed(cause()))),
        ("Aborted", done(Outcome::Aborted(cause()))),
    ]
}

#[test]
fn only_these_transitions_are_legal() {
    let table = [
        ("Planned", "Rehearsing Applying Failed Aborted"),
        ("Rehearsing", "Applying Failed Aborted"),
        ("Applying", "Watching Held RollingBack Succeeded Failed Aborted"),
        ("Watching", "Held RollingBack Succeeded"),
        ("Held", "Applying Watching RollingBack Succeeded Failed"),
        ("RollingBack", "RolledBack RollbackFailed Aborted"),
        ("Succeeded", "RollingBack"),
        ("RolledBack", ""),
        ("Failed", ""),
        ("RollbackFailed", "RollingBack"),
        ("Aborted", ""),
    ];
    let states = all();
    assert_eq!(table.len(), states.len(), "a state is missing in the table");
    for (name, state) in &states {
        let allowed = table.iter().find(|(row, _)| row == name).unwrap().1;
        for (other, next) in &states {
            let expected = allowed.split_whitespace().any(|word| word == *other);
            assert_eq!(state.may_become(next), expected, "{name} -> {other}");
        }
    }
}

#[test]
fn the_end_is_left_only_for_the_way_back() {
    for (name, state) in all().iter().filter(|(_, state)| state.is_done()) {
        for (other, next) in all() {
            let back = matches!(next, State::RollingBack { .. });
            assert!(!state.may_become(&next) || back, "{name} -> {other}");
        }
    }
}

#[test]
fn names_are_stable() {
    for (name, state) in all() {
        assert_eq!(state.phase(), name, "the ledger stores these words");
    }
}

#[test]
fn the_primary_has_the_change_in_these_states() {
    for (name, state) in all() {
        assert_eq!(state.applied(), ["Watching", "Held", "Succeeded"].contains(&name), "{name}");
    }
}

#[test]
fn states_survive_the_ledger() {
    for (name, state) in all() {
        let json = serde_json::to_value(&state).unwrap();
        assert_eq!(serde_json::from_value::<State>(json).unwrap(), state, "{name}");
    }
}

#[test]
fn reasons_are_stored_as_their_words() {
    for reason in Reason::ALL {
        let json = serde_json::to_value(reason).unwrap();
        assert_eq!(json, reason.as_str());
        assert_eq!(serde_json::from_value::<Reason>(json).unwrap(), *reason);
    }
}
