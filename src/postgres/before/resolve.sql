-- The object that each name means under the search path of the session; those that there are not are left out.
SELECT k.ordinal, o.oid::int8 AS oid
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
     AS k (object, full_name, schema, name, detail, ordinal)
CROSS JOIN LATERAL (
    SELECT CASE
        WHEN k.object IN ('TYPE', 'DOMAIN', 'DOMAIN CONSTRAINT') THEN to_regtype(k.full_name)::oid
        WHEN k.object = 'SCHEMA' THEN (SELECT n.oid FROM pg_namespace n WHERE n.nspname = k.name)
        WHEN k.object = 'EXTENSION' THEN (SELECT e.oid FROM pg_extension e WHERE e.extname = k.name)
        WHEN k.object = 'PUBLICATION' THEN (SELECT p.oid FROM pg_publication p WHERE p.pubname = k.name)
        WHEN k.object = 'DATABASE' THEN (SELECT d.oid FROM pg_database d WHERE d.datname = k.name)
        WHEN k.object = 'STATISTICS' THEN (
            SELECT s.oid FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace
            WHERE s.stxname = k.name AND CASE WHEN k.schema IS NULL THEN pg_statistics_obj_is_visible(s.oid) ELSE n.nspname = k.schema END)
        WHEN k.object IN ('FUNCTION', 'PROCEDURE', 'ROUTINE') THEN (
            SELECT CASE WHEN count(*) = 1 THEN min(p.oid::int8)::oid END
            FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
            WHERE p.proname = k.name
              AND CASE WHEN k.schema IS NULL THEN pg_function_is_visible(p.oid) ELSE n.nspname = k.schema END
              AND (k.object <> 'FUNCTION' OR p.prokind IN ('f', 'w')) AND (k.object <> 'PROCEDURE' OR p.prokind = 'p')
              AND (k.detail IS NULL OR p.proargtypes::text = (
                  SELECT coalesce(string_agg(coalesce(to_regtype(a.type)::oid::text, '?'), ' ' ORDER BY a.rank), '')
                  FROM json_array_elements_text(k.detail::json) WITH ORDINALITY AS a (type, rank))))
        ELSE to_regclass(k.full_name)::oid
    END AS oid
) o
WHERE o.oid IS NOT NULL
