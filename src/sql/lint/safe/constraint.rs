//! Constraints that are added first and checked later.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, ConstrType, Constraint};

use super::{add_constraint, alter, choose};
use crate::sql::classify::{table as classified, tree};
use crate::sql::kind::ConstraintKind;
use crate::sql::lint::subject::Subject;
use crate::sql::name::{RelationName, quote_ident};
use crate::sql::overlay::joined;
use crate::sql::snapshot::{RelationType, Snapshot};

/// The safe form of `ADD CONSTRAINT`.
pub fn add(
    subject: &Subject<'_>,
    table: &RelationName,
    command: &AlterTableCmd,
    definition: &Constraint,
) -> Option<Vec<String>> {
    let node = command.def.as_deref()?;
    let known = classified::constraint(node, None)?;
    add_known(subject, table, definition, &known)
}

/// The same for one that was written with a column.
pub fn add_known(
    subject: &Subject<'_>,
    table: &RelationName,
    definition: &Constraint,
    known: &crate::sql::kind::Constraint,
) -> Option<Vec<String>> {
    match definition.contype() {
        ConstrType::ConstrCheck | ConstrType::ConstrForeign => not_valid(subject, table, definition, known),
        ConstrType::ConstrNotnull => {
            let column = known.columns.first()?;
            match &known.name {
                Some(name) => Some(named_not_null(subject, table, column, name)),
                None => Some(not_null(subject, table, column)),
            }
        }
        ConstrType::ConstrPrimary if !definition.indexname.is_empty() => {
            let index = index_columns(subject.catalog, table, &definition.indexname)?;
            let mut statements: Vec<String> =
                index.iter().flat_map(|column| not_null(subject, table, column)).collect();
            statements.push(add_constraint(subject, definition.clone())?);
            Some(statements)
        }
        ConstrType::ConstrPrimary | ConstrType::ConstrUnique => unique(subject, table, definition, known),
        _ => None,
    }
}

fn is_partitioned(subject: &Subject<'_>, table: &RelationName) -> bool {
    subject.relation(table).is_some_and(|table| table.kind == RelationType::PartitionedTable)
}

/// `NOT VALID`, then `VALIDATE`.
fn not_valid(
    subject: &Subject<'_>,
    table: &RelationName,
    definition: &Constraint,
    known: &crate::sql::kind::Constraint,
) -> Option<Vec<String>> {
    let foreign = known.kind == ConstraintKind::ForeignKey;
    if foreign && is_partitioned(subject, table) && subject.catalog.major.is_none_or(|major| major < 18) {
        // NOT VALID foreign keys of partitioned tables came with PostgreSQL 18.
        return None;
    }
    let name = known.name.clone().unwrap_or_else(|| {
        if foreign {
            choose(subject, table, Some(&joined(&known.columns)), "fkey")
        } else {
            let only = known.columns.first().filter(|_| known.columns.len() == 1);
            choose(subject, table, only.map(String::as_str), "check")
        }
    });
    let mut added = Constraint {
        conname: name.clone(),
        skip_validation: true,
        initially_valid: false,
        ..definition.clone()
    };
    if foreign && added.fk_attrs.is_empty() {
        added.fk_attrs = known.columns.iter().map(|column| string(column)).collect();
    }
    Some(vec![
        add_constraint(subject, added)?,
        alter(table, &format!("VALIDATE CONSTRAINT {}", quote_ident(&name))),
    ])
}

fn string(text: &str) -> pg_query::Node {
    pg_query::Node { node: Some(NodeEnum::String(pg_query::protobuf::String { sval: text.to_owned() })) }
}

