//! From what the oracle saw to violations: how a workload may end, and what its databases must then be. Pure.

use std::collections::BTreeMap;

use super::fault::Fault;
use super::oracle::{Seen, differences};
use super::orders::Outcome;
use super::play::{Play, Shown, Version};

/// How a workload ends when nothing is in its way.
#[derive(Clone, Debug, Default)]
pub struct Reference {
    /// The points that it passes, in order, each as `Site/Moment#n`.
    pub points: Vec<String>,
    /// The template.
    pub before: Seen,
    /// The databases at the end.
    pub seen: Vec<Seen>,
    /// The copies at the end.
    pub copies: Vec<Seen>,
    /// The databases at the end where the edited spec counts from the beginning.
    pub edited: Option<Vec<Seen>>,
    /// The databases with everything applied, where nothing breaches and nobody asks for a rollback.
    pub applied: Vec<Seen>,
}

/// Whether a Migration may end so.
fn may_end(ends: &str, fault: Option<Fault>, first: bool, outcome: &Outcome) -> bool {
    let also: &[&str] = match fault {
        // An object that is deleted while it is watched is applied, and stays.
        Some(Fault::Delete) if first => &["Aborted", "Gone", "Succeeded"],
        Some(Fault::Edit) if first => &["Refused"],
        // Somebody cancelled a statement in the server, who may have had a reason.
        Some(Fault::Cancel) => &["RolledBack", "Failed", "Aborted"],
        _ => &[],
    };
    outcome.phase == ends || also.contains(&outcome.phase.as_str())
}

/// Whether the object was deleted before the last unit was begun, so that what is in force has to come back.
fn deleted_early(play: &Play<'_>) -> bool {
    let in_first_unit = |point: &str| ["Apply/BeforeIntent", "UnitUp/BeforeIntent"].contains(&point);
    play.case.is_some_and(|case| {
        case.fault == Fault::Delete
            && case.workload == "wishes"
            && case.hit == 1
            && in_first_unit(&case.point)
    })
}

/// Returns what is wrong with a run.
pub fn judge(play: &Play<'_>, shown: &Shown) -> Vec<String> {
    let fault = play.case.map(|case| case.fault);
    let mut wrong = Vec::new();
    for (index, migration) in play.workload.migrations.iter().enumerate() {
        match shown.outcomes.iter().find(|outcome| outcome.name == migration.name) {
            None => wrong.push(format!("{} has no outcome", migration.name)),
            Some(Outcome { phase, .. }) if play.version == Version::Unwatched && phase == "Succeeded" => {}
            Some(Outcome { phase, .. }) if deleted_early(play) && phase != "Aborted" => {
                wrong.push(format!("{} was deleted, and ended as {phase}", migration.name));
            }
            Some(outcome) if may_end(migration.ends, fault, index == 0, outcome) => {}
            Some(Outcome { phase, message, .. }) => {
                wrong.push(format!("{} ended as {phase}: {message}", migration.name));
            }
        }
    }
    for (index, seen) in shown.seen.iter().enumerate() {
        wrong.extend(seen.wrong.iter().cloned());
        let Some(reference) = play.reference else { continue };
        wrong.extend(database(play, reference, index, seen));
    }
    for (index, seen) in shown.copies.iter().enumerate() {
        wrong.extend(seen.wrong.iter().map(|line| format!("copy: {line}")));
        let Some(reference) = play.reference else { continue };
        let known = [&reference.before, &reference.copies[index]];
        if !known.iter().any(|one| one.catalog == seen.catalog) {
            let found = differences(&reference.copies[index].catalog, &seen.catalog);
            wrong.push(format!("the copy is neither as before nor as after: {found}"));
        }
    }
    wrong
}

fn database(play: &Play<'_>, reference: &Reference, index: usize, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let after = &reference.seen[index];
    if seen.rows != reference.before.rows {
        wrong.push("rows were lost or changed".to_owned());
    }
    let edited = reference.edited.as_ref().map(|edited| &edited[index]);
    let as_edited = edited.filter(|edited| edited.catalog == seen.catalog && seen.phases == edited.phases);
    let deleted = play.case.is_some_and(|case| case.fault == Fault::Delete);
    let expected = if seen.phases == after.phases {
        after
    } else if deleted && seen.phases == reference.applied[index].phases {
        &reference.applied[index]
    } else if seen.phases.iter().all(|phase| phase != "Succeeded") {
        &reference.before
    } else {
        wrong.push(format!("the runs ended as {:?}, not {:?}", seen.phases, after.phases));
        after
    };
    let is_edited = play.case.is_some_and(|case| case.fault == Fault::Edit) && as_edited.is_some();
    if seen.catalog != expected.catalog && !is_edited {
        let found = differences(&expected.catalog, &seen.catalog);
        wrong.push(format!("the catalog is not what {:?} means: {found}", seen.phases));
    }
    // What was cancelled may have come back before all of it was there. What a failover lost is not done again where it is asked
    // back by then.
    let asked_back = play.workload.rolled_back_on_request;
    let partial = play
        .case
        .is_some_and(|case| case.fault == Fault::Cancel || (case.fault == Fault::Failover && asked_back));
    if seen.phases == after.phases
        && !is_edited
        && !(partial && after.phases != reference.applied[index].phases)
    {
        wrong.extend(effects(&after.ddl, &seen.ddl));
    }
    wrong
}

/// Each effect as often as without a fault. A build that was cut off may be dropped and begun again, and a rebuild may be
/// repeated: neither leaves more than one index.
pub fn effects(expected: &BTreeMap<String, usize>, seen: &BTreeMap<String, usize>) -> Vec<String> {
    let names = expected.keys().chain(seen.keys().filter(|name| !expected.contains_key(*name)));
    names
        .filter_map(|name| {
            let (due, found) = (expected.get(name).copied(), seen.get(name).copied());
            let (due, found) = (due.unwrap_or_default(), found.unwrap_or_default());
            let repairable = name.starts_with("DROP INDEX") || name.starts_with("REINDEX");
            let right = due == found || (repairable && found > due);
            (!right).then(|| format!("{name}: {found} times instead of {due}"))
        })
        .collect()
}
