//! The table: filled once, and copied file by file for each run, so that all begin with the same pages.

use std::time::Instant;

use anyhow::{Result, ensure};

use crate::harness::postgres::{Cluster, Database, OPERATOR, OWNER};
use crate::shared::stage::Stage;

/// The new values, from what is in the row.
pub const VALUE: &str = "CASE WHEN region % 3 = 0 THEN 'pro' ELSE 'free' END";
/// The database that is copied.
const FILLED: &str = "filled";

/// How large it is, bytes.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Size {
    /// Of the rows, with what was left behind by their changes.
    pub table: f64,
    /// Of the indexes.
    pub indexes: f64,
}

impl Size {
    /// The whole.
    pub fn total(self) -> f64 {
        self.table + self.indexes
    }
}

/// Fills the one that is copied.
///
/// # Errors
/// When the server refuses.
pub async fn fill(cluster: &Cluster, rows: u64) -> Result<Size> {
    let began = Instant::now();
    let database = cluster.database(FILLED).await?;
    database
        .execute(&format!(
            "CREATE EXTENSION pg_prewarm; SET ROLE app_owner; SET maintenance_work_mem TO '512MB'; \
             CREATE TABLE customers (id bigint PRIMARY KEY, region integer NOT NULL, visits bigint NOT NULL DEFAULT 0, \
                 mail text NOT NULL, note text NOT NULL); \
             INSERT INTO customers SELECT n, hashint8(n) & 511, 0, substr(md5(n::text), 1, 16) || '@example.com', \
                 md5(n::text || 'a') || md5(n::text || 'b') FROM generate_series(1, {rows}) n; \
             CREATE INDEX customers_mail ON customers (mail); CREATE INDEX customers_region ON customers (region); \
             RESET ROLE; TRUNCATE obs.ddl"
        ))
        .await?;
    database.execute("VACUUM (ANALYZE, FREEZE) customers").await?;
    let size = size(&database).await?;
    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    let each = size.table / rows as f64;
    println!(
        "{rows} rows of {each:.0} bytes, {:.0} MB with the indexes, filled in {:.0?}",
        size.total() / 1e6,
        began.elapsed()
    );
    Ok(size)
}

/// Copies it.
///
/// # Errors
/// When the server refuses.
pub async fn copy(stage: &Stage, name: &str) -> Result<Database> {
    let admin = stage.primary.admin();
    let strategy = if admin.value("SHOW server_version_num").await?.parse::<u32>()? >= 150_000 {
        "STRATEGY file_copy"
    } else {
        ""
    };
    admin.execute(&format!("CREATE DATABASE {name} TEMPLATE {FILLED} OWNER {OWNER} {strategy}")).await?;
    admin.execute(&format!("GRANT CREATE ON DATABASE {name} TO {OPERATOR}")).await?;
    Ok(stage.primary.named(name))
}

/// Reads all of it, and writes what is to be written, so that a run does neither.
///
/// # Errors
/// When the server refuses.
pub async fn warm(database: &Database) -> Result<()> {
    let relations = "SELECT pg_prewarm(c.oid) FROM pg_class c WHERE c.relname LIKE 'customers%' AND c.relkind IN ('r', 'i')";
    database.execute(relations).await?;
    database.execute("CHECKPOINT").await
}

/// How large it is.
///
/// # Errors
/// When the server refuses.
pub async fn size(database: &Database) -> Result<Size> {
    let of = async |function: &str| -> Result<f64> {
        Ok(database.value(&format!("SELECT {function}('customers')")).await?.parse()?)
    };
    Ok(Size { table: of("pg_table_size").await?, indexes: of("pg_indexes_size").await? })
}

/// How much WAL the server has written, bytes.
///
/// # Errors
/// When the server refuses.
pub async fn wal(database: &Database) -> Result<f64> {
    Ok(database.value("SELECT pg_current_wal_insert_lsn() - '0/0'").await?.parse()?)
}

/// Makes sure that every row is what it should be.
///
/// # Errors
/// When one is not.
pub async fn judge(database: &Database, column: &str) -> Result<()> {
    let sql = format!("SELECT count(*) FROM customers WHERE {column} IS DISTINCT FROM ({VALUE})");
    let wrong = database.value(&sql).await?;
    ensure!(wrong == "0", "{wrong} rows are not what they should be");
    Ok(())
}

/// Makes sure that nothing of the application's was lost.
///
/// # Errors
/// When something was.
pub async fn keeps(database: &Database, writes: u64) -> Result<()> {
    let found = database.value("SELECT sum(visits) FROM customers").await?;
    ensure!(found == writes.to_string(), "{writes} writes were acknowledged, and {found} are there");
    Ok(())
}
