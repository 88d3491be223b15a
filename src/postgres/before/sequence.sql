-- The options of a sequence.
SELECT k.ordinal,
       ARRAY[concat_ws(' ', 'AS', format_type(s.seqtypid, NULL), 'INCREMENT BY', s.seqincrement, 'MINVALUE', s.seqmin, 'MAXVALUE', s.seqmax,
           'START WITH', s.seqstart, 'CACHE', s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE' ELSE 'NO CYCLE' END,
           CASE WHEN o.deptype IS NULL THEN 'OWNED BY NONE' WHEN o.deptype = 'a' THEN 'OWNED BY ' || o.owner END)] AS "values",
       NULL::text AS shape, NULL::text AS lost, NULL::text AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
JOIN pg_sequence s ON s.seqrelid = k.oid
LEFT JOIN LATERAL (
    SELECT d.deptype, format('%s.%I', d.refobjid::regclass, a.attname) AS owner
    FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.objid = s.seqrelid AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
    LIMIT 1
) o ON true
