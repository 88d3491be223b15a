//! How a unit's transaction begins and ends on the primary: fence and lock plan in one round trip, the locks taken in the
//! order of their names, and at the end a look whether it holds more than was rehearsed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::{PgConnection, Row};
use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use super::error::Error;
use super::ledger::{self, Back, units};
use super::statement::ours;
use crate::core::lock_plan::{Found, LockPlan, Planned};
use crate::core::observation::UnitStatus;
use crate::sql::{quote_ident, quote_literal};

/// A second session beside the one that works: it sees the catalog as it was before the transaction.
#[derive(Debug)]
pub struct Witness {
    session: Mutex<Option<PgConnection>>,
    cancelled: AtomicBool,
}

impl Witness {
    /// Takes a session, if there is one.
    pub fn new(session: Option<PgConnection>) -> Self {
        Self { session: Mutex::new(session), cancelled: AtomicBool::new(false) }
    }

    /// Waits for the session.
    pub async fn session(&self) -> MutexGuard<'_, Option<PgConnection>> {
        self.session.lock().await
    }

    /// Gives the session back.
    pub fn into_session(self) -> Option<PgConnection> {
        self.session.into_inner()
    }

    /// Notes that the work is about to be cancelled because others wait for it, which is as if a timer of ours had fired.
    pub fn note_cancellation(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    /// Whether the work was cancelled because others waited for it.
    pub fn has_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

/// A transaction that was begun.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Its id.
    pub xid: String,
    /// Where the server's log was.
    pub lsn: String,
    /// How far the unit is, as the ledger says behind the fence.
    pub status: UnitStatus,
    /// The relations of the lock plan that are there.
    pub found: Vec<Found>,
}

/// Begins a transaction behind the fence under a name in `pg_stat_activity`, as a role, with settings, in one round trip. No
/// lock on a relation of the user is taken.
///
/// # Errors
/// `Fenced` when the epoch is not ours any more; the transaction is then to be rolled back.
pub async fn open(
    conn: &mut PgConnection,
    (epoch, run, unit): (i64, Uuid, usize),
    application: &str,
    (role, settings): (&str, &str),
    locks: Option<&LockPlan>,
) -> Result<Opened, Error> {
    let text = format!(
        "BEGIN; SELECT set_config('application_name', {}, false); \
         SELECT ({}) IS NOT NULL, pg_current_xact_id()::text, ({})::text, pg_current_wal_insert_lsn()::text; {role}; {}; {settings}",
        quote_literal(application),
        ledger::fence_text(epoch),
        units::status_text(run, unit),
        locks.map_or_else(String::new, look_up),
    );
    let rows = sqlx::raw_sql(ours(text)).fetch_all(conn).await?;
    let mut rows = rows.into_iter().skip(1);
    let first = rows.next().ok_or_else(|| Error::Unexpected("no answer to the fence".to_owned()))?;
    if !first.try_get::<bool, _>(0)? {
        return Err(Error::Fenced);
    }
    let mut opened = Opened {
        xid: first.try_get(1)?,
        status: units::read_status(first.try_get::<Option<&str>, _>(2)?)?,
        lsn: first.try_get(3)?,
        found: Vec::new(),
    };
    for row in rows {
        let (planned, oid, family): (i32, i64, String) = (row.try_get(0)?, row.try_get(1)?, row.try_get(3)?);
        opened.found.push(Found {
            planned: usize::try_from(planned).unwrap_or(usize::MAX),
            oid: u32::try_from(oid).unwrap_or_default(),
            lockable: row.try_get(2)?,
            family: family.split(',').filter_map(|oid| oid.parse().ok()).collect(),
        });
    }
    Ok(opened)
}

/// Looks the relations of a plan up: whether `LOCK TABLE` can take them, and what belongs to them.
fn look_up(plan: &LockPlan) -> String {
    if plan.relations.is_empty() {
        return String::new();
    }
    let rows: Vec<String> = plan
        .relations
        .iter()
        .enumerate()
        .map(|(index, one)| {
            format!("({index}, {}, {})", quote_literal(&one.schema), quote_literal(&one.name))
        })
        .collect();
    format!(
        "SELECT p.planned, c.oid::int8, c.relkind IN ('r', 'p') AND has_table_privilege(c.oid, 'UPDATE, DELETE, TRUNCATE'), \
             (WITH RECURSIVE family (oid) AS (SELECT c.oid UNION \
                  SELECT i.inhrelid FROM family f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid), \
              files (oid) AS (SELECT oid FROM family UNION \
                  SELECT t.reltoastrelid FROM family f JOIN pg_catalog.pg_class t ON t.oid = f.oid WHERE t.reltoastrelid <> 0) \
              SELECT pg_catalog.string_agg(oid::text, ',') FROM (SELECT oid FROM files UNION \
                  SELECT x.indexrelid FROM files f JOIN pg_catalog.pg_index x ON x.indrelid = f.oid) members) \
         FROM (VALUES {}) AS p (planned, schema, name) \
         JOIN pg_catalog.pg_namespace n ON n.nspname = p.schema \
         JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.name",
        rows.join(", ")
    )
}

