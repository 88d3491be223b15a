//! What really happened, as the superuser sees it: the catalog, the rows, the observer's event triggers, the sessions. It
//! shares no code with what it judges, and reads the ledger only to hold it against the rest.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use sqlx::PgConnection;

use super::stage::counted;
use crate::harness::postgres::{Database, text};

/// How long sessions and locks of ours may stay after the end.
const GONE_WITHIN: Duration = Duration::from_secs(5);

/// One line for each thing in the catalog; what was put aside, the observer's and the ledger's own left out.
const CATALOG: &str = r"
WITH mine AS (
    SELECT oid FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|whimbrel|obs)'
), rel AS (
    SELECT c.* FROM pg_class c WHERE c.relnamespace IN (SELECT oid FROM mine) AND c.relname !~ '^_whimbrel_'
), lines AS (
    SELECT format('%s %s owner %s', relkind, relname, relowner::regrole) AS line FROM rel
    UNION ALL
    SELECT format('column %s.%s %s%s %s', r.relname, a.attname, format_type(a.atttypid, a.atttypmod),
                  CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, pg_get_expr(d.adbin, d.adrelid))
    FROM rel r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
    WHERE a.attname !~ '^_whimbrel_' AND r.relkind <> 'i'
    UNION ALL
    SELECT format('constraint %s %s valid %s', c.conname, pg_get_constraintdef(c.oid), c.convalidated)
    FROM pg_constraint c WHERE c.conrelid IN (SELECT oid FROM rel)
    UNION ALL
    SELECT format('index %s valid %s ready %s', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisready)
    FROM pg_index i WHERE i.indexrelid IN (SELECT oid FROM rel)
    UNION ALL
    SELECT format('function %s', oid::regprocedure) FROM pg_proc WHERE pronamespace IN (SELECT oid FROM mine)
    UNION ALL
    SELECT format('trigger %s on %s', tgname, tgrelid::regclass) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT format('schema %s', nspname) FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)' AND nspname <> 'whimbrel'
)
SELECT line FROM lines ORDER BY line";

const ROWS: &str = "SELECT md5(string_agg(format('%s %s %s', id, name, active), ',' ORDER BY id)) FROM public.users
    UNION ALL SELECT md5(string_agg(format('%s %s %s', id, user_id, cents), ',' ORDER BY id)) FROM public.orders";

/// What is wrong whatever the workload.
const WRONG: &str = r"
SELECT 'invalid index ' || indexrelid::regclass FROM pg_index WHERE NOT (indisvalid AND indisready)
UNION ALL
SELECT 'left over: ' || oid::regclass FROM pg_class WHERE relname ~ '_cc(new|old)[0-9]*$'
UNION ALL
SELECT 'prepared transaction ' || gid FROM pg_prepared_xacts WHERE database = current_database()";

/// Sessions and locks that should not be there any more.
const STAYING: &str = "
SELECT 'session ' || coalesce(application_name, '') || ' ' || coalesce(state, '') FROM pg_stat_activity
WHERE datname = current_database() AND application_name LIKE 'whimbrel%'
UNION ALL
SELECT 'lock ' || locktype FROM pg_locks
WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// What the ledger says that it should not: work under way, statements done twice or never, an outcome without its effects.
const LEDGER: &str = r"
SELECT 'a run is under way: ' || phase FROM whimbrel.runs WHERE finished_at IS NULL
UNION ALL
SELECT format('%s of unit %s, block %s, statement %s: %s times', direction, unit, block, ordinal, count(*))
FROM whimbrel.statements WHERE outcome IN ('done', 'found') GROUP BY run, direction, unit, block, ordinal HAVING count(*) > 1
UNION ALL
SELECT format('unit %s of a run that ended as %s is %s', u.unit, r.phase, u.status)
FROM whimbrel.units u JOIN whimbrel.runs r ON r.id = u.run
WHERE u.in_force <> (r.phase = 'Succeeded')
UNION ALL
SELECT format('unit %s of a run that succeeded has no row', g.unit)
FROM whimbrel.runs r, generate_series(0, jsonb_array_length(r.plan -> 'units') - 1) AS g (unit)
WHERE r.phase = 'Succeeded' AND NOT EXISTS (SELECT FROM whimbrel.units u WHERE u.run = r.id AND u.unit = g.unit)";

/// Schema changes of transactional units that did not commit together with a row of the ledger's history. The transaction
/// that wrote a row is its `xmin`.
const ATOMIC: &str = r"
SELECT format('%s %s was committed without a row of the ledger', d.tag, d.object)
FROM obs.ddl d
WHERE d.object !~ '^whimbrel' AND d.tag NOT LIKE '%INDEX%'
  AND NOT EXISTS (SELECT FROM whimbrel.statements s WHERE s.xmin::text = d.xid::text)";

/// The state of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The catalog.
    pub catalog: Vec<String>,
    /// The rows' checksums.
    pub rows: Vec<String>,
    /// Committed schema changes, and how often each was.
    pub ddl: BTreeMap<String, usize>,
    /// The phase of each run, in the order of their beginning.
    pub phases: Vec<String>,
    /// What is wrong whatever the workload.
    pub wrong: Vec<String>,
}

/// Runs a query of one column, and returns what is in it.
///
/// # Errors
/// When it fails.
pub async fn lines(connection: &mut PgConnection, sql: &str) -> Result<Vec<String>> {
    let rows = text(connection, sql).await?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
}

/// Looks at a database.
///
/// # Errors
/// When it cannot be read.
pub async fn look(database: &Database, copy: bool) -> Result<Seen> {
    let mut connection = database.connect().await?;
    let mut seen = Seen {
        catalog: lines(&mut connection, CATALOG).await?,
        rows: lines(&mut connection, ROWS).await?,
        wrong: lines(&mut connection, WRONG).await?,
        ..Seen::default()
    };
    let ddl = "SELECT tag || ' ' || regexp_replace(coalesce(object, ''), '_[0-9a-f]{8}\\M', '_*', 'g') FROM obs.ddl \
               WHERE object IS NULL OR object !~ '^whimbrel(\\.|$)'";
    seen.ddl = counted(lines(&mut connection, ddl).await?);
    let ledger = !lines(&mut connection, "SELECT to_regclass('whimbrel.runs')::text").await?.is_empty();
    if ledger && !copy {
        seen.phases = lines(&mut connection, "SELECT phase FROM whimbrel.runs ORDER BY seq").await?;
        seen.wrong.extend(lines(&mut connection, LEDGER).await?);
        seen.wrong.extend(lines(&mut connection, ATOMIC).await?);
    }
    Ok(seen)
}

/// Waits until nothing of ours is there any more, and returns what stays.
///
/// # Errors
/// When it cannot be read.
pub async fn staying(database: &Database) -> Result<Vec<String>> {
    let mut connection = database.connect().await?;
    let end = Instant::now() + GONE_WITHIN;
    loop {
        let staying = lines(&mut connection, STAYING).await?;
        if staying.is_empty() || Instant::now() >= end {
            return Ok(staying);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The first lines in which two catalogs differ.
pub fn differences(expected: &[String], found: &[String]) -> String {
    let only = |these: &[String], others: &[String], sign: &str| {
        let lines = these.iter().filter(|line| !others.contains(line));
        lines.map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    let mut all = only(expected, found, "-");
    all.extend(only(found, expected, "+"));
    all.truncate(6);
    all.join("; ")
}
