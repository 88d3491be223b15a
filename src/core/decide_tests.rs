//! Tests of the decisions, case by case.

use super::*;
use crate::core::fixture::{at, forward_only, plan, watched};
use crate::core::observation::{BaselineRecord, Blocker, Wish};

pub(super) const SUSPEND: fn(&mut Wish) = |wish| wish.suspend = true;
pub(super) const GONE: fn(&mut Wish) = |wish| wish.gone = true;
pub(super) const ABORT: fn(&mut Wish) = |wish| wish.abort = true;
pub(super) const ROLLBACK: fn(&mut Wish) = |wish| wish.rollback = true;
pub(super) const RETRY: fn(&mut Wish) = |wish| wish.retry = true;

pub(super) fn cause() -> Cause {
    Cause::new(Reason::ApplyFailed, "step add-tier at 1:1: column exists")
}

pub(super) fn attempt(class: Class, reason: Reason, retry_at: Timestamp) -> Attempt {
    let blocker = Blocker {
        pid: 7,
        application: String::new(),
        age_seconds: None,
        activity: String::new(),
        prepared: None,
    };
    Attempt {
        first: at(0),
        at: at(0),
        count: 1,
        class,
        cause: Cause::new(reason, "failed"),
        retry_at,
        blockers: vec![blocker],
    }
}

pub(super) fn breach() -> Assessment {
    Assessment::Breach { metric: "error-rate".to_owned(), at: at(9), message: "0.41 > 0.05".to_owned() }
}

pub(super) fn unknown(action: UnknownAction) -> Assessment {
    let (metric, message) = ("error-rate".to_owned(), "no data".to_owned());
    Assessment::Unknown { metric, since: at(1), action, next: at(20), message }
}

pub(super) fn watch(assessment: Assessment, due: bool) -> WatchFacts {
    WatchFacts { assessment, due, next: at(20) }
}

pub(super) fn seen(plan: &Plan, done: usize) -> Observation {
    let status = |unit| {
        if unit < done { UnitStatus::Done } else { UnitStatus::Open }
    };
    Observation { units: (0..plan.units.len()).map(status).collect(), ..Observation::default() }
}

fn applying() -> State {
    State::Applying { since: at(0) }
}

fn watching() -> State {
    State::Watching { applied_at: at(0), since: at(0) }
}

fn rolling_back() -> State {
    State::RollingBack { since: at(0), cause: cause(), aborted: false }
}

fn held() -> State {
    State::Held { applied_at: at(0), cause: cause() }
}

/// A decision in a few words, for tables.
pub(super) fn word(decision: &Decision) -> String {
    match decision {
        Decision::Run(effect) => format!("{effect:?}"),
        Decision::Move(State::RollingBack { cause, aborted, .. }) => {
            format!("RollingBack {} {aborted}", cause.reason)
        }
        Decision::Move(State::Held { cause, .. }) => format!("Held {}", cause.reason),
        Decision::Move(state @ State::Done { outcome, .. }) => match outcome.cause() {
            Some(cause) => format!("{} {}", state.phase(), cause.reason),
            None => state.phase().to_owned(),
        },
        Decision::Move(state) => state.phase().to_owned(),
        Decision::Wait { cause, .. } => format!("wait {}", cause.reason),
        Decision::Stop => "stop".to_owned(),
    }
}

