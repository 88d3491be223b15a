//! A catalog as it would be if a table had more rows, or fewer.

use super::cost;
use crate::sql::{FORMAT, Relation, RelationName, RelationType, Snapshot};

/// Gives a table another number of rows; its bytes, those of its indexes and the results of queries that read it grow with
/// it. In a catalog that is not
/// complete, a table that is not known is noted with that many rows.
///
/// # Errors
/// If a complete catalog has no such table, in words for people.
pub fn resize(catalog: &mut Snapshot, table: &RelationName, rows: f64) -> Result<(), String> {
    let Some(found) = catalog.relation(table).map(|relation| relation.name.clone()) else {
        if catalog.complete {
            return Err(format!("there is no table {table} in the catalog"));
        }
        let schema = table.schema.clone().or_else(|| catalog.creation_schema().cloned());
        let name = RelationName { schema, name: table.name.clone() };
        catalog.format = FORMAT;
        let mut relation = Relation { name, rows: Some(rows), ..Relation::default() };
        relation.bytes = whole(rows * cost::row_width(&relation));
        relation.total_bytes = relation.bytes;
        catalog.relations.push(relation);
        return Ok(());
    };
    let mut factor = 1.0;
    for relation in catalog.relations.iter_mut().filter(|relation| relation.name == found) {
        factor = grow(relation, rows);
    }
    let of_table: Vec<bool> = catalog.query_plans.iter().map(|plan| plan.reads(&found, catalog)).collect();
    for (plan, _) in catalog.query_plans.iter_mut().zip(of_table).filter(|(_, reads)| *reads) {
        plan.rows *= factor;
        plan.cost *= factor;
    }
    for relation in &mut catalog.relations {
        let index = matches!(relation.kind, RelationType::Index | RelationType::PartitionedIndex);
        if index && relation.owned_by.as_ref().is_some_and(|(owner, _)| *owner == found) {
            relation.rows = Some(rows);
            relation.bytes = scaled(relation.bytes, factor);
            relation.total_bytes = scaled(relation.total_bytes, factor);
        }
    }
    Ok(())
}

/// Makes a relation that large, and tells how many times larger it is now.
fn grow(relation: &mut Relation, rows: f64) -> f64 {
    let before = cost::Size::of(relation).filter(|size| size.rows >= 1.0);
    relation.rows = Some(rows);
    let Some(before) = before else {
        relation.bytes = whole(rows * cost::row_width(relation));
        relation.total_bytes = relation.bytes;
        return 1.0;
    };
    let factor = rows / before.rows;
    relation.bytes = scaled(relation.bytes, factor);
    relation.total_bytes = scaled(relation.total_bytes, factor);
    for index in &mut relation.indexes {
        index.bytes = scaled(index.bytes, factor);
    }
    factor
}

/// Whole bytes; what does not fit is far more than any disk has.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, and sizes are not negative"
)]
fn whole(bytes: f64) -> u64 {
    bytes.round() as u64
}

#[allow(clippy::cast_precision_loss, reason = "an estimate")]
fn scaled(bytes: u64, factor: f64) -> u64 {
    whole(bytes as f64 * factor)
}
