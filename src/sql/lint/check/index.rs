//! Indexes: built, dropped and rebuilt while others wait.

use pg_query::NodeEnum;

use super::Found;
use crate::sql::foresight::LockMode;
use crate::sql::kind::{CreateIndex, Kind, TableAction};
use crate::sql::lint::Severity;
use crate::sql::lint::safe;
use crate::sql::lint::subject::Subject;
use crate::sql::lint::weigh::Magnitude;
use crate::sql::name::RelationName;

pub fn check(subject: &Subject<'_>, found: &mut Vec<Found>) {
    match &subject.statement.kind {
        Kind::CreateIndex(index) if index.concurrently => accepts_invalid(subject, index, found),
        Kind::CreateIndex(index) => created(subject, index, found),
        Kind::DropIndex { indexes, concurrently: false, .. } => dropped(subject, indexes, found),
        Kind::Reindex { relation, concurrently, .. } => {
            let parts = safe::index::rebuilt_parts(subject, relation);
            if !concurrently {
                rebuilt(subject, relation, &parts, found);
            } else if !parts.is_empty() {
                rebuilt_by_parts(subject, relation, &parts, found);
            }
        }
        Kind::AlterTable(alter) => {
            for (number, action) in alter.actions.iter().enumerate() {
                if let TableAction::DetachPartition { partition, concurrently: false } = action {
                    found.extend(detached(subject, &alter.relation, partition, number));
                }
            }
        }
        _ => {}
    }
}

/// The severity of a short lock for which everybody waits: it is felt if it has to queue behind somebody.
pub(super) fn brief(subject: &Subject<'_>, table: &RelationName) -> Severity {
    match subject.size(table).magnitude() {
        Magnitude::Empty => Severity::Info,
        Magnitude::Small => Severity::Low,
        Magnitude::Middling | Magnitude::Large => Severity::Medium,
    }
}

fn created(subject: &Subject<'_>, index: &CreateIndex, found: &mut Vec<Found>) {
    let table = &index.relation;
    if subject.mode_on(table).is_none_or(|mode| mode < LockMode::Share) {
        return;
    }
    let what = if index.unique { "CREATE UNIQUE INDEX" } else { "CREATE INDEX" };
    let message = format!(
        "{what} on {} takes {} and holds it until the index is built: writers wait",
        subject.named(table),
        LockMode::Share,
    );
    let severity = subject.weight(table);
    found.push(subject.finding("WB101", severity, 0, message).instead(safe::index::create(subject, index)));
}

fn accepts_invalid(subject: &Subject<'_>, index: &CreateIndex, found: &mut Vec<Found>) {
    if !index.if_not_exists {
        return;
    }
    let name = index.name.as_deref().unwrap_or_default();
    let message = format!(
        "IF NOT EXISTS is content with an invalid index {name} that a failed CONCURRENTLY left behind; Whimbrel looks for \
         such an index itself, and drops it"
    );
    let safe = safe::index::without_if_not_exists(subject);
    found.push(subject.finding("WB209", Severity::Low, 0, message).instead(safe));
}

fn dropped(subject: &Subject<'_>, indexes: &[RelationName], found: &mut Vec<Found>) {
    let locked = subject.foreseen.locks.iter().filter(|lock| lock.mode == LockMode::AccessExclusive);
    let tables: Vec<&RelationName> =
        locked.map(|lock| &lock.relation).filter(|name| !indexes.contains(name)).collect();
    if subject.foreseen.locks.is_empty() {
        return;
    }
    let table =
        tables.iter().find(|name| subject.relation(name).is_none_or(|table| !table.columns.is_empty()));
    let names: Vec<String> = indexes.iter().map(ToString::to_string).collect();
    let of = table.map_or_else(|| "its table".to_owned(), |table| subject.named(table));
    let message = format!(
        "DROP INDEX {} takes {} on {of}: it waits for everybody who uses the table, and everybody else behind it",
        names.join(", "),
        LockMode::AccessExclusive,
    );
    let severity = table.map_or(Severity::Medium, |table| brief(subject, table));
    found.push(subject.finding("WB102", severity, 0, message).instead(safe::index::drop(subject, indexes)));
}

fn rebuilt(subject: &Subject<'_>, relation: &RelationName, parts: &[&RelationName], found: &mut Vec<Found>) {
    if subject.foreseen.locks.is_empty() {
        return;
    }
    let table = subject.foreseen.scans.first().unwrap_or(relation);
    let mut message = format!(
        "REINDEX {relation} takes SHARE on the table, {} on the index, until it is built: {} for {}",
        LockMode::AccessExclusive,
        "writers wait, and readers who would use the index",
        subject.named(table),
    );
    let mut severity = subject.weight(table);
    if !parts.is_empty() {
        message += "; and it is run in a transaction, where the server refuses it for what is partitioned";
        severity = Severity::High;
    }
    found.push(subject.finding("WB103", severity, 0, message).instead(safe::index::reindex(subject, parts)));
}

/// The server takes SHARE on all partitions once, before it builds them one by one (`ReindexPartitions`).
fn rebuilt_by_parts(
    subject: &Subject<'_>,
    relation: &RelationName,
    parts: &[&RelationName],
    found: &mut Vec<Found>,
) {
    let message = format!(
        "REINDEX CONCURRENTLY of the partitioned {relation} takes {} on each partition for a moment: it waits for whoever \
         writes there, and the next writers wait behind it; partition by partition it does not",
        LockMode::Share,
    );
    let severity = subject.foreseen.scans.iter().map(|table| brief(subject, table)).max();
    let finding = subject.finding("WB103", severity.unwrap_or(Severity::Low), 0, message);
    found.push(finding.instead(safe::index::reindex(subject, parts)));
}

fn detached(
    subject: &Subject<'_>,
    parent: &RelationName,
    partition: &RelationName,
    number: usize,
) -> Option<Found> {
    subject.mode_on(parent).filter(|mode| *mode == LockMode::AccessExclusive)?;
    let message = format!(
        "DETACH PARTITION {partition} takes {} on {}: readers and writers of all partitions wait",
        LockMode::AccessExclusive,
        subject.named(parent),
    );
    let severity = brief(subject, parent).max(Severity::Low);
    let alone = matches!(subject.node(), Some(NodeEnum::AlterTableStmt(alter)) if alter.cmds.len() == 1);
    let safe = alone.then(|| safe::index::detach(subject, parent, partition)).flatten();
    Some(subject.finding("WB104", severity, 0, message).instead_of(number, safe))
}
