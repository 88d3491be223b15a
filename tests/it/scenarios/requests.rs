//! What people ask for: suspend, abort, retry, roll back, delete; each once.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;

use super::world::{SOON, World, condition, current, message, reason_of};
use crate::harness::{await_until, postgres, run};

/// The first step can be applied, the second one only when the reader is gone.
async fn blocked_second_step(world: &World) -> Result<(Value, PgConnection)> {
    world.primary.execute("SET ROLE app_owner; CREATE TABLE busy (id int)").await?;
    let mut reader = world.primary.connect().await?;
    postgres::execute(&mut reader, "BEGIN; SELECT count(*) FROM busy").await?;
    let steps = json!({"steps": [
        {"sql": {"up": "ALTER TABLE users ADD COLUMN tier text"}},
        {"sql": {"up": "ALTER TABLE busy ADD COLUMN note text"}},
    ]});
    Ok((steps, reader))
}

/// How many indexes are being built.
const BUILDING: &str = "SELECT count(*) FROM pg_stat_progress_create_index WHERE datname = current_database() AND command LIKE '%CONCURRENTLY'";

/// The only step is under way, and ends only when the writer is gone.
async fn waiting_build(world: &World) -> Result<PgConnection> {
    let mut writer = world.primary.connect().await?;
    postgres::execute(&mut writer, "BEGIN; UPDATE users SET name = name WHERE id = 1").await?;
    let build = json!({"up": "CREATE INDEX CONCURRENTLY users_name ON users (name)"});
    world.migrate("build", "1", build).await?;
    await_until("the build", SOON, async || {
        ensure!(world.value(BUILDING).await? == "1", "it does not run");
        Ok(())
    })
    .await?;
    Ok(writer)
}

async fn commit(mut session: PgConnection) -> Result<()> {
    postgres::execute(&mut session, "COMMIT").await
}

/// Nothing happens in the database for a while that is long against the pauses between attempts.
async fn nothing_happens(world: &World) -> Result<()> {
    let (before, started) = (world.ddl().await?, Instant::now());
    await_until("a while in which nothing happens", SOON, async || {
        let now = world.ddl().await?;
        assert_eq!(now, before, "something happened");
        ensure!(started.elapsed() > Duration::from_secs(2), "not long enough");
        Ok(())
    })
    .await
}

#[test]
fn suspended_migration_does_not_begin() -> Result<()> {
    run(async {
        let world = World::new("suspend_before").await?;
        let _operator = world.operator().await?;
        let spec = json!({"up": "ALTER TABLE users ADD COLUMN tier text", "suspend": true});
        world.migrate("add-tier", "1", spec).await?;
        let object = world.reason("add-tier", "Suspended").await?;
        assert_eq!(condition(&object, "Stalled"), "", "a wait is no failure: {object}");
        nothing_happens(&world).await?;
        assert_eq!(world.ddl().await?, [""; 0]);
        world.edit("add-tier", json!({"suspend": false})).await?;
        world.ready("add-tier").await?;
        world.finish().await
    })
}

#[test]
fn suspended_run_stops_before_the_next_step() -> Result<()> {
    run(async {
        let world = World::new("suspend_during").await?;
        let operator = world.operator().await?;
        let (spec, reader) = blocked_second_step(&world).await?;
        world.migrate("two", "1", spec).await?;
        world.reason("two", "WaitingForLock").await?;
        world.edit("two", json!({"suspend": true})).await?;
        world.reason("two", "Suspended").await?;
        commit(reader).await?;
        nothing_happens(&world).await?;
        assert_eq!(world.columns(&world.primary).await?, "tier");
        // A wish outlives the process that heard it.
        ensure!(operator.stop().await?.success());
        let _operator = world.operator().await?;
        nothing_happens(&world).await?;
        world.edit("two", json!({"suspend": false})).await?;
        world.ready("two").await?;
        let note = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'busy'::regclass AND attname = 'note'";
        assert_eq!(world.value(note).await?, "1");
        world.finish().await
    })
}

#[test]
fn abort_ends_a_wait_for_a_lock_and_undoes_what_was_applied() -> Result<()> {
    run(async {
        let world = World::new("abort_lock").await?;
        let operator = world.operator().await?;
        let (spec, reader) = blocked_second_step(&world).await?;
        world.migrate("two", "1", spec).await?;
        world.reason("two", "WaitingForLock").await?;
        world.request("two", "abort", "one").await?;
        let object = world.stalled("two", "Aborted").await?;
        assert_eq!(object["status"]["lastHandledAbortAt"], "one", "{object}");
        commit(reader).await?;
        ensure!(world.columns(&world.primary).await?.starts_with("_whimbrel_"));
        ensure!(operator.stop().await?.success());
        let _operator = world.operator().await?;
        nothing_happens(&world).await?;
        assert_eq!(world.phases().await?, "Aborted");
        // The old token asks for nothing any more.
        world.request("two", "retry", "two").await?;
        world.ready("two").await?;
        world.finish().await
    })
}

