//! What is dropped or renamed: rows that are lost, and clients that break.

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableType, DropBehavior};

use super::Found;
use crate::sql::backfill::SYNC_PREFIX;
use crate::sql::classify::tree;
use crate::sql::kind::{ConstraintKind, Kind, RelationKind, Rename, RenameTarget, TableAction};
use crate::sql::lint::subject::{Subject, same};
use crate::sql::lint::{Severity, safe};
use crate::sql::name::RelationName;
use crate::sql::snapshot::{Relation, ReplicaIdentity};

pub fn check(subject: &Subject<'_>, found: &mut Vec<Found>) {
    match &subject.statement.kind {
        Kind::DropTable { relations, cascade, .. } => {
            for table in relations.iter().filter(|table| !subject.is_new(table)) {
                found.push(dropped(subject, table));
                found.extend(published(subject, table, "it is dropped"));
            }
            cascades(subject, *cascade, "DROP TABLE", relations.first(), found);
        }
        Kind::Drop { object } => dropped_object(subject, object, found),
        Kind::Rename(rename) => renamed(subject, rename, found),
        Kind::AlterTable(alter) => {
            for action in &alter.actions {
                altered(subject, &alter.relation, action, found);
            }
            for command in subject.commands() {
                commanded(subject, &alter.relation, alter.object, command, found);
            }
        }
        Kind::DropIndex { indexes, .. } => {
            for index in indexes {
                identity_index(subject, index, found);
            }
        }
        Kind::Other(_) => moved(subject, found),
        _ => {}
    }
}

/// The severity of what breaks clients, and what the live statements say about it.
fn clients(subject: &Subject<'_>) -> (Severity, String) {
    match subject.broken() {
        None => (Severity::High, String::new()),
        Some(0) if subject.catalog.hides_queries() => {
            (Severity::High, "; none of the statements that could be read names it".to_owned())
        }
        Some(0) => {
            (Severity::Medium, "; none of the statements that the server has counted names it".to_owned())
        }
        Some(1) => (Severity::High, "; one statement that clients send now fails".to_owned()),
        Some(number) => (Severity::High, format!("; {number} statements that clients send now fail")),
    }
}

fn dropped(subject: &Subject<'_>, table: &RelationName) -> Found {
    let (severity, told) = clients(subject);
    let size = subject.size(table);
    // Rows are lost whether a statement names them or not.
    let severity = if size.is_empty() { severity.min(Severity::Medium) } else { Severity::High };
    let message =
        format!("dropping {} loses its rows, and clients that use it fail{told}", subject.named(table));
    subject.finding("WB301", severity, 0, message).without_remedy()
}

fn dropped_object(subject: &Subject<'_>, object: &str, found: &mut Vec<Found>) {
    let Some(NodeEnum::DropStmt(drop)) = subject.node() else { return };
    let cascade = drop.behavior() == DropBehavior::DropCascade;
    let words = match object {
        "matview" => "materialized view",
        "foreign server" => "server",
        other => other,
    };
    let name = drop.objects.first().and_then(|object| tree::path(&tree::strings(Some(object))));
    let ours = subject.statement.sql.contains(SYNC_PREFIX);
    if ours || name.as_ref().is_some_and(|name| subject.is_new(name)) {
        return;
    }
    let (severity, told) = clients(subject);
    let severity = match object {
        // These are what the server enforces or runs by itself, not what clients name.
        "trigger" | "rule" | "policy" | "statistic ext" | "cast" | "event trigger" | "publication" => {
            Severity::Low
        }
        "schema" => severity,
        _ => severity.min(Severity::Medium),
    };
    let called = name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let message = format!("dropping {words}{called} makes what uses it fail{told}");
    found.push(subject.finding("WB303", severity, 0, message).without_remedy());
    cascades(subject, cascade, "DROP", name.as_ref(), found);
}

