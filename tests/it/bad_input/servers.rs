//! The wrong server behind a URL: a standby, a pooler, the primary in the copy's place, a copy of another age.

use anyhow::Result;
use serde_json::{Value, json};

use super::stage::{Expected, Stage, database, without_copy};
use crate::harness::pgbouncer::PgBouncer;
use crate::harness::postgres::{Cluster, OPERATOR, Options};
use crate::harness::run;

fn add(database: &str) -> Value {
    json!({"databaseRef": {"name": database}, "up": "ALTER TABLE users ADD COLUMN x int"})
}

#[test]
fn standbys_and_poolers_are_no_primaries() -> Result<()> {
    run(async {
        let stage = Stage::new("bad_server").await?;
        let cluster = Cluster::start(Options::default()).await?;
        let database = cluster.database("standing").await?;
        database.execute("SET ROLE app_owner; CREATE TABLE users ()").await?;
        let (standby, pooler) = tokio::try_join!(
            cluster.standby(),
            PgBouncer::start(&stage.primary, "transaction", &[OPERATOR])
        )?;
        let pooled = stage.primary.through(pooler.port());
        stage.secret("standby", &json!({"uri": standby.named(database.name()).url(OPERATOR)})).await?;
        stage.secret("pooler", &json!({"uri": pooled.url(OPERATOR)})).await?;
        for name in ["standby", "pooler"] {
            stage.create("Database", name, without_copy(name)).await?;
            stage.migrate(name, add(name)).await?;
        }
        let port = format!("127.0.0.1:{}", pooler.port());
        let says = [port.as_str(), "transaction pooler"];
        let expected = Expected::stalled("PoolerDetected", &says);
        stage.await_migration("pooler", &expected).await?;
        let port = format!("127.0.0.1:{}", standby.port());
        let says = [port.as_str(), "in recovery"];
        let expected = Expected::retrying("ServerInRecovery", &says);
        stage.await_migration("standby", &expected).await?;

        standby.promote().await?;
        stage.await_migration("standby", &Expected::ready()).await?;
        stage.finish().await
    })
}

#[test]
fn copies_that_are_none_are_not_used() -> Result<()> {
    run(async {
        let stage = Stage::new("bad_copy").await?;
        let same = stage.primary.url(OPERATOR);
        stage.secret("same", &json!({"uri": same, "copy": same.replace("127.0.0.1", "localhost")})).await?;
        let drifted = stage.database("bad_copy_drifted").await?;
        drifted.execute("SET ROLE app_owner; ALTER TABLE users ADD COLUMN only_here int").await?;
        stage.secret("drifted", &json!({"uri": same, "copy": drifted.url(OPERATOR)})).await?;
        for name in ["same", "drifted"] {
            stage.create("Database", name, database(name)).await?;
        }
        let expected = Expected::failed_on_copy("ReplicaIsPrimary", &["the copy is the primary itself"]);
        stage.check("same", add("same"), expected).await?;
        let expected = Expected::failed_on_copy("Drifted", &["users.only_here", "refresh the copy"]);
        stage.check("drifted", add("drifted"), expected).await?;
        stage.finish().await
    })
}
