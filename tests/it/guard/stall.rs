//! The stall budget: refused before the primary is touched, divided, or cut short when somebody waits.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use whimbrel::api::Reason;
use whimbrel::core::view::RunView;

use super::stage::{Stage, budget};
use crate::harness::postgres::{self, APPLICATION, Cluster, Options, SUPERUSER, execute};
use crate::harness::{SOON, await_until, run};

/// Who is let through within this has not waited for what blocks to end by itself: that would take longer, or for ever.
const CUT_SHORT: Duration = Duration::from_secs(10);

/// Takes 150 ms for each row under ACCESS EXCLUSIVE; there is one.
const SLOW: &str = "CHECK (pg_sleep(0.15)::text = '')";

#[test]
fn what_holds_its_locks_for_too_long_is_refused_before_the_primary_is_touched() -> Result<()> {
    run(async {
        let stage = Stage::new("guard_refused", true, budget(100)).await?;
        let up = format!("ALTER TABLE one ADD CONSTRAINT slow {SLOW}");
        let cause = stage.failed("1", &json!({"up": up})).await?;
        ensure!(cause.reason == Reason::StallBudgetExceeded, "{cause:?}");
        for part in [
            "stall budget is 100 ms",
            "maxStall",
            "NOT VALID",
            "VALIDATE CONSTRAINT",
            "primary was not touched",
        ] {
            ensure!(cause.message.contains(part), "{part}: {}", cause.message);
        }
        ensure!(
            stage.primary.ddl().await?.iter().all(|one| !one.object.contains("slow")),
            "the primary was touched"
        );
        // The step's own budget is the way out.
        let step = json!({"sql": {"up": up, "maxStall": "3s"}});
        stage.applied("1", &json!({"steps": [step]})).await?;
        Ok(())
    })
}

#[test]
fn a_rehearsal_may_take_longer_than_an_idle_session_lives() -> Result<()> {
    run(async {
        let stage = Stage::new("guard_long", true, budget(250)).await?;
        // Slower on the copy only, where each statement runs four times.
        let slow = "UPDATE one SET id = 1 FROM pg_sleep(CASE WHEN current_setting('port') = '{port}' THEN 0 ELSE 6 END)";
        let up = slow.replace("{port}", &stage.primary.port().to_string());
        let began = Instant::now();
        stage
            .applied("1", &json!({"steps": [{"sql": {"up": up, "down": "SELECT", "maxStall": "30s"}}]}))
            .await?;
        ensure!(began.elapsed() > Duration::from_secs(16), "{:?}", began.elapsed());
        Ok(())
    })
}

#[test]
fn statements_that_fit_one_by_one_commit_one_by_one() -> Result<()> {
    run(async {
        let stage = Stage::new("guard_divided", true, budget(260)).await?;
        let up = format!(
            "ALTER TABLE one ADD CONSTRAINT first {SLOW}; ALTER TABLE one ADD CONSTRAINT second {SLOW}"
        );
        let run = stage.applied("1", &json!({"up": up})).await?;
        ensure!(run.units.len() == 2 && run.plan.units.len() == 2, "{:?}", run.plan.units);
        ensure!(run.note.as_ref().is_some_and(|note| note.contains("one by one")), "{:?}", run.note);
        let rehearsed = run.rehearsal.context("no rehearsal")?;
        ensure!(rehearsed.units.len() == 2, "{rehearsed:?}");
        let xids = stage.primary.value("SELECT count(DISTINCT xid) FROM whimbrel.units").await?;
        ensure!(xids == "2", "{xids} transactions");
        // As one transaction, because it was asked for, it does not fit.
        let step = json!({"sql": {"up": up.replace("ADD CONSTRAINT ", "ADD CONSTRAINT other_"), "transaction": "Single"}});
        let cause = stage.failed("2", &json!({"steps": [step]})).await?;
        ensure!(cause.reason == Reason::StallBudgetExceeded, "{cause:?}");
        Ok(())
    })
}

/// Waits until a query counts one.
async fn comes(stage: &Stage, what: &str, count: &str) -> Result<()> {
    await_until(what, SOON, async || {
        ensure!(stage.primary.value(count).await? == "1", "not there yet");
        Ok(())
    })
    .await
}