/// `CASCADE` drops what nobody named.
fn cascades(
    subject: &Subject<'_>,
    cascade: bool,
    what: &str,
    of: Option<&RelationName>,
    found: &mut Vec<Found>,
) {
    if !cascade {
        return;
    }
    let mut others: Vec<&str> = subject
        .catalog
        .dependencies
        .iter()
        .filter(|dependency| dependency.kind == "n")
        .filter(|dependency| {
            of.zip(dependency.on.relation.as_ref()).is_some_and(|(of, on)| same(of, on))
                && dependency.dependent.relation.as_ref() != dependency.on.relation.as_ref()
        })
        .map(|dependency| dependency.dependent.identity.as_str())
        .collect();
    others.sort_unstable();
    others.dedup();
    let known = subject.catalog.complete && of.is_some_and(|of| subject.relation(of).is_some());
    let (severity, told) = match others.as_slice() {
        [] if known => (Severity::Info, "; there is nothing now".to_owned()),
        [] => (Severity::High, String::new()),
        some => {
            let first: Vec<&str> = some.iter().copied().take(5).collect();
            let more = if some.len() > 5 { format!(" and {} more", some.len() - 5) } else { String::new() };
            (Severity::High, format!(": now {}{more}", first.join(", ")))
        }
    };
    let message = format!("{what} ... CASCADE also drops whatever depends on it, without naming it{told}");
    let safe = safe::without_cascade(subject);
    found.push(subject.finding("WB309", severity, 0, message).instead(safe));
}

fn renamed(subject: &Subject<'_>, rename: &Rename, found: &mut Vec<Found>) {
    let (severity, told) = clients(subject);
    match &rename.target {
        RenameTarget::Relation { object: RelationKind::Index, .. }
        | RenameTarget::Constraint { .. }
        | RenameTarget::OfTable { .. } => {}
        RenameTarget::Relation { object, relation } => {
            if subject.is_new(relation) {
                return;
            }
            let message =
                format!("clients that use {relation} fail as soon as it is called {}{told}", rename.to);
            let viewed = matches!(object, RelationKind::Table | RelationKind::View);
            let safe =
                (viewed && !rename.if_exists).then(|| safe::rename_with_view(subject, relation, &rename.to));
            found.push(subject.finding("WB304", severity, 0, message).instead(safe));
            found.extend(published(subject, relation, "it is renamed"));
        }
        RenameTarget::Column { relation, column, object, .. } => {
            if subject.is_new(relation) {
                return;
            }
            let message = format!(
                "clients that name column {column} of {relation} fail as soon as it is called {}{told}; add a column of the new \
                 name, keep both alike while clients change, and drop the old one later",
                rename.to
            );
            let severity =
                if *object == RelationKind::Type { severity.min(Severity::Medium) } else { severity };
            found.push(subject.finding("WB305", severity, 0, message).without_remedy());
            found.extend(published(subject, relation, "a column is renamed"));
        }
        RenameTarget::Schema { schema } => {
            let message =
                format!("clients that use schema {schema} fail as soon as it is called {}{told}", rename.to);
            found.push(subject.finding("WB306", severity, 0, message).without_remedy());
        }
        RenameTarget::EnumValue { relation, value } => {
            let message = format!(
                "clients that write the value '{value}' of {relation} fail as soon as it is called '{}'{told}",
                rename.to
            );
            found.push(subject.finding("WB306", severity.min(Severity::Medium), 0, message).without_remedy());
        }
        RenameTarget::Named { object, relation } => {
            let message = format!(
                "what names {} {relation} fails as soon as it is called {}{told}",
                object.to_lowercase(),
                rename.to
            );
            found.push(subject.finding("WB306", severity.min(Severity::Medium), 0, message).without_remedy());
        }
        RenameTarget::Other { object } => {
            let message = format!("what uses the {object} fails as soon as it is called {}{told}", rename.to);
            found.push(subject.finding("WB306", severity.min(Severity::Medium), 0, message).without_remedy());
        }
    }
}

/// `ALTER ... SET SCHEMA` is a rename for whoever writes the schema, or has another search path.
fn moved(subject: &Subject<'_>, found: &mut Vec<Found>) {
    let Some(NodeEnum::AlterObjectSchemaStmt(alter)) = subject.node() else { return };
    let (severity, told) = clients(subject);
    let relation = alter.relation.as_ref().map(tree::range);
    if relation.as_ref().is_some_and(|name| subject.is_new(name)) {
        return;
    }
    let (code, severity) =
        if relation.is_some() { ("WB304", severity) } else { ("WB306", severity.min(Severity::Medium)) };
    let what = relation.as_ref().map_or_else(|| "the object".to_owned(), ToString::to_string);
    let message =
        format!("clients that use {what} fail as soon as it is in schema {}{told}", alter.newschema);
    found.push(subject.finding(code, severity, 0, message).without_remedy());
    found.extend(relation.and_then(|relation| published(subject, &relation, "it moves to another schema")));
}

