//! What the code under test is given: statements, and the catalog of a database.

use anyhow::{Result, ensure};
use sqlx::PgConnection;
use whimbrel::postgres::snapshot;
use whimbrel::sql::{self, Code, Relation, Snapshot, Statement};

use super::form::Form;
use super::table;

/// The catalog of a database.
pub async fn read(session: &mut PgConnection) -> Result<Snapshot> {
    Ok(snapshot::read(session, &["public".to_owned()]).await?)
}

/// The indexes of each table, for showing them together.
pub fn indexes(catalog: &Snapshot) -> table::Indexes {
    let of = |relation: &Relation| {
        relation.indexes.iter().map(|index| relation.name.sibling(index.name.clone()).sql()).collect()
    };
    catalog.relations.iter().map(|relation| (relation.name.sql(), of(relation))).collect()
}

/// The statements of a form, those that a migration must not contain too.
pub fn statements(form: &Form) -> Result<Vec<Statement>> {
    let reading = sql::read(form.sql, sql::MAX_BYTES);
    let broken = reading.refusals.iter().find(|refusal| refusal.code == Code::SyntaxError);
    ensure!(broken.is_none() && !reading.script.statements.is_empty(), "not read: {:?}", reading.refusals);
    Ok(reading.script.statements)
}
