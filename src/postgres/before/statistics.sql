-- An object of extended statistics, or its target.
SELECT k.ordinal,
       CASE k.part
           WHEN 'statistics' THEN ARRAY[coalesce(s.stxstattarget, -1)::text]
           ELSE ARRAY[pg_get_statisticsobjdef(s.oid)]
               || ARRAY(SELECT format('ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, s.stxname, s.stxstattarget) WHERE s.stxstattarget >= 0)
       END AS "values",
       NULL::text AS shape, NULL::text AS lost, NULL::text AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
JOIN pg_statistic_ext s ON s.oid = k.oid
JOIN pg_namespace n ON n.oid = s.stxnamespace