#[test]
fn who_waits_for_a_row_for_too_long_has_us_cancelled() -> Result<()> {
    run(async {
        let stage = Stage::new("guard_rows", false, budget(200)).await?;
        let up = "UPDATE users SET name = 'ours' WHERE id = 1; SELECT pg_sleep(30)";
        stage.migrate("1", &json!({"steps": [{"sql": {"up": up, "irreversible": {"reason": "a test"}}}]}))?;
        let mut application = stage.primary.connect_as(APPLICATION).await?;
        let held = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
        comes(&stage, "the update", held).await?;
        let began = Instant::now();
        execute(&mut application, "UPDATE users SET name = 'mine' WHERE id = 1").await?;
        let waited = began.elapsed();
        ensure!(waited < CUT_SHORT, "the application waited for {waited:?}");
        let told = |run: &RunView| {
            run.attempt.as_ref().is_some_and(|attempt| {
                attempt.cause.reason == Reason::StallBudgetExceeded
                    && attempt.cause.message.contains("waited behind it")
            })
        };
        stage.until("1", "having been cancelled", told).await?;
        Ok(())
    })
}

#[test]
fn who_reads_behind_an_index_build_for_too_long_has_it_cancelled() -> Result<()> {
    run(async {
        let stage = Stage::new("guard_build", false, budget(200)).await?;
        // The build waits for this one, another change of the schema for the build, and a reader for that.
        let mut writer = stage.primary.connect().await?;
        execute(&mut writer, "BEGIN; UPDATE users SET name = 'x' WHERE id = 1").await?;
        stage.migrate("1", &json!({"up": "CREATE INDEX CONCURRENTLY by_name ON users (name)"}))?;
        let builds = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database() AND command LIKE '%CONCURRENTLY'";
        comes(&stage, "the build", builds).await?;
        let mut other = stage.primary.connect().await?;
        let alter = tokio::spawn(async move {
            execute(&mut other, "SET lock_timeout TO '20s'; CREATE TRIGGER t BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()").await
        });
        let told = |run: &RunView| run.attempt.is_some();
        // Nobody reads or writes behind it yet.
        tokio::time::timeout(Duration::from_millis(900), stage.until("1", "cancelled", told))
            .await
            .err()
            .context("cancelled for nobody")?;
        let mut application = stage.primary.connect_as(APPLICATION).await?;
        let began = Instant::now();
        let insert = tokio::spawn(async move {
            execute(&mut application, "UPDATE users SET name = 'y' WHERE id = 2").await
        });
        let run = stage.until("1", "cancelled", told).await?;
        let waited = began.elapsed();
        ensure!(waited < CUT_SHORT, "after {waited:?}");
        let message = run.attempt.context("no attempt")?.cause.message;
        ensure!(message.contains("waited behind it"), "{message}");
        execute(&mut writer, "ROLLBACK").await?;
        insert.await??;
        alter.await??;
        stage.until("1", "having ended", |run| run.state.is_done() && run.applied_at.is_some()).await?;
        let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_name'::regclass";
        ensure!(stage.primary.value(valid).await? == "t", "the index is not valid");
        Ok(())
    })
}

#[test]
fn who_writes_behind_a_rebuild_of_partitions_for_too_long_has_it_cancelled() -> Result<()> {
    run(async {
        let stage = Stage::new("guard_parts", false, budget(200)).await?;
        stage.primary.execute("ALTER TABLE parts ADD PRIMARY KEY (id)").await?;
        let mut writer = stage.primary.connect().await?;
        execute(&mut writer, "BEGIN; INSERT INTO parts VALUES (1)").await?;
        stage.migrate("1", &json!({"up": "REINDEX TABLE CONCURRENTLY parts"}))?;
        let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'parts_1'::regclass AND mode = 'ShareLock' AND NOT granted";
        comes(&stage, "the rebuild", waits).await?;
        let mut application = stage.primary.connect().await?;
        let began = Instant::now();
        execute(&mut application, "INSERT INTO parts VALUES (2)").await?;
        let waited = began.elapsed();
        ensure!(waited < CUT_SHORT, "the application waited for {waited:?}");
        let told = |run: &RunView| {
            let attempt = run.attempt.as_ref();
            attempt.is_some_and(|attempt| attempt.cause.message.contains("waited behind it"))
        };
        stage.until("1", "having been cancelled", told).await?;
        execute(&mut writer, "COMMIT").await?;
        stage.until("1", "having ended", |run| run.state.is_done() && run.applied_at.is_some()).await?;
        Ok(())
    })
}

/// A dump whose output nobody reads, so that it does not end.
fn dump(stage: &Stage) -> Result<tokio::process::Child> {
    let mut command = tokio::process::Command::new(postgres::program("pg_dump")?);
    let url = stage.primary.url(SUPERUSER);
    command.args(["--dbname", &url]).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    command.spawn().context("cannot start pg_dump")
}

