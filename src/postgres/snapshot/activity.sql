, since AS (
    SELECT greatest(extract(epoch FROM now() - coalesce(stats_reset, pg_postmaster_start_time())), 60)::float8 AS seconds
    FROM pg_stat_database
    WHERE datname = current_database()
)
SELECT 'activity', s.relid::int8, json_build_array(
    (coalesce(s.seq_scan, 0) + coalesce(s.idx_scan, 0)) / since.seconds,
    (s.n_tup_ins + s.n_tup_upd + s.n_tup_del) / since.seconds,
    s.n_live_tup)::text
FROM pg_stat_all_tables s
JOIN rel ON rel.oid = s.relid
CROSS JOIN since
