//! Reads the catalog of a database as a [`Snapshot`]: short, read-only, and with the least privileges.
//!
//! One `READ ONLY` transaction. What any login may read comes in one round trip; what may be refused, or would have to
//! wait for a table that somebody holds exclusively, is asked for behind savepoints: where it cannot be had, the snapshot
//! says so in `unknown`, and says which grant is missing. No table of the user is read, and nothing is left behind.

mod assemble;
mod dependencies;
mod finish;
mod path;
mod planned;
mod text;

use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};

use super::error::Error;
use super::statement::ours;
use crate::sql::{self, Foreseen, LIVE_QUERIES, Snapshot, Statement, Unknown, quote_ident};
use assemble::{Assembly, Item};
pub use planned::plan_queries;

/// The oldest major version that is supported.
const OLDEST: u32 = 14;

/// Settings of the transaction: names are printed with their schema, and nobody waits for us, nor we for others.
const BEGIN: &str = "BEGIN TRANSACTION READ ONLY";
const SETTINGS: &str = "SET LOCAL search_path TO ''; SET LOCAL statement_timeout TO '30s'; SET LOCAL lock_timeout TO '1s';
    SET LOCAL jit TO off; SET LOCAL datestyle TO 'ISO, MDY'; SET LOCAL intervalstyle TO 'postgres';
    SET LOCAL bytea_output TO 'hex'; SET LOCAL extra_float_digits TO 1; SET LOCAL quote_all_identifiers TO off;";

/// Reads the catalog. An empty `search_path` stands for that of the login, as the server has it configured.
///
/// A standby may be asked, too.
///
/// # Errors
/// What the server said to the part that any login may read; [`Error::Settings`] for a server that is too old.
pub async fn read(conn: &mut PgConnection, search_path: &[String]) -> Result<Snapshot, Error> {
    look(conn, search_path, None).await
}

async fn look(
    conn: &mut PgConnection,
    search_path: &[String],
    in_detail: Option<InDetail<'_>>,
) -> Result<Snapshot, Error> {
    let major = conn.server_version_num().unwrap_or_default() / 10_000;
    if major < OLDEST {
        return Err(Error::Settings(format!(
            "the server is PostgreSQL {major}; {OLDEST} is the oldest version that is supported"
        )));
    }
    match attempt(conn, major, search_path, in_detail).await {
        // An object that was dropped, or a table that was locked, while it was being described: the next look sees that.
        Err(error) if matches!(error.sqlstate(), Some("XX000" | "55P03")) => {
            attempt(conn, major, search_path, in_detail).await
        }
        read => read,
    }
}

/// Whether relations and their sizes, shown to it, have to be followed by types, functions, what depends on them, who uses
/// them, and how much.
pub type InDetail<'a> = &'a (dyn Fn(&Snapshot) -> bool + Sync);

/// Reads the catalog as [`read`] does, if `pg_class` has no more than `most` rows of the user; `None` says that it has.
/// For who must bound its memory (a relation takes some kilobytes) and is in a hurry.
///
/// # Errors
/// Those of [`read`].
pub async fn read_bounded(
    conn: &mut PgConnection,
    search_path: &[String],
    most: i64,
    in_detail: InDetail<'_>,
) -> Result<Option<Snapshot>, Error> {
    let count = format!(
        "SELECT count(*) FROM (SELECT FROM pg_catalog.pg_class WHERE oid >= 16384 LIMIT {}) AS found",
        most.saturating_add(1)
    );
    let count: i64 = sqlx::raw_sql(ours(count)).fetch_one(&mut *conn).await?.try_get(0)?;
    if count > most { Ok(None) } else { look(conn, search_path, Some(in_detail)).await.map(Some) }
}

/// Rows of `pg_class` up to which a catalog is read for a plan: some 40 MB while it is looked at.
pub const MOST_RELATIONS: i64 = 10_000;

