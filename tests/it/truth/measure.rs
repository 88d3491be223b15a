//! What a statement really does to the server, asked of the server itself.
//!
//! In the statement's own transaction: the locks that its session holds, the files that its tables and indexes have, and
//! how many rows it read by sequential scans. Nothing here knows of the code under test.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use sqlx::PgConnection;
use whimbrel::sql::{Heavy, LockMode};

use crate::harness::postgres::{execute, text};

/// Everything by name, as the names were before the statement.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The strongest lock on each relation; on indexes only those that exclude something else than `DROP INDEX`.
    pub locks: BTreeMap<String, LockMode>,
    /// Tables and indexes that have another file.
    pub rewrites: BTreeSet<String>,
    /// Tables that were read from beginning to end.
    pub scans: BTreeSet<String>,
    /// Who waits while rows are read or written anew.
    pub heavy: Heavy,
}

/// The relations before a statement.
pub struct Before {
    relations: BTreeMap<String, Relation>,
}

struct Relation {
    name: String,
    index: bool,
    /// Of an index: its table.
    table: String,
    file: String,
    bytes: u64,
    rows: f64,
    read: f64,
}

/// By oid; columns: name, is an index, table, file, bytes, rows, rows read. Apart from the moment in which it asks for the
/// size, nothing of this locks a relation of users.
const RELATIONS: &str = r"
SELECT c.oid::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname), (c.relkind IN ('i', 'I'))::text,
    coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = c.oid), c.oid)::text,
    coalesce(pg_relation_filenode(c.oid), 0)::text, coalesce(pg_relation_size(c.oid), 0)::text, c.reltuples::text,
    coalesce(s.seq_tup_read, 0)::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN {statistics} s ON s.relid = c.oid
WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'";

/// The locks of a session in this database: relation, mode.
const LOCKS: &str = "SELECT relation::text, mode FROM pg_locks WHERE locktype = 'relation' AND granted \
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Where the rows that were read are counted.
#[derive(Clone, Copy)]
pub enum Statistics {
    /// In this transaction.
    Transaction,
    /// In the whole database, with what other sessions told.
    Database,
}

impl Before {
    /// Looks at all relations.
    pub async fn read(session: &mut PgConnection, statistics: Statistics) -> Result<Self> {
        let view = match statistics {
            Statistics::Transaction => "pg_stat_xact_all_tables",
            Statistics::Database => "pg_stat_all_tables",
        };
        let sql = RELATIONS.replace("{statistics}", view);
        let mut relations = BTreeMap::new();
        for row in text(session, &sql).await? {
            let [oid, name, index, table, file, bytes, rows, read] =
                row.try_into().ok().context("eight columns")?;
            let relation = Relation {
                name: name.context("no name")?,
                index: index.as_deref() == Some("true"),
                table: table.context("no table")?,
                file: file.context("no file")?,
                bytes: bytes.context("no size")?.parse()?,
                rows: rows.context("no rows")?.parse()?,
                read: read.context("no count")?.parse()?,
            };
            relations.insert(oid.context("no oid")?, relation);
        }
        Ok(Self { relations })
    }

    /// The effect of what happened since, with these locks: pairs of oid and mode.
    pub fn effect(&self, now: &Self, locks: &[(String, String)]) -> Effect {
        let mut effect = Effect::default();
        for (oid, mode) in locks {
            let (Some(relation), Some(mode)) = (self.relations.get(oid), LockMode::from_pg_locks(mode))
            else {
                continue;
            };
            if !relation.index || mode >= LockMode::ShareUpdateExclusive {
                let held = effect.locks.entry(relation.name.clone()).or_insert(mode);
                *held = mode.max(*held);
            }
        }
        let mut long = false;
        for (oid, relation) in &self.relations {
            let Some(after) = now.relations.get(oid) else { continue };
            if after.file != relation.file {
                effect.rewrites.insert(relation.name.clone());
            }
            // Fewer rows than there are: the reading stopped at a match.
            if relation.rows > 0.0 && after.read - relation.read >= relation.rows {
                effect.scans.insert(relation.name.clone());
                long = true;
            }
            long |= after.file != relation.file && self.copied(relation, now);
        }
        if long {
            effect.heavy = waits(effect.locks.values().copied().max());
        }
        effect
    }

    /// Whether a new file has the rows of the old one, which takes as long as there are many.
    fn copied(&self, relation: &Relation, now: &Self) -> bool {
        let bytes = |at: &Self| at.relations.get(&relation.table).map_or(0, |table| table.bytes);
        bytes(self) > 0 && bytes(now) > 0
    }
}

/// Who waits for a lock.
fn waits(mode: Option<LockMode>) -> Heavy {
    match mode {
        Some(mode) if mode.blocks_reads() => Heavy::Everything,
        Some(mode) if mode.blocks_writes() => Heavy::Writes,
        _ => Heavy::None,
    }
}

/// Runs statements, each in a transaction of its own, and tells the effect of each. The last one is rolled back.
pub async fn in_transactions(session: &mut PgConnection, statements: &[String]) -> Result<Vec<Effect>> {
    let mut effects = Vec::new();
    for (index, statement) in statements.iter().enumerate() {
        execute(session, "BEGIN").await?;
        let effect = one(session, statement).await;
        let last = index + 1 == statements.len();
        execute(session, if effect.is_err() || last { "ROLLBACK" } else { "COMMIT" }).await?;
        effects.push(effect?);
        if !last {
            execute(session, "ANALYZE").await?;
        }
    }
    Ok(effects)
}

async fn one(session: &mut PgConnection, statement: &str) -> Result<Effect> {
    let before = Before::read(session, Statistics::Transaction).await?;
    execute(session, statement).await?;
    let locks = locks(session, "pg_backend_pid()").await?;
    let after = Before::read(session, Statistics::Transaction).await?;
    Ok(before.effect(&after, &locks))
}

/// The locks that a session holds: pairs of oid and mode.
pub async fn locks(session: &mut PgConnection, pid: &str) -> Result<Vec<(String, String)>> {
    let rows = text(session, &format!("{LOCKS} AND pid = {pid}")).await?;
    rows.into_iter()
        .map(|row| {
            let [oid, mode] = row.try_into().ok().context("two columns")?;
            Ok((oid.context("no oid")?, mode.context("no mode")?))
        })
        .collect()
}
