//! The measurements as a table.

use std::fmt::Write as _;

use whimbrel::sql::Heavy;

use super::measure::Effect;
use super::{Outcome, compare};

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
        for (index, effect) in outcome.effects.iter().enumerate() {
            let _ = writeln!(text, "    {}", line(effect));
            let said = outcome.foreseen.get(index).map(compare::as_effect);
            if let Some(said) = said.filter(|said| said != effect) {
                let _ = writeln!(text, "    foreseen: {}", line(&said));
            }
        }
    }
    text
}

fn line(effect: &Effect) -> String {
    let mut parts: Vec<String> =
        effect.locks.iter().map(|(relation, mode)| format!("{} {mode}", short(relation))).collect();
    if parts.is_empty() {
        parts.push("no lock".to_owned());
    }
    let names = |names: &std::collections::BTreeSet<String>| {
        names.iter().map(|name| short(name)).collect::<Vec<_>>().join(", ")
    };
    if !effect.rewrites.is_empty() {
        parts.push(format!("rewrites {}", names(&effect.rewrites)));
    }
    if !effect.scans.is_empty() {
        parts.push(format!("scans {}", names(&effect.scans)));
    }
    match effect.heavy {
        Heavy::None => {}
        Heavy::Writes => parts.push("writers wait".to_owned()),
        Heavy::Everything => parts.push("everybody waits".to_owned()),
    }
    parts.join("; ")
}

fn short(relation: &str) -> &str {
    relation.strip_prefix("public.").unwrap_or(relation)
}
