WITH /* whimbrel */ ns AS MATERIALIZED (
    SELECT oid, nspname
    FROM pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'whimbrel')
      AND nspname !~ '^pg_(toast_)?temp_'
),
rel AS MATERIALIZED (
    SELECT c.*, ns.nspname
    FROM pg_class c
    JOIN ns ON ns.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'i', 'I', 'c')
)
