//! What the code under test is given: statements, and the catalog of a database.

use anyhow::{Result, anyhow};
use sqlx::Connection as _;
use whimbrel::postgres::snapshot;
use whimbrel::sql::{Kind, Snapshot, Statement, parse};

use super::form::Form;
use crate::harness::postgres::Database;

/// The catalog of a database.
pub async fn read(database: &Database) -> Result<Snapshot> {
    let mut session = database.connect().await?;
    let catalog = snapshot::read(&mut session, &["public".to_owned()]).await?;
    session.close().await?;
    Ok(catalog)
}

/// The statements of a form; one that a migration must not contain is given as the one statement that it is.
pub fn statements(form: &Form) -> Result<Vec<Statement>> {
    match parse(form.sql) {
        Ok(script) => Ok(script.statements),
        Err(refusals) if refusals.iter().any(|refusal| refusal.message.contains("syntax")) => {
            Err(anyhow!("{refusals:?}"))
        }
        Err(_) => Ok(vec![Statement {
            sql: form.sql.to_owned(),
            line: 1,
            column: 1,
            kind: Kind::Other(String::new()),
            transactional: !form.outside,
            blocking: true,
        }]),
    }
}