#[test]
fn people_are_heard_in_every_state() {
    // What follows suspend, abort, deletion, rollback and retry.
    let check = |state: &State, done: usize, expected: [&str; 5]| {
        for (wish, expected) in [SUSPEND, ABORT, GONE, ROLLBACK, RETRY].into_iter().zip(expected) {
            let plan = watched(OnBreach::Rollback);
            let mut seen = seen(&plan, done);
            seen.baseline = Some(BaselineRecord::default());
            seen.watch = Some(watch(Assessment::Continue { next: at(20) }, false));
            wish(&mut seen.wish);
            let decided = word(&decide(&plan, state, &seen, at(1)));
            assert_eq!(decided, expected, "{state:?}, {done} units, {:?}", seen.wish);
        }
    };
    let (suspended, aborted, early) = ("wait Suspended", "Aborted Aborted", "Aborted RollbackRequested");
    let (undo, back) = ("RollingBack Aborted true", "RollingBack RollbackRequested false");
    check(&State::Planned, 0, [suspended, aborted, aborted, early, "Applying"]);
    check(&State::Rehearsing { since: at(0) }, 0, [suspended, aborted, aborted, early, "Rehearse"]);
    check(&applying(), 0, [suspended, aborted, aborted, early, "Apply { unit: 0 }"]);
    check(&applying(), 1, [suspended, undo, undo, back, "Apply { unit: 1 }"]);
    check(&watching(), 3, ["wait Analyzing", undo, "Succeeded", back, "wait Analyzing"]);
    check(&held(), 3, ["stop", undo, "Succeeded", back, "Watching"]);
    check(&held(), 1, ["stop", undo, "Failed ApplyFailed", back, "Applying"]);
    check(&rolling_back(), 1, ["Revert { unit: 0, block: 0 }"; 5]);
    let done = |outcome| State::Done { at: at(0), outcome };
    check(&done(Outcome::Succeeded), 3, ["stop", "stop", "stop", back, "stop"]);
    check(&done(Outcome::RollbackFailed(cause())), 2, ["stop", "stop", "stop", back, back]);
    check(&done(Outcome::RolledBack(cause())), 0, ["stop"; 5]);
    check(&done(Outcome::Failed(cause())), 0, ["stop"; 5]);
    check(&done(Outcome::Aborted(cause())), 0, ["stop"; 5]);
}

#[test]
fn the_watch_leads_to_what_the_policy_says() {
    let check = |on_breach: OnBreach, assessment: Assessment, expected: &str| {
        let plan = watched(on_breach);
        let text = format!("{on_breach:?} {assessment:?}");
        let seen = Observation { watch: Some(watch(assessment, false)), ..seen(&plan, 3) };
        assert_eq!(word(&decide(&plan, &watching(), &seen, at(10))), expected, "{text}");
    };
    check(OnBreach::Rollback, breach(), "RollingBack MetricBreached false");
    check(OnBreach::Pause, breach(), "Held MetricBreached");
    check(OnBreach::Notify, breach(), "wait Analyzing");
    for on_breach in [OnBreach::Rollback, OnBreach::Pause, OnBreach::Notify] {
        check(on_breach, unknown(UnknownAction::Pause), "wait MetricUnknown");
        check(on_breach, unknown(UnknownAction::Rollback), "RollingBack MetricUnknown false");
        check(on_breach, unknown(UnknownAction::Continue), "wait Analyzing");
        check(on_breach, Assessment::Inconclusive { message: String::new() }, "Held AnalysisInconclusive");
        check(on_breach, Assessment::Passed, "Succeeded");
        check(on_breach, Assessment::Continue { next: at(20) }, "wait Analyzing");
    }
}

#[test]
fn a_breach_that_is_only_told_of_ends_with_the_window() {
    let plan = watched(OnBreach::Notify);
    let seen = Observation { watch: Some(watch(breach(), false)), ..seen(&plan, 3) };
    assert_eq!(word(&decide(&plan, &watching(), &seen, at(899))), "wait Analyzing");
    assert_eq!(word(&decide(&plan, &watching(), &seen, at(900))), "Succeeded");
}

#[test]
fn a_due_sample_is_taken_before_anything_is_judged() {
    let plan = watched(OnBreach::Rollback);
    let mut seen = Observation { watch: Some(watch(Assessment::Passed, true)), ..seen(&plan, 3) };
    seen.wish.suspend = true;
    assert_eq!(word(&decide(&plan, &watching(), &seen, at(10))), "Sample");
}

#[test]
fn what_cannot_come_back_is_never_rolled_back_by_itself() {
    let plan = Plan { analysis: watched(OnBreach::Rollback).analysis, ..forward_only() };
    let breached = Observation { watch: Some(watch(breach(), false)), ..seen(&plan, 3) };
    let Decision::Move(State::Held { cause, .. }) = decide(&plan, &watching(), &breached, at(10)) else {
        panic!("not held");
    };
    assert!(cause.message.contains("step index is irreversible: the index is needed"), "{}", cause.message);
    // Of a part that can come back, it does.
    let failed = |done| Observation {
        attempt: Some(attempt(Class::User, Reason::ApplyFailed, at(0))),
        ..seen(&plan, done)
    };
    assert_eq!(word(&decide(&plan, &applying(), &failed(1), at(1))), "RollingBack ApplyFailed false");
    assert_eq!(word(&decide(&plan, &applying(), &failed(2), at(1))), "Held ApplyFailed");
}

