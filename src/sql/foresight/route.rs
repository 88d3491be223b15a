//! Into which partitions rows go that a statement writes out.

use pg_query::protobuf::InsertStmt;
use pg_query::{Node, NodeEnum};

use super::case::Case;
use super::implied::{self, Bound};
use super::world::Id;
use crate::sql::classify::tree;
use crate::sql::snapshot::RelationType;

/// The partitions, all the way down, that take the rows of `VALUES`; `None` if that cannot be told.
pub fn rows(case: &mut Case<'_, '_>, parent: Id, stmt: &InsertStmt) -> Option<Vec<Id>> {
    let Some(NodeEnum::SelectStmt(select)) = &stmt.select_stmt.as_ref()?.node else { return None };
    let mut found = Vec::new();
    for row in &select.values_lists {
        let Some(NodeEnum::List(row)) = &row.node else { return None };
        let mut table = parent;
        while case.world.kind(table) == RelationType::PartitionedTable {
            table = step(case, table, stmt, &row.items)?;
            if !found.contains(&table) {
                found.push(table);
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The partition of one table that takes a row.
fn step(case: &mut Case<'_, '_>, table: Id, stmt: &InsertStmt, row: &[Node]) -> Option<Id> {
    let relation = case.copy(table);
    let key = implied::key_column(relation.partition_key.as_deref()?)?;
    let named: Vec<String> = stmt.cols.iter().filter_map(tree::target).collect();
    let at = if named.is_empty() {
        relation.columns.iter().position(|column| column.name == key)?
    } else {
        named.iter().position(|column| *column == key)?
    };
    let bounds: Option<Vec<(Id, Bound)>> = case
        .world
        .children(table)
        .into_iter()
        .map(|child| {
            let text = case.world.relation(child)?.partition_bound.clone()?;
            Some((child, implied::bound_of(&text)?))
        })
        .collect();
    implied::takes(&bounds?, row.get(at)?)
}