fn altered(subject: &Subject<'_>, table: &RelationName, action: &TableAction, found: &mut Vec<Found>) {
    if subject.is_new(table) {
        return;
    }
    match action {
        TableAction::DropColumn { column, cascade, .. } => {
            let (severity, told) = clients(subject);
            let empty = subject.size(table).is_empty();
            let severity = if empty { severity.min(Severity::Medium) } else { Severity::High };
            let message = format!(
                "dropping column {column} of {} loses its values, and clients that name it fail{told}",
                subject.named(table)
            );
            found.push(subject.finding("WB302", severity, 0, message).without_remedy());
            cascades(subject, *cascade, "DROP COLUMN", Some(table), found);
            found.extend(published(subject, table, "a column is dropped"));
            let relation = subject.relation(table);
            if relation.is_some_and(|table| keys(table).iter().any(|key| key.columns.contains(column))) {
                found.extend(identity(subject, table));
            }
        }
        TableAction::DropConstraint { constraint, .. } => {
            let key = subject
                .relation(table)
                .is_some_and(|table| keys(table).iter().any(|key| key.name == *constraint));
            if key {
                found.extend(identity(subject, table));
            }
        }
        _ => {}
    }
}

fn commanded(
    subject: &Subject<'_>,
    table: &RelationName,
    object: RelationKind,
    command: &pg_query::protobuf::AlterTableCmd,
    found: &mut Vec<Found>,
) {
    match (command.subtype(), command.def.as_ref().and_then(|def| def.node.as_ref())) {
        (AlterTableType::AtAlterColumnType, _) if object == RelationKind::Table && !subject.is_new(table) => {
            found.extend(published(subject, table, "a column changes its type"));
        }
        (AlterTableType::AtReplicaIdentity, Some(NodeEnum::ReplicaIdentityStmt(identity))) => {
            let published = subject.relation(table).is_some_and(|table| !table.publications.is_empty());
            if identity.identity_type == "n" && published {
                let message = format!(
                    "{table} is published and would have no replica identity: UPDATE and DELETE on it fail from then on"
                );
                found.push(subject.finding("WB207", Severity::High, 0, message).without_remedy());
            }
        }
        _ => {}
    }
}

/// The constraints that tell rows apart for subscribers.
fn keys(table: &Relation) -> Vec<&crate::sql::snapshot::ConstraintFacts> {
    let is_key = |constraint: &&crate::sql::snapshot::ConstraintFacts| match &table.replica_identity {
        ReplicaIdentity::Default => constraint.kind == ConstraintKind::PrimaryKey,
        ReplicaIdentity::Index(index) => constraint.index.as_ref() == Some(index),
        ReplicaIdentity::Full | ReplicaIdentity::Nothing => false,
    };
    table.constraints.iter().filter(is_key).collect()
}

fn identity(subject: &Subject<'_>, table: &RelationName) -> Option<Found> {
    let relation = subject.relation(table).filter(|relation| !relation.publications.is_empty())?;
    let message = format!(
        "{table} is published ({}) and loses what tells its rows apart: UPDATE and DELETE on it fail from then on",
        relation.publications.join(", ")
    );
    let safe = vec![
        format!("ALTER TABLE {} REPLICA IDENTITY FULL", relation.name.sql()),
        subject.statement.sql.clone(),
    ];
    Some(subject.finding("WB207", Severity::High, 0, message).instead(Some(safe)))
}

/// An index that is dropped may be the replica identity of its table.
fn identity_index(subject: &Subject<'_>, index: &RelationName, found: &mut Vec<Found>) {
    let of = subject.catalog.relations.iter().find(|table| {
        table.replica_identity == ReplicaIdentity::Index(index.name.clone())
            && index.schema.as_ref().is_none_or(|schema| table.name.schema.as_ref() == Some(schema))
    });
    if let Some(table) = of {
        found.extend(identity(subject, &table.name));
    }
}

fn published(subject: &Subject<'_>, table: &RelationName, what: &str) -> Option<Found> {
    let relation = subject.relation(table).filter(|relation| !relation.publications.is_empty())?;
    let message = format!(
        "{table} is published ({}), and {what}: subscribers that are not changed in the right order stop at the next row",
        relation.publications.join(", ")
    );
    Some(subject.finding("WB208", Severity::High, 0, message).without_remedy())
}
