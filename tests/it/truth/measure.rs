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
    /// What earlier statements of the form made: nobody else knows of it yet.
    pub new: BTreeSet<String>,
}

/// Names of relations by oid.
pub type Names = BTreeMap<String, String>;

/// What is seen of a lock: the relation's oid and its mode.
pub type Seen = (String, String);

/// The relations at one moment.
pub struct Relations(BTreeMap<String, Relation>);

struct Relation {
    name: String,
    kind: String,
    /// Of an index: its table.
    table: String,
    file: String,
    bytes: u64,
    rows: f64,
    scans: f64,
    read: f64,
}

/// By oid; columns: name, kind, table, file, bytes, rows, scans, rows or entries read by them. Apart from the moment in
/// which it asks for the size, nothing of this locks a relation of users. The marker belongs to the measuring.
const RELATIONS: &str = r"
SELECT c.oid::text, quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.relkind::text,
    coalesce((SELECT indrelid FROM pg_index WHERE indexrelid = c.oid), c.oid)::text,
    coalesce(pg_relation_filenode(c.oid), 0)::text, coalesce(pg_relation_size(c.oid), 0)::text, c.reltuples::text,
    coalesce(pg_stat_get_{in}numscans(c.oid), 0)::text, coalesce(pg_stat_get_{in}tuples_returned(c.oid), 0)::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema' AND c.relname <> 'marker'";

/// The locks on relations of this database: oid, mode, whether it is had or waited for, and the name at the moment.
pub const LOCKS: &str = r"
SELECT relation::text, mode, granted::text,
    (SELECT quote_ident(n.nspname) || '.' || quote_ident(c.relname)
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = relation)
FROM pg_locks WHERE locktype = 'relation'
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// Where the rows that were read are counted.
#[derive(Clone, Copy)]
pub enum Statistics {
    /// In this transaction.
    Transaction,
    /// In the whole database, with what other sessions told.
    Database,
}

impl Relations {
    /// Looks at all relations.
    pub async fn read(session: &mut PgConnection, statistics: Statistics) -> Result<Self> {
        let sql = match statistics {
            Statistics::Transaction => RELATIONS.replace("{in}", "xact_"),
            Statistics::Database => RELATIONS.replace("{in}", ""),
        };
        let mut relations = BTreeMap::new();
        for row in text(session, &sql).await? {
            let row: Option<Vec<String>> = row.into_iter().collect();
            let row: [String; 9] = row.and_then(|row| row.try_into().ok()).context("not nine columns")?;
            let [oid, name, kind, table, file, bytes, rows, scans, read] = row;
            let relation = Relation {
                name,
                kind,
                table,
                file,
                bytes: bytes.parse()?,
                rows: rows.parse()?,
                scans: scans.parse()?,
                read: read.parse()?,
            };
            relations.insert(oid, relation);
        }
        Ok(Self(relations))
    }

    /// The effect of what happened since, with the locks that were seen, on what was there from the beginning.
    pub fn effect(&self, now: &Self, locks: &BTreeSet<Seen>, beginning: &Names) -> Effect {
        let mut effect = Effect::default();
        let mut in_place = false;
        for (oid, relation) in self.0.iter().filter(|(oid, _)| beginning.contains_key(*oid)) {
            if now.written_anew(oid, relation) {
                effect.rewrites.insert(relation.name.clone());
                in_place |= now.0.contains_key(oid) && self.copied(relation, now);
            }
            if self.read_through(oid, relation, now) {
                effect.scans.extend(self.0.get(&relation.table).map(|table| table.name.clone()));
            }
        }
        // What is built beside the old one is not built under the lock under which it takes its place in the end.
        let (mut strongest, mut on_tables) = (None, None);
        for (oid, mode) in locks.iter().filter(|(oid, _)| beginning.contains_key(oid)) {
            let (Some(relation), Some(mode)) = (self.0.get(oid), LockMode::from_pg_locks(mode)) else {
                continue;
            };
            strongest = strongest.max(Some(mode));
            on_tables = on_tables.max(Some(mode).filter(|_| !relation.is_index()));
            if !relation.is_index() || mode >= LockMode::ShareUpdateExclusive {
                let held = effect.locks.entry(relation.name.clone()).or_insert(mode);
                *held = mode.max(*held);
            }
        }
        if in_place {
            effect.heavy = waits(strongest);
        } else if !effect.scans.is_empty() {
            effect.heavy = waits(on_tables);
        }
        effect.new = self
            .names()
            .into_iter()
            .filter(|(oid, _)| !beginning.contains_key(oid))
            .map(|(_, name)| name)
            .collect();
        effect
    }

