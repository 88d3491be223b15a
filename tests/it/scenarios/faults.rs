//! What is wrong with the server, as a person sees it: one line in `Ready` that says what it is and what to do.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::world::{SOON, World, figure, message, reason_of};
use crate::harness::postgres::{self, APPLICATION, Cluster, Database, Options};
use crate::harness::{await_until, process, run};

/// Waits until `Ready` has that reason and says all of this.
async fn says(world: &World, name: &str, reason: &str, words: &[&str]) -> Result<Value> {
    let says = |object: &Value| {
        reason_of(object, "Ready") == reason && words.iter().all(|word| message(object).contains(word))
    };
    let object = world.until(name, &format!("saying {words:?}"), says).await?;
    figure(message(&object));
    Ok(object)
}

/// A database on a disk of 40 MiB, and the server that has it; none where nobody but root may mount.
async fn on_a_small_disk(name: &str) -> Result<Option<(Cluster, Database)>> {
    if !process::may_mount() {
        println!("no full disk: that needs root or user namespaces");
        return Ok(None);
    }
    let cluster = Cluster::start(Options { small_disk: Some(40), ..Options::default() }).await?;
    let database = cluster.database(name).await?;
    cluster.admin().execute(&format!("ALTER DATABASE {name} SET TABLESPACE small")).await?;
    Ok(Some((cluster, database)))
}

/// Writes until there is no space left.
async fn fill(database: &Database) -> Result<()> {
    database.execute("CREATE TABLE filler (line text)").await?;
    for rows in [10_000, 1000, 100, 10, 1] {
        let sql = format!("INSERT INTO filler SELECT repeat('x', 1900) FROM generate_series(1, {rows})");
        while database.execute(&sql).await.is_ok() {}
    }
    Ok(())
}

async fn failures(world: &World) -> Result<String> {
    world.value("SELECT count(*) FROM whimbrel.statements WHERE outcome = 'failed'").await
}

#[test]
fn a_full_disk_is_told_and_nothing_is_tried_until_a_person_asks() -> Result<()> {
    run(async {
        let Some((_cluster, database)) = on_a_small_disk("small").await? else { return Ok(()) };
        let world = World::on("small", database, None).await?;
        let _operator = world.operator().await?;
        let large = "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 50) AS filler FROM generate_series(1, 100000) g";
        world.migrate("large", "1", json!({"up": large})).await?;
        world.stalled("large", "DiskFull").await?;
        let words = [
            "No space left on device",
            "pg_replication_slots",
            "nothing of it is applied",
            "retry-requested-at",
        ];
        says(&world, "large", "DiskFull", &words).await?;
        world.delete("large").await?;

        // What an index build left goes, too.
        let many = "SET ROLE app_owner; CREATE TABLE many AS SELECT generate_series(1, 100000) AS g; \
             CREATE TABLE spare AS SELECT generate_series(1, 20000) AS g";
        world.primary.execute(many).await?;
        fill(&world.primary).await?;
        world.primary.execute("DROP TABLE spare").await?;
        let before = failures(&world).await?;
        world.migrate("index", "2", json!({"up": "CREATE INDEX CONCURRENTLY many_g ON many (g)"})).await?;
        world.stalled("index", "DiskFull").await?;
        ensure!(world.value("SELECT to_regclass('many_g') IS NULL").await? == "t", "the index is there");
        let tried = failures(&world).await?;
        ensure!(tried.parse::<u32>()? == before.parse::<u32>()? + 1, "{tried} failures after {before}");
        tokio::time::sleep(Duration::from_secs(2)).await;
        ensure!(failures(&world).await? == tried, "it is tried again");
        world.primary.execute("DROP TABLE filler").await?;
        world.request("index", "retry", "now").await?;
        world.ready("index").await?;
        world.finish().await
    })
}