#[test]
fn failures_are_waited_out_or_end_the_run() {
    let plan = plan();
    let check = |done: usize, class: Class, now: i64, expected: &str| {
        let attempt = Some(attempt(class, Reason::ApplyFailed, at(5)));
        let seen = Observation { attempt, ..seen(&plan, done) };
        assert_eq!(word(&decide(&plan, &applying(), &seen, at(now))), expected, "{class:?} at {now}");
    };
    for class in [Class::Transient, Class::Ambiguous] {
        check(1, class, 4, "wait ApplyFailed");
        check(1, class, 5, "Apply { unit: 1 }");
    }
    for class in [Class::User, Class::Terminal, Class::Bug] {
        check(0, class, 4, "Failed ApplyFailed");
        check(1, class, 4, "RollingBack ApplyFailed false");
    }
}

#[test]
fn locks_are_tried_for_until_the_limit_and_on_the_way_back_for_ever() {
    let plan = plan();
    let limit = i64::try_from(plan.guard.lock_retry_for.as_secs()).unwrap();
    let check = |state: &State, done: usize, reason: Reason, now: i64, expected: &str| {
        let seen =
            Observation { attempt: Some(attempt(Class::Transient, reason, at(0))), ..seen(&plan, done) };
        assert_eq!(word(&decide(&plan, state, &seen, at(now))), expected, "{state:?} {done} {reason} {now}");
    };
    check(&applying(), 1, Reason::WaitingForLock, limit - 1, "Apply { unit: 1 }");
    check(&applying(), 1, Reason::WaitingForLock, limit, "RollingBack LockTimeout false");
    check(&applying(), 0, Reason::WaitingForLock, limit, "Failed LockTimeout");
    check(&applying(), 0, Reason::DatabaseUnreachable, limit, "Apply { unit: 0 }");
    check(&rolling_back(), 1, Reason::WaitingForLock, limit * 9, "Revert { unit: 0, block: 0 }");
}

#[test]
fn the_primary_is_touched_only_after_the_copy_and_the_metrics() {
    let plan = Plan { rehearse: true, ..watched(OnBreach::Rollback) };
    let check = |state: &State, change: fn(&mut Observation), expected: &str| {
        let mut seen = seen(&plan, 0);
        change(&mut seen);
        assert_eq!(word(&decide(&plan, state, &seen, at(1))), expected);
    };
    let rehearsing = State::Rehearsing { since: at(0) };
    check(&State::Planned, |_| {}, "Rehearsing");
    check(&rehearsing, |_| {}, "Rehearse");
    let failed = |seen: &mut Observation| seen.rehearsal = Some(RehearsalVerdict::Failed(cause()));
    check(&rehearsing, failed, "Failed ApplyFailed");
    check(&rehearsing, |seen| seen.rehearsal = Some(RehearsalVerdict::Passed), "Baseline");
    let unhealthy = |seen: &mut Observation| {
        seen.rehearsal = Some(RehearsalVerdict::Passed);
        let unhealthy = Some(Cause::new(Reason::BaselineUnhealthy, "0.2 > 0.05"));
        seen.baseline = Some(BaselineRecord { unhealthy, ..BaselineRecord::default() });
    };
    check(&rehearsing, unhealthy, "Failed BaselineUnhealthy");
    let healthy = |seen: &mut Observation| {
        seen.rehearsal = Some(RehearsalVerdict::Passed);
        seen.baseline = Some(BaselineRecord::default());
    };
    check(&rehearsing, healthy, "Applying");
}

