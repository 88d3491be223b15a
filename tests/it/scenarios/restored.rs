//! What a migration drops, sets and takes away of what was there before comes back with a rollback, on the primary and on
//! the copy, out of what the catalog said before the first statement.

use anyhow::{Result, ensure};
use serde_json::json;

use super::world::World;
use crate::harness::postgres::Database;
use crate::harness::run;

/// What is there before, next to the table of the application.
const THERE: &str = "
SET ROLE app_owner;
ALTER TABLE users ADD CONSTRAINT positive CHECK (id > 0), ADD CONSTRAINT one_name UNIQUE (name);
CREATE INDEX users_paid ON users (paid) WHERE id > 5;
COMMENT ON TABLE users IS 'it''s people'; COMMENT ON COLUMN users.name IS 'who';
CREATE VIEW payers AS SELECT id, name FROM users WHERE paid;
CREATE FUNCTION twice(a int) RETURNS int LANGUAGE sql AS 'SELECT a * 2';
ALTER TABLE users SET (fillfactor = 80);
GRANT SELECT (id) ON users TO app;
RESET ROLE";

/// Everything that the migration changes, as one text.
const LOOK: &str = "
SELECT concat_ws(E'\\n',
    (SELECT string_agg(conname || ' ' || pg_get_constraintdef(oid), E'\\n' ORDER BY conname) FROM pg_constraint WHERE conrelid = 'users'::regclass),
    (SELECT string_agg(pg_get_indexdef(indexrelid), E'\\n' ORDER BY indexrelid::regclass::text) FROM pg_index WHERE indrelid = 'users'::regclass AND indisvalid),
    (SELECT string_agg(attname || attnotnull || attstattarget, ' ' ORDER BY attname) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0),
    (SELECT string_agg(attname || attacl::text, ' ' ORDER BY attname) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attnum > 0),
    obj_description('users'::regclass, 'pg_class'), col_description('users'::regclass, 2),
    pg_get_viewdef('payers'::regclass), pg_get_functiondef('twice'::regproc),
    (SELECT reloptions::text || relrowsecurity FROM pg_class WHERE oid = 'users'::regclass))";

async fn look(database: &Database) -> Result<String> {
    database.value(LOOK).await
}

#[test]
fn what_was_there_before_is_restored() -> Result<()> {
    run(async {
        let world = World::with_copy("restored").await?;
        let copy = world.copy.as_ref().expect("a copy");
        world.primary.execute(THERE).await?;
        copy.execute(THERE).await?;
        let before = look(&world.primary).await?;
        let _operator = world.operator().await?;
        let steps = json!([
            {"name": "free", "sql": {"up": "ALTER TABLE users DROP CONSTRAINT positive, ALTER name DROP NOT NULL; ALTER TABLE users DROP CONSTRAINT one_name"}},
            {"name": "index", "sql": {"up": "DROP INDEX CONCURRENTLY users_paid"}},
            {"name": "words", "sql": {"up": "COMMENT ON TABLE users IS 'persons'; COMMENT ON COLUMN users.name IS NULL; \
                CREATE OR REPLACE VIEW payers AS SELECT id, name FROM users WHERE NOT paid; \
                CREATE OR REPLACE FUNCTION twice(a int) RETURNS int LANGUAGE sql AS 'SELECT a + a'"}},
            {"name": "settings", "sql": {"up": "ALTER TABLE users SET (fillfactor = 60), ENABLE ROW LEVEL SECURITY, ALTER name SET STATISTICS 7; \
                REVOKE SELECT (id) ON users FROM app; GRANT SELECT (name) ON users TO app"}},
        ]);
        world.migrate("free", "1", json!({"steps": steps})).await?;
        let object = world.ready("free").await?;
        let plan = &object["status"]["plan"];
        assert_eq!(plan["reversibility"], "Reversible", "{plan}");
        let reason = plan["reversibilityReason"].as_str().unwrap_or_default();
        ensure!(reason.contains("if no row"), "{plan}");
        let inverse = plan["steps"][0]["inverse"].as_str().unwrap_or_default();
        for part in ["ADD CONSTRAINT positive CHECK ((id > 0)) NOT VALID", "VALIDATE CONSTRAINT positive"] {
            ensure!(inverse.contains(part), "{inverse}");
        }
        ensure!(look(&world.primary).await? != before, "nothing was changed");

        world.request("free", "rollback", "first").await?;
        world.stalled("free", "RolledBack").await?;
        assert_eq!(look(&world.primary).await?, before);
        assert_eq!(look(copy).await?, before, "the copy follows");
        world.finish().await
    })
}
