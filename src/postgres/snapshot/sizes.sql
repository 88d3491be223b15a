SELECT 'size', oid::int8, json_build_array(pg_relation_size(oid), pg_total_relation_size(oid), reltuples, relpages)::text
FROM rel
WHERE relkind IN ('r', 'm', 'i', 'S') AND NOT is_held
  AND NOT EXISTS (SELECT FROM pg_index x JOIN held ON held.relation = x.indexrelid WHERE x.indrelid = rel.oid)
