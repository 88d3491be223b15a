//! Columns: what a new one costs, and what a change of type does.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, AlterTableType, ColumnDef, ConstrType};

use super::Found;
use crate::sql::classify::{table as classified, tree};
use crate::sql::foresight::LockMode;
use crate::sql::kind::{Column, ConstraintKind, Generated, Kind, RelationKind};
use crate::sql::lint::subject::Subject;
use crate::sql::lint::{Severity, safe};
use crate::sql::name::RelationName;
use crate::sql::snapshot::ColumnFacts;

pub fn check(subject: &Subject<'_>, found: &mut Vec<Found>) {
    let Kind::AlterTable(alter) = &subject.statement.kind else {
        return;
    };
    if !matches!(alter.object, RelationKind::Table | RelationKind::ForeignTable) {
        return;
    }
    for (number, command) in subject.commands().enumerate() {
        let Some(NodeEnum::ColumnDef(column)) = command.def.as_ref().and_then(|def| def.node.as_ref()) else {
            continue;
        };
        match command.subtype() {
            AlterTableType::AtAddColumn => added(subject, &alter.relation, number, command, column, found),
            AlterTableType::AtAlterColumnType => {
                retyped(subject, &alter.relation, number, command, column, found);
            }
            _ => {}
        }
    }
}

fn added(
    subject: &Subject<'_>,
    table: &RelationName,
    number: usize,
    command: &AlterTableCmd,
    definition: &ColumnDef,
    found: &mut Vec<Found>,
) {
    let there =
        |name: &str| subject.relation(table).is_some_and(|t| t.columns.iter().any(|c| c.name == name));
    if command.missing_ok && there(&definition.colname) {
        return;
    }
    let column = classified::column(definition);
    let at = subject.at(definition.location);
    let size = subject.named(table);
    let safe = || safe::column::add(subject, table, definition);
    if subject.rewrites(table)
        && let Some(why) = differs(subject, definition, &column)
    {
        let message = format!(
            "{why} of column {}, so all of {size} is written anew under {}: readers and writers wait",
            column.name,
            LockMode::AccessExclusive,
        );
        let severity = subject.weight(table);
        found.push(subject.finding("WB113", severity, at, message).instead_of(number, safe()));
    }
    if fails(subject, &column, definition) && !subject.is_new(table) && !subject.size(table).is_empty() {
        let message =
            format!("column {} is NOT NULL and has no default: this fails if {size} has a row", column.name);
        let finding = subject.finding("WB201", Severity::High, at, message);
        found.push(finding.instead_of(number, safe()));
    }
}

/// Why the values of a new column have to be written into each row.
fn differs(subject: &Subject<'_>, definition: &ColumnDef, column: &Column) -> Option<&'static str> {
    Some(match () {
        () if column.serial => "each row gets a number of the sequence",
        () if column.identity => "each row gets a number of the identity",
        () if column.generated == Some(Generated::Stored) => "each row gets a computed value",
        () if column.default.is_some() => "each row gets a value of its own from the default",
        () if domain(subject, definition).is_some() => {
            "each row gets a value of the domain, which is checked,"
        }
        () => return None,
    })
}

/// The type of a column as far as the catalog knows it as a domain.
fn domain<'a>(subject: &Subject<'a>, definition: &ColumnDef) -> Option<&'a crate::sql::snapshot::TypeFacts> {
    let name = tree::path(&definition.type_name.as_ref()?.names)?;
    let is = |known: &&crate::sql::snapshot::TypeFacts| {
        known.kind == crate::sql::snapshot::TypeKind::Domain
            && crate::sql::lint::subject::same(&known.name, &name)
    };
    subject.catalog.types.iter().find(is)
}

