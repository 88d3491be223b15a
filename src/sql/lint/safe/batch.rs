//! Changes of many rows, in batches.

use pg_query::NodeEnum;
use pg_query::protobuf::UpdateStmt;

use super::BATCH;
use crate::sql::classify::table::expression;
use crate::sql::lint::subject::Subject;
use crate::sql::name::{RelationName, quote_ident};

const REPEAT: &str = "-- repeat until no row is left, each time in a transaction of its own";

/// A batch of an `UPDATE`: rows that do not have their new values yet.
pub fn update(subject: &Subject<'_>, update: &UpdateStmt) -> Option<Vec<String>> {
    let relation = update.relation.as_ref()?;
    if !update.from_clause.is_empty() || update.with_clause.is_some() || relation.alias.is_some() {
        return None;
    }
    if update.returning_clause.is_some() {
        return None;
    }
    let mut assignments = Vec::new();
    let mut pending = Vec::new();
    for node in &update.target_list {
        let Some(NodeEnum::ResTarget(target)) = &node.node else { return None };
        if !target.indirection.is_empty() {
            return None;
        }
        let value =
            target.val.as_deref().filter(|value| !matches!(value.node, Some(NodeEnum::SetToDefault(_))))?;
        let value = expression(value)?;
        let name = quote_ident(&target.name);
        pending.push(format!("{name} IS DISTINCT FROM ({value})"));
        assignments.push(format!("{name} = {value}"));
    }
    let mut condition = pending.join(" OR ");
    if let Some(own) = &update.where_clause {
        condition = format!("({}) AND ({condition})", expression(own)?);
    }
    let table = crate::sql::classify::tree::range(relation).sql();
    let _ = subject;
    Some(vec![
        REPEAT.to_owned(),
        format!(
            "UPDATE {table} SET {} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT {BATCH}))",
            assignments.join(", ")
        ),
    ])
}

/// A batch of a `DELETE`.
pub fn delete(subject: &Subject<'_>, table: &RelationName) -> Option<Vec<String>> {
    let Some(NodeEnum::DeleteStmt(delete)) = subject.node() else { return None };
    let alias = delete.relation.as_ref().is_some_and(|relation| relation.alias.is_some());
    if alias
        || !delete.using_clause.is_empty()
        || delete.with_clause.is_some()
        || delete.returning_clause.is_some()
    {
        return None;
    }
    let condition = match &delete.where_clause {
        Some(own) => format!(" WHERE {}", expression(own)?),
        None => String::new(),
    };
    let table = table.sql();
    Some(vec![
        REPEAT.to_owned(),
        format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table}{condition} LIMIT {BATCH}))"
        ),
    ])
}
