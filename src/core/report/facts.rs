//! Conditions that are facts beside kstatus: what holds of the plan, the copy, the primary and the watch.

use super::conditions::{Draft, Tri};
use super::summary::{applied_units, in_force, is_applied};
use super::{rehearsed, text};
use crate::api::{Reason, condition};
use crate::core::analysis::Assessment;
use crate::core::observation::RehearsalVerdict;
use crate::core::plan::Plan;
use crate::core::rehearsal::{Rehearsal, RoundTrip};
use crate::core::state::{Cause, Outcome, State};
use crate::core::view::RunView;

/// The types of facts.
pub(super) const ALL: [&str; 5] = [
    condition::PLAN_VALID,
    condition::REHEARSED,
    condition::APPLIED,
    condition::ANALYZED,
    condition::ROLLED_BACK,
];

/// Reasons that say that the plan itself is wrong. For all others it is not known whether it may run.
const ABOUT_THE_PLAN: [Reason; 12] = [
    Reason::PlanInvalid,
    Reason::SqlRefused,
    Reason::IrreversibleStep,
    Reason::PolicyViolation,
    Reason::ChecksumMismatch,
    Reason::OutOfOrder,
    Reason::VersionConflict,
    Reason::ProviderNotFound,
    Reason::QueryInvalid,
    Reason::StallBudgetExceeded,
    Reason::LedgerTouched,
    Reason::Unsupported,
];

/// Says of a refused Migration whether it is the plan that is wrong.
pub(super) fn refused(cause: &Cause) -> Draft {
    let status = if ABOUT_THE_PLAN.contains(&cause.reason) { Tri::False } else { Tri::Unknown };
    Draft::new(condition::PLAN_VALID, status, cause.reason, &cause.message)
}

/// Makes the facts of a run.
pub(super) fn of(run: &RunView) -> Vec<Draft> {
    let facts =
        [Some(plan(run)), Some(rehearsed(run)), Some(applied(run)), Some(analyzed(run)), rolled_back(run)];
    facts.into_iter().flatten().collect()
}

/// Returns how the run ended, other than well.
fn failure(run: &RunView) -> Option<&Cause> {
    match &run.state {
        State::Done { outcome, .. } => outcome.cause(),
        _ => None,
    }
}

fn plan(run: &RunView) -> Draft {
    let plan = &run.plan;
    // The rehearsal said so before the primary was touched.
    if let Some(Rehearsal { verdict: RehearsalVerdict::Failed(cause), .. }) = &run.rehearsal
        && cause.reason == Reason::StallBudgetExceeded
    {
        return Draft::new(condition::PLAN_VALID, Tri::False, cause.reason, &cause.message);
    }
    let message = format!(
        "{} in {}, {:?}, {}",
        text::count(plan.units.len(), "unit"),
        text::count(plan.steps.len(), "step"),
        plan.reversibility,
        text::count(plan.findings.len(), "finding"),
    );
    Draft::new(condition::PLAN_VALID, Tri::True, Reason::PlanReady, &message)
}

fn rehearsed(run: &RunView) -> Draft {
    let draft = |status, reason, message: &str| Draft::new(condition::REHEARSED, status, reason, message);
    if !run.plan.rehearse {
        return draft(Tri::False, Reason::NotRequired, "the Database has no copy to rehearse on");
    }
    match (&run.rehearsal, failure(run)) {
        (Some(rehearsal), _) => match &rehearsal.verdict {
            RehearsalVerdict::Passed => {
                draft(Tri::True, Reason::RehearsalPassed, &passed(&run.plan, rehearsal))
            }
            RehearsalVerdict::Failed(cause) => draft(Tri::False, cause.reason, &cause.message),
        },
        (None, Some(cause)) => draft(Tri::False, cause.reason, "the run ended before the plan was rehearsed"),
        (None, None) => draft(Tri::Unknown, Reason::Rehearsing, "the plan was not rehearsed to the end yet"),
    }
}

fn passed(plan: &Plan, rehearsal: &Rehearsal) -> String {
    let replica = &rehearsal.replica;
    let done = match rehearsal.round_trip {
        RoundTrip::Complete => {
            format!("applied, undone and applied again on {replica}, with the same catalog each time")
        }
        RoundTrip::UpOnly => {
            format!("applied on {replica}; not undone there, because the plan is ForwardOnly")
        }
        RoundTrip::Broken => format!("applied on {replica}; the round trip was not completed"),
    };
    format!("{done}{}", rehearsed::told(plan, rehearsal))
}

