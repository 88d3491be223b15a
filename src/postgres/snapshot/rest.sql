{scope}
SELECT 'policies', r.oid::int8, json_agg(p.polname ORDER BY p.polname)::text
FROM rel r
JOIN pg_policy p ON p.polrelid = r.oid
GROUP BY r.oid;

{scope}
SELECT 'type', t.oid::int8, json_build_object(
    'name', json_build_object('schema', ns.nspname, 'name', t.typname),
    'kind', CASE t.typtype
        WHEN 'e' THEN 'enum' WHEN 'd' THEN 'domain' WHEN 'c' THEN 'composite' WHEN 'b' THEN 'base' ELSE 'range' END,
    'labels', (SELECT coalesce(json_agg(e.enumlabel ORDER BY e.enumsortorder), '[]')
               FROM pg_enum e WHERE e.enumtypid = t.oid),
    'base', CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END,
    'notNull', t.typnotnull,
    'checks', (SELECT coalesce(json_agg(k.conname ORDER BY k.conname), '[]')
               FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'),
    'default', t.typdefault)::text
FROM pg_type t
JOIN ns ON ns.oid = t.typnamespace
LEFT JOIN rel r ON r.oid = t.typrelid
WHERE t.typtype IN ('e', 'd', 'r', 'm', 'b') AND NOT (t.typtype = 'b' AND t.typcategory = 'A')
   OR t.typtype = 'c' AND r.relkind = 'c'
ORDER BY ns.nspname, t.typname;

{scope}
SELECT 'function', p.oid::int8, json_build_object(
    'name', json_build_object('schema', ns.nspname, 'name', p.proname),
    'arguments', pg_get_function_identity_arguments(p.oid),
    'volatility', CASE p.provolatile WHEN 'i' THEN 'immutable' WHEN 's' THEN 'stable' ELSE 'volatile' END,
    'language', l.lanname,
    'procedure', p.prokind = 'p',
    'source', CASE WHEN l.lanname IN ('sql', 'plpgsql') AND p.prosqlbody IS NULL AND e.objid IS NULL THEN p.prosrc END,
    'parsedBody', p.prosqlbody IS NOT NULL)::text
FROM pg_proc p
JOIN ns ON ns.oid = p.pronamespace
JOIN pg_language l ON l.oid = p.prolang
LEFT JOIN pg_depend e ON e.classid = 'pg_proc'::regclass AND e.objid = p.oid AND e.deptype = 'e'
ORDER BY ns.nspname, p.proname, 3;
