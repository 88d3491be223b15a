//! How much can go wrong, and the line that says it.

use std::time::Duration;

use super::text::{amount, duration, plural};
use super::{Preview, Risk, StatementPreview, UnitPreview};
use crate::core::plan::Reversibility;
use crate::sql::{Finding, Heavy, Severity};

/// Judges what was gathered: the risk, and what makes it, worst first.
pub(super) fn judge(preview: &Preview, usual: Duration) -> (Risk, Vec<String>) {
    let mut reasons: Vec<(Risk, String)> = Vec::new();
    for finding in preview.findings.iter().filter(|finding| finding.counts()) {
        let risk = match finding.severity {
            Severity::High => Risk::High,
            Severity::Medium => Risk::Medium,
            Severity::Low | Severity::Info => continue,
        };
        reasons.push((risk, format!("{}: {}", finding.code, finding.message)));
    }
    // What a finding says is not said twice.
    let dangerous = |finding: &Finding| finding.counts() && finding.severity == Severity::High;
    for statement in preview.statements.iter().filter(|one| !one.findings.iter().any(dangerous)) {
        let unit = preview.units.get(statement.unit);
        let (budget, undone) = unit.map_or((0, false), |unit| (unit.max_stall_ms, unit.reversible));
        reasons.extend(
            of_statement(statement, budget, undone).map(|(risk, why)| (risk, placed(statement, &why))),
        );
    }
    // Somebody decided that the application may wait for longer than the database allows.
    let usual = u64::try_from(usual.as_millis()).unwrap_or(u64::MAX);
    for unit in preview.units.iter().filter(|unit| unit.blocked.is_some() && unit.max_stall_ms > usual) {
        let most = u32::try_from(unit.max_stall_ms).map_or(f64::MAX, f64::from);
        let why = format!(
            "step {} may keep the application waiting for {}: its own maxStall",
            unit.step,
            duration(most)
        );
        reasons.push((Risk::High, why));
    }
    let broken = preview.queries.iter().flatten().filter(|query| query.breaks.is_some()).count();
    if broken > 0 {
        reasons.push((Risk::High, format!("{} of the application will fail", plural(broken, "statement"))));
    }
    if preview.reversibility == Reversibility::ForwardOnly {
        reasons.push((Risk::Medium, format!("it cannot be undone: {}", preview.reversibility_reason)));
    }
    reasons.sort_by_key(|(risk, _)| std::cmp::Reverse(*risk));
    let risk = reasons.first().map(|(risk, _)| *risk).unwrap_or_default();
    (risk, reasons.into_iter().map(|(_, why)| why).collect())
}

fn placed(statement: &StatementPreview, why: &str) -> String {
    match &statement.file {
        Some(file) => format!("{file}:{}:{}: {why}", statement.line, statement.column),
        None => format!("{}:{}: {why}", statement.line, statement.column),
    }
}

fn of_statement(statement: &StatementPreview, max_stall_ms: u64, undone: bool) -> Option<(Risk, String)> {
    if statement.destructive && !undone {
        return Some((Risk::High, "data is deleted, and nothing brings it back".to_owned()));
    }
    if statement.heavy != Heavy::None {
        let who = if statement.heavy == Heavy::Everything { "readers and writers" } else { "writers" };
        let budget = u32::try_from(max_stall_ms).map_or(f64::MAX, f64::from);
        return match &statement.estimate {
            None => {
                Some((Risk::High, format!("{who} wait for a rewrite or a scan of a table of unknown size")))
            }
            Some(estimate) if estimate.hold_ms.high > budget => {
                let hold = duration(estimate.hold_ms.expected);
                Some((Risk::High, format!("{who} wait ~{hold} for a rewrite or a scan")))
            }
            Some(_) => None,
        };
    }
    if statement.opaque {
        return Some((Risk::Medium, "what it does cannot be known from its text".to_owned()));
    }
    None
}

/// The line that says it all: `Risk High · ForwardOnly · 2 units · longest hold ~40 ms on orders (2.1 M rows)`.
pub(super) fn summary(preview: &Preview) -> String {
    let mut parts = vec![
        format!("Risk {:?}", preview.risk),
        format!("{:?}", preview.reversibility),
        plural(preview.units.len(), "unit"),
        longest_hold(&preview.units),
    ];
    let broken = preview.queries.iter().flatten().filter(|query| query.breaks.is_some()).count();
    if broken > 0 {
        parts.push(format!(
            "breaks {}",
            if broken == 1 { "1 query".to_owned() } else { format!("{broken} queries") }
        ));
    }
    parts.join(" · ")
}

fn longest_hold(units: &[UnitPreview]) -> String {
    let blocking = units.iter().filter_map(|unit| Some((unit, unit.blocked.as_ref()?)));
    // What is not known may be the longest.
    let longest = blocking.max_by(|(one, _), (other, _)| {
        let hold =
            |unit: &UnitPreview| unit.estimate.map_or(f64::INFINITY, |estimate| estimate.hold_ms.expected);
        hold(one).total_cmp(&hold(other))
    });
    let Some((unit, blocked)) = longest else { return "blocks nobody".to_owned() };
    let relation = blocked.relation.strip_prefix("public.").unwrap_or(&blocked.relation);
    let rows =
        blocked.rows.map_or_else(|| "size not known".to_owned(), |rows| format!("{} rows", amount(rows)));
    let hold = unit.estimate.map_or_else(
        || "not known".to_owned(),
        |estimate| format!("~{}", duration(estimate.hold_ms.expected)),
    );
    format!("longest hold {hold} on {relation} ({rows})")
}
