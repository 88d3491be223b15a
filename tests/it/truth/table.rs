//! The measurements as a table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use whimbrel::sql::{Heavy, LockMode};

use super::measure::Effect;
use super::{Outcome, compare};

/// The indexes of each table.
pub type Indexes = BTreeMap<String, BTreeSet<String>>;

/// How many forms, how many of them as foreseen.
pub fn summary(major: u32, outcomes: &[Outcome]) -> String {
    let right = outcomes.iter().filter(|outcome| compare::differences(outcome).is_empty()).count();
    let safe = outcomes.iter().filter(|outcome| compare::falsely_safe(outcome)).count();
    let all = outcomes.len();
    format!("PostgreSQL {major}: {all} forms measured, {right} as foreseen, {safe} falsely called safe")
}

/// Everything, for people: what was measured, and what was foreseen where that is something else.
pub fn whole(major: u32, outcomes: &[Outcome]) -> String {
    let mut text = format!("PostgreSQL {major}\n");
    let mut section = "";
    for outcome in outcomes {
        if outcome.section != section {
            section = outcome.section;
            let _ = write!(text, "\n== {section}\n");
        }
        let _ = writeln!(text, "{}", outcome.form.name());
        let said = outcome.foreseen.iter().map(compare::as_effect);
        for ((line, effect), said) in lines(outcome).iter().zip(&outcome.effects).zip(said) {
            let _ = writeln!(text, "    {line}");
            if said != *effect {
                let _ = writeln!(text, "    foreseen: {}", describe(&said, &outcome.indexes));
            }
        }
    }
    text
}

/// The effect of each statement of a form.
pub fn lines(outcome: &Outcome) -> Vec<String> {
    outcome.effects.iter().map(|effect| describe(effect, &outcome.indexes)).collect()
}

fn describe(effect: &Effect, indexes: &Indexes) -> String {
    let mut parts = Vec::new();
    let modes: BTreeSet<LockMode> = effect.locks.values().copied().collect();
    for mode in modes.into_iter().rev() {
        let names = effect.locks.iter().filter(|(_, held)| **held == mode).map(|(name, _)| name.clone());
        parts.push(format!("{mode} {}", together(&names.collect(), indexes)));
    }
    if parts.is_empty() {
        parts.push("no lock".to_owned());
    }
    if !effect.rewrites.is_empty() {
        parts.push(format!("rewrites {}", together(&effect.rewrites, indexes)));
    }
    if !effect.scans.is_empty() {
        parts.push(format!("scans {}", together(&effect.scans, indexes)));
    }
    match effect.heavy {
        Heavy::None => {}
        Heavy::Writes => parts.push("writers wait".to_owned()),
        Heavy::Everything => parts.push("everybody waits".to_owned()),
    }
    parts.join("; ")
}

/// Names as a list, a table with all its indexes as one.
fn together(names: &BTreeSet<String>, indexes: &Indexes) -> String {
    let whole = |table: &String| indexes.get(table).is_some_and(|of| !of.is_empty() && of.is_subset(names));
    let within = |name: &String| {
        names.iter().any(|table| whole(table) && indexes.get(table).is_some_and(|of| of.contains(name)))
    };
    let shown = names.iter().filter(|name| !within(name)).map(|name| {
        let short = name.strip_prefix("public.").unwrap_or(name);
        if whole(name) { format!("{short} + indexes") } else { short.to_owned() }
    });
    shown.collect::<Vec<_>>().join(", ")
}
