//! What no way back takes away: a value of an enum. It is left, and nothing else is.

use anyhow::{Result, ensure};
use serde_json::json;

use super::world::{World, message};
use crate::harness::postgres::Database;
use crate::harness::run;

const LABELS: &str = "SELECT string_agg(enumlabel, ' ' ORDER BY enumsortorder) FROM pg_enum";

async fn world(name: &str) -> Result<(World, Database)> {
    let world = World::with_copy(name).await?;
    let copy = world.copy.clone().expect("a copy");
    for side in [&world.primary, &copy] {
        side.execute("SET ROLE app_owner; CREATE TYPE mood AS ENUM ('ok', 'bad')").await?;
    }
    Ok((world, copy))
}

#[test]
fn value_of_an_enum_stays_when_its_step_is_undone_and_done_again() -> Result<()> {
    run(async {
        let (world, copy) = world("enum_again").await?;
        let _operator = world.operator().await?;
        let columns = world.columns(&world.primary).await?;
        let step = json!({
            "up": "ALTER TYPE mood ADD VALUE 'it''s so-so' BEFORE 'bad'; ALTER TABLE users ADD COLUMN feels mood",
            "down": "ALTER TABLE users DROP COLUMN feels",
        });
        let spec = json!({"rollback": {"preserveData": false}, "steps": [{"sql": step}]});
        world.migrate("feels", "1", spec).await?;
        world.ready("feels").await?;
        world.request("feels", "rollback", "1").await?;
        world.stalled("feels", "RolledBack").await?;
        assert_eq!(world.columns(&world.primary).await?, columns);
        world.request("feels", "retry", "1").await?;
        world.ready("feels").await?;
        for side in [&world.primary, &copy] {
            assert_eq!(side.value(LABELS).await?, "ok it's so-so bad");
            assert_eq!(world.columns(side).await?, world.columns(&world.primary).await?);
        }
        // What is alike on both sides is no drift.
        world.migrate("next", "2", json!({"up": "ALTER TABLE users ADD COLUMN age int"})).await?;
        world.ready("next").await?;
        world.finish().await
    })
}

#[test]
fn value_that_only_a_rehearsal_added_does_not_count_as_drift() -> Result<()> {
    run(async {
        let (world, copy) = world("enum_left").await?;
        copy.execute("DELETE FROM users WHERE id = 1").await?;
        let _operator = world.operator().await?;
        let check = "ALTER TABLE users ADD CONSTRAINT nobody_one CHECK (id > 1)";
        let steps = json!({"steps": [
            {"sql": {"up": check}},
            {"sql": {"up": "ALTER TYPE mood ADD VALUE 'meh'", "down": "SELECT 1"}},
        ]});
        world.migrate("meh", "1", steps).await?;
        world.stalled("meh", "ApplyFailed").await?;
        assert_eq!(world.value(LABELS).await?, "ok bad");
        assert_eq!(copy.value(LABELS).await?, "ok bad meh");

        world.primary.execute("DELETE FROM users WHERE id = 1").await?;
        world.request("meh", "retry", "1").await?;
        world.ready("meh").await?;
        assert_eq!(world.value(LABELS).await?, "ok bad meh");

        // What somebody else added is drift, though it is a value of the same type.
        copy.execute("ALTER TYPE mood ADD VALUE 'sad'").await?;
        world.migrate("next", "2", json!({"up": "ALTER TABLE users ADD COLUMN age int"})).await?;
        let object = world.stalled("next", "Drifted").await?;
        ensure!(message(&object).contains("type public.mood"), "{}", message(&object));
        world.finish().await
    })
}

#[test]
fn way_back_that_leaves_more_than_the_value_is_refused() -> Result<()> {
    run(async {
        let (world, copy) = world("enum_more").await?;
        let _operator = world.operator().await?;
        let step = json!({
            "up": "ALTER TYPE mood ADD VALUE 'meh'; ALTER TABLE users ADD COLUMN feels mood",
            "down": "SELECT 1",
        });
        world.migrate("feels", "1", json!({"steps": [{"sql": step}]})).await?;
        let object = world.stalled("feels", "RoundTripFailed").await?;
        let told = message(&object);
        ensure!(told.contains("column public.users.feels was not there before"), "{told}");
        ensure!(!told.contains("type public.mood"), "the value is nobody's fault: {told}");
        assert_eq!(copy.value(LABELS).await?, "ok bad", "it was tried in a transaction");
        world.finish().await
    })
}
