//! The part of status that tells what will run, and what it will do.

use std::time::Duration;

use super::sections::{MAX_MODE, MAX_NAME, MAX_RELATION, MAX_STEPS, count};
use super::text;
use crate::api::migration_status::MAX_MESSAGE;
use crate::api::plan_status::{
    MAX_FINDINGS, MAX_INVERSE, MAX_PLAN_SUMMARY, MAX_PLANNED_LOCKS, MAX_REVERSIBILITY_REASON, MAX_SAFE_FORM,
};
use crate::api::{
    DurationText, EstimateStatus, Finding, LockStatus, PlanStatus, PlannedStep, Reversibility, Severity,
};
use crate::core::estimate::Estimate;
use crate::core::plan::{self, Plan, Unit};
use crate::core::preview::{Prediction, Preview, StatementPreview};

/// Longest summary of a step, in bytes.
const MAX_SUMMARY: usize = 256;
/// Longest code of a finding, in bytes.
const MAX_CODE: usize = 64;
/// Longest basis of an estimate, in bytes.
const MAX_BASIS: usize = 32;
/// Code of the findings about what was left out or overruled.
const ADJUSTED: &str = "StatementAdjusted";

/// Makes the plan's part of status; what a rehearsal let expect counts more than what was foreseen.
pub(super) fn of(plan: &Plan, prediction: Option<&Prediction>) -> PlanStatus {
    let preview = plan.preview.as_deref();
    let risk = prediction.map(|one| one.risk).or_else(|| preview.map(|preview| preview.risk));
    let summary = prediction.map(|one| &one.summary).or_else(|| preview.map(|preview| &preview.summary));
    let found = findings(plan);
    let omitted = found.len().saturating_sub(MAX_FINDINGS);
    PlanStatus {
        risk,
        summary: summary.map(|summary| text::line(summary, MAX_PLAN_SUMMARY)),
        reversibility: match plan.reversibility {
            plan::Reversibility::ForwardOnly => Reversibility::ForwardOnly,
            plan::Reversibility::ReversibleWithArchive => Reversibility::ReversibleWithArchive,
            plan::Reversibility::Reversible => Reversibility::Reversible,
        },
        reversibility_reason: preview
            .map(|preview| text::line(&preview.reversibility_reason, MAX_REVERSIBILITY_REASON)),
        findings: found.into_iter().take(MAX_FINDINGS).collect(),
        findings_omitted: (omitted > 0).then_some(count(omitted)),
        steps: plan
            .steps
            .iter()
            .take(MAX_STEPS)
            .enumerate()
            .map(|(index, step)| planned((plan, prediction), index, step))
            .collect(),
    }
}

/// What a person should know, most important first. What somebody decided to ignore is not among it.
fn findings(plan: &Plan) -> Vec<Finding> {
    let adjusted = plan.findings.iter().map(|finding| Finding {
        code: ADJUSTED.to_owned(),
        severity: Severity::Info,
        message: text::line(&finding.message, MAX_MESSAGE),
        safe_form: None,
        step: Some(text::cut(&finding.step, MAX_NAME)),
        line: Some(finding.line),
        column: Some(finding.column),
    });
    let mut all: Vec<Finding> =
        plan.preview.iter().flat_map(|preview| foreseen(preview)).chain(adjusted).collect();
    all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    all
}

fn foreseen(preview: &Preview) -> impl Iterator<Item = Finding> {
    preview.findings.iter().filter(|finding| finding.ignored.is_none()).map(|finding| Finding {
        code: text::cut(&finding.code, MAX_CODE),
        severity: finding.severity,
        message: text::line(&finding.message, MAX_MESSAGE),
        safe_form: Some(text::cut(&finding.safe_form, MAX_SAFE_FORM)).filter(|sql| !sql.is_empty()),
        step: preview.statements.get(finding.statement).map(|statement| text::cut(&statement.step, MAX_NAME)),
        line: Some(finding.line),
        column: Some(finding.column),
    })
}