/// Reads what has to be known of a catalog to foresee these statements, and asks the planner about the queries whose rows
/// they store; `None` where the catalog has more relations than [`MOST_RELATIONS`]. For statements that only make what is new, it
/// is only looked whether something has one of their names.
///
/// # Errors
/// Those of [`read`].
pub async fn read_for(
    conn: &mut PgConnection,
    search_path: &[String],
    statements: &[Statement],
) -> Result<Option<Snapshot>, Error> {
    if let Some(names) = sql::stand_alone(statements)
        && !is_there(conn, &names).await?
    {
        return Ok(Some(unread(conn, search_path)));
    }
    // By what nothing is read, written or broken, nothing but locks and sizes is worth knowing.
    let in_detail = |outline: &Snapshot| {
        !sql::foresee(statements, outline).iter().all(Foreseen::is_surely_light)
            || statements.iter().any(|one| sql::stored_query(one, outline).is_some())
    };
    let mut read = read_bounded(conn, search_path, MOST_RELATIONS, &in_detail).await?;
    if let Some(catalog) = &mut read {
        plan_queries(conn, catalog, statements).await?;
    }
    Ok(read)
}

/// Whether the user has a relation, a type or a schema of one of these names, wherever it is.
async fn is_there(conn: &mut PgConnection, names: &[String]) -> Result<bool, Error> {
    let text = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relname = ANY ($1::name[]) AND oid >= 16384)
             OR EXISTS (SELECT FROM pg_catalog.pg_type WHERE typname = ANY ($1::name[]) AND oid >= 16384)
             OR EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = ANY ($1::name[]) AND oid >= 16384)";
    Ok(sqlx::query(text).bind(names).fetch_one(conn).await?.try_get(0)?)
}

/// A catalog of which nothing was read.
fn unread(conn: &PgConnection, search_path: &[String]) -> Snapshot {
    let mut catalog = Snapshot::assumed(conn.server_version_num().map(|number| number / 10_000));
    if !search_path.is_empty() {
        catalog.search_path = search_path.to_vec();
    }
    catalog
}

async fn attempt(
    conn: &mut PgConnection,
    major: u32,
    search_path: &[String],
    in_detail: Option<InDetail<'_>>,
) -> Result<Snapshot, Error> {
    let mut tx = conn.begin_with(ours(format!("{BEGIN}; {SETTINGS}"))).await?;
    let mut assembly = Assembly::new(major);
    for item in items_of_one(&mut tx, text::core(major)).await? {
        assembly.add(&item)?;
    }
    read_part(&mut tx, &sizes(&assembly), &mut assembly).await?;
    // An outline has no types and no functions, so nothing may be concluded from what it lacks.
    if let Some(in_detail) = in_detail {
        let mut outline = assembly.clone();
        outline.snapshot.complete = false;
        let outline = outline.finish(search_path);
        if !in_detail(&outline) {
            tx.rollback().await?;
            return Ok(outline);
        }
    }
    for item in items(&mut tx, text::rest(major)).await? {
        assembly.add(&item)?;
    }
    for part in parts(&assembly) {
        read_part(&mut tx, &part, &mut assembly).await?;
    }
    tx.rollback().await?;
    Ok(assembly.finish(search_path))
}

/// Asks several queries at once.
async fn items(conn: &mut PgConnection, text: String) -> Result<Vec<Item>, Error> {
    read_items(&sqlx::raw_sql(ours(text)).fetch_all(conn).await?)
}

/// Asks one query, which the server keeps: planning it takes longer than a small catalog does.
async fn items_of_one(conn: &mut PgConnection, text: String) -> Result<Vec<Item>, Error> {
    read_items(&sqlx::query(ours(text)).fetch_all(conn).await?)
}

fn read_items(rows: &[PgRow]) -> Result<Vec<Item>, Error> {
    rows.iter()
        .map(|row| Ok(Item { section: row.try_get(0)?, id: row.try_get(1)?, body: row.try_get(2)? }))
        .collect()
}

