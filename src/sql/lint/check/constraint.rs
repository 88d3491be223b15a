//! Constraints: checked on rows that are there, and indexes that are built for them.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, AlterTableType, ConstrType, Constraint as Definition};

use super::Found;
use crate::sql::classify::tree;
use crate::sql::foresight::LockMode;
use crate::sql::kind::{AlterTable, Constraint, ConstraintKind, Kind, TableAction};
use crate::sql::lint::subject::{Subject, same};
use crate::sql::lint::weigh::Magnitude;
use crate::sql::lint::{Severity, safe};
use crate::sql::name::RelationName;

pub fn check(subject: &Subject<'_>, found: &mut Vec<Found>) {
    match &subject.statement.kind {
        Kind::AlterTable(alter) => {
            for (number, command) in subject.commands().enumerate() {
                command_of(subject, alter, number, command, found);
            }
        }
        Kind::CreateTable(table) => {
            let of_columns = table.columns.iter().flat_map(|column| &column.constraints);
            for constraint in table.constraints.iter().chain(of_columns) {
                found.extend(unindexed(subject, &table.relation, constraint, 0));
            }
        }
        _ => {}
    }
}

fn command_of(
    subject: &Subject<'_>,
    alter: &AlterTable,
    number: usize,
    command: &AlterTableCmd,
    found: &mut Vec<Found>,
) {
    let table = &alter.relation;
    match (command.subtype(), command.def.as_ref().and_then(|def| def.node.as_ref())) {
        (AlterTableType::AtAddConstraint, Some(NodeEnum::Constraint(definition))) => {
            let safe = || safe::constraint::add(subject, table, command, definition);
            found.extend(added(subject, table, definition).map(|finding| finding.instead_of(number, safe())));
        }
        (AlterTableType::AtAddColumn, Some(NodeEnum::ColumnDef(column))) => {
            let definitions = column.constraints.iter().filter_map(|node| match &node.node {
                Some(NodeEnum::Constraint(definition)) => Some(definition),
                _ => None,
            });
            let before = found.len();
            for definition in definitions {
                let finding = added(subject, table, definition);
                found.extend(finding.map(super::Finding::without_remedy));
            }
            if found.len() > before {
                let safe = safe::column::add(subject, table, column);
                for one in found.get_mut(before..).unwrap_or_default() {
                    one.remedy =
                        safe.clone().map_or(super::Remedy::None, |safe| super::Remedy::Action(number, safe));
                }
            }
        }
        (AlterTableType::AtSetNotNull, _)
            if subject.is_heavy_on(table) && !is_proven(subject, table, &command.name) =>
        {
            let message = format!(
                "SET NOT NULL on {} reads all of {} under {}: readers and writers wait",
                command.name,
                subject.named(table),
                LockMode::AccessExclusive,
            );
            let finding = subject.finding("WB109", subject.weight(table), 0, message);
            let safe = safe::constraint::not_null(subject, table, &command.name);
            found.push(finding.instead_of(number, Some(safe)));
        }
        _ => {}
    }
    if let Some(action) = alter.actions.get(number) {
        foreign_keys(subject, table, action, command, found);
    }
}

/// Whether the catalog has a valid `CHECK` that says the same as `NOT NULL`, or the column is so already. The statement
/// may then be heavy for another reason.
fn is_proven(subject: &Subject<'_>, table: &RelationName, column: &str) -> bool {
    let Some(relation) = subject.relation(table) else { return false };
    let already = relation.columns.iter().any(|known| known.name == column && known.not_null);
    already && subject.foreseen.scans.is_empty()
}

fn foreign_keys(
    subject: &Subject<'_>,
    table: &RelationName,
    action: &TableAction,
    command: &AlterTableCmd,
    found: &mut Vec<Found>,
) {
    let location = match command.def.as_ref().and_then(|def| def.node.as_ref()) {
        Some(NodeEnum::Constraint(definition)) => definition.location,
        Some(NodeEnum::ColumnDef(column)) => column.location,
        _ => 0,
    };
    let at = subject.at(location);
    match action {
        TableAction::AddConstraint(constraint) => found.extend(unindexed(subject, table, constraint, at)),
        TableAction::AddColumn { column, .. } => {
            for constraint in &column.constraints {
                found.extend(unindexed(subject, table, constraint, at));
            }
        }
        _ => {}
    }
}

