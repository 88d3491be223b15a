-- Functions, triggers, types, operators, collations, extensions.
SELECT 'function ' || name, pg_get_functiondef(oid)
FROM fn
WHERE prokind <> 'a'
UNION ALL
SELECT 'aggregate ' || fn.name,
       concat_ws(' ', pg_get_function_result(fn.oid), a.aggkind, a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn,
                 a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn, a.aggfinalextra, a.aggfinalmodify,
                 a.aggsortop::regoperator, a.aggtranstype::regtype, 'initial ' || quote_nullable(a.agginitval), p.proparallel)
FROM fn
JOIN pg_aggregate a ON a.aggfnoid = fn.oid
JOIN pg_proc p ON p.oid = fn.oid
UNION ALL
SELECT 'trigger ' || quote_ident(g.tgname) || ' on ' || r.name,
       concat_ws('; ', pg_get_triggerdef(g.oid), 'enabled ' || nullif(g.tgenabled::text, 'O'))
FROM rel r
JOIN pg_trigger g ON g.tgrelid = r.oid AND NOT g.tgisinternal AND g.tgname !~ '^_whimbrel_'
UNION ALL
SELECT 'type ' || t.name, 'enum (' || string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) || ')'
FROM typ t
JOIN pg_enum e ON e.enumtypid = t.oid
WHERE t.typtype = 'e'
GROUP BY t.name
UNION ALL
SELECT 'domain ' || t.name,
       concat_ws(' ', format_type(t.typbasetype, t.typtypmod), 'COLLATE ' || nullif(t.typcollation, b.typcollation)::regcollation::text,
                 CASE WHEN t.typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || t.typdefault)
FROM typ t
JOIN pg_type b ON b.oid = t.typbasetype
WHERE t.typtype = 'd'
UNION ALL
SELECT 'constraint ' || quote_ident(k.conname) || ' on ' || t.name, regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')
FROM typ t
JOIN pg_constraint k ON k.contypid = t.oid
UNION ALL
SELECT 'range type ' || t.name,
       concat_ws(' ', 'over', format_type(x.rngsubtype, NULL), nullif(x.rngcollation, 0)::regcollation,
                 nullif(x.rngcanonical, 0)::regproc, nullif(x.rngsubdiff, 0)::regproc, o.opcname)
FROM typ t
JOIN pg_range x ON x.rngtypid = t.oid
JOIN pg_opclass o ON o.oid = x.rngsubopc
UNION ALL
SELECT 'operator ' || ns.name || '.' || o.oprname || '(' || o.oprleft::regtype || ', ' || o.oprright::regtype || ')',
       concat_ws(' ', o.oprresult::regtype, o.oprcode, nullif(o.oprcom, 0)::regoperator, nullif(o.oprnegate, 0)::regoperator,
                 nullif(o.oprrest, 0)::regproc, nullif(o.oprjoin, 0)::regproc, o.oprcanmerge, o.oprcanhash)
FROM pg_operator o
JOIN ns ON ns.oid = o.oprnamespace
LEFT JOIN member m ON m.classid = 'pg_operator'::regclass AND m.objid = o.oid
WHERE m.objid IS NULL
UNION ALL
-- The columns of pg_collation differ between majors; the version belongs to the machine, not to the schema.
SELECT 'collation ' || ns.name || '.' || quote_ident(c.collname),
       (to_jsonb(c) - '{oid,collname,collnamespace,collowner,collversion}'::text[])::text
FROM pg_collation c
JOIN ns ON ns.oid = c.collnamespace
LEFT JOIN member m ON m.classid = 'pg_collation'::regclass AND m.objid = c.oid
WHERE m.objid IS NULL
UNION ALL
SELECT 'extension ' || quote_ident(e.extname), 'version ' || e.extversion || ' in ' || e.extnamespace::regnamespace
FROM pg_extension e
UNION ALL
SELECT 'publication ' || quote_ident(p.pubname),
       concat_ws(' ', CASE WHEN p.puballtables THEN 'all tables' END, CASE WHEN p.pubinsert THEN 'insert' END,
                 CASE WHEN p.pubupdate THEN 'update' END, CASE WHEN p.pubdelete THEN 'delete' END,
                 CASE WHEN p.pubtruncate THEN 'truncate' END, CASE WHEN p.pubviaroot THEN 'via root' END,
                 'generated columns ' || (to_jsonb(p) ->> 'pubgencols'))
FROM pg_publication p
WHERE p.pubname !~ '^_whimbrel_'