fn applied(run: &RunView) -> Draft {
    let draft = |status, reason, message: &str| Draft::new(condition::APPLIED, status, reason, message);
    let of = text::count(run.plan.units.len(), "unit");
    let some = format!("{} of {of} applied", applied_units(run));
    if is_applied(run) {
        let since = run.applied_at.map_or_else(String::new, |at| format!(" since {}", text::moment(at)));
        return draft(Tri::True, Reason::Applied, &format!("the primary has all of {of}{since}"));
    }
    match &run.state {
        State::Planned | State::Rehearsing { .. } => {
            draft(Tri::False, Reason::Pending, "the primary is untouched")
        }
        State::Applying { .. } => draft(Tri::False, Reason::Applying, &some),
        State::RollingBack { .. } => draft(Tri::False, Reason::RollingBack, &some),
        State::Held { cause, .. } => draft(Tri::False, cause.reason, &some),
        State::Done { outcome: Outcome::RolledBack(_), .. } => draft(Tri::False, Reason::RolledBack, &some),
        State::Done { outcome, .. } => {
            draft(Tri::False, outcome.cause().map_or(Reason::ApplyFailed, |cause| cause.reason), &some)
        }
        // Applied by definition, see above.
        State::Watching { .. } => draft(Tri::True, Reason::Applied, &some),
    }
}

fn analyzed(run: &RunView) -> Draft {
    let draft = |status, reason, message: &str| Draft::new(condition::ANALYZED, status, reason, message);
    if run.plan.analysis.is_none() {
        return draft(Tri::False, Reason::NotRequired, "spec.analysis is absent: nothing is watched");
    }
    let over = run.state.is_done() || matches!(run.state, State::RollingBack { .. });
    match (run.watch.as_ref().map(|watch| &watch.assessment), failure(run)) {
        (Some(Assessment::Passed), _) => {
            draft(Tri::True, Reason::AnalysisPassed, "every metric was good until the end")
        }
        (Some(Assessment::Breach { message, .. }), _) => draft(Tri::False, Reason::MetricBreached, message),
        (Some(Assessment::Inconclusive { message }), _) => {
            draft(Tri::False, Reason::AnalysisInconclusive, message)
        }
        (Some(Assessment::Unknown { message, .. }), _) => draft(Tri::Unknown, Reason::MetricUnknown, message),
        (_, Some(cause)) => draft(Tri::False, cause.reason, "the run ended before the watch did"),
        (_, None) if over => draft(Tri::False, Reason::NotRequired, "the watch was ended before its time"),
        (Some(Assessment::Continue { .. } | Assessment::Extend { .. }), None) => {
            draft(Tri::Unknown, Reason::Analyzing, "the watch goes on")
        }
        (None, None) => draft(Tri::Unknown, Reason::Pending, "the watch begins when all is applied"),
    }
}

fn rolled_back(run: &RunView) -> Option<Draft> {
    let draft =
        |status, reason, message: &str| Some(Draft::new(condition::ROLLED_BACK, status, reason, message));
    let left = text::count(in_force(run), "unit");
    match &run.state {
        State::RollingBack { cause, .. } => {
            draft(Tri::False, Reason::RollingBack, &format!("{left} to undo, because: {}", cause.message))
        }
        State::Done { at, outcome: Outcome::RolledBack(cause) } => draft(
            Tri::True,
            cause.reason,
            &format!("undone at {}, because: {}", text::moment(*at), cause.message),
        ),
        State::Done { outcome: Outcome::RollbackFailed(cause), .. } => draft(
            Tri::False,
            Reason::RollbackFailed,
            &format!("{left} could not be undone: {}", cause.message),
        ),
        State::Done { outcome: Outcome::Aborted(cause), .. }
            if run.applied_at.is_some() || was_undone(run) =>
        {
            draft(Tri::True, Reason::Aborted, &cause.message)
        }
        _ => None,
    }
}

fn was_undone(run: &RunView) -> bool {
    run.units.contains(&crate::core::observation::UnitStatus::Undone)
}
