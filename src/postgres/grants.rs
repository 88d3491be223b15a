//! The least that an administrator has to grant, as SQL to print, and what of it a login lacks.

use std::fmt;

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::error::Error;
use crate::sql::{quote_ident, quote_literal};

/// A grant that the login lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The statement that an administrator would run.
    pub grant: String,
    /// What does not work without it.
    pub feature: String,
    /// Whether no migration can run without it.
    pub blocking: bool,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (for {})", self.grant, self.feature)
    }
}

/// Composes the least SQL with which an administrator prepares a database; it can be run twice.
///
/// `owner_role` is the role that owns the application's objects; without it the login has to own them itself.
pub fn grants_sql(login: &str, owner_role: Option<&str>, database: &str, schemas: &[String]) -> String {
    let (who, name) = (quote_ident(login), quote_literal(login));
    let creator = owner_role.map_or_else(|| who.clone(), quote_ident);
    let as_owner = match owner_role {
        Some(_) => format!("-- Migrations run as the role that owns the tables.\nGRANT {creator} TO {who};"),
        None => {
            "-- Without an owner role, the tables that migrations alter must belong to the login.".to_owned()
        }
    };
    let on_schema =
        |name: &String| format!("GRANT USAGE, CREATE ON SCHEMA {} TO {creator};\n", quote_ident(name));
    format!(
        "-- Run as an administrator, connected to database {database}.\n\
         -- The password is not part of this: set it with \\password {who} in psql.\n\
         DO $$ BEGIN\n\
         \x20   IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {name}) THEN\n\
         \x20       CREATE ROLE {who} LOGIN;\n\
         \x20   END IF;\n\
         END $$;\n\
         GRANT CONNECT ON DATABASE {} TO {who};\n\
         -- The history of what was done; it belongs to the login and nobody else needs it.\n\
         CREATE SCHEMA IF NOT EXISTS whimbrel AUTHORIZATION {who};\n\
         {as_owner}\n\
         {}\
         -- Optional: to name the query and the application of sessions that block a migration.\n\
         -- GRANT pg_read_all_stats TO {who};\n\
         -- Only where EXECUTE was revoked from PUBLIC: to tell this server from another one.\n\
         -- GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO {who};\n",
        quote_ident(database),
        schemas.iter().map(on_schema).collect::<String>(),
    )
}

/// Names every grant that the connected login lacks, the ones that block everything first.
///
/// `schemas` are those that migrations name; one that does not exist is left out.
///
/// # Errors
/// What the server said.
pub async fn missing(
    session: &mut PgConnection,
    owner_role: Option<&str>,
    schemas: &[String],
) -> Result<Vec<Missing>, Error> {
    let row = sqlx::query(ROLE).bind(owner_role).fetch_one(&mut *session).await?;
    let login: String = row.try_get("login")?;
    let role_exists = row.try_get("role_exists")?;
    let mut missing = of_login(&row, &quote_ident(&login), owner_role)?;
    // A role that does not exist has no privileges to look up.
    let acts_as = owner_role.filter(|_| role_exists).unwrap_or(&login);
    let creator = quote_ident(owner_role.unwrap_or(&login));
    let rows = sqlx::query(SCHEMAS).bind(schemas).bind(acts_as).fetch_all(session).await?;
    for row in rows {
        missing.extend(on_schema(&row, &creator)?);
    }
    missing.sort_by_key(|missing| !missing.blocking);
    Ok(missing)
}

fn of_login(row: &PgRow, who: &str, owner_role: Option<&str>) -> Result<Vec<Missing>, sqlx::Error> {
    let creator = owner_role.map_or_else(|| who.to_owned(), quote_ident);
    let ledger = if row.try_get("ledger_exists")? {
        format!("ALTER SCHEMA whimbrel OWNER TO {who}")
    } else {
        format!("CREATE SCHEMA whimbrel AUTHORIZATION {who}")
    };
    let role = if row.try_get("role_exists")? {
        format!("GRANT {creator} TO {who}")
    } else {
        format!("CREATE ROLE {creator}; GRANT {creator} TO {who}")
    };
    let control = format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_control_system() TO {who}");
    let stats = format!("GRANT pg_read_all_stats TO {who}");
    let needs = [
        ("has_ledger", ledger, true, "every migration: the history needs a place"),
        ("is_member", role, true, "every migration: statements run as the owner role"),
        ("knows_server", control, true, "every migration: this server must be told from another one"),
        ("sees_activity", stats, false, "naming what the sessions that block a migration run"),
    ];
    let mut missing = Vec::new();
    for (column, grant, blocking, feature) in needs {
        if !row.try_get::<bool, _>(column)? {
            missing.push(Missing { grant, feature: feature.to_owned(), blocking });
        }
    }
    Ok(missing)
}

