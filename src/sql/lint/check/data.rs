//! Rows: changed, deleted, or handed to code that cannot be read.

use std::collections::BTreeSet;

use pg_query::protobuf::{AExprKind, BoolExprType, UpdateStmt};
use pg_query::{Node, NodeEnum};

use super::Found;
use crate::sql::classify::tree;
use crate::sql::kind::Kind;
use crate::sql::lint::subject::Subject;
use crate::sql::lint::weigh::Magnitude;
use crate::sql::lint::{Severity, safe};
use crate::sql::name::RelationName;

pub fn check(subject: &Subject<'_>, found: &mut Vec<Found>) {
    match subject.node() {
        Some(NodeEnum::UpdateStmt(update)) => updated(subject, update, found),
        Some(NodeEnum::DeleteStmt(delete)) => {
            let table = delete.relation.as_ref().map(tree::range).unwrap_or_default();
            if delete.where_clause.is_none() && delete.using_clause.is_empty() {
                deleted(subject, &table, found);
            } else if delete.where_clause.as_deref().is_some_and(is_broad) {
                found.extend(at_once(subject, &table, "DELETE", None));
            }
        }
        Some(NodeEnum::InsertStmt(insert)) => {
            let columns = insert.cols.iter().filter_map(tree::target);
            found.extend(twice(columns).map(|column| assigned_twice(subject, &column)));
        }
        Some(NodeEnum::TruncateStmt(_)) => truncated(subject, found),
        _ => {}
    }
    if subject.foreseen.opaque {
        let message = format!(
            "what {} does cannot be known before it runs: neither its locks nor its way back",
            words(&subject.statement.kind)
        );
        found.push(subject.finding("WB403", Severity::Medium, 0, message).without_remedy());
    }
}

fn words(kind: &Kind) -> String {
    match kind {
        Kind::Other(label) => match label.as_str() {
            "DoStmt" => "DO".to_owned(),
            "CallStmt" => "CALL".to_owned(),
            other => other.trim_end_matches("Stmt").to_owned(),
        },
        Kind::Select { .. } => "the function that is called".to_owned(),
        Kind::CreateTrigger { .. } => "the trigger".to_owned(),
        _ => "the statement".to_owned(),
    }
}

fn updated(subject: &Subject<'_>, update: &UpdateStmt, found: &mut Vec<Found>) {
    let table = update.relation.as_ref().map(tree::range).unwrap_or_default();
    found.extend(
        twice(update.target_list.iter().filter_map(tree::target)).map(|c| assigned_twice(subject, &c)),
    );
    for node in &update.target_list {
        let Some(NodeEnum::ResTarget(target)) = &node.node else { continue };
        let itself = target.val.as_deref().and_then(column_of).is_some_and(|column| column == target.name);
        if itself && target.indirection.is_empty() {
            let message =
                format!("column {} is set to itself, which writes every row for nothing", target.name);
            let at = subject.at(target.location);
            found.push(subject.finding("WB204", Severity::Low, at, message).without_remedy());
        }
    }
    // Outside of a transaction it is a backfill, which is done in batches.
    if subject.statement.transactional && update.where_clause.as_deref().is_none_or(is_broad) {
        found.extend(at_once(subject, &table, "UPDATE", Some(update)));
    }
}

/// The name of a column that stands alone.
fn column_of(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::ColumnRef(reference)) => reference.fields.last().and_then(tree::string),
        _ => None,
    }
}

/// Whether a condition may well hold for most rows: that something is or is not null, equal, true.
fn is_broad(condition: &Node) -> bool {
    match &condition.node {
        Some(NodeEnum::NullTest(_) | NodeEnum::BooleanTest(_) | NodeEnum::AConst(_)) => true,
        Some(NodeEnum::AExpr(expression)) => {
            let operator = expression.name.last().and_then(tree::string).unwrap_or_default();
            expression.kind() == AExprKind::AexprDistinct || operator == "<>" || operator == "!="
        }
        Some(NodeEnum::BoolExpr(expression)) => match expression.boolop() {
            BoolExprType::AndExpr => expression.args.iter().all(is_broad),
            _ => expression.args.iter().any(is_broad),
        },
        _ => false,
    }
}

fn twice(names: impl Iterator<Item = String>) -> Option<String> {
    let mut seen = BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(name.clone()))
}

fn assigned_twice(subject: &Subject<'_>, column: &str) -> Found {
    let message = format!("column {column} is assigned twice: the server refuses the statement");
    subject.finding("WB204", Severity::High, 0, message).without_remedy()
}

fn at_once(
    subject: &Subject<'_>,
    table: &RelationName,
    what: &str,
    update: Option<&UpdateStmt>,
) -> Option<Found> {
    if subject.is_new(table) {
        return None;
    }
    let size = subject.size(table);
    let severity = match size.magnitude() {
        Magnitude::Empty => return None,
        Magnitude::Small => Severity::Info,
        Magnitude::Middling => Severity::Low,
        // What is not known may be small after all; a statement that is slow is no outage yet.
        Magnitude::Large if size == crate::sql::lint::weigh::Size::UNKNOWN => Severity::Medium,
        Magnitude::Large => Severity::High,
    };
    let message = format!(
        "{what} of all of {} at once locks its rows until the end, leaves as many dead ones, and holds back standbys: do it \
         in batches",
        subject.named(table)
    );
    let safe = match update {
        Some(update) => safe::batch::update(subject, update),
        None => safe::batch::delete(subject, table),
    };
    Some(subject.finding("WB401", severity, 0, message).instead(safe))
}

fn deleted(subject: &Subject<'_>, table: &RelationName, found: &mut Vec<Found>) {
    if subject.is_new(table) || subject.size(table).is_empty() {
        return;
    }
    let message = format!("DELETE without WHERE deletes all rows of {}", subject.named(table));
    found.push(subject.finding("WB310", Severity::High, 0, message).without_remedy());
    found.extend(at_once(subject, table, "DELETE", None));
}

fn truncated(subject: &Subject<'_>, found: &mut Vec<Found>) {
    let Kind::Truncate { relations, cascade } = &subject.statement.kind else { return };
    for table in relations.iter().filter(|table| !subject.is_new(table)) {
        let severity = if subject.size(table).is_empty() { Severity::Low } else { Severity::High };
        let message =
            format!("TRUNCATE deletes all rows of {}, while readers and writers wait", subject.named(table));
        found.push(subject.finding("WB307", severity, 0, message).without_remedy());
    }
    if !*cascade {
        return;
    }
    let named =
        |table: &RelationName| relations.iter().any(|one| crate::sql::lint::subject::same(one, table));
    let mut others: Vec<String> = subject
        .foreseen
        .locks
        .iter()
        .filter(|lock| lock.mode.blocks_reads() && !named(&lock.relation))
        .filter(|lock| subject.relation(&lock.relation).is_none_or(|table| !table.columns.is_empty()))
        .map(|lock| lock.relation.to_string())
        .collect();
    others.dedup();
    let told = if others.is_empty() { String::new() } else { format!(": now {}", others.join(", ")) };
    let known = subject.catalog.complete && relations.iter().all(|table| subject.relation(table).is_some());
    let severity = if known && others.is_empty() { Severity::Info } else { Severity::High };
    let message =
        format!("TRUNCATE ... CASCADE also empties every table that refers to the ones named{told}");
    found.push(subject.finding("WB308", severity, 0, message).instead(safe::without_cascade(subject)));
}
