//! What a rehearsal says of the primary, how fast the log may grow, and rows that are computed again at the end.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use whimbrel::api::Reason;
use whimbrel::core::estimate::Basis;

use super::{gives, people, quick, stage};
use crate::guard::stage::{Stage, budget};
use crate::harness::postgres::{Cluster, Options, execute};
use crate::harness::{SOON, await_until, run, run_within};

#[test]
fn a_rehearsal_tells_how_long_the_primary_takes_with_its_pauses() -> Result<()> {
    run(async {
        let stage = stage("fill_numbers", 20_000, true).await?;
        let fill = json!({"backfill": {
            "table": "people", "set": {"n": "7"}, "capture": true,
            "batch": {"rows": 500, "pause": "20ms", "adaptive": false},
        }});
        let view = stage.applied("1", &json!({"steps": [fill]})).await?;
        let rehearsal = view.rehearsal.context("no rehearsal")?;
        let facts = rehearsal.units.first().and_then(|unit| unit.batches).context("no batches")?;
        ensure!(facts.rows == 20_000 && facts.rate().is_some_and(|rate| rate > 1000.0), "{facts:?}");
        // A row is some 60 bytes, and its old values are kept.
        ensure!(facts.wal_per_row().is_some_and(|bytes| (60.0..6000.0).contains(&bytes)), "{facts:?}");
        let expected = rehearsal.prediction.context("no prediction")?.units.first().copied().flatten();
        let expected = expected.context("nothing is expected")?;
        ensure!(expected.basis == Basis::Rehearsed, "{expected:?}");
        // Forty pauses, and what is between them.
        ensure!(expected.total_ms.low > 800.0 && expected.total_ms.low < 30_000.0, "{expected:?}");
        ensure!(expected.wal_bytes.low > 20_000.0 * 30.0, "{expected:?}");
        gives(&stage.primary, "SELECT bool_and(wal_bytes > 1000000) FROM whimbrel.backfill_progress", "t")
            .await
    })
}

#[test]
fn a_large_copy_is_gone_over_once_and_then_in_parts() -> Result<()> {
    run_within(Duration::from_mins(4), async {
        let stage = Stage::new("fill_sampled", true, budget(250)).await?;
        let rows = "SET ROLE app_owner; CREATE TABLE many (a int, b int, n int, PRIMARY KEY (a, b)); \
             INSERT INTO many SELECT g / 7, g % 7, 5 FROM generate_series(1, {}) g; ANALYZE many; RESET ROLE";
        let copy = stage.copy.as_ref().context("no copy")?;
        stage.primary.execute(&rows.replace("{}", "3000")).await?;
        copy.execute(&rows.replace("{}", "210000")).await?;
        let mut fill = quick(json!({"table": "many", "set": {"n": "n + 1"}}));
        fill["backfill"]["down"] = json!({"set": {"n": "n - 1"}});
        stage.migrate("1", &json!({"steps": [fill]}))?;
        // Up, down, a part of both, and what the primary has now.
        await_until("the copy having followed", Duration::from_mins(2), async || {
            gives(copy, "SELECT min(n) || ' ' || max(n) FROM many", "6 6").await?;
            gives(&stage.primary, "SELECT min(n) || ' ' || max(n) FROM many", "6 6").await
        })
        .await?;
        let view = stage.succeeded("1").await?;
        let facts = view.rehearsal.and_then(|one| one.units.first()?.batches).context("no batches")?;
        ensure!(facts.rows == 210_000, "{facts:?}");
        await_until("the statistics", SOON, async || {
            let updates =
                copy.value("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'many'").await?;
            let updates: u64 = updates.parse()?;
            ensure!((630_000 + 20_000..=630_000 + 40_000).contains(&updates), "{updates}");
            Ok(())
        })
        .await
    })
}

fn spoiled() -> Value {
    let mut fill = quick(json!({"table": "people", "set": {"n": "id * 2"}, "capture": true}));
    fill["backfill"]["batch"]["pause"] = json!("100ms");
    json!({"steps": [fill]})
}

