WITH /* whimbrel */ ns AS MATERIALIZED (
    SELECT oid, nspname
    FROM pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'whimbrel')
      AND nspname !~ '^pg_(toast_)?temp_'
),
-- The server locks a table to print an expression of it, or to tell its size: not where somebody would be waited for.
held AS MATERIALIZED (
    SELECT DISTINCT relation
    FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND pid IS DISTINCT FROM pg_backend_pid()
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
),
rel AS {kept} (
    SELECT c.*, ns.nspname, held.relation IS NOT NULL AS is_held
    FROM pg_class c
    JOIN ns ON ns.oid = c.relnamespace
    LEFT JOIN held ON held.relation = c.oid
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'i', 'I', 'c')
)