fn millis(duration: Duration) -> u128 {
    // Zero would mean "no limit" to the server.
    duration.as_millis().max(1)
}

/// Sets the limits of the next statement.
pub fn limits(lock: Duration, statement: Duration) -> String {
    format!(
        "SET LOCAL lock_timeout TO {}; SET LOCAL statement_timeout TO {}",
        millis(lock),
        millis(statement)
    )
}

/// Locks tables in the order of their names, each in its strongest mode at once. Each further lock, and then the next
/// statement, gets what is left of the budget by the server's own clock, all in one round trip. Names of ours are looked up
/// in no schema of the user; the search path is `path` again afterwards.
pub fn take(tables: &[&Planned], (queue, stall): (Duration, Duration), path: &str) -> String {
    let left = format!(
        "greatest(1, {} - ceil(extract(epoch FROM clock_timestamp() \
         - current_setting('whimbrel.stall_began')::timestamptz) * 1000))::int",
        millis(stall)
    );
    let rest = format!(
        "SELECT set_config('lock_timeout', least({}, {left})::text, true), \
         set_config('statement_timeout', ({left})::text, true)",
        millis(queue)
    );
    let mut text = "SET LOCAL search_path TO ''; SELECT set_config('whimbrel.stall_began', clock_timestamp()::text, true)".to_owned();
    for table in tables {
        let name = format!("{}.{}", quote_ident(&table.schema), quote_ident(&table.name));
        text = format!("{text}; {rest}; LOCK TABLE ONLY {name} IN {} MODE", table.mode);
    }
    format!("{text}; {rest}; SET LOCAL search_path TO {path}")
}

/// Checks that a transaction holds nothing that makes others wait beyond its lock plan.
///
/// # Errors
/// `LockPlanViolated` with the difference.
pub async fn within(
    plan: &LockPlan,
    found: &[Found],
    back: &Back,
    witness: Option<&Witness>,
) -> Result<(), Error> {
    let gone = plan.unexplained(found, &back.held);
    let dropped = match witness {
        Some(witness) if !gone.is_empty() => names(witness, &gone).await?,
        _ => BTreeMap::new(),
    };
    let beyond = plan.beyond(found, &back.held, &dropped);
    if beyond.is_empty() { Ok(()) } else { Err(Error::LockPlanViolated(beyond.join(", "))) }
}

/// Returns the names of relations as they were before the transaction that works; of catalogs and TOAST tables none.
pub async fn names(witness: &Witness, oids: &[u32]) -> Result<BTreeMap<u32, String>, Error> {
    let mut witness = witness.session().await;
    let Some(conn) = witness.as_mut() else { return Ok(BTreeMap::new()) };
    let oids: Vec<i64> = oids.iter().map(|oid| i64::from(*oid)).collect();
    let rows = sqlx::query(
        "SELECT c.oid::int8, quote_ident(n.nspname) || '.' || quote_ident(c.relname) FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.oid = ANY ($1::int8[]::oid[]) AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'whimbrel')",
    )
    .bind(oids)
    .fetch_all(conn)
    .await?;
    let name = |row: &sqlx::postgres::PgRow| -> Result<(u32, String), Error> {
        Ok((u32::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default(), row.try_get(1)?))
    };
    rows.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::LockMode;

    fn planned(name: &str, mode: LockMode) -> Planned {
        Planned { schema: "public".to_owned(), name: name.to_owned(), mode, raised: false }
    }

    #[test]
    fn each_further_lock_gets_what_is_left() {
        let (users, odd) = (planned("users", LockMode::AccessExclusive), planned("Odd", LockMode::Share));
        let text = take(&[&odd, &users], (Duration::from_millis(20), Duration::from_millis(250)), "public");
        let statements: Vec<&str> = text.split("; ").collect();
        assert_eq!(statements.len(), 8, "{text}");
        assert_eq!(statements[3], "LOCK TABLE ONLY public.\"Odd\" IN SHARE MODE");
        assert_eq!(statements[5], "LOCK TABLE ONLY public.users IN ACCESS EXCLUSIVE MODE");
        assert_eq!(
            (statements[0], statements[7]),
            ("SET LOCAL search_path TO ''", "SET LOCAL search_path TO public")
        );
        for rest in [2, 4, 6] {
            assert!(statements[rest].contains("least(20, greatest(1, 250 - "), "{text}");
        }
    }

    #[test]
    fn names_cannot_leave_their_literal() {
        let plan =
            LockPlan { relations: vec![planned("x'); DROP TABLE y; --", LockMode::Share)], enforced: true };
        assert!(look_up(&plan).contains("(0, 'public', 'x''); DROP TABLE y; --')"));
        assert_eq!(look_up(&LockPlan::default()), "");
    }
}
