-- A table whose rows are to be changed in batches. $1: its name for to_regclass; $2: names of functions, as they are called.
WITH t AS (SELECT c.oid, c.relkind FROM pg_catalog.pg_class c WHERE c.oid = to_regclass($1)::oid),
k AS (
    -- The primary key, or else the narrowest unique index over plain columns that are NOT NULL, in the default order.
    SELECT i.indexrelid, i.indkey::int2[] AS attnums, i.indnkeyatts
    FROM t JOIN pg_catalog.pg_index i ON i.indrelid = t.oid
    WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
      AND NOT EXISTS (
        SELECT FROM generate_series(0, i.indnkeyatts - 1) AS n
        JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[n]
        JOIN pg_catalog.pg_opclass o ON o.oid = i.indclass[n]
        WHERE NOT a.attnotnull OR NOT o.opcdefault OR i.indoption[n] <> 0 OR i.indcollation[n] <> a.attcollation)
    ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid
    LIMIT 1
), tree AS (
    SELECT p.relid FROM t, pg_catalog.pg_partition_tree(t.oid) p WHERE p.isleaf
)
SELECT t.relkind::text AS kind,
       (SELECT coalesce(json_agg(json_build_array(a.attname, a.attgenerated <> '', a.attidentity = 'a') ORDER BY a.attnum), '[]')
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped)::text AS columns,
       (SELECT array_agg(a.attname::text ORDER BY n)
        FROM k, generate_series(1, k.indnkeyatts) AS n
        JOIN pg_catalog.pg_attribute a ON true
        WHERE a.attrelid = t.oid AND a.attnum = k.attnums[n - 1]) AS key,
       (SELECT array_agg(a.attname::text)
        FROM pg_catalog.pg_partitioned_table p JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs::int2[])
        WHERE p.partrelid IN (SELECT t.oid UNION SELECT r.relid FROM pg_catalog.pg_partition_tree(t.oid) r)) AS partitioned_by,
       (SELECT f.oid::regclass::text FROM tree JOIN pg_catalog.pg_class f ON f.oid = tree.relid WHERE f.relkind = 'f' LIMIT 1) AS foreign_part,
       (SELECT array_agg(DISTINCT f.name) FROM unnest($2::text[]) AS f (name)
        JOIN pg_catalog.pg_proc p ON p.oid::regproc::text = f.name OR (position('.' IN f.name) = 0 AND p.proname = f.name
             AND pg_catalog.pg_function_is_visible(p.oid))
        WHERE p.provolatile = 'v') AS volatile
FROM t