#[test]
fn abort_cancels_an_index_build_that_waits() -> Result<()> {
    run(async {
        let world = World::new("abort_build").await?;
        let _operator = world.operator().await?;
        let writer = waiting_build(&world).await?;
        let object = world.get("build").await?;
        ensure!(condition(&object, "Ready") != "True", "{object}");
        world.request("build", "abort", "one").await?;
        world.reason("build", "RollingBack").await?;
        await_until("the build being cancelled", SOON, async || {
            ensure!(world.value(BUILDING).await? == "0", "it still runs");
            Ok(())
        })
        .await?;
        commit(writer).await?;
        world.stalled("build", "Aborted").await?;
        let left = "SELECT count(*) FROM pg_class WHERE relname = 'users_name'";
        assert_eq!(world.value(left).await?, "0");
        world.finish().await
    })
}

#[test]
fn rollback_that_is_asked_for_during_the_last_step_is_carried_out() -> Result<()> {
    run(async {
        let world = World::with_copy("rollback_last").await?;
        let _operator = world.operator().await?;
        let writer = waiting_build(&world).await?;
        world.request("build", "rollback", "one").await?;
        commit(writer).await?;
        let object = world.stalled("build", "RolledBack").await?;
        assert_eq!(object["status"]["lastHandledRollbackAt"], "one", "{object}");
        let left = "SELECT count(*) FROM pg_class WHERE relname = 'users_name'";
        assert_eq!(world.value(left).await?, "0");
        world.finish().await
    })
}

#[test]
fn abort_during_the_watch_brings_it_back() -> Result<()> {
    run(async {
        let world = World::new("abort_watch").await?;
        world.watched(None).await?;
        let _operator = world.operator().await?;
        let spec = json!({"up": "ALTER TABLE users ADD COLUMN tier text", "analysis": world.analysis("60s")});
        world.migrate("add-tier", "1", spec).await?;
        world.reason("add-tier", "Analyzing").await?;
        world.request("add-tier", "abort", "one").await?;
        world.stalled("add-tier", "Aborted").await?;
        ensure!(world.columns(&world.primary).await?.starts_with("_whimbrel_"));
        world.finish().await
    })
}

#[test]
fn failed_migration_is_retried_on_request_only_and_once() -> Result<()> {
    run(async {
        let world = World::new("retry").await?;
        let operator = world.operator().await?;
        let spec = json!({"up": "ALTER TABLE users ADD CONSTRAINT nobody_one CHECK (id > 1)"});
        world.migrate("check", "1", spec).await?;
        let object = world.stalled("check", "ApplyFailed").await?;
        ensure!(message(&object).contains("nobody_one"), "{}", message(&object));
        world.primary.execute("DELETE FROM users WHERE id = 1").await?;
        nothing_happens(&world).await?;
        world.request("check", "reconcile", "looked").await?;
        let looked = |object: &Value| object["status"]["lastHandledReconcileAt"] == "looked";
        world.until("check", "looked at", looked).await?;
        assert_eq!(world.phases().await?, "Failed", "only a retry begins another run");
        world.request("check", "retry", "once").await?;
        let object = world.ready("check").await?;
        assert_eq!(object["status"]["lastHandledRetryAt"], "once", "{object}");
        assert_eq!(world.phases().await?, "Failed Succeeded");
        ensure!(operator.stop().await?.success());
        let _operator = world.operator().await?;
        nothing_happens(&world).await?;
        assert_eq!(world.phases().await?, "Failed Succeeded");
        world.finish().await
    })
}

