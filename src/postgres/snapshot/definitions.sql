SELECT 'definition', oid::int8, to_json(pg_get_viewdef(oid))::text
FROM rel
WHERE relkind IN ('v', 'm')
