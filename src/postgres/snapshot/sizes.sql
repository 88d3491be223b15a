SELECT 'size', c.oid::int8, json_build_array(pg_relation_size(c.oid), pg_relation_size(c.reltoastrelid), c.reltuples, c.relpages)::text
FROM rel c
WHERE c.relkind IN ('r', 'm', 'i') AND NOT c.is_held
