//! Backfills in the matrix: their table, their workloads, and what an observer says of the rows at the end. The counters of
//! those who write meanwhile are in the table `obs.writes`, each in the transaction of its write.

use anyhow::Result;
use serde_json::{Value, json};

use super::fault::Fault;
use super::oracle::lines;
use super::workload::{Migration, Workload, migration, steps, with, workload};
use super::writers::Acknowledged;
use crate::harness::postgres::Database;

/// A table whose rows are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Rows that are there at the beginning, with the keys 1 to so many.
    pub rows: u32,
    /// It has partitions.
    pub partitioned: bool,
    /// It has the column that is filled before the migration adds it, with values in every second row.
    pub has_column: bool,
}

/// So many batches of a run are met by each fault.
const EACH: u32 = 4;
/// So many rows have been changed when a breach is awaited.
const MIDDLE: u32 = 150;

/// Whether the column is there.
const COLUMN: &str =
    "SELECT attname::text FROM pg_attribute WHERE attrelid = 'public.accounts'::regclass AND attname = 'n'";

impl Fill {
    /// The table. A function of the matrix brakes one row in a hundred, where there is a brake.
    fn setup(self) -> String {
        let Self { rows, partitioned, has_column } = self;
        let column = if has_column { ", n int" } else { "" };
        let values = if has_column { ", CASE WHEN g % 2 = 0 THEN 5 END" } else { "" };
        let parts = format!(
            "PARTITION BY RANGE (id); CREATE TABLE accounts_1 PARTITION OF accounts FOR VALUES FROM (0) TO ({half}); \
             CREATE TABLE accounts_2 PARTITION OF accounts FOR VALUES FROM ({half}) TO (1000000)",
            half = rows / 2
        );
        let parts = if partitioned { parts.as_str() } else { "" };
        format!(
            "SET client_min_messages TO warning; CREATE FUNCTION public.brake(id bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$ \
             BEGIN IF id % 100 = 1 THEN PERFORM public.slow(1); END IF; RETURN 0; END $$; \
             SET ROLE app_owner; \
             CREATE TABLE accounts (id bigint PRIMARY KEY, name text NOT NULL, tier text NOT NULL, hits int NOT NULL DEFAULT 0{column}) {parts}; \
             INSERT INTO accounts SELECT g, 'account ' || g, 'tier ' || g % 4, 0{values} FROM generate_series(1, {rows}) g; \
             ANALYZE accounts; RESET ROLE; \
             CREATE TABLE obs.writes (kind text NOT NULL, id bigint NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp()); \
             TRUNCATE obs.ddl"
        )
    }

