//! A server that lost its last commits: what the statuses say is compared with the ledger, and made up for.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use serde_json::{Value, json};

use super::world::{SOON, World};
use crate::harness::{await_until, run};

/// What an asynchronous failover does: the last migrations are gone, and so are their rows in the ledger.
const LOSE: &str = "DROP TABLE two, three; DELETE FROM whimbrel.statements WHERE run IN (SELECT id FROM whimbrel.runs WHERE version > '1'); \
     DELETE FROM whimbrel.units WHERE run IN (SELECT id FROM whimbrel.runs WHERE version > '1'); \
     DELETE FROM whimbrel.runs WHERE version > '1'";

#[test]
fn lost_migrations_are_applied_again_before_the_next_one() -> Result<()> {
    run(async {
        let world = World::new("rewound").await?;
        let _operator = world.operator().await?;
        for (name, version) in [("one", "1"), ("two", "2"), ("three", "3")] {
            world.migrate(name, version, json!({"up": format!("CREATE TABLE {name} (id int)")})).await?;
            world.ready(name).await?;
        }
        await_until("the Database to know version 3", SOON, async || {
            let database = serde_json::to_value(world.databases().get("shop").await?)?;
            let known = database.pointer("/status/currentVersions/default").and_then(Value::as_str);
            ensure!(known == Some("3"), "{known:?}");
            Ok(())
        })
        .await?;
        world.primary.execute(LOSE).await?;
        world.migrate("four", "4", json!({"up": "CREATE TABLE four (id int)"})).await?;
        world.ready("four").await?;
        let tables = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class \
             WHERE relname IN ('one', 'two', 'three', 'four')";
        assert_eq!(world.value(tables).await?, "four one three two");
        let order = "SELECT string_agg(version, ' ' ORDER BY seq) FROM whimbrel.runs";
        assert_eq!(world.value(order).await?, "1 2 3 4");
        let events: Api<Event> = Api::namespaced(world.client.clone(), &world.namespace);
        let mut told: Vec<String> = events
            .list(&kube::api::ListParams::default())
            .await?
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some("LedgerRewound"))
            .filter_map(|event| event.regarding?.name)
            .collect();
        told.sort();
        told.dedup();
        ensure!(told.iter().any(|name| name == "two") && told.iter().any(|name| name == "three"), "{told:?}");
        world.ready("two").await.context("it is ready again")?;
        world.finish().await
    })
}
