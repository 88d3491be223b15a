-- Owner, and schema, of an object of any kind.
SELECT k.ordinal,
       ARRAY[quote_ident(CASE k.part WHEN 'owner' THEN pg_get_userbyid(o.owner) ELSE n.nspname END)] AS "values",
       NULL::text AS shape, NULL::text AS lost, NULL::text AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
CROSS JOIN LATERAL (
    SELECT relowner AS owner, relnamespace AS namespace FROM pg_class
    WHERE oid = k.oid AND k.object IN ('TABLE', 'VIEW', 'MATERIALIZED VIEW', 'SEQUENCE', 'FOREIGN TABLE', 'INDEX')
    UNION ALL
    SELECT typowner, typnamespace FROM pg_type WHERE oid = k.oid AND k.object IN ('TYPE', 'DOMAIN')
    UNION ALL
    SELECT proowner, pronamespace FROM pg_proc WHERE oid = k.oid AND k.object IN ('FUNCTION', 'PROCEDURE', 'ROUTINE')
    UNION ALL
    SELECT nspowner, oid FROM pg_namespace WHERE oid = k.oid AND k.object = 'SCHEMA'
    UNION ALL
    SELECT stxowner, stxnamespace FROM pg_statistic_ext WHERE oid = k.oid AND k.object = 'STATISTICS'
    UNION ALL
    SELECT extowner, extnamespace FROM pg_extension WHERE oid = k.oid AND k.object = 'EXTENSION'
    UNION ALL
    SELECT pubowner, 0 FROM pg_publication WHERE oid = k.oid AND k.object = 'PUBLICATION'
    UNION ALL
    SELECT datdba, 0 FROM pg_database WHERE oid = k.oid AND k.object = 'DATABASE'
) o
LEFT JOIN pg_namespace n ON n.oid = o.namespace