fn planned((plan, prediction): (&Plan, Option<&Prediction>), index: usize, step: &plan::Step) -> PlannedStep {
    let units: Vec<&Unit> = plan.units.iter().filter(|unit| unit.step == index).collect();
    let reversible = units.iter().all(|unit| unit.way_back.is_some());
    let shape = PlannedStep {
        name: text::cut(&step.name, MAX_NAME),
        summary: text::line(&step.summary, MAX_SUMMARY),
        transactional: units.iter().all(|unit| unit.up.transactional),
        statements: count(units.iter().map(|unit| unit.up.statements.len()).sum()),
        reversible,
        inverse: Some(inverse(&units)).filter(|sql| reversible && !sql.is_empty()),
        ..PlannedStep::default()
    };
    let Some(preview) = &plan.preview else { return shape };
    let of_step = |unit: usize| plan.units.get(unit).is_some_and(|unit| unit.step == index);
    let statements: Vec<&StatementPreview> =
        preview.statements.iter().filter(|statement| of_step(statement.unit)).collect();
    let locks = locks(&statements);
    PlannedStep {
        lock: locks.first().map(|lock| lock.mode.clone()),
        locks,
        rewrite: Some(statements.iter().any(|statement| statement.rewrite)),
        scan: Some(statements.iter().any(|statement| statement.scan)),
        estimate: match prediction {
            Some(rehearsed) => estimate(rehearsed.units.iter().map(Option::as_ref), &of_step),
            None => estimate(preview.units.iter().map(|unit| unit.estimate.as_ref()), &of_step),
        },
        reversible_reason: reason(preview, &of_step).map(|reason| text::line(reason, MAX_SUMMARY)),
        ..shape
    }
}

/// Why a step can be undone no better: of its first unit that cannot be undone, or else of the first one.
fn reason<'a>(preview: &'a Preview, of_step: &impl Fn(usize) -> bool) -> Option<&'a str> {
    let units = || {
        let mine = preview.units.iter().enumerate().filter(|(index, _)| of_step(*index));
        mine.map(|(_, unit)| unit).filter(|unit| !unit.reason.is_empty())
    };
    let one_way = units().find(|unit| !unit.reversible);
    one_way.or_else(|| units().next()).map(|unit| unit.reason.as_str())
}

/// The strongest lock on each relation, strongest first.
fn locks(statements: &[&StatementPreview]) -> Vec<LockStatus> {
    let mut all: Vec<_> = statements.iter().flat_map(|statement| &statement.locks).collect();
    all.sort_by(|a, b| b.mode.cmp(&a.mode).then_with(|| a.relation.cmp(&b.relation)));
    let mut strongest: Vec<LockStatus> = Vec::new();
    for lock in all {
        let relation = text::cut(&lock.relation, MAX_RELATION);
        if strongest.len() < MAX_PLANNED_LOCKS && !strongest.iter().any(|one| one.relation == relation) {
            strongest.push(LockStatus { relation, mode: text::cut(lock.mode.name(), MAX_MODE) });
        }
    }
    strongest
}

/// The step's units, one after the other; nothing where one of them cannot be estimated.
fn estimate<'a>(
    units: impl Iterator<Item = Option<&'a Estimate>>,
    of_step: &impl Fn(usize) -> bool,
) -> Option<EstimateStatus> {
    let mine = units.enumerate().filter(|(index, _)| of_step(*index));
    let all: Option<Vec<&Estimate>> = mine.map(|(_, estimate)| estimate).collect();
    let all = all.filter(|all| !all.is_empty())?;
    let sum = |of: fn(&Estimate) -> f64| duration(all.iter().map(|estimate| of(estimate)).sum());
    let basis = all.iter().map(|estimate| estimate.basis).min()?;
    Some(EstimateStatus {
        held: duration(all.iter().map(|estimate| estimate.hold_ms.expected).fold(0.0, f64::max)),
        duration: sum(|estimate| estimate.total_ms.expected),
        low: sum(|estimate| estimate.total_ms.low),
        high: sum(|estimate| estimate.total_ms.high),
        basis: text::cut(&format!("{basis:?}"), MAX_BASIS),
    })
}

fn duration(milliseconds: f64) -> DurationText {
    let duration = Duration::try_from_secs_f64(milliseconds.max(0.0) / 1000.0).unwrap_or(Duration::MAX);
    // A number that nobody measured has no digits below a millisecond.
    DurationText::from(Duration::from_millis(u64::try_from(duration.as_millis().max(1)).unwrap_or(u64::MAX)))
}

/// The SQL that undoes units, in the order in which it would run, cut where it is long.
fn inverse(units: &[&Unit]) -> String {
    let blocks = units.iter().rev().flat_map(|unit| unit.way_back.iter().flatten());
    let mut sql = String::new();
    for statement in blocks.flat_map(|block| &block.statements) {
        if sql.len() > MAX_INVERSE {
            break;
        }
        if !sql.is_empty() {
            sql.push('\n');
        }
        sql.push_str(&statement.sql);
        sql.push(';');
    }
    text::cut(&sql, MAX_INVERSE)
}
