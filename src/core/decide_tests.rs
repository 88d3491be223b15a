//! Tests of the decisions: named cases, then every world that the loop can come into.

use std::collections::HashMap;

use super::*;
use crate::core::fixture::{at, forward_only, plan, watched};
use crate::core::observation::{BaselineRecord, Blocker, Wish};

const SUSPEND: fn(&mut Wish) = |wish| wish.suspend = true;
const GONE: fn(&mut Wish) = |wish| wish.gone = true;
const ABORT: fn(&mut Wish) = |wish| wish.abort = true;
const ROLLBACK: fn(&mut Wish) = |wish| wish.rollback = true;
const RETRY: fn(&mut Wish) = |wish| wish.retry = true;

fn cause() -> Cause {
    Cause::new(Reason::ApplyFailed, "step add-tier at 1:1: column exists")
}

fn attempt(class: Class, reason: Reason, retry_at: Timestamp) -> Attempt {
    let blocker = Blocker {
        pid: 7,
        application: String::new(),
        age_seconds: None,
        activity: String::new(),
    };
    Attempt {
        at: at(0),
        count: 1,
        class,
        cause: Cause::new(reason, "failed"),
        retry_at,
        blockers: vec![blocker],
    }
}

fn breach() -> Assessment {
    Assessment::Breach {
        metric: "error-rate".to_owned(),
        at: at(9),
        message: "0.41 > 0.05".to_owned(),
    }
}

fn unknown(action: UnknownAction) -> Assessment {
    let (metric, message) = ("error-rate".to_owned(), "no data".to_owned());
    Assessment::Unknown {
        metric,
        since: at(1),
        action,
        next: at(20),
        message,
    }
}

fn watch(assessment: Assessment, due: bool) -> Option<WatchFacts> {
    Some(WatchFacts {
        assessment,
        due,
        next: at(20),
    })
}

fn seen(plan: &Plan, done: usize) -> Observation {
    let status = |unit| {
        if unit < done {
            UnitStatus::Done
        } else {
            UnitStatus::Open
        }
    };
    Observation {
        units: (0..plan.units.len()).map(status).collect(),
        ..Observation::default()
    }
}

fn applying() -> State {
    State::Applying { since: at(0) }
}

fn watching() -> State {
    State::Watching {
        applied_at: at(0),
        since: at(0),
    }
}

fn rolling_back() -> State {
    State::RollingBack {
        since: at(0),
        cause: cause(),
        aborted: false,
    }
}

fn held() -> State {
    State::Held {
        applied_at: at(0),
        cause: cause(),
    }
}

/// A decision in a few words, for tables.
fn word(decision: &Decision) -> String {
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
    let check = |state: &State, done: usize, wishes: [(fn(&mut Wish), &str); 4]| {
        for (wish, expected) in wishes {
            let plan = watched(OnBreach::Rollback);
            let mut seen = Observation {
                baseline: Some(BaselineRecord::default()),
                watch: watch(Assessment::Continue { next: at(20) }, false),
                ..seen(&plan, done)
            };
            wish(&mut seen.wish);
            assert_eq!(
                word(&decide(&plan, state, &seen, at(1))),
                expected,
                "{state:?}, {done}, {:?}",
                seen.wish
            );
        }
    };
    let (aborted, back) = ("Aborted Aborted", "RollingBack RollbackRequested false");
    let nothing = "Aborted RollbackRequested";
    let before = [
        (SUSPEND, "wait Suspended"),
        (ABORT, aborted),
        (GONE, aborted),
        (ROLLBACK, nothing),
    ];
    check(&State::Planned, 0, before);
    check(&State::Rehearsing { since: at(0) }, 0, before);
    check(&applying(), 0, before);
    let undo = "RollingBack Aborted true";
    check(
        &applying(),
        1,
        [
            (SUSPEND, "wait Suspended"),
            (ABORT, undo),
            (GONE, undo),
            (ROLLBACK, back),
        ],
    );
    check(
        &watching(),
        3,
        [
            (SUSPEND, "wait Analyzing"),
            (ABORT, undo),
            (GONE, "Succeeded"),
            (ROLLBACK, back),
        ],
    );
    check(
        &held(),
        3,
        [
            (SUSPEND, "stop"),
            (ABORT, undo),
            (GONE, "Succeeded"),
            (ROLLBACK, back),
        ],
    );
    check(
        &held(),
        3,
        [
            (RETRY, "Watching"),
            (ABORT, undo),
            (GONE, "Succeeded"),
            (ROLLBACK, back),
        ],
    );
    check(
        &held(),
        1,
        [
            (RETRY, "Applying"),
            (ABORT, undo),
            (GONE, "Failed ApplyFailed"),
            (ROLLBACK, back),
        ],
    );
    let revert = "Revert { unit: 0, block: 0 }";
    check(
        &rolling_back(),
        1,
        [
            (SUSPEND, revert),
            (ABORT, revert),
            (GONE, revert),
            (RETRY, revert),
        ],
    );
    let done = |outcome| State::Done { at: at(0), outcome };
    check(
        &done(Outcome::Succeeded),
        3,
        [
            (SUSPEND, "stop"),
            (ABORT, "stop"),
            (RETRY, "stop"),
            (ROLLBACK, back),
        ],
    );
    let failed = done(Outcome::RollbackFailed(cause()));
    check(
        &failed,
        2,
        [(SUSPEND, "stop"), (GONE, "stop"), (RETRY, back), (ROLLBACK, back)],
    );
    let ended = done(Outcome::RolledBack(cause()));
    check(
        &ended,
        0,
        [
            (SUSPEND, "stop"),
            (ABORT, "stop"),
            (RETRY, "stop"),
            (ROLLBACK, "stop"),
        ],
    );
}

