-- The comment on an object of any kind.
SELECT k.ordinal,
       ARRAY[coalesce(quote_literal(CASE k.object WHEN 'DATABASE' THEN shobj_description(o.oid, 'pg_database') ELSE d.description END), 'NULL')] AS "values",
       NULL::text AS shape, NULL::text AS lost, NULL::text AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
CROSS JOIN LATERAL (
    SELECT 'pg_class'::regclass AS class, c.oid, 0 AS part FROM pg_class c
    WHERE c.oid = k.oid AND k.object IN ('TABLE', 'VIEW', 'MATERIALIZED VIEW', 'SEQUENCE', 'FOREIGN TABLE', 'INDEX')
    UNION ALL
    SELECT 'pg_class', a.attrelid, a.attnum FROM pg_attribute a
    WHERE a.attrelid = k.oid AND a.attname = k.detail AND NOT a.attisdropped AND k.object = 'COLUMN'
    UNION ALL
    SELECT 'pg_constraint', c.oid, 0 FROM pg_constraint c
    WHERE c.conname = k.detail AND (c.conrelid = k.oid AND k.object = 'CONSTRAINT' OR c.contypid = k.oid AND k.object = 'DOMAIN CONSTRAINT')
    UNION ALL
    SELECT 'pg_trigger', g.oid, 0 FROM pg_trigger g
    WHERE g.tgrelid = k.oid AND g.tgname = k.detail AND NOT g.tgisinternal AND k.object = 'TRIGGER'
    UNION ALL
    SELECT 'pg_policy', p.oid, 0 FROM pg_policy p WHERE p.polrelid = k.oid AND p.polname = k.detail AND k.object = 'POLICY'
    UNION ALL
    SELECT 'pg_rewrite', r.oid, 0 FROM pg_rewrite r WHERE r.ev_class = k.oid AND r.rulename = k.detail AND k.object = 'RULE'
    UNION ALL
    SELECT 'pg_proc', p.oid, 0 FROM pg_proc p WHERE p.oid = k.oid AND k.object IN ('FUNCTION', 'PROCEDURE', 'ROUTINE')
    UNION ALL
    SELECT 'pg_type', t.oid, 0 FROM pg_type t WHERE t.oid = k.oid AND k.object IN ('TYPE', 'DOMAIN')
    UNION ALL
    SELECT CASE k.object WHEN 'SCHEMA' THEN 'pg_namespace'::regclass WHEN 'EXTENSION' THEN 'pg_extension'
               WHEN 'STATISTICS' THEN 'pg_statistic_ext' WHEN 'PUBLICATION' THEN 'pg_publication' ELSE 'pg_database' END, k.oid::oid, 0
    WHERE k.object IN ('SCHEMA', 'EXTENSION', 'STATISTICS', 'PUBLICATION', 'DATABASE')
) o
LEFT JOIN pg_description d ON d.classoid = o.class AND d.objoid = o.oid AND d.objsubid = o.part