    /// The names by oid.
    pub fn names(&self) -> Names {
        self.0.iter().map(|(oid, relation)| (oid.clone(), relation.name.clone())).collect()
    }

    /// The tables, partitioned or not.
    pub fn tables(&self) -> Names {
        let tables = self.0.iter().filter(|(_, relation)| relation.kind == "r" || relation.kind == "p");
        tables.map(|(oid, relation)| (oid.clone(), relation.name.clone())).collect()
    }

    /// Whether a relation of before has another file: itself, or what has taken its name.
    fn written_anew(&self, oid: &str, before: &Relation) -> bool {
        let same = || self.0.values().find(|relation| relation.name == before.name);
        let after = self.0.get(oid).or_else(same);
        before.kind != "S" && after.is_some_and(|after| after.file != before.file && after.file != "0")
    }

    /// Whether all rows of a table were read, one after the other or through one of its indexes. Fewer than there are mean
    /// that the reading stopped at a match.
    fn read_through(&self, oid: &str, before: &Relation, now: &Self) -> bool {
        // Of a table that was never analyzed the number of rows is not known; it counts as read if any row was.
        let rows =
            self.0.get(&before.table).map_or(0.0, |table| if table.rows < 0.0 { 1.0 } else { table.rows });
        now.0.get(oid).is_some_and(|after| {
            let (scans, read) = (after.scans - before.scans, after.read - before.read);
            // Through an index row by row, for another table's rows, is no reading from beginning to end.
            let index = before.is_index() && rows > 0.0 && read >= rows * scans;
            scans > 0.0 && (index || !before.is_index() && read >= rows)
        })
    }

    /// Whether a new file has the rows of the old one, which takes as long as there are many.
    fn copied(&self, relation: &Relation, now: &Self) -> bool {
        let bytes = |at: &Self| at.0.get(&relation.table).map_or(0, |table| table.bytes);
        bytes(self) > 0 && bytes(now) > 0
    }
}

impl Relation {
    fn is_index(&self) -> bool {
        self.kind == "i" || self.kind == "I"
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

/// Settings of a session that measures. A join reads both sides from beginning to end: other ways to join depend on sizes,
/// and cannot be foreseen.
pub const SESSION: &str = "SET enable_nestloop = off; SET enable_mergejoin = off";

/// Runs statements, each in a transaction of its own, and tells the effect of each. The last one is rolled back.
pub async fn in_transactions(session: &mut PgConnection, statements: &[String]) -> Result<Vec<Effect>> {
    let beginning = Relations::read(session, Statistics::Transaction).await?.names();
    let mut effects = Vec::new();
    for (index, statement) in statements.iter().enumerate() {
        execute(session, "BEGIN").await?;
        let effect = one(session, statement, &beginning).await;
        let last = index + 1 == statements.len();
        execute(session, if effect.is_err() || last { "ROLLBACK" } else { "COMMIT" }).await?;
        effects.push(effect?);
        if !last && adds_rows(statement) {
            execute(session, "ANALYZE").await?;
        }
    }
    Ok(effects)
}

/// Whether tables may have more rows than the statistics say.
pub fn adds_rows(sql: &str) -> bool {
    sql.contains("INSERT") || sql.contains(" AS SELECT")
}

async fn one(session: &mut PgConnection, statement: &str, beginning: &Names) -> Result<Effect> {
    let before = Relations::read(session, Statistics::Transaction).await?;
    execute(session, statement).await?;
    let rows = text(session, &format!("{LOCKS} AND pid = pg_backend_pid()")).await?;
    let locks = rows.into_iter().filter_map(|row| {
        let [oid, mode, ..] = row.try_into().ok().map(|row: [Option<String>; 4]| row)?;
        Some((oid?, mode?))
    });
    let locks = locks.collect();
    let after = Relations::read(session, Statistics::Transaction).await?;
    Ok(before.effect(&after, &locks, beginning))
}

/// Runs a statement in a transaction of its own, which is committed, and tells its effect; `None` if it fails.
pub async fn committed(session: &mut PgConnection, statement: &str) -> Result<Option<Effect>> {
    execute(session, "BEGIN").await?;
    let beginning = Relations::read(session, Statistics::Transaction).await?.names();
    let effect = one(session, statement, &beginning).await.ok();
    execute(session, if effect.is_some() { "COMMIT" } else { "ROLLBACK" }).await?;
    Ok(effect)
}
