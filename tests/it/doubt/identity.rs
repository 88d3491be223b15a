//! Which server it is: a failover that lost commits, an old primary, another server, a ledger that is gone.

use anyhow::{Result, ensure};
use serde_json::json;
use whimbrel::api::Version;
use whimbrel::core::view::Standing;
use whimbrel::postgres::identity::Pinned;

use super::engine::{Engine, Wish, await_value, effects};
use crate::harness::postgres::{self, Cluster, Database, Options};
use crate::harness::run;

const TABLE: &str = "SET ROLE app_owner; CREATE TABLE users (id int)";

fn first() -> serde_json::Value {
    json!({"up": "CREATE TABLE one (id int)"})
}

fn second() -> serde_json::Value {
    json!({"version": "2", "up": "CREATE TABLE two (id int)"})
}

async fn identifier(database: &Database) -> Result<String> {
    database.value("SELECT system_identifier::text FROM pg_control_system()").await
}

async fn apply(database: &Database, uid: &str, spec: serde_json::Value) -> Result<String> {
    let mut wish = Wish::new(database, spec)?;
    wish.subject.key.uid = uid.to_owned();
    let engine = Engine::start("a", wish);
    engine.succeeds().await?;
    let id = engine.run()?.id;
    engine.finish().await?;
    Ok(id)
}

#[test]
fn a_failover_that_lost_commits_is_seen_and_made_up_for() -> Result<()> {
    run(async {
        let mut primary = Cluster::start(Options { own_identity: true, ..Options::default() }).await?;
        let database = primary.database("shop").await?;
        database.execute(TABLE).await?;
        let standby = primary.standby().await?;
        apply(&database, "uid-1", first()).await?;
        let there = standby.named("shop");
        await_value(&there, "SELECT coalesce(to_regclass('one')::text, '')", "one").await?;
        // The standby stays behind, the primary goes on, and is gone.
        standby.fall_behind().await?;
        let lost = apply(&database, "uid-2", second()).await?;
        let pinned = Pinned { system_identifier: identifier(&database).await?, timeline: Some(1) };
        primary.stop(nix::sys::signal::Signal::SIGQUIT).await?;
        standby.promote().await?;

        let recorded = |wish: &mut Wish| {
            wish.database.recorded.server = Some(pinned.clone());
            wish.database.recorded.ledger = true;
            wish.database.recorded.versions =
                vec![("default".to_owned(), Version::parse("2", "version").expect("a version"))];
        };
        // Another migration does not go on over the gap, whoever noted what was there: the Database, or a settled Migration.
        for by_migration in [false, true] {
            let mut wish = Wish::new(&there, json!({"version": "3", "up": "CREATE TABLE three (id int)"}))?;
            wish.subject.key.uid = "uid-3".to_owned();
            recorded(&mut wish);
            if by_migration {
                wish.settled = std::mem::take(&mut wish.database.recorded.versions);
            }
            let third = Engine::start("b", wish);
            let cause = third.await_saying("lacks version 2 of stream default").await?;
            assert_eq!(cause.reason.as_str(), "LedgerRewound");
            third.finish().await?;
        }
        // The one whose run is lost says so, and is applied again.
        let mut wish = Wish::new(&there, second())?;
        wish.subject.key.uid = "uid-2".to_owned();
        wish.subject.recorded_run = Some(lost.clone());
        recorded(&mut wish);
        let again = Engine::start("b", wish);
        again.succeeds().await?;
        assert_eq!(again.views.lost("uid-2").as_deref(), Some(lost.as_str()));
        assert_eq!(effects(&there, "CREATE TABLE", "public.two").await?, 1);
        assert_eq!(there.value("SELECT timeline::text FROM whimbrel.ledger").await?, "2");
        again.finish().await?;

        // The old primary comes back, and somebody's DNS still names it.
        primary.resume().await?;
        let mut wish = Wish::new(&database, json!({"version": "3", "up": "CREATE TABLE three (id int)"}))?;
        recorded(&mut wish);
        wish.database.recorded.server = Some(Pinned { timeline: Some(2), ..pinned.clone() });
        refused(wish, "an old primary").await
    })
}

async fn refused(wish: Wish, words: &str) -> Result<()> {
    let engine = Engine::start("c", wish);
    let cause = engine.await_saying(words).await?;
    ensure!(matches!(engine.standing(), Some(Standing::Refused(_))), "{cause:?}");
    engine.finish().await
}

#[test]
fn another_server_and_a_lost_ledger_stop_everything() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("doubt_identity").await?;
        database.execute(TABLE).await?;
        let mut wish = Wish::new(&database, first())?;
        wish.database.recorded.server = Some(Pinned { system_identifier: "1".to_owned(), timeline: None });
        refused(wish, "wrong server: system identifier").await?;
        assert_eq!(database.value("SELECT coalesce(to_regnamespace('whimbrel')::text, '')").await?, "");

        apply(&database, "uid-1", first()).await?;
        database.execute("DROP SCHEMA whimbrel CASCADE").await?;
        let lost = || -> Result<Wish> {
            let mut wish = Wish::new(&database, second())?;
            wish.database.recorded.ledger = true;
            Ok(wish)
        };
        refused(lost()?, "(schema whimbrel) is gone").await?;
        let mut wish = lost()?;
        wish.database.baseline = Some(Version::parse("1", "version")?);
        let engine = Engine::start("c", wish);
        engine.succeeds().await?;
        engine.finish().await
    })
}

#[test]
fn remote_apply_waits_for_the_standby() -> Result<()> {
    run(async {
        let primary = Cluster::start(Options { own_identity: true, ..Options::default() }).await?;
        let database = primary.database("shop").await?;
        database.execute(TABLE).await?;
        let standby = primary.standby().await?;
        let wish = || -> Result<Wish> {
            let steps = json!({"steps": [{"sql": {"up": "CREATE TABLE one (id int)"}}, {"sql": {"up": "CREATE TABLE two (id int)"}}]});
            let mut wish = Wish::new(&database, steps)?;
            wish.database.remote_apply = true;
            Ok(wish)
        };
        let engine = Engine::start("a", wish()?);
        engine.await_saying("the server has no synchronous standby").await?;
        standby.admin().execute("SELECT pg_wal_replay_pause()").await?;
        primary.admin().execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await?;
        primary.admin().execute("SELECT pg_reload_conf()").await?;
        let cause = engine.await_saying("no synchronous standby has applied").await?;
        assert_eq!(cause.reason.as_str(), "WaitingForStandby");
        assert_eq!(
            effects(&database, "CREATE TABLE", "public.one").await?,
            0,
            "nothing before the plan is safe"
        );
        standby.admin().execute("SELECT pg_wal_replay_resume()").await?;
        engine.succeeds().await?;
        let both = "SELECT count(*)::text FROM pg_class WHERE relname IN ('one', 'two')";
        assert_eq!(standby.named("shop").value(both).await?, "2", "the standby has all that is told");
        engine.finish().await
    })
}
