-- An index, with those of the partitions that belong to it. One that can be is built without blocking anybody.
SELECT k.ordinal,
       CASE x.relkind
           WHEN 'i' THEN ARRAY[regexp_replace(pg_get_indexdef(x.oid), '^CREATE( UNIQUE)? INDEX ', 'CREATE\1 INDEX CONCURRENTLY ')]
           ELSE ARRAY(SELECT pg_get_indexdef(p.relid) FROM pg_partition_tree(x.oid) p ORDER BY p.level, p.relid::text)
               || ARRAY(SELECT format('ALTER INDEX %s ATTACH PARTITION %s', p.parentrelid, p.relid)
                        FROM pg_partition_tree(x.oid) p WHERE p.level > 0 ORDER BY p.level DESC, p.relid::text)
       END
       || ARRAY(SELECT format('ALTER TABLE %s CLUSTER ON %I', i.indrelid::regclass, x.relname) WHERE i.indisclustered)
       || ARRAY(SELECT format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', i.indrelid::regclass, x.relname) WHERE i.indisreplident)
       || ARRAY(SELECT format('ALTER INDEX %s SET TABLESPACE %I', x.oid::regclass, s.spcname) FROM pg_tablespace s WHERE s.oid = x.reltablespace)
       || ARRAY(SELECT format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', x.oid::regclass, a.attnum, a.attstattarget)
                FROM pg_attribute a WHERE a.attrelid = x.oid AND a.attstattarget >= 0 ORDER BY a.attnum)
       AS "values",
       NULL::text AS shape,
       CASE WHEN NOT i.indisvalid THEN 'it is invalid, and an invalid index cannot be made'
            WHEN EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = x.oid AND c.contype IN ('p', 'u', 'x')) THEN 'it belongs to a constraint'
       END AS lost,
       (SELECT format('constraint %I', c.conname) FROM pg_constraint c WHERE c.conindid = x.oid AND c.contype = 'f' LIMIT 1) AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
JOIN pg_class x ON x.oid = k.oid AND x.relkind IN ('i', 'I')
JOIN pg_index i ON i.indexrelid = x.oid