#[test]
fn the_watch_leads_to_what_the_policy_says() {
    let check = |on_breach: OnBreach, assessment: Assessment, expected: &str| {
        let plan = watched(on_breach);
        let text = format!("{on_breach:?} {assessment:?}");
        let seen = Observation {
            watch: watch(assessment, false),
            ..seen(&plan, 3)
        };
        assert_eq!(
            word(&decide(&plan, &watching(), &seen, at(10))),
            expected,
            "{text}"
        );
    };
    check(OnBreach::Rollback, breach(), "RollingBack MetricBreached false");
    check(OnBreach::Pause, breach(), "Held MetricBreached");
    check(OnBreach::Notify, breach(), "wait Analyzing");
    for on_breach in [OnBreach::Rollback, OnBreach::Pause, OnBreach::Notify] {
        check(on_breach, unknown(UnknownAction::Pause), "wait MetricUnknown");
        check(
            on_breach,
            unknown(UnknownAction::Rollback),
            "RollingBack MetricUnknown false",
        );
        check(on_breach, unknown(UnknownAction::Continue), "wait Analyzing");
        check(
            on_breach,
            Assessment::Inconclusive {
                message: String::new(),
            },
            "Held AnalysisInconclusive",
        );
        check(on_breach, Assessment::Passed, "Succeeded");
        check(on_breach, Assessment::Continue { next: at(20) }, "wait Analyzing");
    }
}

#[test]
fn a_breach_that_is_only_told_of_ends_with_the_window() {
    let plan = watched(OnBreach::Notify);
    let seen = Observation {
        watch: watch(breach(), false),
        ..seen(&plan, 3)
    };
    assert_eq!(
        word(&decide(&plan, &watching(), &seen, at(899))),
        "wait Analyzing"
    );
    assert_eq!(word(&decide(&plan, &watching(), &seen, at(900))), "Succeeded");
}

#[test]
fn a_due_sample_is_taken_before_anything_is_judged() {
    let plan = watched(OnBreach::Rollback);
    let mut seen = Observation {
        watch: watch(Assessment::Passed, true),
        ..seen(&plan, 3)
    };
    seen.wish.suspend = true;
    assert_eq!(word(&decide(&plan, &watching(), &seen, at(10))), "Sample");
}

#[test]
fn what_cannot_come_back_is_never_rolled_back_by_itself() {
    let plan = Plan {
        analysis: watched(OnBreach::Rollback).analysis,
        ..forward_only()
    };
    let breached = Observation {
        watch: watch(breach(), false),
        ..seen(&plan, 3)
    };
    let Decision::Move(State::Held { cause, .. }) = decide(&plan, &watching(), &breached, at(10)) else {
        panic!("not held");
    };
    assert!(
        cause
            .message
            .contains("step index is irreversible: the index is needed"),
        "{}",
        cause.message
    );
    // Of a part that can come back, it does.
    let failed = |done| Observation {
        attempt: Some(attempt(Class::User, Reason::ApplyFailed, at(0))),
        ..seen(&plan, done)
    };
    assert_eq!(
        word(&decide(&plan, &applying(), &failed(1), at(1))),
        "RollingBack ApplyFailed false"
    );
    assert_eq!(
        word(&decide(&plan, &applying(), &failed(2), at(1))),
        "Held ApplyFailed"
    );
}

