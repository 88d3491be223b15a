//! What cannot run in a transaction.

use super::super::form::{Form, outside};

pub const FORMS: &[Form] = &[
    outside("CREATE INDEX CONCURRENTLY extra ON users (age)"),
    outside("CREATE UNIQUE INDEX CONCURRENTLY extra ON lonely (a)"),
    outside("CREATE INDEX CONCURRENTLY extra ON users (lower(name)) WHERE age > 10"),
    outside("CREATE INDEX CONCURRENTLY extra ON parts_1 (owner)"),
    outside("DROP INDEX CONCURRENTLY users_name"),
    outside("DROP INDEX CONCURRENTLY IF EXISTS missing"),
    outside("REINDEX INDEX CONCURRENTLY users_name"),
    outside("REINDEX TABLE CONCURRENTLY lonely"),
    outside("REINDEX TABLE CONCURRENTLY users"),
    outside("REINDEX (CONCURRENTLY) INDEX users_key"),
    // The lock on the parent's index ends with a transaction that writes nothing: it is not always seen.
    outside("REINDEX INDEX CONCURRENTLY parts_at").at_most(),
    outside("REINDEX TABLE parts"),
    // The lock on the parent's index ends with a transaction that writes nothing: it is not always seen.
    outside("REINDEX INDEX parts_at").at_most(),
    outside("REINDEX SCHEMA app"),
    outside("ALTER TABLE parts DETACH PARTITION parts_1 CONCURRENTLY").after("DROP TABLE parts_rest"),
    outside("ALTER TABLE areas DETACH PARTITION areas_a CONCURRENTLY"),
    outside("VACUUM lonely"),
    outside("VACUUM users"),
    outside("VACUUM (ANALYZE) lonely"),
    outside("VACUUM (FREEZE) lonely"),
    outside("VACUUM parts"),
    outside("VACUUM FULL lonely"),
    outside("VACUUM (FULL) users"),
    outside("CLUSTER").after("ALTER TABLE lonely CLUSTER ON lonely_b").at_most(),
    outside("CLUSTER parts USING parts_pkey").since(15),
];