/// `SET NOT NULL` after a `CHECK` that proves it; on PostgreSQL 18 the constraint itself can be added first.
pub fn not_null(subject: &Subject<'_>, table: &RelationName, column: &str) -> Vec<String> {
    let quoted = quote_ident(column);
    if subject.catalog.major.is_some_and(|major| major >= 18) {
        let name = choose(subject, table, Some(column), "not_null");
        return named_not_null(subject, table, column, &name);
    }
    let name = quote_ident(&choose(subject, table, Some(column), "check"));
    vec![
        alter(table, &format!("ADD CONSTRAINT {name} CHECK ({quoted} IS NOT NULL) NOT VALID")),
        alter(table, &format!("VALIDATE CONSTRAINT {name}")),
        alter(table, &format!("ALTER COLUMN {quoted} SET NOT NULL")),
        alter(table, &format!("DROP CONSTRAINT {name}")),
    ]
}

fn named_not_null(_: &Subject<'_>, table: &RelationName, column: &str, name: &str) -> Vec<String> {
    let (name, column) = (quote_ident(name), quote_ident(column));
    vec![
        alter(table, &format!("ADD CONSTRAINT {name} NOT NULL {column} NOT VALID")),
        alter(table, &format!("VALIDATE CONSTRAINT {name}")),
    ]
}

/// An index that is built concurrently, and then becomes the constraint's.
fn unique(
    subject: &Subject<'_>,
    table: &RelationName,
    definition: &Constraint,
    known: &crate::sql::kind::Constraint,
) -> Option<Vec<String>> {
    if is_partitioned(subject, table) || definition.without_overlaps {
        return None;
    }
    let primary = known.kind == ConstraintKind::PrimaryKey;
    let name = known.name.clone().unwrap_or_else(|| {
        if primary {
            choose(subject, table, None, "pkey")
        } else {
            choose(subject, table, Some(&joined(&known.columns)), "key")
        }
    });
    let keys = tree::names(&definition.keys);
    let keys = if keys.is_empty() { known.columns.clone() } else { keys };
    let list =
        |columns: &[String]| columns.iter().map(|column| quote_ident(column)).collect::<Vec<_>>().join(", ");
    let including = tree::names(&definition.including);
    let mut index = format!(
        "CREATE UNIQUE INDEX CONCURRENTLY {} ON {} ({})",
        quote_ident(&name),
        table.sql(),
        list(&keys)
    );
    if !including.is_empty() {
        index = format!("{index} INCLUDE ({})", list(&including));
    }
    if definition.nulls_not_distinct {
        index.push_str(" NULLS NOT DISTINCT");
    }
    if !definition.options.is_empty() || !definition.indexspace.is_empty() {
        return None;
    }
    let mut statements = Vec::new();
    if primary {
        let required = |column: &&String| {
            subject
                .relation(table)
                .is_none_or(|t| !t.columns.iter().any(|c| c.name == **column && c.not_null))
        };
        statements.extend(keys.iter().filter(required).flat_map(|column| not_null(subject, table, column)));
    }
    statements.push(index);
    let kind = if primary { "PRIMARY KEY" } else { "UNIQUE" };
    let mut constraint =
        format!("ADD CONSTRAINT {} {kind} USING INDEX {}", quote_ident(&name), quote_ident(&name));
    if definition.deferrable {
        constraint.push_str(" DEFERRABLE");
    }
    if definition.initdeferred {
        constraint.push_str(" INITIALLY DEFERRED");
    }
    statements.push(alter(table, &constraint));
    Some(statements)
}

/// The columns of an index that the catalog knows.
fn index_columns(catalog: &Snapshot, table: &RelationName, index: &str) -> Option<Vec<String>> {
    let relation = catalog.relation(table)?;
    let known = relation.indexes.iter().find(|known| known.name == index)?;
    let keys = usize::try_from(known.key_columns).ok()?;
    let nullable = |column: &&String| !relation.columns.iter().any(|c| c.name == **column && c.not_null);
    let columns: Option<Vec<String>> = known.columns.iter().take(keys).cloned().collect();
    Some(columns?.iter().filter(nullable).cloned().collect())
}
