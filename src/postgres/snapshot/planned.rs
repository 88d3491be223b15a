//! Asks the planner what it expects of the queries whose rows the statements of a plan store.
//!
//! Plain `EXPLAIN`, never `ANALYZE`, in a `READ ONLY` transaction: nothing is run. What the planner might call to plan a
//! query was looked for before ([`sql::stored_query`]), and such a query is not asked about.

use serde::Deserialize;
use sqlx::postgres::PgConnection;
use sqlx::types::Json;
use sqlx::{Connection, Row};

use super::{BEGIN, SETTINGS};
use crate::postgres::catalog::path;
use crate::postgres::error::{Error, ServerError};
use crate::postgres::statement::ours;
use crate::sql::{self, QueryPlan, RelationName, Snapshot, Statement, StoredQuery, Unknown, quote_ident};

/// The login, and an operator or a cast of the user's that is more than C: a planner tries operators on the values that it has
/// statistics of, and casts constants.
const ABOUT: &str = "SELECT session_user::text, (SELECT min(what) FROM (
    SELECT 'the operator ' || o.oid::regoperator::text, o.oprcode::oid FROM pg_catalog.pg_operator o WHERE o.oid >= 16384
    UNION ALL SELECT 'the cast from ' || c.castsource::regtype::text || ' to ' || c.casttarget::regtype::text, c.castfunc
        FROM pg_catalog.pg_cast c WHERE c.oid >= 16384) AS used (what, function)
    JOIN pg_catalog.pg_proc p ON p.oid = used.function JOIN pg_catalog.pg_language l ON l.oid = p.prolang
    WHERE l.lanname NOT IN ('c', 'internal'))";

/// What is asked for of the answer.
#[derive(Deserialize)]
struct Explained {
    #[serde(rename = "Plan")]
    plan: Plan,
}

#[derive(Deserialize)]
struct Plan {
    #[serde(rename = "Plan Rows")]
    rows: f64,
    #[serde(rename = "Plan Width")]
    width: f64,
    #[serde(rename = "Total Cost")]
    cost: f64,
}

/// Notes in a catalog what the planner expects of the queries of these statements, and what it does not tell.
///
/// # Errors
/// Those of the connection; what the server says about a query is noted as unknown.
pub async fn plan_queries(
    conn: &mut PgConnection,
    catalog: &mut Snapshot,
    statements: &[Statement],
) -> Result<(), Error> {
    let stored = statements.iter().filter_map(|one| Some((one, sql::stored_query(one, catalog)?)));
    let stored: Vec<(&Statement, StoredQuery)> = stored.collect();
    if stored.is_empty() {
        return Ok(());
    }
    let mut tx = conn.begin_with(BEGIN).await?;
    let settings = format!("{SETTINGS} SET LOCAL search_path TO {}", path(&catalog.search_path));
    sqlx::raw_sql(ours(settings)).execute(&mut *tx).await?;
    let about = sqlx::raw_sql(ABOUT).fetch_one(&mut *tx).await?;
    let (login, called): (String, Option<String>) = (about.try_get(0)?, about.try_get(1)?);
    for (statement, query) in stored {
        let unknown = |why: String, remedy: String| Unknown { what: statement.rows_wanted(), why, remedy };
        let called = called.as_ref().map(|what| format!("the planner may call {what}"));
        if let Some(why) = query.unasked.or(called) {
            catalog.unknown.push(unknown(why, String::new()));
            continue;
        }
        let mut savepoint = tx.begin().await?;
        match explain(&mut savepoint, &query.sql).await {
            Ok(Plan { rows, width, cost }) => {
                savepoint.commit().await?;
                let (statement, relations) = (statement.sql.clone(), query.relations);
                catalog.query_plans.push(QueryPlan { statement, relations, rows, width, cost });
            }
            Err(Error::Server(error)) => {
                savepoint.rollback().await?;
                let remedy = remedy(&error, &login, catalog);
                catalog.unknown.push(unknown(error.message.clone(), remedy));
            }
            Err(error) => return Err(error),
        }
    }
    tx.rollback().await?;
    Ok(())
}

async fn explain(conn: &mut PgConnection, query: &str) -> Result<Plan, Error> {
    // One statement only, whatever the text: it is prepared, not sent as a simple query.
    let text = ours(format!("EXPLAIN (FORMAT JSON) {query}"));
    let row = sqlx::query(text).persistent(false).fetch_one(conn).await?;
    let Json(explained): Json<Vec<Explained>> = row.try_get(0)?;
    let first = explained.into_iter().next().map(|one| one.plan);
    first.ok_or_else(|| Error::Unexpected("EXPLAIN gave no plan".to_owned()))
}

/// What a person can do about a query that could not be planned.
fn remedy(error: &ServerError, login: &str, catalog: &Snapshot) -> String {
    let denied = |kind: &str| error.message.strip_prefix(&format!("permission denied for {kind} "));
    match error.sqlstate.as_str() {
        "42501" => {
            if let Some(schema) = denied("schema") {
                return format!("GRANT USAGE ON SCHEMA {} TO {}", quote_ident(schema), quote_ident(login));
            }
            let of = ["table", "view", "materialized view", "foreign table"].into_iter().find_map(denied);
            let Some(name) = of.map(RelationName::unqualified) else { return String::new() };
            let name = catalog.relation(&name).map_or(name, |relation| relation.name.clone());
            format!("GRANT SELECT ON {name} TO {}", quote_ident(login))
        }
        "42P01" | "42703" | "42883" | "3F000" => {
            "what the plan itself makes is there once it has run, and not asked about before".to_owned()
        }
        "55P03" => "try again: somebody holds a table or view exclusively".to_owned(),
        "57014" => "try again: the planner took longer than 30 seconds".to_owned(),
        _ => String::new(),
    }
}