/// Whether rows that are there would have no value in a column that needs one.
fn fails(subject: &Subject<'_>, column: &Column, definition: &ColumnDef) -> bool {
    let domain = domain(subject, definition);
    let required = column.is_not_null() || domain.is_some_and(|domain| domain.not_null);
    let primary = column.constraints.iter().any(|constraint| constraint.kind == ConstraintKind::PrimaryKey);
    let null_default = column.default.as_deref().is_some_and(|default| default.eq_ignore_ascii_case("null"));
    let filled = column.serial
        || column.identity
        || column.generated.is_some()
        || column.default.is_some() && !null_default
        || column.default.is_none() && domain.is_some_and(|domain| domain.default.is_some());
    let unchecked = definition.constraints.iter().any(|node| {
        matches!(&node.node, Some(NodeEnum::Constraint(part))
            if part.contype() == ConstrType::ConstrNotnull && part.skip_validation)
    });
    (required || primary) && !filled && !unchecked
}

fn retyped(
    subject: &Subject<'_>,
    table: &RelationName,
    number: usize,
    command: &AlterTableCmd,
    definition: &ColumnDef,
    found: &mut Vec<Found>,
) {
    let before = subject.relation(table).and_then(|t| t.columns.iter().find(|c| c.name == command.name));
    let to = safe::type_sql(definition).unwrap_or_else(|| "the new type".to_owned());
    let change = match before {
        Some(known) => format!("{} changes from {} to {to}", command.name, known.data_type),
        None => format!("{} becomes {to}", command.name),
    };
    let at = definition.type_name.as_ref().map_or(0, |name| subject.at(name.location));
    let size = subject.named(table);
    let severity = subject.weight(table);
    let exclusive = LockMode::AccessExclusive;
    if subject.rewrites(table) {
        let message = format!(
            "{change}, so {size} and its indexes are written anew under {exclusive}: readers and writers wait{}",
            subject.doubt("type")
        );
        let safe = safe::retype::instead(subject, table, command, definition);
        found.push(subject.finding("WB114", severity, at, message).instead_of(number, safe));
    } else if subject.is_heavy_on(table) {
        let work =
            if subject.foreseen.scans.is_empty() { "an index is built anew" } else { "all rows are read" };
        let message = format!(
            "{change}, so {work} for {size} under {exclusive}: readers and writers wait{}",
            subject.doubt("type")
        );
        let safe = safe::retype::instead(subject, table, command, definition);
        found.push(subject.finding("WB115", severity, at, message).instead_of(number, safe));
    }
    zone(subject, command, definition, before, at, found);
}

/// Whether a type is a timestamp, and with a time zone.
fn timestamp(name: &str) -> Option<bool> {
    let bare = name.split('(').next().unwrap_or_default().trim();
    match bare {
        "timestamptz" | "timestamp with time zone" => Some(true),
        "timestamp" | "timestamp without time zone" => Some(false),
        _ if bare.starts_with("timestamp") && name.ends_with("with time zone") => Some(true),
        _ if bare.starts_with("timestamp") => Some(false),
        _ => None,
    }
}

fn zone(
    subject: &Subject<'_>,
    command: &AlterTableCmd,
    definition: &ColumnDef,
    before: Option<&ColumnFacts>,
    at: usize,
    found: &mut Vec<Found>,
) {
    let names = definition.type_name.as_ref().map(|name| tree::names(&name.names)).unwrap_or_default();
    let Some(with_zone) = names.last().and_then(|name| timestamp(name)) else { return };
    let from = before.map(|column| timestamp(&column.data_type));
    let crosses = match from {
        Some(Some(from)) => from != with_zone,
        Some(None) => false,
        None => with_zone,
    };
    if !crosses || definition.raw_default.is_some() {
        return;
    }
    let zone = subject.catalog.settings.get("TimeZone");
    let utc = zone.is_some_and(|zone| ["UTC", "Etc/UTC", "GMT", "UCT", "Zulu"].contains(&zone.as_str()));
    let known = zone.map_or_else(|| "is not known".to_owned(), |zone| format!("is {zone} now"));
    let message = format!(
        "the old values of {} are taken as times of the session's TimeZone, which {known}: say which zone they are in",
        command.name
    );
    let severity = if utc { Severity::Info } else { Severity::Medium };
    found.push(
        subject.finding("WB205", severity, at, message).instead(safe::retype::with_zone(subject, with_zone)),
    );
}