#[test]
fn what_is_changed_behind_a_batch_is_found_at_the_end() -> Result<()> {
    run(async {
        let stage = stage("fill_spoiled", 2000, false).await?;
        stage
            .primary
            .execute(
                "SET ROLE app_owner; CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN UPDATE people SET n = -1 WHERE id = NEW.id; RETURN NULL; END $$; \
                 CREATE TRIGGER spoil AFTER UPDATE ON people FOR EACH ROW WHEN (NEW.id = 7 AND NEW.n > 0) EXECUTE FUNCTION spoil(); \
                 RESET ROLE",
            )
            .await?;
        let cause = stage.failed("1", &spoiled()).await?;
        ensure!(cause.reason == Reason::ValidationFailed, "{cause:?}");
        super::tells(&cause.message, &["1 of 500 rows", "such as id = 7", "nobody changed them since"])?;
        gives(&stage.primary, "SELECT count(*) FROM people WHERE n IS NOT NULL", "1").await
    })
}

#[test]
fn what_the_application_changes_meanwhile_is_its_business() -> Result<()> {
    run(async {
        let stage = stage("fill_changed", 2000, false).await?;
        stage.migrate("1", &spoiled())?;
        await_until("the first batch", SOON, async || {
            gives(&stage.primary, "SELECT n FROM people WHERE id = 8", "16").await
        })
        .await?;
        stage.primary.execute("UPDATE people SET n = 99 WHERE id = 8").await?;
        stage.succeeded("1").await?;
        gives(&stage.primary, "SELECT n FROM people WHERE id = 8", "99").await?;
        gives(&stage.primary, "SELECT count(*) > 2 FROM whimbrel.backfill_marks", "t").await
    })
}

#[test]
fn the_log_grows_no_faster_than_its_rate() -> Result<()> {
    run(async {
        // A server of its own: what others write counts.
        let cluster = Cluster::start(Options::default()).await?;
        let stage = Stage::on(cluster.database("fill_rate").await?, None, budget(250), &[]).await?;
        people(&stage.primary, 6000).await?;
        let mut fill = quick(json!({"table": "people", "set": {"n": "7"}, "capture": true}));
        fill["backfill"]["throttle"] = json!({"walRate": "512Ki"});
        let began = Instant::now();
        stage.migrate("1", &json!({"steps": [fill]}))?;
        stage
            .until("1", "being held back", |run| {
                let by = run.backfill.as_ref().and_then(|progress| progress.throttled_by.as_deref());
                by.is_some_and(|by| by.contains("throttle.walRate") && by.contains("512 KiB"))
            })
            .await?;
        stage.succeeded("1").await?;
        // More than two megabytes are written.
        ensure!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
        let told = "SELECT bool_and(throttled > 0) FROM whimbrel.backfills";
        gives(&stage.primary, told, "t").await?;
        gives(&stage.primary, "SELECT count(*) FROM people WHERE n = 7", "6000").await
    })
}

#[test]
fn who_waits_for_the_table_is_let_through() -> Result<()> {
    run(async {
        let stage = stage("fill_way", 4000, false).await?;
        let mut fill = quick(json!({"table": "people", "set": {"n": "7"}, "capture": true}));
        fill["backfill"]["batch"]["pause"] = json!("300ms");
        stage.migrate("1", &json!({"steps": [fill]}))?;
        let begun = "SELECT count(*) > 0 FROM people WHERE n = 7";
        await_until("a batch", SOON, async || gives(&stage.primary, begun, "t").await).await?;
        let mut reader = stage.primary.connect().await?;
        execute(&mut reader, "BEGIN; LOCK TABLE people IN ACCESS SHARE MODE").await?;
        let mut changer = stage.primary.connect().await?;
        let waiting = tokio::spawn(async move {
            execute(&mut changer, "BEGIN; LOCK TABLE people IN ACCESS EXCLUSIVE MODE; ROLLBACK").await
        });
        stage
            .until("1", "giving way", |run| {
                let by = run.backfill.as_ref().and_then(|progress| progress.throttled_by.as_deref());
                by.is_some_and(|by| by.contains("waits for a lock on public.people"))
            })
            .await?;
        execute(&mut reader, "COMMIT").await?;
        waiting.await??;
        stage.succeeded("1").await.map(drop)
    })
}
