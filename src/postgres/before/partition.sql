-- The bound of a partition, with the name that the server gives to the check that DETACH ... CONCURRENTLY leaves behind, if
-- that can be told; or what a table gets when it becomes a partition of the second one, and would keep when it is none any
-- more.
SELECT k.ordinal,
       ARRAY(SELECT pg_get_expr(c.relpartbound, c.oid) WHERE k.part = 'partitionBound') AS "values",
       (SELECT n.name
        FROM pg_inherits h JOIN pg_partitioned_table p ON p.partrelid = h.inhparent AND p.partnatts = 1
        JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
        CROSS JOIN LATERAL (SELECT c.relname || '_' || a.attname || '_check' AS name) n
        WHERE h.inhrelid = c.oid AND octet_length(n.name) < 64
          AND NOT EXISTS (SELECT FROM pg_constraint x WHERE x.connamespace = c.relnamespace AND x.conname = n.name)) AS shape,
       CASE WHEN k.part = 'attach' THEN coalesce(
           (SELECT format('the index that it gets for %s would stay', x.indexrelid::regclass)
            FROM pg_index x
            WHERE x.indrelid = to_regclass(k.second) AND NOT EXISTS (
                SELECT FROM pg_index y
                WHERE y.indrelid = c.oid AND y.indisvalid AND y.indisunique = x.indisunique AND y.indisprimary = x.indisprimary
                  AND regexp_replace(pg_get_indexdef(y.indexrelid), '^.*? USING ', '') = regexp_replace(pg_get_indexdef(x.indexrelid), '^.*? USING ', ''))
            LIMIT 1),
           (SELECT format('the foreign key that it gets for %s would stay', quote_ident(f.conname))
            FROM pg_constraint f
            WHERE f.conrelid = to_regclass(k.second) AND f.contype = 'f' AND NOT EXISTS (
                SELECT FROM pg_constraint g WHERE g.conrelid = c.oid AND g.contype = 'f' AND pg_get_constraintdef(g.oid) = pg_get_constraintdef(f.oid))
            LIMIT 1)) END AS lost,
       NULL::text AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
JOIN pg_class c ON c.oid = k.oid
WHERE k.part = 'attach' OR c.relispartition
