-- An enum, a composite type or a domain, or what is set of a domain.
SELECT k.ordinal,
       CASE
           WHEN k.part = 'domainDefault' THEN ARRAY[coalesce('SET DEFAULT ' || pg_get_expr(t.typdefaultbin, 0), 'DROP DEFAULT')]
           WHEN k.part = 'domainNotNull' THEN ARRAY[CASE WHEN t.typnotnull THEN 'SET NOT NULL' ELSE 'DROP NOT NULL' END]
           WHEN t.typtype = 'e' THEN ARRAY[format('CREATE TYPE %s AS ENUM (%s)', t.oid::regtype,
               (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid))]
           WHEN t.typtype = 'c' THEN ARRAY[format('CREATE TYPE %s AS (%s)', t.oid::regtype, (
               SELECT string_agg(concat_ws(' ', quote_ident(a.attname), format_type(a.atttypid, a.atttypmod),
                          'COLLATE ' || CASE WHEN a.attcollation <> b.typcollation THEN a.attcollation::regcollation::text END), ', ' ORDER BY a.attnum)
               FROM pg_attribute a JOIN pg_type b ON b.oid = a.atttypid
               WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped))]
           WHEN t.typtype = 'd' THEN ARRAY[concat_ws(' ', 'CREATE DOMAIN', t.oid::regtype, 'AS', format_type(t.typbasetype, t.typtypmod),
               'COLLATE ' || CASE WHEN t.typcollation <> (SELECT b.typcollation FROM pg_type b WHERE b.oid = t.typbasetype) THEN t.typcollation::regcollation::text END,
               'DEFAULT ' || pg_get_expr(t.typdefaultbin, 0),
               CASE WHEN t.typnotnull AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.contypid = t.oid AND c.contype = 'n') THEN 'NOT NULL' END,
               (SELECT string_agg(format('CONSTRAINT %I %s', c.conname, pg_get_constraintdef(c.oid)), ' ' ORDER BY c.conname)
                FROM pg_constraint c WHERE c.contypid = t.oid AND c.convalidated))]
               || ARRAY(SELECT format('ALTER DOMAIN %s ADD CONSTRAINT %I %s', t.oid::regtype, c.conname, pg_get_constraintdef(c.oid))
                        FROM pg_constraint c WHERE c.contypid = t.oid AND NOT c.convalidated ORDER BY c.conname)
       END
       || ARRAY(SELECT format('COMMENT ON CONSTRAINT %I ON DOMAIN %s IS %L', c.conname, t.oid::regtype, d.description)
                FROM pg_constraint c JOIN pg_description d ON d.classoid = 'pg_constraint'::regclass AND d.objoid = c.oid
                WHERE c.contypid = t.oid AND k.part = 'definition' ORDER BY c.conname)
       || ARRAY(SELECT format('COMMENT ON COLUMN %s.%I IS %L', t.oid::regtype, a.attname, d.description)
                FROM pg_attribute a JOIN pg_description d ON d.classoid = 'pg_class'::regclass AND d.objoid = a.attrelid AND d.objsubid = a.attnum
                WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND k.part = 'definition' ORDER BY a.attnum)
       AS "values",
       NULL::text AS shape,
       CASE WHEN k.part = 'definition' AND t.typtype NOT IN ('e', 'c', 'd') THEN 'the definition of such a type is not kept' END AS lost,
       (SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
        WHERE d.refclassid = 'pg_type'::regclass AND d.refobjid IN (t.oid, t.typarray) AND d.deptype IN ('n', 'a') LIMIT 1) AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
JOIN pg_type t ON t.oid = k.oid
