//! A copy that was made of a primary which has a history: the ledger comes along, and becomes the copy's own.

use anyhow::{Result, ensure};
use serde_json::json;

use super::world::World;
use crate::harness::postgres;
use crate::harness::run;

#[test]
fn base_backup_with_its_ledger_serves_as_a_copy() -> Result<()> {
    run(async {
        let mut world = World::new("refreshed_copy").await?;
        let _operator = world.operator().await?;
        world
            .migrate("first", "1", json!({"up": "ALTER TABLE users ADD COLUMN tier text DEFAULT 'free'"}))
            .await?;
        world.ready("first").await?;

        let cluster = postgres::shared().await?.writable_copy().await?;
        let copy = cluster.named(world.primary.name());
        ensure!(copy.value("SELECT side FROM whimbrel.ledger").await? == "primary", "no ledger came along");
        world.use_copy(copy.clone()).await?;
        world.migrate("second", "2", json!({"up": "ALTER TABLE users ADD COLUMN age int"})).await?;
        world.ready("second").await?;
        assert_eq!(world.columns(&copy).await?, world.columns(&world.primary).await?);
        assert_eq!(copy.value("SELECT side FROM whimbrel.ledger").await?, "copy");

        // What the primary got while the copy was not asked is made up for by the next rehearsal.
        world.use_no_copy().await?;
        world.migrate("third", "3", json!({"up": "ALTER TABLE users ADD COLUMN city text"})).await?;
        world.ready("third").await?;
        world.use_copy(copy.clone()).await?;
        world
            .migrate("fourth", "4", json!({"up": "CREATE INDEX CONCURRENTLY users_city ON users (city)"}))
            .await?;
        world.ready("fourth").await?;
        assert_eq!(world.columns(&copy).await?, world.columns(&world.primary).await?);
        world.finish().await
    })
}

#[test]
fn constraint_is_added_and_validated_in_steps_of_their_own() -> Result<()> {
    run(async {
        let world = World::with_copy("validated_apart").await?;
        let _operator = world.operator().await?;
        let steps = json!({"steps": [
            {"name": "add", "sql": {"up": "ALTER TABLE users ADD CONSTRAINT id_positive CHECK (id > 0) NOT VALID"}},
            {"name": "validate", "sql": {"up": "ALTER TABLE users VALIDATE CONSTRAINT id_positive"}},
        ]});
        world.migrate("check", "1", steps).await?;
        world.ready("check").await?;
        world.request("check", "rollback", "1").await?;
        world.stalled("check", "RolledBack").await?;
        let left = world.value("SELECT count(*) FROM pg_constraint WHERE conname = 'id_positive'").await?;
        assert_eq!(left, "0");
        world.finish().await
    })
}
