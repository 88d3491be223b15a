-- A function or procedure. The shape is the names of its parameters, and how many have a default.
SELECT k.ordinal,
       ARRAY[rtrim(pg_get_functiondef(p.oid), E'\n')] AS "values",
       concat_ws(' ', coalesce(array_to_string(p.proargnames, ','), repeat(',', greatest(coalesce(cardinality(p.proallargtypes), p.pronargs) - 1, 0))),
                 p.pronargdefaults) AS shape,
       NULL::text AS lost,
       (SELECT CASE WHEN d.classid = 'pg_rewrite'::regclass THEN (SELECT 'view ' || r.ev_class::regclass FROM pg_rewrite r WHERE r.oid = d.objid)
                    ELSE pg_describe_object(d.classid, d.objid, d.objsubid) END
        FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid AND d.deptype IN ('n', 'a') LIMIT 1) AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
JOIN pg_proc p ON p.oid = k.oid AND p.prokind <> 'a'