#[test]
fn failures_are_waited_out_or_end_the_run() {
    let plan = plan();
    let check = |done: usize, class: Class, now: i64, expected: &str| {
        let attempt = Some(attempt(class, Reason::ApplyFailed, at(5)));
        let seen = Observation {
            attempt,
            ..seen(&plan, done)
        };
        assert_eq!(
            word(&decide(&plan, &applying(), &seen, at(now))),
            expected,
            "{class:?} at {now}"
        );
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
        let seen = Observation {
            attempt: Some(attempt(Class::Transient, reason, at(0))),
            ..seen(&plan, done)
        };
        assert_eq!(
            word(&decide(&plan, state, &seen, at(now))),
            expected,
            "{state:?} {done} {reason} {now}"
        );
    };
    check(
        &applying(),
        1,
        Reason::WaitingForLock,
        limit - 1,
        "Apply { unit: 1 }",
    );
    check(
        &applying(),
        1,
        Reason::WaitingForLock,
        limit,
        "RollingBack LockTimeout false",
    );
    check(
        &applying(),
        0,
        Reason::WaitingForLock,
        limit,
        "Failed LockTimeout",
    );
    check(
        &applying(),
        0,
        Reason::DatabaseUnreachable,
        limit,
        "Apply { unit: 0 }",
    );
    check(
        &rolling_back(),
        1,
        Reason::WaitingForLock,
        limit * 9,
        "Revert { unit: 0, block: 0 }",
    );
}

