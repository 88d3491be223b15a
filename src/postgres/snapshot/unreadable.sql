SELECT 'unreadable', oid::int8, to_json(quote_ident(nspname) || '.' || quote_ident(relname))::text
FROM rel
WHERE relkind IN ('r', 'p', 'm', 'f') AND NOT has_any_column_privilege(oid, 'SELECT')
ORDER BY nspname, relname
