//! One database, as the superuser sees it: set-up, questions, and the observer's records.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
// Statements of tests are written by their authors; nothing here comes from outside.
#[allow(clippy::disallowed_types)]
use sqlx::AssertSqlSafe;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, Row as _, ValueRef as _, postgres::PgRow};

use super::super::scratch;
use super::{PASSWORD, SUPERUSER, Spec, programs};

/// An address of a database; connections are made when they are needed.
#[derive(Clone, Debug)]
pub struct Database {
    name: String,
    port: u16,
    tls: bool,
}

/// A statement that changed the schema, seen by the observer's event triggers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ddl {
    /// `application_name` of the session.
    pub application: String,
    /// Such as `ALTER TABLE`; `... (dropped)` for what it dropped.
    pub tag: String,
    /// The object's identity, such as `public.users.tier`.
    pub object: String,
}

/// A line of the server's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// `application_name` of the session.
    pub application: String,
    /// `LOG`, `ERROR`, ...
    pub severity: String,
    /// SQLSTATE.
    pub code: String,
    /// The message; `statement: ...` for statements that change a schema.
    pub message: String,
}

impl Database {
    /// A database of a server that listens on a port.
    pub fn new(name: &str, port: u16, tls: bool) -> Self {
        Self { name: name.to_owned(), port, tls }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where its server listens, on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The same database through something that listens elsewhere: a proxy or a pooler.
    #[must_use]
    pub fn through(&self, port: u16) -> Self {
        Self { port, ..self.clone() }
    }

    /// The connection URL of a role.
    pub fn url(&self, role: &str) -> String {
        let mode = if self.tls { "require" } else { "disable" };
        format!("postgres://{role}:{PASSWORD}@127.0.0.1:{}/{}?sslmode={mode}", self.port, self.name)
    }

    /// A new session of the superuser.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect(&self) -> Result<PgConnection> {
        self.connect_as(SUPERUSER).await
    }