    /// Makes the table in a database that is there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn prepare(self, database: &Database) -> Result<()> {
        database.execute(&self.setup()).await
    }

    /// The value of the column at the beginning.
    fn original(self) -> &'static str {
        if self.has_column { "CASE WHEN a.id % 2 = 0 THEN 5 END" } else { "NULL::int" }
    }

    /// What is wrong with the rows of a database at its end.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn wrong(self, database: &Database, written: Acknowledged) -> Result<Vec<String>> {
        let mut connection = database.connect().await?;
        let has_column = !lines(&mut connection, COLUMN).await?.is_empty();
        let ledger = "SELECT to_regclass('whimbrel.backfills')::text";
        let has_ledger = !lines(&mut connection, ledger).await?.is_empty();
        let mut wrong = lines(&mut connection, &self.writes(written)).await?;
        if !has_ledger {
            return Ok(wrong);
        }
        wrong.extend(lines(&mut connection, LEDGER).await?);
        let phase =
            lines(&mut connection, "SELECT phase FROM whimbrel.runs ORDER BY seq DESC LIMIT 1").await?;
        match phase.first().map(String::as_str) {
            Some("Succeeded") if has_column => {
                wrong.extend(lines(&mut connection, &self.filled()).await?);
            }
            Some("Succeeded") => wrong.push("it succeeded, and the column is not there".to_owned()),
            _ if self.has_column => wrong.extend(lines(&mut connection, &self.as_before()).await?),
            _ if has_column => wrong.push("it came back, and the column is there".to_owned()),
            _ => {}
        }
        Ok(wrong)
    }

    /// What is wrong with the rows of a copy, which nobody writes to; one that could not follow is behind, and may be.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn wrong_copy(self, copy: &Database) -> Result<Vec<String>> {
        let mut connection = copy.connect().await?;
        if self.has_column || lines(&mut connection, COLUMN).await?.is_empty() {
            return Ok(Vec::new());
        }
        let wrong = "SELECT format('copy: row %s: n is %s', id, n) FROM public.accounts WHERE n IS DISTINCT FROM 1 \
             AND NOT EXISTS (SELECT FROM whimbrel.backfills b JOIN whimbrel.units u USING (run, unit) WHERE u.status <> '\"Done\"')";
        lines(&mut connection, wrong).await
    }

    /// Each write that was committed is there, once, and nothing else is.
    fn writes(self, written: Acknowledged) -> String {
        let rows = self.rows;
        let Acknowledged { inserted, updated, retiered } = written;
        format!(
            "SELECT format('%s rows, and %s were there and %s were added', rows, {rows}, added) \
             FROM (SELECT (SELECT count(*) FROM public.accounts) AS rows, (SELECT count(*) FROM obs.writes WHERE kind = 'insert') AS added) c \
             WHERE rows <> {rows} + added \
             UNION ALL SELECT format('row %s has %s hits, and %s were written', a.id, a.hits, coalesce(w.hits, 0)) \
             FROM public.accounts a LEFT JOIN (SELECT id, count(*) AS hits FROM obs.writes WHERE kind = 'update' GROUP BY id) w USING (id) \
             WHERE a.hits <> coalesce(w.hits, 0) \
             UNION ALL SELECT format('row %s is named %s', a.id, a.name) FROM public.accounts a \
             WHERE a.name <> CASE WHEN a.id <= {rows} THEN 'account ' || a.id ELSE 'late' END \
             UNION ALL SELECT format('%s: %s writes were acknowledged, and %s are there', v.kind, v.acknowledged, \
                 (SELECT count(*) FROM obs.writes w WHERE w.kind = v.kind)) \
             FROM (VALUES ('insert', {inserted}), ('update', {updated}), ('tier', {retiered})) AS v (kind, acknowledged) \
             WHERE v.acknowledged > (SELECT count(*) FROM obs.writes w WHERE w.kind = v.kind)"
        )
    }

    /// Each row that was there when it began was changed once, and none that came later.
    fn filled(self) -> String {
        let (rows, original) = (self.rows, self.original());
        format!(
            "SELECT format('row %s: n is %s', a.id, a.n) FROM public.accounts a \
             WHERE a.id <= {rows} AND a.n IS DISTINCT FROM coalesce({original}, 0) + 1 \
             UNION ALL SELECT format('row %s was written after the bound was frozen, and n is %s', a.id, a.n) \
             FROM public.accounts a JOIN obs.writes w ON w.kind = 'insert' AND w.id = a.id \
             WHERE w.at > (SELECT max(begun_at) FROM whimbrel.backfills WHERE direction = 'up') AND a.n IS NOT NULL \
             UNION ALL SELECT format('row %s, which came later, has n %s', a.id, a.n) \
             FROM public.accounts a WHERE a.id > {rows} AND a.n <> 1 \
             UNION ALL SELECT format('%s rows are done, and the ledger says %s', done, said) \
             FROM (SELECT (SELECT count(*) FROM public.accounts a WHERE a.n IS NOT NULL) AS done, \
                          (SELECT sum(rows_done) FROM whimbrel.backfills WHERE direction = 'up') AS said) c \
             WHERE done <> said"
        )
    }

    /// Each row is as it was, but for those that somebody wrote since, which are as they were left.
    fn as_before(self) -> String {
        let (rows, original) = (self.rows, self.original());
        format!(
            "WITH touched AS (SELECT DISTINCT id FROM obs.writes WHERE kind = 'tier'), \
             left_out AS (SELECT (key[1])::bigint AS id FROM whimbrel.backfill_kept WHERE changed_since) \
             SELECT format('row %s did not come back: n is %s, tier is %s', a.id, a.n, a.tier) FROM public.accounts a \
             WHERE a.id <= {rows} AND a.id NOT IN (SELECT id FROM touched) \
               AND (a.n IS DISTINCT FROM {original} OR a.tier <> 'tier ' || a.id % 4) \
             UNION ALL SELECT format('row %s was written, and tier is %s', a.id, a.tier) FROM public.accounts a \
             WHERE a.id IN (SELECT id FROM touched) AND a.tier <> 'written' \
             UNION ALL SELECT format('row %s was written, and n is %s', a.id, a.n) FROM public.accounts a \
             WHERE a.id IN (SELECT id FROM touched) AND a.n IS DISTINCT FROM \
               CASE WHEN a.id IN (SELECT id FROM left_out) THEN coalesce({original}, 0) + 1 ELSE {original} END \
             UNION ALL SELECT format('row %s, which came later, has n %s and tier %s', a.id, a.n, a.tier) \
             FROM public.accounts a WHERE a.id > {rows} AND (a.n IS NOT NULL OR a.tier <> 'late') \
             UNION ALL SELECT format('a value of row %s is kept', key) FROM whimbrel.backfill_kept WHERE NOT changed_since \
             UNION ALL SELECT format('%s rows were changed, %s came back, and %s were left', up, down, left_) \
             FROM (SELECT (SELECT coalesce(sum(rows_done), 0) FROM whimbrel.backfills WHERE direction = 'up') AS up, \
                          (SELECT coalesce(sum(rows_done), 0) FROM whimbrel.backfills WHERE direction = 'down') AS down, \
                          (SELECT count(*) FROM left_out) AS left_) c WHERE up <> down + left_"
        )
    }
}