/// A part of the snapshot that can be missing.
struct Part {
    what: &'static str,
    text: String,
    /// What to grant where the server refuses it; the name of the login is put in the place of `{login}`.
    grant: &'static str,
    login: String,
}

async fn read_part(conn: &mut PgConnection, part: &Part, assembly: &mut Assembly) -> Result<(), Error> {
    match part.items(conn).await? {
        Ok(items) => {
            assembly.queries_read |= part.what == LIVE_QUERIES;
            items.iter().try_for_each(|item| assembly.add(item))
        }
        Err(unknown) => {
            assembly.unknown(unknown);
            Ok(())
        }
    }
}

fn sizes(assembly: &Assembly) -> Part {
    let (text, grant) = (text::scoped(include_str!("sizes.sql")), "GRANT SELECT ON pg_class TO {login}");
    Part { what: "sizes", text, grant, login: assembly.login() }
}

fn parts(assembly: &Assembly) -> Vec<Part> {
    let login = assembly.login();
    let part = |what, text, grant| Part { what, text, grant, login: login.clone() };
    let mut parts = vec![
        part(
            "dependencies",
            text::scoped(include_str!("dependencies.sql")),
            "GRANT SELECT ON pg_depend TO {login}",
        ),
        part(
            "definitions of views",
            text::scoped(include_str!("definitions.sql")),
            "GRANT SELECT ON pg_rewrite TO {login}",
        ),
        part(
            "activity of tables",
            text::scoped(include_str!("activity.sql")),
            "GRANT SELECT ON pg_stat_all_tables TO {login}",
        ),
        part(
            "widths of columns",
            text::scoped(include_str!("widths.sql")),
            "GRANT SELECT ON pg_stats TO {login}",
        ),
        part(
            "widths of columns",
            text::scoped(include_str!("unreadable.sql")),
            "GRANT pg_read_all_data TO {login}",
        ),
        part(
            "open transactions",
            include_str!("transactions.sql").to_owned(),
            "GRANT SELECT ON pg_stat_activity TO {login}",
        ),
    ];
    if let Some((schema, version)) = assembly.statistics_extension() {
        let grant = "GRANT SELECT ON pg_stat_statements TO {login}";
        parts.push(part(LIVE_QUERIES, text::queries(schema, version), grant));
    }
    parts
}

impl Part {
    /// Asks for it behind a savepoint, so that a refusal does not end the transaction.
    async fn items(&self, conn: &mut PgConnection) -> Result<Result<Vec<Item>, Unknown>, Error> {
        let mut savepoint = conn.begin().await?;
        match items_of_one(&mut savepoint, self.text.clone()).await {
            Ok(items) => {
                savepoint.commit().await?;
                Ok(Ok(items))
            }
            Err(Error::Server(server)) if server.sqlstate != "XX000" => {
                savepoint.rollback().await?;
                let remedy = self.remedy(&server.sqlstate, &server.message);
                Ok(Err(Unknown { what: self.what.to_owned(), why: server.message.clone(), remedy }))
            }
            Err(error) => Err(error),
        }
    }

    fn remedy(&self, sqlstate: &str, message: &str) -> String {
        match sqlstate {
            "42501" => match message.strip_prefix("permission denied for schema ") {
                Some(schema) => format!("GRANT USAGE ON SCHEMA {} TO {}", quote_ident(schema), self.login),
                None => self.grant.replace("{login}", &self.login),
            },
            "55P03" => "try again: somebody holds a table or view exclusively".to_owned(),
            "57014" => "try again: the server took longer than 30 seconds".to_owned(),
            "55000" if self.what == LIVE_QUERIES => {
                "add pg_stat_statements to shared_preload_libraries and restart the server".to_owned()
            }
            _ => String::new(),
        }
    }
}
