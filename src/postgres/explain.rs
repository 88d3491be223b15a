//! What a person can do about an error of the server: which grant is missing, what to free.
//!
//! It becomes the error's hint, where the server gave none of use.

use std::collections::BTreeSet;

use sqlx::{PgConnection, Row};

use super::block::{Failed, Job};
use super::catalog::spelled;
use super::error::Error;
use super::session::Session;
use crate::sql::{self, RelationName, Snapshot, Statement, quote_ident};

/// Adds to an error what a person can do about it.
pub(super) async fn explain(session: &mut Session, job: &Job<'_>, mut failed: Failed) -> Failed {
    let Error::Server(error) = &mut failed.error else { return failed };
    if error.is_disk_full() {
        error.hint = error.hint.take().map(|hint| format!("nothing of the statement remains; {hint}"));
    } else if error.is_denied() {
        let statement = failed.statement.and_then(|index| job.block.statements.get(index));
        let (owner, path) = (job.plan.owner_role.as_deref(), job.plan.search_path.as_slice());
        // Advice that cannot be had is no error of its own.
        if let Ok(Some(hint)) = missing_grant(session.conn(), owner, path, statement).await {
            error.advise(hint);
        }
    }
    failed
}

/// The relations that a statement names, as far as its text tells.
fn named(statement: &Statement) -> Vec<RelationName> {
    let foreseen = sql::foresee(std::slice::from_ref(statement), &Snapshot::assumed(None));
    let locked = foreseen.into_iter().flat_map(|one| one.locks).map(|lock| lock.relation);
    locked.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Finds the first grant that the role which runs the statements lacks.
async fn missing_grant(
    conn: &mut PgConnection,
    owner_role: Option<&str>,
    search_path: &[String],
    statement: Option<&Statement>,
) -> Result<Option<String>, Error> {
    let names = statement.map(named).unwrap_or_default();
    let schemas: Vec<String> = names.iter().filter_map(|name| name.schema.clone()).collect();
    // As it would be found under the search path, whose schemas the session itself does not have.
    let spelled: Vec<String> = names
        .iter()
        .flat_map(|name| match name.schema {
            Some(_) => vec![spelled(name)],
            None => search_path
                .iter()
                .map(|schema| format!("{}.{}", quote_ident(schema), quote_ident(&name.name)))
                .collect(),
        })
        .collect();
    let row = sqlx::query(
        "SELECT session_user::text, \
            $1::text IS NOT NULL AND NOT coalesce((SELECT pg_has_role(session_user, r.oid, 'MEMBER') FROM pg_catalog.pg_roles r WHERE r.rolname = $1), false), \
            o.relation, o.owner, o.command, \
            (SELECT n.nspname::text FROM pg_catalog.pg_namespace n, pg_catalog.pg_roles r WHERE r.rolname = coalesce($1, session_user) \
               AND n.nspname = ANY ($3) AND NOT has_schema_privilege(r.oid, n.oid, 'USAGE, CREATE') LIMIT 1) \
         FROM (SELECT) nothing LEFT JOIN LATERAL ( \
            SELECT format('%I.%I', n.nspname, c.relname) AS relation, w.rolname::text AS owner, \
                CASE WHEN w.rolsuper THEN format('ALTER %s %I.%I OWNER TO %I', CASE c.relkind WHEN 'v' THEN 'VIEW' \
                    WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE' WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' \
                    WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, n.nspname, c.relname, r.rolname) \
                ELSE format('GRANT %I TO %I', w.rolname, r.rolname) END AS command \
            FROM unnest($2::text[]) WITH ORDINALITY AS x (name, place) JOIN pg_catalog.pg_class c ON c.oid = to_regclass(x.name) \
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_roles w ON w.oid = c.relowner, pg_catalog.pg_roles r \
            WHERE r.rolname = coalesce($1, session_user) AND NOT pg_has_role(r.oid, c.relowner, 'USAGE') ORDER BY x.place LIMIT 1) o ON true",
    )
    .bind(owner_role)
    .bind(spelled)
    .bind(if schemas.is_empty() { search_path.to_vec() } else { schemas })
    .fetch_one(conn)
    .await?;
    let login: String = row.try_get(0)?;
    let no_member: bool = row.try_get(1)?;
    let (relation, owner): (Option<String>, Option<String>) = (row.try_get(2)?, row.try_get(3)?);
    // Nobody becomes a superuser for a migration: what belongs to one changes its owner.
    let command: Option<String> = row.try_get(4)?;
    let schema: Option<String> = row.try_get(5)?;
    let acts_as = quote_ident(owner_role.unwrap_or(&login));
    Ok(if let (Some(role), true) = (owner_role, no_member) {
        Some(format!("GRANT {} TO {}", quote_ident(role), quote_ident(&login)))
    } else if let (Some(relation), Some(owner), Some(command)) = (relation, owner, command) {
        let role = command.starts_with("GRANT") && owner_role.is_none();
        let other = if role { ", or set spec.ownerRole of the Database to it" } else { "" };
        Some(format!("{relation} belongs to {owner}, and the statements run as {acts_as}: {command}{other}"))
    } else {
        schema.map(|schema| format!("GRANT USAGE, CREATE ON SCHEMA {} TO {acts_as}", quote_ident(&schema)))
    })
}
