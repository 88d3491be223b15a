//! Pure: whether what was rehearsed fits the stall budget, and the ways out where it does not.

use std::time::Duration;

use super::plan::{Plan, Unit};
use super::preview::{Preview, UnitPreview, duration};
use super::rehearsal::{Rehearsal, RoundTrip, UnitFacts};
use super::state::Cause;
use crate::api::Reason;

/// What a rehearsal says of the stall budget.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Every unit held its locks for less than its budget.
    Fits,
    /// Some units are too long, and each of their statements is not.
    Divide {
        /// The plan, with one unit for each of those statements.
        plan: Box<Plan>,
        /// What was divided and why, for people.
        note: String,
    },
    /// A statement is too long by itself, or may not be taken apart from the others.
    Exceeds(Cause),
}

/// Judges a rehearsal that passed.
pub fn judge(plan: &Plan, rehearsal: &Rehearsal) -> Verdict {
    let over: Vec<(&UnitFacts, &Unit)> = rehearsal
        .units
        .iter()
        .filter_map(|facts| Some((facts, plan.units.get(facts.unit)?)))
        .filter(|(facts, unit)| unit.up.transactional && held(facts, unit) > unit.max_stall)
        .collect();
    // What stays on the copy stays there under the numbers of its units.
    let left =
        rehearsal.round_trip != RoundTrip::Complete && !plan.units.iter().all(|unit| unit.up.transactional);
    if let Some((facts, unit)) = over.iter().find(|(facts, unit)| left || !divisible(facts, unit)) {
        return Verdict::Exceeds(exceeds(plan, facts, unit));
    }
    let Some((longest, unit)) = over.iter().max_by_key(|(facts, unit)| held(facts, unit)) else {
        return Verdict::Fits;
    };
    let step = plan.step_of(longest.unit).map_or("?", |step| step.name.as_str());
    let note = format!(
        "the statements of step {step} commit one by one, because together they held their locks for {} on the copy",
        spoken(held(longest, unit))
    );
    let units: Vec<usize> = over.iter().map(|(facts, _)| facts.unit).collect();
    Verdict::Divide { plan: Box::new(divided(plan, &units)), note }
}

/// The time under locks that is the statements' own: how long a copy takes to commit says nothing of the plan.
fn held(facts: &UnitFacts, unit: &Unit) -> Duration {
    let Some(first) = unit.up.statements.iter().position(|statement| statement.blocking) else {
        return Duration::ZERO;
    };
    let statements: Duration = facts.statements.iter().skip(first).map(|statement| statement.duration).sum();
    statements.min(facts.held)
}

fn divisible(facts: &UnitFacts, unit: &Unit) -> bool {
    unit.divided.is_some() && blocking(facts, unit).all(|(_, held)| held <= unit.max_stall)
}

/// The statements that block somebody, each with the time that it took on the copy.
fn blocking<'a>(facts: &'a UnitFacts, unit: &'a Unit) -> impl Iterator<Item = (usize, Duration)> + 'a {
    let both = unit.up.statements.iter().zip(&facts.statements).enumerate();
    both.filter(|(_, (statement, _))| statement.blocking).map(|(index, (_, facts))| (index, facts.duration))
}

fn spoken(time: Duration) -> String {
    duration(time.as_secs_f64() * 1000.0)
}

fn exceeds(plan: &Plan, facts: &UnitFacts, unit: &Unit) -> Cause {
    let longest = blocking(facts, unit).max_by_key(|(_, held)| *held);
    let statement = longest.map(|(index, _)| index);
    let alone = longest.is_some_and(|(_, held)| held > unit.max_stall);
    let what = format!(
        "the application would wait for {} (measured on the copy; the primary was not touched), and the stall budget is {}",
        spoken(held(facts, unit)),
        spoken(unit.max_stall)
    );
    let text = plan.failure(facts.unit, &unit.up, statement, &what);
    let apart = if alone { "" } else { "; no statement is too long by itself: make each a step of its own" };
    let message = format!("{text}{apart}; {}", way_out(plan, facts.unit, statement));
    Cause::new(Reason::StallBudgetExceeded, message)
}

/// What a person can do about a statement that does not fit the budget.
pub fn way_out(plan: &Plan, unit: usize, statement: Option<usize>) -> String {
    let larger = "a larger maxStall of the step lets it through as it is";
    let safe = statement.and_then(|ordinal| safe_form(plan, unit, ordinal));
    safe.map_or_else(|| larger.to_owned(), |safe| format!("{larger}; the safe form: {safe}"))
}

/// The safe form of a statement in one line, where one is known.
fn safe_form(plan: &Plan, unit: usize, ordinal: usize) -> Option<String> {
    let preview = plan.preview.as_deref()?;
    let before: usize = plan.units.iter().take(unit).map(|unit| unit.up.statements.len()).sum();
    let mut findings = preview.findings.iter().filter(|finding| finding.statement == before + ordinal);
    let safe = findings.find(|finding| !finding.safe_form.is_empty())?;
    let lines = safe.safe_form.lines().map(str::trim).filter(|line| !line.starts_with("--"));
    Some(lines.collect::<Vec<_>>().join(" "))
}

/// The plan, in which those units are one unit for each statement. Everything that counts units counts them anew.
fn divided(plan: &Plan, over: &[usize]) -> Plan {
    let mut divided = plan.clone();
    divided.units.clear();
    for (index, unit) in plan.units.iter().enumerate() {
        match &unit.divided {
            Some(parts) if over.contains(&index) => divided.units.extend(parts.iter().cloned()),
            _ => divided.units.push(unit.clone()),
        }
    }
    if let Some(preview) = &mut divided.preview {
        recount(preview, plan, over);
    }
    divided
}

fn recount(preview: &mut Preview, plan: &Plan, over: &[usize]) {
    let mut units: Vec<UnitPreview> = Vec::new();
    for (index, unit) in preview.units.iter().enumerate() {
        let parts = plan.units.get(index).and_then(|unit| unit.divided.as_ref());
        let Some(parts) = parts.filter(|_| over.contains(&index)) else {
            units.push(unit.clone());
            continue;
        };
        for (part, statement) in parts.iter().zip(&unit.statements) {
            let way_back = part.way_back.as_ref().map(|blocks| {
                let texts = blocks.iter().map(|block| block.statements.iter().map(|one| one.sql.clone()));
                texts.map(Iterator::collect).collect()
            });
            units.push(UnitPreview {
                statements: vec![*statement],
                reversible: way_back.is_some(),
                way_back,
                estimate: preview.statements.get(*statement).and_then(|statement| statement.estimate),
                ..unit.clone()
            });
        }
    }
    for (number, unit) in units.iter().enumerate() {
        for statement in &unit.statements {
            if let Some(statement) = preview.statements.get_mut(*statement) {
                statement.unit = number;
            }
        }
    }
    preview.units = units;
}

#[cfg(test)]
#[path = "stall_tests.rs"]
mod tests;
