SELECT 'transaction' AS section, pid::int8 AS id, json_build_array(
    greatest(extract(epoch FROM clock_timestamp() - xact_start), 0)::float8,
    query = '<insufficient privilege>')::text AS body
FROM pg_stat_activity
WHERE datname = current_database() AND coalesce(backend_type, 'client backend') = 'client backend' AND pid <> pg_backend_pid()
UNION ALL
SELECT 'transaction', 0::int8, json_build_array(
    greatest(extract(epoch FROM clock_timestamp() - prepared), 0)::float8, false)::text
FROM pg_prepared_xacts
WHERE database = current_database()