#[test]
fn finished_migration_is_rolled_back_on_request_and_once() -> Result<()> {
    run(async {
        let world = World::with_copy("rollback").await?;
        let operator = world.operator().await?;
        world.migrate("add-tier", "1", json!({"up": "ALTER TABLE users ADD COLUMN tier text"})).await?;
        world.ready("add-tier").await?;
        world.request("add-tier", "rollback", "first").await?;
        let object = world.stalled("add-tier", "RolledBack").await?;
        assert_eq!(object["status"]["lastHandledRollbackAt"], "first", "{object}");
        assert_eq!(object["status"]["applied"], false, "{object}");
        ensure!(world.columns(&world.primary).await?.starts_with("_whimbrel_"));
        if let Some(copy) = &world.copy {
            ensure!(!world.columns(copy).await?.contains("tier"), "the copy did not follow");
        }
        ensure!(operator.stop().await?.success());
        let operator = world.operator().await?;
        nothing_happens(&world).await?;
        world.request("add-tier", "retry", "second").await?;
        world.ready("add-tier").await?;
        ensure!(world.columns(&world.primary).await?.ends_with(" tier"));
        ensure!(operator.stop().await?.success());
        let _operator = world.operator().await?;
        nothing_happens(&world).await?;
        let object = world.get("add-tier").await?;
        ensure!(current(&object) && condition(&object, "Ready") == "True", "{object}");
        assert_eq!(reason_of(&object, "Ready"), "Succeeded");
        world.finish().await
    })
}

#[test]
fn edit_in_the_middle_changes_nothing_of_the_run() -> Result<()> {
    run(async {
        let world = World::new("edit_middle").await?;
        let _operator = world.operator().await?;
        let (spec, reader) = blocked_second_step(&world).await?;
        world.migrate("two", "1", spec.clone()).await?;
        world.reason("two", "WaitingForLock").await?;
        let mut other = spec.clone();
        other["steps"][1]["sql"]["up"] = json!("ALTER TABLE busy ADD COLUMN other text");
        world.edit("two", other).await?;
        commit(reader).await?;
        let object = world.stalled("two", "ChecksumMismatch").await?;
        let columns = "SELECT string_agg(attname, ' ') FROM pg_attribute WHERE attrelid = 'busy'::regclass AND attnum > 1";
        assert_eq!(world.value(columns).await?, "note", "{object}");
        world.edit("two", spec).await?;
        world.ready("two").await?;
        assert_eq!(world.phases().await?, "Succeeded");
        world.finish().await
    })
}

#[test]
fn run_whose_object_went_while_nobody_acted_is_seen_to() -> Result<()> {
    run(async {
        let world = World::new("delete_unseen").await?;
        let mut operator = world.operator().await?;
        let (spec, reader) = blocked_second_step(&world).await?;
        world.migrate("two", "1", spec).await?;
        world.reason("two", "WaitingForLock").await?;
        operator.process().signal(Signal::SIGKILL)?;
        drop(operator);
        world.edit_metadata("two", json!({"finalizers": null})).await?;
        world.delete("two").await?;
        assert_eq!(world.phases().await?, "Applying");
        let _operator = world.operator().await?;
        await_until("the end of the run", SOON, async || {
            let phases = world.phases().await?;
            ensure!(phases == "Aborted", "{phases}");
            Ok(())
        })
        .await?;
        ensure!(world.columns(&world.primary).await?.starts_with("_whimbrel_"));
        commit(reader).await?;
        world.finish().await
    })
}

#[test]
fn what_waited_for_a_failed_migration_goes_on_when_that_is_deleted() -> Result<()> {
    run(async {
        let world = World::new("delete_failed").await?;
        let _operator = world.operator().await?;
        world.migrate("broken", "1", json!({"up": "ALTER TABLE users ADD COLUMN name text"})).await?;
        world.stalled("broken", "ApplyFailed").await?;
        world.migrate("next", "2", json!({"up": "ALTER TABLE users ADD COLUMN tier text"})).await?;
        world.reason("next", "WaitingForEarlierVersion").await?;
        world.delete("broken").await?;
        world.ready("next").await?;
        assert_eq!(world.phases().await?, "Failed Succeeded");
        world.finish().await
    })
}

#[test]
fn deletion_in_the_middle_leaves_no_half_applied_plan() -> Result<()> {
    run(async {
        let world = World::new("delete_middle").await?;
        let _operator = world.operator().await?;
        let (spec, reader) = blocked_second_step(&world).await?;
        world.migrate("two", "1", spec.clone()).await?;
        world.reason("two", "WaitingForLock").await?;
        let gone = world.delete("two").await?;
        ensure!(gone < Duration::from_secs(30), "the finalizer stayed for {gone:?}");
        assert_eq!(world.phases().await?, "Aborted");
        ensure!(world.columns(&world.primary).await?.starts_with("_whimbrel_"));
        commit(reader).await?;
        // The same object again is a new wish.
        world.migrate("two", "1", spec).await?;
        world.ready("two").await?;
        assert_eq!(world.phases().await?, "Aborted Succeeded");
        world.finish().await
    })
}
