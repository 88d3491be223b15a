//! Indexes, built and dropped while others go on.

use pg_query::NodeEnum;
use pg_query::protobuf::IndexStmt;

use super::{choose, written};
use crate::sql::kind::{CreateIndex, Kind};
use crate::sql::lint::subject::{Subject, same};
use crate::sql::name::{RelationName, quote_ident};
use crate::sql::overlay::joined;
use crate::sql::snapshot::{Relation, RelationType};
use crate::sql::token;

/// `CREATE INDEX CONCURRENTLY`, with a name, so that it can be found again.
pub fn create(subject: &Subject<'_>, index: &CreateIndex) -> Option<Vec<String>> {
    let Some(NodeEnum::IndexStmt(statement)) = subject.node() else { return None };
    let name = match &index.name {
        Some(name) => name.clone(),
        None if index.columns.is_empty() => return None,
        None => choose(subject, &index.relation, Some(&joined(&index.columns)), "idx"),
    };
    let table = subject.relation(&index.relation);
    if table.is_some_and(|table| table.kind == RelationType::PartitionedTable) {
        return on_partitions(subject, statement, &index.relation, &name);
    }
    Some(vec![concurrently(statement, &name)?])
}

fn concurrently(statement: &IndexStmt, name: &str) -> Option<String> {
    let statement = IndexStmt { concurrent: true, idxname: name.to_owned(), ..statement.clone() };
    written(NodeEnum::IndexStmt(Box::new(statement)))
}

/// The index of a partitioned table cannot be built concurrently, but those of its partitions can.
fn on_partitions(
    subject: &Subject<'_>,
    statement: &IndexStmt,
    parent: &RelationName,
    name: &str,
) -> Option<Vec<String>> {
    let mut relation = statement.relation.clone()?;
    relation.inh = false;
    let only = IndexStmt { relation: Some(relation.clone()), idxname: name.to_owned(), ..statement.clone() };
    let mut statements = vec![written(NodeEnum::IndexStmt(Box::new(only)))?];
    let children: Vec<&Relation> = subject
        .catalog
        .relations
        .iter()
        .filter(|child| child.partition_of.as_ref().is_some_and(|of| same(of, parent)))
        .collect();
    if children.iter().any(|child| child.kind != RelationType::Table) {
        return None;
    }
    let columns = match &subject.statement.kind {
        Kind::CreateIndex(index) => joined(&index.columns),
        _ => return None,
    };
    for child in children {
        let name_of_child = choose(subject, &child.name, Some(&columns), "idx");
        let mut of = relation.clone();
        of.schemaname = child.name.schema.clone().unwrap_or_default();
        of.relname.clone_from(&child.name.name);
        of.inh = true;
        let index = IndexStmt { relation: Some(of), ..statement.clone() };
        statements.push(concurrently(&index, &name_of_child)?);
        statements.push(format!(
            "ALTER INDEX {} ATTACH PARTITION {}",
            parent.sibling(name).sql(),
            child.name.sibling(name_of_child).sql(),
        ));
    }
    Some(statements)
}

/// The same without `IF NOT EXISTS`.
pub fn without_if_not_exists(subject: &Subject<'_>) -> Option<Vec<String>> {
    let Some(NodeEnum::IndexStmt(statement)) = subject.node() else { return None };
    let statement = IndexStmt { if_not_exists: false, ..statement.as_ref().clone() };
    Some(vec![written(NodeEnum::IndexStmt(Box::new(statement)))?])
}

/// `DROP INDEX CONCURRENTLY`, one by one.
pub fn drop(subject: &Subject<'_>, indexes: &[RelationName]) -> Option<Vec<String>> {
    let Some(NodeEnum::DropStmt(drop)) = subject.node() else { return None };
    let partitioned = |index: &RelationName| {
        subject.relation(index).is_some_and(|index| index.kind == RelationType::PartitionedIndex)
    };
    if indexes.iter().any(partitioned) {
        return None;
    }
    let exists = if drop.missing_ok { "IF EXISTS " } else { "" };
    Some(indexes.iter().map(|index| format!("DROP INDEX CONCURRENTLY {exists}{}", index.sql())).collect())
}

/// What `REINDEX` builds in the place of a partitioned table or index: the tables below it, or their indexes.
pub fn rebuilt_parts<'a>(subject: &Subject<'a>, relation: &RelationName) -> Vec<&'a RelationName> {
    let Kind::Reindex { index, .. } = subject.statement.kind else { return Vec::new() };
    let built = if index { &subject.foreseen.rewrites } else { &subject.foreseen.scans };
    if built.iter().any(|one| same(one, relation)) { Vec::new() } else { built.iter().collect() }
}

/// `REINDEX ... CONCURRENTLY`, for each part of what is partitioned.
pub fn reindex(subject: &Subject<'_>, parts: &[&RelationName]) -> Option<Vec<String>> {
    let sql = &subject.statement.sql;
    if parts.is_empty() {
        let tokens = token::scan(sql)?;
        let kind = tokens.iter().find(|token| token.is_word(sql, "index") || token.is_word(sql, "table"))?;
        let (head, tail) = sql.split_at_checked(kind.end)?;
        return Some(vec![format!("{head} CONCURRENTLY{tail}")]);
    }
    let Kind::Reindex { index, .. } = subject.statement.kind else { return None };
    let what = if index { "INDEX" } else { "TABLE" };
    Some(parts.iter().map(|part| format!("REINDEX {what} CONCURRENTLY {}", part.sql())).collect())
}

/// `DETACH PARTITION ... CONCURRENTLY`; the server refuses it where there is a default partition. It leaves a `CHECK` of the
/// bound behind, which goes too where its name can be told.
pub fn detach(subject: &Subject<'_>, parent: &RelationName, child: &RelationName) -> Option<Vec<String>> {
    let default = subject.catalog.relations.iter().any(|child| {
        child.partition_of.as_ref().is_some_and(|of| same(of, parent))
            && child.partition_bound.as_deref() == Some("DEFAULT")
    });
    if default {
        return None;
    }
    let mut statements = vec![format!("{} CONCURRENTLY", subject.statement.sql)];
    let key = subject.relation(parent).and_then(super::partition::key_column);
    if let Some(column) = key {
        let name = quote_ident(&choose(subject, child, Some(&column), "check"));
        statements.push(super::alter(child, &format!("DROP CONSTRAINT IF EXISTS {name}")));
    }
    Some(statements)
}

/// The statement, after an index for the columns of its foreign key.
pub fn before_foreign_key(subject: &Subject<'_>, table: &RelationName, columns: &[String]) -> Vec<String> {
    let name = choose(subject, table, Some(&joined(columns)), "idx");
    let list: Vec<String> = columns.iter().map(|column| quote_ident(column)).collect();
    let index =
        format!("CREATE INDEX CONCURRENTLY {} ON {} ({})", quote_ident(&name), table.sql(), list.join(", "));
    let own = matches!(subject.statement.kind, Kind::CreateTable(_));
    let adds = matches!(subject.node(), Some(NodeEnum::AlterTableStmt(alter)) if super::super::subject::commands(alter)
        .any(|command| command.subtype() == pg_query::protobuf::AlterTableType::AtAddColumn));
    if own || adds {
        vec![subject.statement.sql.clone(), index]
    } else {
        vec![index, subject.statement.sql.clone()]
    }
}