/// What the ledger says of backfills that it should not, at the end of anything.
const LEDGER: &str = "SELECT format('row %s is noted as held', key) FROM whimbrel.backfill_locked l \
         JOIN whimbrel.runs r ON r.id = l.run WHERE r.phase = 'Succeeded' \
     UNION ALL SELECT format('%s %s of a run that succeeded is at %s percent', relation, direction, percent) \
     FROM whimbrel.backfill_progress p JOIN whimbrel.runs r ON r.id = p.run WHERE r.phase = 'Succeeded' AND percent <> 100";

fn canary(rows: u32, more: &Value) -> Value {
    let step = json!({
        "table": "accounts", "set": {"n": "coalesce(n, 0) + 1 + public.brake(id)::int"},
        "batch": {"rows": rows, "pause": "0s", "adaptive": false},
    });
    json!({"backfill": with(step, more)})
}

fn kept(more: &Value) -> Value {
    let set = json!({"n": "coalesce(n, 0) + 1 + public.brake(id)::int", "tier": "upper(tier)"});
    canary(100, &with(json!({"capture": true, "set": set}), more))
}

fn filling(name: &'static str, fill: Fill, one: Migration) -> Workload {
    Workload { fill: Some(fill), ..workload(name, vec![one]) }
}

/// Expand, fill, contract.
fn whole(version: &str, rows: u32, limit: u32) -> Value {
    let mut spec = steps(version, &[("ALTER TABLE accounts ADD COLUMN n int", None)]);
    let validate = format!("SELECT count(*) = {limit} FROM accounts WHERE id <= {limit} AND n = 1");
    let contract =
        format!("ALTER TABLE accounts ADD CONSTRAINT filled CHECK (n = 1 OR id > {limit}) NOT VALID");
    let after = [
        canary(rows, &json!({"validate": [validate]})),
        json!({"sql": {"up": contract}}),
        json!({"sql": {"up": "ALTER TABLE accounts VALIDATE CONSTRAINT filled"}}),
    ];
    if let Some(steps) = spec["steps"].as_array_mut() {
        steps.extend(after);
    }
    spec
}

