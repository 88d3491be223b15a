-- A schema or an extension.
SELECT k.ordinal,
       ARRAY[CASE k.object WHEN 'SCHEMA' THEN 'CREATE SCHEMA ' || quote_ident(n.nspname)
             ELSE format('CREATE EXTENSION %I WITH SCHEMA %I VERSION %L', e.extname, s.nspname, e.extversion) END] AS "values",
       NULL::text AS shape,
       CASE WHEN e.extconfig IS NOT NULL THEN 'tables of the extension may hold data' END AS lost,
       (SELECT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d
        WHERE d.refclassid = CASE k.object WHEN 'SCHEMA' THEN 'pg_namespace'::regclass ELSE 'pg_extension'::regclass END
          AND d.refobjid = k.oid AND d.deptype = 'n' LIMIT 1) AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
LEFT JOIN pg_namespace n ON n.oid = k.oid AND k.object = 'SCHEMA'
LEFT JOIN pg_extension e ON e.oid = k.oid AND k.object = 'EXTENSION'
LEFT JOIN pg_namespace s ON s.oid = e.extnamespace
WHERE n.oid IS NOT NULL OR e.oid IS NOT NULL
