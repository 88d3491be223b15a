, obj AS (
    SELECT 'pg_rewrite'::regclass::oid AS class, w.oid AS id, w.ev_class AS relation, NULL::int2 AS attnum,
           CASE WHEN w.rulename <> '_RETURN' THEN 'rule' ELSE '' END AS kind, quote_ident(w.rulename) AS name
    FROM pg_rewrite w
    UNION ALL
    SELECT 'pg_attrdef'::regclass, d.oid, d.adrelid, d.adnum,
           CASE WHEN a.attgenerated <> '' THEN 'generated column' ELSE 'default value' END, NULL
    FROM pg_attrdef d
    JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
    UNION ALL
    SELECT 'pg_constraint'::regclass, k.oid, k.conrelid, NULL, 'table constraint', quote_ident(k.conname)
    FROM pg_constraint k
    WHERE k.conrelid <> 0
    UNION ALL
    SELECT 'pg_trigger'::regclass, g.oid, g.tgrelid, NULL, 'trigger', quote_ident(g.tgname)
    FROM pg_trigger g
    WHERE NOT g.tgisinternal
    UNION ALL
    SELECT 'pg_policy'::regclass, p.oid, p.polrelid, NULL, 'policy', quote_ident(p.polname)
    FROM pg_policy p
    UNION ALL
    SELECT 'pg_publication_rel'::regclass, l.oid, l.prrelid, NULL, 'publication relation', quote_ident(p.pubname)
    FROM pg_publication_rel l
    JOIN pg_publication p ON p.oid = l.prpubid
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, s.oid, s.stxrelid, NULL, 'statistics object',
           quote_ident(n.nspname) || '.' || quote_ident(s.stxname)
    FROM pg_statistic_ext s
    JOIN pg_namespace n ON n.oid = s.stxnamespace
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, NULL, NULL,
           CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
           (pg_identify_object('pg_proc'::regclass, p.oid, 0)).identity
    FROM pg_proc p
    JOIN ns ON ns.oid = p.pronamespace
    UNION ALL
    -- The row type of a relation stands for the relation, an array for its elements.
    SELECT 'pg_type'::regclass, t.oid, nullif(e.typrelid, 0), NULL, 'type',
           quote_ident(ns.nspname) || '.' || quote_ident(e.typname)
    FROM pg_type t
    JOIN pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
    JOIN ns ON ns.oid = e.typnamespace
    UNION ALL
    SELECT 'pg_constraint'::regclass, k.oid, NULL, NULL, 'domain constraint',
           quote_ident(k.conname) || ' on ' || quote_ident(ns.nspname) || '.' || quote_ident(t.typname)
    FROM pg_constraint k
    JOIN pg_type t ON t.oid = k.contypid
    JOIN ns ON ns.oid = t.typnamespace
)
SELECT 'object', id::int8, json_build_array(class::int8, relation::int8, attnum, kind, name)::text
FROM obj
WHERE id >= 16384
UNION ALL
-- Left out: what belongs to the server, row types and arrays, the triggers of foreign keys, a default's own column.
SELECT 'depend', refobjid::int8, string_agg(concat_ws(' ', classid, objid, objsubid, refclassid, refobjid, refobjsubid, deptype), E'\n')
FROM pg_depend
WHERE objid >= 16384 AND refobjid >= 16384 AND deptype NOT IN ('e', 'x')
  AND refclassid IN ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass)
  AND NOT (classid = 'pg_type'::regclass AND refclassid IN ('pg_class'::regclass, 'pg_type'::regclass) AND deptype = 'i')
  AND NOT (classid = 'pg_trigger'::regclass AND refclassid = 'pg_constraint'::regclass)
  AND NOT (classid = 'pg_attrdef'::regclass AND refclassid = 'pg_class'::regclass AND deptype <> 'n')
GROUP BY refobjid
