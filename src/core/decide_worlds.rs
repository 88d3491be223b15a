//! Tests of the decisions in every world that the loop can come into, whatever people ask for and whatever fails.

use std::collections::HashMap;

use super::tests::{
    ABORT, GONE, RETRY, ROLLBACK, SUSPEND, attempt, breach, cause, seen, unknown, watch, word,
};
use super::*;
use crate::core::fixture::{at, forward_only, plan, watched};
use crate::core::observation::{BaselineRecord, Wish};

/// Everything that the next decision depends on, but the clock, which stands still.
#[derive(Clone, Debug)]
struct World {
    state: State,
    seen: Observation,
}

const NOW: i64 = 100;

impl World {
    fn new(plan: &Plan) -> Self {
        let copy = if plan.rehearse { CopyLevel::Before } else { CopyLevel::None };
        Self { state: State::Planned, seen: Observation { copy, ..seen(plan, 0) } }
    }

    fn decide(&self, plan: &Plan, wish: &Wish, assessment: Option<&Assessment>) -> Decision {
        let mut seen = Observation { wish: wish.clone(), ..self.seen.clone() };
        if plan.analysis.is_some() && matches!(self.state, State::Watching { .. }) {
            seen.watch = assessment.map(|assessment| watch(assessment.clone(), false));
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
                next.seen.units[unit] = if block + 1 == blocks { UnitStatus::Undone } else { reverting };
            }
            Effect::Follow { applied: true } => next.seen.copy = CopyLevel::After,
            Effect::Follow { applied: false } => next.seen.copy = CopyLevel::Before,
            Effect::Sample => {}
        }
        next
    }

    fn moved(&self, state: State) -> Self {
        Self { state, seen: Observation { attempt: None, ..self.seen.clone() } }
    }

    /// Every world that may follow an effect: it took effect, it failed for good, it failed for now, or nobody knows.
    fn outcomes(&self, plan: &Plan, effect: Effect) -> Vec<Self> {
        let failed = |class| {
            let attempt = Some(attempt(class, Reason::ApplyFailed, at(0)));
            Self { seen: Observation { attempt, ..self.seen.clone() }, ..self.clone() }
        };
        let mut outcomes = vec![self.after(plan, effect), failed(Class::User), failed(Class::Transient)];
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
            all.push(Assessment::Inconclusive { message: String::new() });
            all.extend([UnknownAction::Pause, UnknownAction::Rollback, UnknownAction::Continue].map(unknown));
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
            plans.push(Plan { rehearse, ..base.clone() });
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
            assert!(!wish.suspend && !wish.abort && !wish.gone, "forward against a wish: {world:?}");
            assert!(units[..unit].iter().all(|unit| *unit == UnitStatus::Done), "out of order: {world:?}");
            assert!(!plan.rehearse || world.seen.rehearsal == Some(RehearsalVerdict::Passed), "{world:?}");
            assert!(plan.analysis.is_none() || world.seen.baseline.is_some(), "{world:?}");
        }
        Effect::Revert { unit, .. } => {
            assert!(matches!(world.state, State::RollingBack { .. }), "{world:?}");
            assert!(units[unit + 1..].iter().all(|unit| !unit.in_force()), "out of order: {world:?}");
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
        State::Watching { .. } | State::Done { outcome: Outcome::Succeeded, .. } => {
            assert!(everything, "{world:?}");
            // The move answers all tokens: nobody would hear of this one again.
            assert!(!wish.rollback, "went on against a wish for the way back: {world:?}");
        }
        State::Done { outcome: Outcome::RollbackFailed(_), .. } => assert!(!nothing, "{world:?}"),
        // Nobody is there any more to decide what becomes of the rest.
        State::Done { outcome: Outcome::Failed(_), .. } if wish.gone => {}
        State::Done { .. } => assert!(nothing, "{next:?} leaves something behind: {world:?}"),
        State::RollingBack { .. } => assert_eq!(plan.no_way_back(units), None, "{world:?}"),
        State::Rehearsing { .. } | State::Applying { .. } => {
            assert!(!wish.rollback && !wish.abort, "went on against a wish: {world:?} {wish:?}");
        }
        State::Held { .. } => {
            let asked = wish.rollback || wish.abort;
            assert!(!asked || plan.no_way_back(units).is_some(), "rests against a wish: {world:?} {wish:?}");
        }
        State::Planned => {}
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
                wish = Wish { gone: wish.gone, suspend: wish.suspend, ..Wish::default() };
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
            assert!(rest.state.is_done() || waits_for_a_person, "{world:?} rests in {rest:?}");
            if waits_for_a_person {
                let retry = Wish { retry: true, ..Wish::default() };
                let end = settle(&plan, &rest, &retry, Some(&Assessment::Passed));
                assert!(end.state.is_done(), "{rest:?} rests in {end:?}");
            }
        }
    }
}

#[test]
fn every_world_ends_when_its_object_is_deleted() {
    let gone = Wish { gone: true, ..Wish::default() };
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
                assert_eq!(world.decide(&plan, wish, None), Decision::Stop, "{world:?} {wish:?}");
            }
        }
    }
}

#[test]
fn a_breach_is_answered_in_the_decision_that_sees_it() {
    let plan = watched(OnBreach::Rollback);
    let worlds = explore(&plan);
    let watching: Vec<_> =
        worlds.iter().filter(|world| matches!(world.state, State::Watching { .. })).collect();
    assert!(!watching.is_empty());
    for world in watching {
        let decision = world.decide(&plan, &Wish { suspend: true, ..Wish::default() }, Some(&breach()));
        assert_eq!(word(&decision), "RollingBack MetricBreached false", "{world:?}");
    }
}