fn only(step: Value, more: &Value) -> Value {
    let mut spec = with(steps("1", &[]), more);
    spec["steps"] = Value::Array(vec![step]);
    spec
}

fn watched(window: &str, interval: &str, query: &str) -> Value {
    let metric = json!({
        "name": "errors", "providerRef": {"name": "prometheus"}, "range": "1s",
        "query": query, "threshold": {"max": "0.5"},
    });
    json!({"analysis": {
        "window": window, "interval": interval, "warmup": "0s", "minSamples": 1, "maxExtension": "0s",
        "ingestDelay": "0s", "breach": {"samples": 1, "of": 1}, "metrics": [metric],
    }})
}

/// The workloads.
pub fn workloads() -> Vec<Workload> {
    let small = Fill { rows: 600, partitioned: false, has_column: false };
    let full = Fill { has_column: true, ..small };
    let wide = Fill { rows: 20_000, partitioned: true, has_column: false };
    let fill = filling("fill", small, migration("m1", whole("1", 100, 600), "Succeeded"));
    let mut rehearsed = filling("fill_rehearsed", small, migration("m1", whole("1", 200, 600), "Succeeded"));
    rehearsed.copy = true;
    // Everything is changed, and then comes back.
    let later = watched("1h", "1m", "errors{phase=\"fine\"}");
    let mut undone =
        filling("fill_undone", full, migration("m1", only(kept(&json!({})), &later), "RolledBack"));
    undone.rolled_back_on_request = true;
    // It stops in the middle, and the breach is seen there.
    let breach = watched("4s", "2s", "errors{phase=\"{{ phase }}\"}");
    let query = "SELECT count(*) FROM accounts WHERE n IN (1, 6)";
    let slow = kept(&json!({
        "throttle": {"sql": query, "max": MIDDLE.to_string()},
        // After a pause as long as this, the throttle is asked again.
        "batch": {"rows": 200, "pause": "600ms", "adaptive": false},
    }));
    let breach = filling("fill_breach", full, migration("m1", only(slow, &breach), "RolledBack"));
    let wide = filling("fill_wide", wide, migration("m1", whole("1", 1000, 20_000), "Succeeded"));
    vec![fill, rehearsed, undone, breach, wide]
}

/// Whether a fault says something at a point of these workloads: their batches are like each other, some take seconds, and
/// what is not about rows the other workloads show.
pub fn applies(workload: &Workload, fault: Fault, (point, hit): (&str, u32)) -> bool {
    if workload.fill.is_none() || fault == Fault::Kill && hit <= EACH {
        return true;
    }
    let at = |sites: &[&str]| sites.iter().any(|site| point.starts_with(site));
    let deadly = [Fault::Kill, Fault::KillTwice, Fault::Restart].contains(&fault);
    match workload.name {
        "fill_breach" => {
            at(&["Sample", "Throttle", "StateMoved", "Batch"]) && (deadly || fault == Fault::SecondOwner)
        }
        "fill_wide" => deadly && at(&["BatchUp", "BackfillBegun"]) && hit % EACH == 0,
        "fill_rehearsed" => at(&["CopyBatch", "Rehearse", "Follow"]) && hit <= EACH,
        _ => at(&["Batch", "BackfillBegun", "OutcomeStored", "StateMoved", "Unit"]) && hit <= EACH,
    }
}

/// Takes away what would hold a backfill up for ever where nothing breaches.
pub fn let_go(spec: &mut Value) {
    for step in spec["steps"].as_array_mut().into_iter().flatten() {
        if let Some(backfill) = step.get_mut("backfill").and_then(Value::as_object_mut) {
            backfill.remove("throttle");
        }
    }
}