#[test]
fn the_primary_is_touched_only_after_the_copy_and_the_metrics() {
    let plan = Plan {
        rehearse: true,
        ..watched(OnBreach::Rollback)
    };
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
    check(
        &rehearsing,
        |seen| seen.rehearsal = Some(RehearsalVerdict::Passed),
        "Baseline",
    );
    let unhealthy = |seen: &mut Observation| {
        seen.rehearsal = Some(RehearsalVerdict::Passed);
        let unhealthy = Some(Cause::new(Reason::BaselineUnhealthy, "0.2 > 0.05"));
        seen.baseline = Some(BaselineRecord {
            unhealthy,
            ..BaselineRecord::default()
        });
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
    let seen = Observation {
        attempt: Some(attempt(Class::User, Reason::ApplyFailed, at(0))),
        ..seen(&plan, 2)
    };
    let Decision::Move(State::Done {
        outcome: Outcome::RollbackFailed(failure),
        ..
    }) = decide(&plan, &rolling_back(), &seen, at(1))
    else {
        panic!("not failed");
    };
    assert_eq!(failure.reason, Reason::RollbackFailed);
    assert!(failure.message.contains("column exists"), "{}", failure.message);
}

/// Everything that the next decision depends on, but the clock, which stands still.
#[derive(Clone, Debug)]
struct World {
    state: State,
    seen: Observation,
}

const NOW: i64 = 100;

impl World {
    fn new(plan: &Plan) -> Self {
        let copy = if plan.rehearse {
            CopyLevel::Before
        } else {
            CopyLevel::None
        };
        Self {
            state: State::Planned,
            seen: Observation {
                copy,
                ..seen(plan, 0)
            },
        }
    }

    fn decide(&self, plan: &Plan, wish: &Wish, assessment: Option<&Assessment>) -> Decision {
        let mut seen = Observation {
            wish: wish.clone(),
            ..self.seen.clone()
        };
        if plan.analysis.is_some() && matches!(self.state, State::Watching { .. }) {
            seen.watch = assessment.and_then(|assessment| watch(assessment.clone(), false));
        }
        decide(plan, &self.state, &seen, at(NOW))
    }

    /// The world after an effect that took effect.
    fn after(&self, plan: &Plan, effect: Effect) -> Self {
        let mut next = self.clone();
        next.seen.attempt = None;
        match effect {
            Effect::Rehearse => next.seen.rehearsal = Some(RehearsalVerdict::Passed),
            Effect::Baseline => next.seen.baseline = Some(BaselineRecord::default()),
            Effect::Apply { unit } => next.seen.units[unit] = UnitStatus::Done,
            Effect::Revert { unit, block } => {
                let blocks = plan.units[unit].way_back.as_ref().unwrap().len();
                let reverting = UnitStatus::Reverting { blocks: block + 1 };
                next.seen.units[unit] = if block + 1 == blocks {
                    UnitStatus::Undone
                } else {
                    reverting
                };
            }
            Effect::Follow { applied: true } => next.seen.copy = CopyLevel::After,
            Effect::Follow { applied: false } => next.seen.copy = CopyLevel::Before,
            Effect::Sample => {}
        }
        next
    }

    fn moved(&self, state: State) -> Self {
        Self {
            state,
            seen: Observation {
                attempt: None,
                ..self.seen.clone()
            },
        }
    }

    /// Every world that may follow an effect: it took effect, it failed for good, it failed for now, or nobody knows.
    fn outcomes(&self, plan: &Plan, effect: Effect) -> Vec<Self> {
        let failed = |class| {
            let attempt = Some(attempt(class, Reason::ApplyFailed, at(0)));
            Self {
                seen: Observation {
                    attempt,
                    ..self.seen.clone()
                },
                ..self.clone()
            }
        };
        let mut outcomes = vec![
            self.after(plan, effect),
            failed(Class::User),
            failed(Class::Transient),
        ];
        match effect {
            Effect::Apply { unit } => {
                let mut lost = failed(Class::Ambiguous);
                lost.seen.units[unit] = UnitStatus::Intent;
                outcomes.push(lost);
            }
            Effect::Rehearse => {
                let mut refuted = self.clone();
                refuted.seen.rehearsal = Some(RehearsalVerdict::Failed(cause()));
                outcomes.push(refuted);
            }
            _ => {}
        }
        outcomes
    }

    /// Everything that the samples may say; one thing will do where nobody asks.
    fn assessments(&self) -> Vec<Assessment> {
        let mut all = vec![Assessment::Passed];
        if matches!(self.state, State::Watching { .. }) {
            all.extend([Assessment::Continue { next: at(NOW) }, breach()]);
            all.push(Assessment::Inconclusive {
                message: String::new(),
            });
            all.extend(
                [
                    UnknownAction::Pause,
                    UnknownAction::Rollback,
                    UnknownAction::Continue,
                ]
                .map(unknown),
            );
        }
        all
    }

    fn key(&self) -> String {
        format!("{self:?}")
    }
}

fn plans() -> Vec<Plan> {
    let mut plans = Vec::new();
    for base in [plan(), forward_only()] {
        for rehearse in [false, true] {
            plans.push(Plan {
                rehearse,
                ..base.clone()
            });
            for on_breach in [OnBreach::Rollback, OnBreach::Pause, OnBreach::Notify] {
                plans.push(Plan {
                    rehearse,
                    on_breach,
                    analysis: watched(on_breach).analysis,
                    ..base.clone()
                });
            }
        }
    }
    plans
}

fn wishes() -> Vec<Wish> {
    let mut wishes = vec![Wish::default()];
    for change in [SUSPEND, GONE, ABORT, ROLLBACK, RETRY] {
        let mut wish = Wish::default();
        change(&mut wish);
        wishes.push(wish);
    }
    wishes
}

/// Finds every world that can be come into from the beginning, and checks each step on the way.
fn explore(plan: &Plan) -> Vec<World> {
    let mut found = HashMap::new();
    let mut open = vec![World::new(plan)];
    while let Some(world) = open.pop() {
        if found.insert(world.key(), world.clone()).is_some() {
            continue;
        }
        for wish in wishes() {
            for assessment in world.assessments() {
                match world.decide(plan, &wish, Some(&assessment)) {
                    Decision::Run(effect) => {
                        check_effect(plan, &world, &wish, effect);
                        open.extend(world.outcomes(plan, effect));
                    }
                    Decision::Move(next) => {
                        check_move(plan, &world, &wish, &next);
                        open.push(world.moved(next));
                    }
                    Decision::Wait { .. } | Decision::Stop => {}
                }
            }
        }
    }
    found.into_values().collect()
}

fn check_effect(plan: &Plan, world: &World, wish: &Wish, effect: Effect) {
    let units = &world.seen.units;
    match effect {
        Effect::Apply { unit } => {
            assert!(matches!(world.state, State::Applying { .. }), "{world:?}");
            assert!(
                !wish.suspend && !wish.abort && !wish.gone,
                "forward against a wish: {world:?}"
            );
            assert!(
                units[..unit].iter().all(|unit| *unit == UnitStatus::Done),
                "out of order: {world:?}"
            );
            assert!(
                !plan.rehearse || world.seen.rehearsal == Some(RehearsalVerdict::Passed),
                "{world:?}"
            );
            assert!(
                plan.analysis.is_none() || world.seen.baseline.is_some(),
                "{world:?}"
            );
        }
        Effect::Revert { unit, .. } => {
            assert!(matches!(world.state, State::RollingBack { .. }), "{world:?}");
            assert!(
                units[unit + 1..].iter().all(|unit| !unit.in_force()),
                "out of order: {world:?}"
            );
            assert!(plan.units[unit].way_back.is_some(), "{world:?}");
        }
        Effect::Rehearse | Effect::Baseline | Effect::Sample | Effect::Follow { .. } => {}
    }
}

fn check_move(plan: &Plan, world: &World, wish: &Wish, next: &State) {
    assert!(world.state.may_become(next), "{:?} -> {next:?}", world.state);
    let units = &world.seen.units;
    let nothing = !units.iter().any(|unit| unit.in_force());
    let everything = units.iter().all(|unit| *unit == UnitStatus::Done);
    match next {
        State::Watching { .. }
        | State::Done {
            outcome: Outcome::Succeeded,
            ..
        } => assert!(everything, "{world:?}"),
        State::Done {
            outcome: Outcome::RollbackFailed(_),
            ..
        } => assert!(!nothing, "{world:?}"),
        // Nobody is there any more to decide what becomes of the rest.
        State::Done {
            outcome: Outcome::Failed(_),
            ..
        } if wish.gone => {}
        State::Done { .. } => assert!(nothing, "{next:?} leaves something behind: {world:?}"),
        State::RollingBack { .. } => assert_eq!(plan.no_way_back(units), None, "{world:?}"),
        State::Planned | State::Rehearsing { .. } | State::Applying { .. } | State::Held { .. } => {}
    }
}

/// Goes on while all effects succeed, until nothing happens any more.
fn settle(plan: &Plan, world: &World, wish: &Wish, assessment: Option<&Assessment>) -> World {
    let (mut world, mut wish) = (world.clone(), wish.clone());
    for _ in 0..50 {
        match world.decide(plan, &wish, assessment) {
            Decision::Run(effect) => world = world.after(plan, effect),
            Decision::Move(next) => {
                world = world.moved(next);
                // One-shot tokens are answered by the move; a deletion stays.
                wish = Wish {
                    gone: wish.gone,
                    suspend: wish.suspend,
                    ..Wish::default()
                };
            }
            Decision::Wait { .. } | Decision::Stop => return world,
        }
    }
    panic!("does not come to rest: {world:?}");
}

#[test]
fn every_step_in_every_world_is_legal() {
    for plan in plans() {
        let worlds = explore(&plan);
        assert!(worlds.len() > 20, "{} worlds of {plan:?}", worlds.len());
    }
}

#[test]
fn every_world_comes_to_an_end_when_effects_succeed() {
    for plan in plans() {
        for world in explore(&plan) {
            let rest = settle(&plan, &world, &Wish::default(), Some(&Assessment::Passed));
            let waits_for_a_person = matches!(rest.state, State::Held { .. });
            assert!(
                rest.state.is_done() || waits_for_a_person,
                "{world:?} rests in {rest:?}"
            );
            if waits_for_a_person {
                let retry = Wish {
                    retry: true,
                    ..Wish::default()
                };
                let end = settle(&plan, &rest, &retry, Some(&Assessment::Passed));
                assert!(end.state.is_done(), "{rest:?} rests in {end:?}");
            }
        }
    }
}

#[test]
fn every_world_ends_when_its_object_is_deleted() {
    let gone = Wish {
        gone: true,
        ..Wish::default()
    };
    for plan in plans() {
        for world in explore(&plan) {
            for assessment in world.assessments() {
                let rest = settle(&plan, &world, &gone, Some(&assessment));
                assert!(rest.state.is_done(), "{world:?} rests in {rest:?}");
            }
        }
    }
}

#[test]
fn the_end_absorbs_everything_but_a_wish_for_the_way_back() {
    for plan in plans() {
        for world in explore(&plan).iter().filter(|world| world.state.is_done()) {
            for wish in wishes().iter().filter(|wish| !wish.rollback && !wish.retry) {
                assert_eq!(
                    world.decide(&plan, wish, None),
                    Decision::Stop,
                    "{world:?} {wish:?}"
                );
            }
        }
    }
}

#[test]
fn a_breach_is_answered_in_the_decision_that_sees_it() {
    let plan = watched(OnBreach::Rollback);
    let worlds = explore(&plan);
    let watching: Vec<_> = worlds
        .iter()
        .filter(|world| matches!(world.state, State::Watching { .. }))
        .collect();
    assert!(!watching.is_empty());
    for world in watching {
        let decision = world.decide(
            &plan,
            &Wish {
                suspend: true,
                ..Wish::default()
            },
            Some(&breach()),
        );
        assert_eq!(word(&decision), "RollingBack MetricBreached false", "{world:?}");
    }
}