#[test]
fn a_rollback_that_fails_names_what_set_it_off() {
    let plan = plan();
    let seen =
        Observation { attempt: Some(attempt(Class::User, Reason::ApplyFailed, at(0))), ..seen(&plan, 2) };
    let Decision::Move(State::Done { outcome: Outcome::RollbackFailed(failure), .. }) =
        decide(&plan, &rolling_back(), &seen, at(1))
    else {
        panic!("not failed");
    };
    assert_eq!(failure.reason, Reason::RollbackFailed);
    assert!(failure.message.contains("column exists"), "{}", failure.message);
}

#[test]
fn a_run_begins_where_the_plan_alone_leads() {
    let check = |plan: &Plan, change: fn(&mut Wish), expected: &str| {
        let mut seen = seen(plan, 0);
        change(&mut seen.wish);
        assert_eq!(first(plan, &seen, at(1)).phase(), expected);
    };
    let plain = Plan { rehearse: false, ..plan() };
    check(&plain, |_| (), "Applying");
    check(&Plan { rehearse: true, ..plan() }, |_| (), "Rehearsing");
    // The baseline is read from the metrics, and a wish may be taken back: neither is known from the plan.
    check(&Plan { rehearse: false, ..watched(OnBreach::Rollback) }, |_| (), "Planned");
    check(&plain, SUSPEND, "Planned");
    check(&plain, GONE, "Planned");
}

#[test]
fn the_end_is_recorded_with_the_last_unit_and_only_there() {
    let check =
        |plan: &Plan, done: usize, change: fn(&mut Observation), effect: Effect, expected: Option<&str>| {
            let mut seen = seen(plan, done);
            change(&mut seen);
            let end = end_with(plan, &applying(), &seen, effect, at(1));
            assert_eq!(end.as_ref().map(State::phase), expected, "{effect:?}");
        };
    let plain = Plan { rehearse: false, ..plan() };
    let last = plain.units.len() - 1;
    let apply = |unit| Effect::Apply { unit };
    check(&plain, last, |_| (), apply(last), Some("Succeeded"));
    check(
        &plain,
        last,
        |seen| seen.attempt = Some(attempt(Class::Transient, Reason::WaitingForLock, at(0))),
        apply(last),
        Some("Succeeded"),
    );
    check(&plain, last, |_| (), Effect::Revert { unit: last, block: 0 }, None);
    check(&plain, last, |seen| seen.wish.abort = true, apply(last), None);
    // The copy follows first, and a watched plan goes on.
    check(&plain, last, |seen| seen.copy = CopyLevel::Before, apply(last), None);
    check(&Plan { rehearse: false, ..watched(OnBreach::Rollback) }, last, |_| (), apply(last), None);
    if last > 0 {
        check(&plain, 0, |_| (), apply(0), None);
    }
}

#[test]
fn a_rollback_that_is_asked_for_during_the_last_step_is_not_forgotten() {
    let check = |plan: &Plan, change: fn(&mut Observation)| {
        let mut seen = seen(plan, plan.units.len());
        change(&mut seen);
        ROLLBACK(&mut seen.wish);
        let decision = decide(plan, &applying(), &seen, at(1));
        assert_eq!(word(&decision), "RollingBack RollbackRequested false");
    };
    let plain = Plan { rehearse: false, ..plan() };
    check(&plain, |_| ());
    check(&plain, |seen| seen.copy = CopyLevel::Before);
    check(&plain, |seen| seen.copy = CopyLevel::After);
    check(&Plan { rehearse: false, ..watched(OnBreach::Rollback) }, |_| ());
}

#[test]
fn copy_follows_after_the_watch_and_holds_no_sample_up() {
    let check = |assessment: Assessment, expected: &str| {
        let plan = watched(OnBreach::Rollback);
        let mut seen = seen(&plan, plan.units.len());
        (seen.copy, seen.watch) = (CopyLevel::Before, Some(watch(assessment, false)));
        assert_eq!(word(&decide(&plan, &watching(), &seen, at(10))), expected);
    };
    check(Assessment::Continue { next: at(20) }, "wait Analyzing");
    check(Assessment::Passed, "Follow { applied: true }");
}