/// What a constraint costs that is added to a table with rows.
fn added(
    subject: &Subject<'_>,
    table: &RelationName,
    definition: &Definition,
) -> Option<crate::sql::lint::Finding> {
    let heavy = subject.is_heavy_on(table);
    let size = subject.named(table);
    let exclusive = LockMode::AccessExclusive;
    let (code, message) = match definition.contype() {
        ConstrType::ConstrCheck if heavy && !definition.skip_validation && definition.is_enforced => (
            "WB106",
            format!(
                "a CHECK without NOT VALID reads all of {size} under {exclusive}: readers and writers wait"
            ),
        ),
        ConstrType::ConstrNotnull if heavy && !definition.skip_validation && !definition.keys.is_empty() => (
            "WB109",
            format!("a NOT NULL constraint reads all of {size} under {exclusive}: readers and writers wait"),
        ),
        ConstrType::ConstrForeign if heavy && !definition.skip_validation && definition.is_enforced => {
            let other = definition.pktable.as_ref().map(tree::range).unwrap_or_default();
            let message = format!(
                "a foreign key without NOT VALID compares all of {size} with {} under {}: {} of both",
                subject.named(&other),
                LockMode::ShareRowExclusive,
                subject.waiting(),
            );
            return Some(subject.finding(
                "WB107",
                subject.weight(table),
                subject.at(definition.location),
                message,
            ));
        }
        ConstrType::ConstrPrimary if heavy && !definition.indexname.is_empty() => (
            "WB110",
            format!(
                "the primary key's columns may be null, so USING INDEX reads all of {size} under {exclusive} to make them \
                 NOT NULL: readers and writers wait"
            ),
        ),
        ConstrType::ConstrPrimary | ConstrType::ConstrUnique if heavy && definition.indexname.is_empty() => (
            "WB111",
            format!("the constraint's index is built on {size} under {exclusive}: readers and writers wait"),
        ),
        ConstrType::ConstrExclusion if heavy => (
            "WB112",
            format!(
                "the exclusion constraint's index is built on {size} under {exclusive}: readers and writers wait; there is \
                 no form that does not, so do it in a quiet hour, or on a new table"
            ),
        ),
        _ => return None,
    };
    let severity = subject.weight(table);
    Some(subject.finding(code, severity, subject.at(definition.location), message))
}

/// A foreign key whose own columns no index begins with.
fn unindexed(
    subject: &Subject<'_>,
    table: &RelationName,
    constraint: &Constraint,
    at: usize,
) -> Option<Found> {
    if constraint.kind != ConstraintKind::ForeignKey || constraint.columns.is_empty() {
        return None;
    }
    let columns = &constraint.columns;
    if indexed_by_catalog(subject, table, columns) || indexed_by_script(subject, table, columns) {
        return None;
    }
    let other = constraint.references.clone().unwrap_or_default();
    let known = subject.relation(table).is_some() || subject.is_new(table) || is_created(subject);
    let message = format!(
        "no index {} begins with ({}): each DELETE and each change of a key in {other} reads all of {}",
        if known { "of the table" } else { "that is known" },
        columns.join(", "),
        subject.named(table),
    );
    let severity = match subject.size(table).magnitude() {
        _ if is_created(subject) || !known => Severity::Low,
        Magnitude::Large => Severity::Medium,
        _ => Severity::Low,
    };
    let safe = safe::index::before_foreign_key(subject, table, columns);
    Some(subject.finding("WB206", severity, at, message).instead(Some(safe)))
}

fn is_created(subject: &Subject<'_>) -> bool {
    matches!(subject.statement.kind, Kind::CreateTable(_))
}

fn indexed_by_catalog(subject: &Subject<'_>, table: &RelationName, columns: &[String]) -> bool {
    subject.relation(table).is_some_and(|relation| {
        relation.indexes.iter().filter(|index| index.valid && !index.partial).any(|index| {
            let key = index.columns.iter().take(usize::try_from(index.key_columns).unwrap_or(usize::MAX));
            begins_with(key.map(|column| column.as_deref()), columns)
        })
    })
}

/// Whether the first columns of an index are these, in any order.
fn begins_with<'a>(key: impl Iterator<Item = Option<&'a str>>, columns: &[String]) -> bool {
    let first: Vec<_> = key.take(columns.len()).collect();
    first.len() == columns.len() && columns.iter().all(|column| first.contains(&Some(column.as_str())))
}

/// The script may make the index before or after, or with the table.
fn indexed_by_script(subject: &Subject<'_>, table: &RelationName, columns: &[String]) -> bool {
    let keyed = |constraint: &Constraint| {
        matches!(constraint.kind, ConstraintKind::PrimaryKey | ConstraintKind::Unique)
            && begins_with(constraint.columns.iter().map(|column| Some(column.as_str())), columns)
    };
    subject.around.statements.iter().any(|statement| match &statement.kind {
        Kind::CreateIndex(index) => {
            same(&index.relation, table)
                && begins_with(index.key.iter().map(|column| Some(column.as_str())), columns)
        }
        Kind::CreateTable(create) if same(&create.relation, table) => {
            create.constraints.iter().chain(create.columns.iter().flat_map(|c| &c.constraints)).any(keyed)
        }
        Kind::AlterTable(alter) if same(&alter.relation, table) => {
            alter.actions.iter().any(|action| match action {
                TableAction::AddConstraint(constraint) => keyed(constraint),
                TableAction::AddColumn { column, .. } => column.constraints.iter().any(keyed),
                _ => false,
            })
        }
        _ => false,
    })
}