#[test]
fn who_is_in_the_way_for_hours_is_told_with_what_ends_it() -> Result<()> {
    run(async {
        let settings = vec![("max_prepared_transactions".to_owned(), "5".to_owned())];
        let cluster = Cluster::start(Options { settings, ..Options::default() }).await?;
        // The operator may look at others.
        cluster.admin().execute("GRANT pg_read_all_stats TO whimbrel").await?;
        let stage = Stage::on(cluster.database("blocked").await?, None, budget(250), &[]).await?;
        let large = "CREATE TABLE large AS SELECT repeat(md5(g::text), 30) FROM generate_series(1, 20000) g";
        stage.primary.execute(large).await?;
        let mut dump = dump(&stage)?;
        let dumping = "SELECT coalesce(max(pid)::text, '') FROM pg_stat_activity WHERE application_name = 'pg_dump' AND query LIKE 'COPY %large%'";
        let pid = await_until("the dump", SOON, async || {
            let pid = stage.primary.value(dumping).await?;
            ensure!(!pid.is_empty(), "not there yet");
            Ok(pid)
        })
        .await?;
        stage.migrate("1", &json!({"up": "ALTER TABLE users ADD COLUMN tier text"}))?;
        let says = |run: &RunView, parts: &[&str]| {
            run.attempt.as_ref().is_some_and(|attempt| {
                attempt.cause.reason == Reason::WaitingForLock
                    && parts.iter().all(|part| attempt.cause.message.contains(part))
            })
        };
        let who = format!("blocked by pid {pid} (pg_dump, in a transaction since 20");
        let parts = [&who, "COPY public.large", "until the dump ends", "attempts go on until 20"];
        stage.until("1", "naming the dump", |run| says(run, &parts)).await?;
        // The next one in the way.
        let mut forgetful = stage.primary.connect().await?;
        let prepare = "BEGIN; LOCK TABLE users IN ACCESS SHARE MODE; PREPARE TRANSACTION 'forgotten'";
        execute(&mut forgetful, prepare).await?;
        dump.kill().await?;
        let parts = [
            "prepared transaction forgotten of ",
            "ROLLBACK PREPARED 'forgotten'",
            "attempts go on until 20",
        ];
        stage.until("1", "naming the prepared transaction", |run| says(run, &parts)).await?;
        stage.primary.execute("ROLLBACK PREPARED 'forgotten'").await?;
        stage.until("1", "having ended", |run| run.state.is_done() && run.applied_at.is_some()).await?;
        Ok(())
    })
}

/// One that does not give way to us, as other autovacuums do.
#[test]
fn an_autovacuum_against_wraparound_is_told() -> Result<()> {
    run(async {
        let settings = vec![("autovacuum_naptime".to_owned(), "1s".to_owned())];
        let cluster = Cluster::start(Options { settings, ..Options::default() }).await?;
        cluster.admin().execute("GRANT pg_read_all_stats TO whimbrel").await?;
        let stage = Stage::on(cluster.database("old").await?, None, budget(250), &[]).await?;
        let slow = "SET ROLE app_owner; CREATE TABLE big (id int, filler text) WITH (autovacuum_enabled = off, autovacuum_freeze_max_age = 100000, \
             autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1); \
             INSERT INTO big SELECT g, repeat('x', 1000) FROM generate_series(1, 5000) g";
        stage.primary.execute(slow).await?;
        // Each block has a transaction number of its own.
        let old = "CREATE TABLE spent (); DO $$ BEGIN FOR i IN 1..101000 LOOP BEGIN INSERT INTO spent DEFAULT VALUES; \
             EXCEPTION WHEN division_by_zero THEN NULL; END; END LOOP; END $$";
        stage.primary.execute(old).await?;
        let runs = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'autovacuum:%big (to prevent wraparound)'";
        await_until("the autovacuum", SOON, async || {
            ensure!(stage.primary.value(runs).await? == "1", "not there yet");
            Ok(())
        })
        .await?;
        stage.migrate("1", &json!({"up": "ALTER TABLE big ADD COLUMN tier text"}))?;
        let parts = [
            "blocked by pid ",
            "(autovacuum worker, in a transaction since 20",
            "does not give way",
            "let it finish",
        ];
        let told = |run: &RunView| {
            run.attempt
                .as_ref()
                .is_some_and(|attempt| parts.iter().all(|part| attempt.cause.message.contains(part)))
        };
        stage.until("1", "naming the autovacuum", told).await?;
        Ok(())
    })
}