#[test]
fn copy_follows_when_its_next_attempt_is_due_and_no_failure_ends_that() {
    let check = |attempt: Attempt, expected: &str| {
        let plan = Plan { analysis: None, ..plan() };
        let mut seen = seen(&plan, plan.units.len());
        (seen.copy, seen.attempt) = (CopyLevel::Before, Some(attempt));
        assert_eq!(word(&decide(&plan, &applying(), &seen, at(10))), expected);
    };
    let failed = |class, retry_at| attempt(class, Reason::ReplicaUnreachable, retry_at);
    check(failed(Class::Transient, at(11)), "wait ReplicaUnreachable");
    check(failed(Class::Transient, at(10)), "Follow { applied: true }");
    check(failed(Class::Terminal, at(11)), "Follow { applied: true }");
}

/// A plan whose second unit is a backfill under way.
fn filling() -> (Plan, Observation) {
    let mut plan = Plan { analysis: watched(OnBreach::Rollback).analysis, ..plan() };
    plan.units[1].up.backfill = Some(Box::default());
    let mut seen = seen(&plan, 1);
    seen.units[1] = UnitStatus::Intent;
    (plan, seen)
}

#[test]
fn a_rollback_that_is_asked_for_comes_before_what_the_metrics_say_of_a_backfill() {
    let (mut plan, mut seen) = filling();
    plan.on_breach = OnBreach::Pause;
    seen.watch = Some(watch(breach(), false));
    ROLLBACK(&mut seen.wish);
    assert_eq!(word(&decide(&plan, &applying(), &seen, at(10))), "RollingBack RollbackRequested false");
}

#[test]
fn backfill_is_watched_while_it_runs() {
    let check = |on_breach: OnBreach, facts: WatchFacts, suspend: bool, expected: &str| {
        let (mut plan, mut seen) = filling();
        plan.on_breach = on_breach;
        seen.wish.suspend = suspend;
        seen.watch = Some(facts);
        let found = word(&decide(&plan, &applying(), &seen, at(10)));
        assert!(found.starts_with(expected), "{on_breach:?} {expected}: {found}");
    };
    let well = || Assessment::Passed;
    for suspend in [false, true] {
        check(OnBreach::Rollback, watch(well(), true), suspend, "Sample");
        check(OnBreach::Rollback, watch(breach(), false), suspend, "RollingBack");
        check(OnBreach::Pause, watch(breach(), false), suspend, "Held");
    }
    check(OnBreach::Notify, watch(breach(), false), false, "Apply { unit: 1 }");
    check(OnBreach::Rollback, watch(well(), false), false, "Apply { unit: 1 }");
    check(OnBreach::Rollback, watch(unknown(UnknownAction::Rollback), false), false, "RollingBack");
    check(OnBreach::Rollback, watch(unknown(UnknownAction::Pause), false), false, "wait");
}

#[test]
fn what_stops_a_backfill_keeps_what_is_done() {
    let check = |class, reason, on_breach, expected: &str| {
        let (mut plan, mut seen) = filling();
        plan.on_breach = on_breach;
        seen.attempt = Some(attempt(class, reason, at(1)));
        let found = word(&decide(&plan, &applying(), &seen, at(10)));
        assert!(found.starts_with(expected), "{reason:?} {expected}: {found}");
    };
    check(Class::User, Reason::BackfillFailed, OnBreach::Rollback, "Held");
    check(Class::User, Reason::ValidationFailed, OnBreach::Rollback, "RollingBack");
    check(Class::User, Reason::ValidationFailed, OnBreach::Pause, "Held");
    check(Class::User, Reason::ApplyFailed, OnBreach::Rollback, "RollingBack");
}

#[test]
fn rows_that_are_held_have_their_time_from_when_they_were_met() {
    let (mut plan, mut seen) = filling();
    // The backfill comes first, and has gone on for an hour.
    plan.units.remove(0);
    seen.units.remove(0);
    let begun = Attempt { first: at(3600), ..attempt(Class::Transient, Reason::WaitingForLock, at(3601)) };
    seen.attempt = Some(begun);
    let at_minute = |minute: i64| word(&decide(&plan, &applying(), &seen, at(3600 + minute * 60)));
    assert!(at_minute(29).starts_with("Apply"), "{}", at_minute(29));
    assert!(at_minute(31).starts_with("Held"), "{}", at_minute(31));
}
