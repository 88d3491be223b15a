SELECT 'widths', rel.oid::int8, json_object_agg(s.attname, s.avg_width)::text
FROM (SELECT schemaname, tablename, attname, max(avg_width) AS avg_width FROM pg_stats GROUP BY 1, 2, 3) s
JOIN rel ON rel.nspname = s.schemaname AND rel.relname = s.tablename
GROUP BY rel.oid