    /// A new session of a role.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn connect_as(&self, role: &str) -> Result<PgConnection> {
        let mode = if self.tls { PgSslMode::Require } else { PgSslMode::Disable };
        let options = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username(role)
            .password(PASSWORD)
            .database(&self.name)
            .application_name("harness")
            .ssl_mode(mode);
        let context = || format!("cannot connect to {} on port {} as {role}", self.name, self.port);
        options.connect().await.with_context(context)
    }

    /// Runs statements as the superuser.
    ///
    /// # Errors
    /// When one fails.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.execute_as(SUPERUSER, sql).await
    }

    /// Runs statements as a role.
    ///
    /// # Errors
    /// When one fails.
    pub async fn execute_as(&self, role: &str, sql: &str) -> Result<()> {
        let mut connection = self.connect_as(role).await?;
        execute(&mut connection, sql).await?;
        Ok(connection.close().await?)
    }

    /// Runs a query as the superuser.
    ///
    /// # Errors
    /// When it fails.
    pub async fn rows(&self, sql: &str) -> Result<Vec<PgRow>> {
        let mut connection = self.connect().await?;
        let rows = rows(&mut connection, sql).await?;
        connection.close().await?;
        Ok(rows)
    }

    /// Runs a query as the superuser: the rows as text, whatever the types; `None` for null.
    ///
    /// # Errors
    /// When it fails.
    pub async fn text(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut connection = self.connect().await?;
        let rows = text(&mut connection, sql).await?;
        connection.close().await?;
        Ok(rows)
    }

    /// Runs a query as the superuser that gives one value.
    ///
    /// # Errors
    /// When it fails, or gives anything else than one value that is not null.
    pub async fn value(&self, sql: &str) -> Result<String> {
        let mut rows = self.text(sql).await?;
        let value = rows.pop().filter(|_| rows.is_empty()).and_then(|mut row| row.pop()).flatten();
        value.with_context(|| format!("not exactly one value: {sql}"))
    }

    /// The schema changes that the observer saw since the database was made, oldest first, outside of the schema
    /// `whimbrel`.
    ///
    /// # Errors
    /// When the database has no observer.
    pub async fn ddl(&self) -> Result<Vec<Ddl>> {
        let sql = "SELECT application, tag, coalesce(object, '') FROM obs.ddl \
                   WHERE object IS NULL OR object !~ '^whimbrel(\\.|$)' ORDER BY id";
        let seen = self.rows(sql).await?;
        seen.iter()
            .map(|row| {
                Ok(Ddl { application: row.try_get(0)?, tag: row.try_get(1)?, object: row.try_get(2)? })
            })
            .collect()
    }

    /// What `psql` prints, for people to read.
    ///
    /// # Errors
    /// When it fails.
    pub fn psql(&self, sql: &str) -> Result<String> {
        let arguments = ["--no-psqlrc", "-P", "footer=off", "-v", "ON_ERROR_STOP=1", "-c", sql];
        Spec::new("psql", programs::path("psql")?, scratch::root()?)
            .args(arguments)
            .args([self.url(SUPERUSER)])
            .output()
    }

    pub(super) async fn server_log(&self, logs: &Path, database: &str) -> Result<Vec<LogLine>> {
        let mut connection = self.connect().await?;
        // The columns that the manual lists (20.8.4 "Using CSV-Format Log Output"), read by the server itself.
        let columns = "log_time text, user_name text, database_name text, process_id text, connection_from text, \
             session_id text, session_line_num text, command_tag text, session_start_time text, \
             virtual_transaction_id text, transaction_id text, error_severity text, sql_state_code text, \
             message text, detail text, hint text, internal_query text, internal_query_pos text, context text, \
             query text, query_pos text, location text, application_name text, backend_type text, \
             leader_pid text, query_id text";
        let load = format!(
            "CREATE TEMP TABLE server_log ({columns}); COPY server_log FROM '{}' CSV",
            logs.join("server.csv").display()
        );
        execute(&mut connection, &load).await?;
        let read = format!(
            "SELECT coalesce(application_name, ''), error_severity, sql_state_code, coalesce(message, '') \
             FROM server_log WHERE database_name = '{database}'"
        );
        let lines = rows(&mut connection, &read).await?;
        lines
            .iter()
            .map(|row| {
                Ok(LogLine {
                    application: row.try_get(0)?,
                    severity: row.try_get(1)?,
                    code: row.try_get(2)?,
                    message: row.try_get(3)?,
                })
            })
            .collect()
    }
}

/// Runs statements on a session.
///
/// # Errors
/// When one fails.
#[allow(clippy::disallowed_types)]
pub async fn execute(connection: &mut PgConnection, sql: &str) -> Result<()> {
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await.with_context(|| format!("in: {sql}"))?;
    Ok(())
}

/// Runs a query on a session.
///
/// # Errors
/// When it fails.
#[allow(clippy::disallowed_types)]
pub async fn rows(connection: &mut PgConnection, sql: &str) -> Result<Vec<PgRow>> {
    sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.with_context(|| format!("in: {sql}"))
}

/// Runs a query on a session: the rows as text, whatever the types; `None` for null.
///
/// # Errors
/// When it fails.
#[allow(clippy::disallowed_types)]
pub async fn text(connection: &mut PgConnection, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
    // The simple protocol answers in text.
    let rows = connection.fetch_all(sqlx::raw_sql(AssertSqlSafe(sql))).await;
    let rows = rows.with_context(|| format!("in: {sql}"))?;
    let field = |row: &PgRow, index: usize| -> Result<Option<String>> {
        let value = row.try_get_raw(index)?;
        if value.is_null() {
            return Ok(None);
        }
        value.as_str().map(|text| Some(text.to_owned())).map_err(|error| anyhow!("{error} in: {sql}"))
    };
    rows.iter().map(|row| (0..row.len()).map(|index| field(row, index)).collect()).collect()
}
