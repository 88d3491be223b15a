//! The only place where SQL text that is not a literal meets the server.
//!
//! Invariant: text enters here in two ways only: as a statement or expression of a plan (written by the user, parsed by `sql`,
//! stored in the ledger), or as text that this program composed of literals and quoted identifiers.

#![allow(clippy::disallowed_types, reason = "this file is the one place for it")]

use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr, SqlStr};

use super::error::Error;
use crate::sql::Statement;

/// Marks text that this program composed of literals and quoted identifiers.
pub(super) fn ours(text: String) -> SqlStr {
    AssertSqlSafe(text).into_sql_str()
}

/// Marks text that this program composed around expressions of a plan, each in parentheses.
pub(super) fn around(text: String) -> SqlStr {
    AssertSqlSafe(text).into_sql_str()
}

/// Sends a statement of a plan, exactly as it stands there. Returns the rows affected.
pub(super) async fn send(conn: &mut PgConnection, statement: &Statement) -> Result<u64, Error> {
    let done = sqlx::raw_sql(AssertSqlSafe(statement.sql.as_str())).execute(conn).await?;
    Ok(done.rows_affected())
}

/// Sends a statement of a plan after settings of our own, in one round trip; the server limits the time of each by itself.
pub(super) async fn send_after(
    conn: &mut PgConnection,
    settings: &str,
    statement: &Statement,
) -> Result<(), Error> {
    let before = format!("{settings}; ");
    let text = format!("{before}{}", statement.sql);
    let sent = sqlx::raw_sql(AssertSqlSafe(text)).execute(conn).await.map_err(Error::from);
    sent.map(|_| ()).map_err(|error| error.further_left(before.chars().count()))
}

/// Sends text that this program composed, as one simple query.
pub(super) async fn send_ours(conn: &mut PgConnection, text: String) -> Result<(), Error> {
    sqlx::raw_sql(ours(text)).execute(conn).await?;
    Ok(())
}
