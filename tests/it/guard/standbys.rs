//! A standby whose readers would hold up the replay.

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use whimbrel::api::Reason;
use whimbrel::core::view::RunView;

use super::stage::{Stage, budget};
use crate::harness::postgres::{Cluster, Options, execute, text};
use crate::harness::{SOON, await_until, run};

#[test]
fn a_long_reader_on_a_standby_holds_the_step_back() -> Result<()> {
    run(async {
        let primary = Cluster::start(Options::default()).await?;
        let shop = primary.database("shop").await?;
        let standby = primary.standby().await?;
        let there = standby.named("shop");
        let stage = Stage::on(shop, None, budget(250), &[("s1", there.clone())]).await?;
        let follows = async || {
            await_until("the standby having followed", SOON, async || {
                ensure!(there.value("SELECT count(*) FROM users").await? == "100", "not yet");
                Ok(())
            })
            .await
        };
        follows().await?;
        let mut reader = there.connect().await?;
        execute(&mut reader, "SET application_name TO 'monthly-report'; BEGIN; SELECT count(*) FROM users")
            .await?;
        let pid = text(&mut reader, "SELECT pg_backend_pid()").await?.remove(0).remove(0).context("a pid")?;
        let column = json!({"up": "ALTER TABLE users ADD COLUMN tier text"});
        stage.migrate("1", &column)?;
        // The login may not see others' transactions there: who stays is a long reader all the same.
        let told = |run: &RunView, parts: &[&str]| {
            run.attempt.as_ref().is_some_and(|attempt| {
                attempt.cause.reason == Reason::WaitingForStandby
                    && parts.iter().all(|part| attempt.cause.message.contains(part))
            })
        };
        let who = format!("on standby s1, pid {pid} ");
        stage
            .until("1", "waiting for the reader", |run| {
                told(run, &[&who, "reads public.users", "go on until 20"])
            })
            .await?;
        let columns =
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'tier'";
        ensure!(stage.primary.value(columns).await? == "0", "it did not wait");
        // What nobody is locked out of is not held up by readers.
        execute(&mut reader, "COMMIT").await?;
        stage.applied("1", &column).await?;
        // The replay was awaited.
        ensure!(there.value(columns).await? == "1", "the standby has not followed");
        execute(&mut reader, "BEGIN; SELECT count(*) FROM users").await?;
        stage.applied("2", &json!({"up": "CREATE INDEX by_name ON users (name)"})).await?;
        execute(&mut reader, "COMMIT").await?;
        // Who paused the replay is told.
        there.execute("SELECT pg_wal_replay_pause()").await?;
        stage.migrate("3", &json!({"up": "ALTER TABLE users ADD COLUMN late text"}))?;
        stage
            .until("3", "waiting for the replay", |run| {
                told(run, &["s1 is paused", "pg_wal_replay_resume()"])
            })
            .await?;
        there.execute("SELECT pg_wal_replay_resume()").await?;
        stage.until("3", "having ended", |run| run.state.is_done() && run.applied_at.is_some()).await?;
        Ok(())
    })
}