#[test]
fn a_history_table_that_cannot_grow_is_told_and_goes_on_by_itself() -> Result<()> {
    run(async {
        let Some((_cluster, database)) = on_a_small_disk("brim").await? else { return Ok(()) };
        let world = World::on("brim", database, None).await?;
        let _operator = world.operator().await?;
        world.migrate("first", "1", json!({"up": "ALTER TABLE users ADD COLUMN first text"})).await?;
        world.ready("first").await?;
        // The next row needs a page of its own.
        world.primary.execute("ALTER TABLE whimbrel.runs SET (fillfactor = 10)").await?;
        fill(&world.primary).await?;
        world.migrate("second", "2", json!({"up": "ALTER TABLE users ADD COLUMN second text"})).await?;
        let words = [
            "history table cannot be written",
            "No space left on device",
            "pg_replication_slots",
            "by itself",
        ];
        says(&world, "second", "DiskFull", &words).await?;
        world.primary.execute("DROP TABLE filler").await?;
        world.ready("second").await?;
        world.finish().await
    })
}

#[test]
fn a_full_disk_of_the_copy_is_the_copys() -> Result<()> {
    run(async {
        let Some((_cluster, copy)) = on_a_small_disk("copied").await? else { return Ok(()) };
        let primary = postgres::shared().await?.database("copy_on_small").await?;
        let world = World::on("copy_on_small", primary, Some(copy)).await?;
        let _operator = world.operator().await?;
        let large = "CREATE TABLE large AS SELECT g, repeat(md5(g::text), 50) AS filler FROM generate_series(1, 30000) g";
        world.migrate("large", "1", json!({"up": large})).await?;
        world.stalled("large", "RehearsalFailed").await?;
        let words =
            ["No space left on device", "pg_replication_slots", "on the copy", "the primary was not touched"];
        says(&world, "large", "RehearsalFailed", &words).await?;
        world.finish().await
    })
}

#[test]
fn whose_limit_of_connections_is_reached_is_told() -> Result<()> {
    run(async {
        let settings = vec![("max_connections".to_owned(), "12".to_owned())];
        let cluster = Cluster::start(Options { settings, ..Options::default() }).await?;
        let world = World::on("taken", cluster.database("taken").await?, None).await?;
        let _operator = world.operator().await?;
        let column = |number: u32| json!({"up": format!("ALTER TABLE users ADD COLUMN c{number} text")});
        let gone = async || {
            await_until("the operator's sessions having ended", SOON, async || {
                let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'whimbrel'";
                ensure!(cluster.admin().value(sql).await? == "0", "they are there");
                Ok(())
            })
            .await
        };
        gone().await?;
        let mut sessions = Vec::new();
        while let Ok(session) = world.primary.connect_as(APPLICATION).await {
            sessions.push(session);
        }
        world.migrate("first", "1", column(1)).await?;
        let free = "no connection is free";
        says(&world, "first", "DatabaseUnreachable", &[free, "pg_stat_activity", "max_connections"]).await?;
        drop(sessions);
        world.ready("first").await?;

        for limit in 0..2 {
            gone().await?;
            cluster.admin().execute(&format!("ALTER ROLE whimbrel CONNECTION LIMIT {limit}")).await?;
            let name = format!("limit-{limit}");
            world.migrate(&name, &format!("{}", limit + 2), column(limit + 2)).await?;
            let words = [free, "role \"whimbrel\"", "two are needed", "CONNECTION LIMIT"];
            says(&world, &name, "DatabaseUnreachable", &words).await?;
            cluster.admin().execute("ALTER ROLE whimbrel CONNECTION LIMIT -1").await?;
            world.ready(&name).await?;
        }
        world.finish().await
    })
}

#[test]
fn whose_table_it_is_is_told() -> Result<()> {
    run(async {
        let world = World::new("whose").await?;
        let _operator = world.operator().await?;
        world.primary.execute("CREATE TABLE theirs (id int)").await?;
        world.migrate("first", "1", json!({"up": "ALTER TABLE theirs ADD COLUMN x int"})).await?;
        let words = [
            "must be owner of table theirs",
            "public.theirs belongs to postgres",
            "ALTER TABLE public.theirs OWNER TO app_owner",
        ];
        says(&world, "first", "InsufficientPrivilege", &words).await?;
        world.primary.execute("ALTER TABLE theirs OWNER TO app_owner").await?;
        world.request("first", "retry", "now").await?;
        world.ready("first").await?;
        world.finish().await
    })
}