fn on_schema(row: &PgRow, creator: &str) -> Result<Vec<Missing>, sqlx::Error> {
    let name = quote_ident(row.try_get("name")?);
    let mut missing = Vec::new();
    if !row.try_get::<bool, _>("may_create")? {
        missing.push(Missing {
            grant: format!("GRANT USAGE, CREATE ON SCHEMA {name} TO {creator}"),
            feature: format!("creating tables and indexes in schema {name}"),
            blocking: true,
        });
    }
    if let Some(first) = row.try_get::<Option<String>, _>("first")? {
        let foreign: i64 = row.try_get("foreign")?;
        missing.push(Missing {
            grant: format!("ALTER TABLE {first} OWNER TO {creator}"),
            feature: format!("altering the relations of schema {name} that belong to others: {foreign}"),
            blocking: false,
        });
    }
    Ok(missing)
}

/// MEMBER, and not USAGE, is what `SET ROLE` asks for.
const ROLE: &str = "
SELECT session_user::text AS login,
       w.oid IS NOT NULL AS ledger_exists,
       CASE WHEN w.oid IS NOT NULL THEN pg_has_role(session_user, w.nspowner, 'USAGE')
            ELSE has_database_privilege(session_user, current_database(), 'CREATE') END AS has_ledger,
       $1::text IS NULL OR o.oid IS NOT NULL AS role_exists,
       $1::text IS NULL OR coalesce(pg_has_role(session_user, o.oid, 'MEMBER'), false) AS is_member,
       has_function_privilege(session_user, 'pg_catalog.pg_control_system()', 'EXECUTE') AS knows_server,
       pg_has_role(session_user, 'pg_read_all_stats', 'USAGE') AS sees_activity
FROM (SELECT) one
LEFT JOIN pg_catalog.pg_namespace w ON w.nspname = 'whimbrel'
LEFT JOIN pg_catalog.pg_roles o ON o.rolname = $1";

const SCHEMAS: &str = "
SELECT n.nspname::text AS name,
       has_schema_privilege($2, n.oid, 'CREATE') AND has_schema_privilege($2, n.oid, 'USAGE') AS may_create,
       f.count AS foreign, f.first
FROM pg_catalog.pg_namespace n
CROSS JOIN LATERAL (
    SELECT count(*), min(quote_ident(n.nspname) || '.' || quote_ident(c.relname)) AS first
    FROM pg_catalog.pg_class c
    LEFT JOIN pg_catalog.pg_depend d
           ON d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm') AND d.objid IS NULL
      AND NOT pg_has_role($2, c.relowner, 'USAGE')
) f
WHERE n.nspname = ANY ($1::text[])
ORDER BY n.nspname";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_printed_sql_quotes_and_names_no_password() {
        let sql =
            grants_sql("whim\"brel", Some("shop owner"), "Shop", &["public".to_owned(), "My App".to_owned()]);
        for expected in [
            "rolname = 'whim\"brel'",
            "CREATE ROLE \"whim\"\"brel\" LOGIN;",
            "GRANT CONNECT ON DATABASE \"Shop\" TO \"whim\"\"brel\";",
            "GRANT \"shop owner\" TO \"whim\"\"brel\";",
            "GRANT USAGE, CREATE ON SCHEMA \"My App\" TO \"shop owner\";",
        ] {
            assert!(sql.contains(expected), "{expected}\n{sql}");
        }
        assert!(!sql.contains("PASSWORD"), "{sql}");
    }
}
