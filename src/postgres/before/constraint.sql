-- A constraint of a table or a domain. Rows that are there are looked at afterwards, under a lock that stops nobody; the
-- index of a key is built first, without blocking anybody.
SELECT k.ordinal,
       CASE
           WHEN c.contypid <> 0 THEN ARRAY[format('ALTER DOMAIN %s ADD CONSTRAINT %I %s', c.contypid::regtype, c.conname, pg_get_constraintdef(c.oid))]
           WHEN c.contype IN ('c', 'f') AND c.convalidated AND t.relkind = 'r' AND coalesce((to_jsonb(c) ->> 'conenforced')::boolean, true) THEN ARRAY[
               format('ALTER TABLE %s ADD CONSTRAINT %I %s NOT VALID', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid)),
               format('ALTER TABLE %s VALIDATE CONSTRAINT %I', c.conrelid::regclass, c.conname)]
           WHEN c.contype IN ('p', 'u') AND t.relkind = 'r' AND NOT coalesce((to_jsonb(c) ->> 'conperiod')::boolean, false) THEN ARRAY[
               regexp_replace(pg_get_indexdef(c.conindid), '^CREATE UNIQUE INDEX ', 'CREATE UNIQUE INDEX CONCURRENTLY '),
               format('ALTER TABLE %s ADD CONSTRAINT %I %s USING INDEX %I%s', c.conrelid::regclass, c.conname,
                   CASE c.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END, c.conname,
                   CASE WHEN c.condeferred THEN ' DEFERRABLE INITIALLY DEFERRED' WHEN c.condeferrable THEN ' DEFERRABLE' ELSE '' END)]
           ELSE ARRAY[format('ALTER TABLE %s ADD CONSTRAINT %I %s', c.conrelid::regclass, c.conname, pg_get_constraintdef(c.oid))]
       END
       || ARRAY(SELECT format('ALTER TABLE %s CLUSTER ON %I', x.indrelid::regclass, c.conname)
                FROM pg_index x WHERE x.indexrelid = c.conindid AND x.indisclustered AND c.contype IN ('p', 'u', 'x'))
       || ARRAY(SELECT format('ALTER TABLE %s REPLICA IDENTITY USING INDEX %I', x.indrelid::regclass, c.conname)
                FROM pg_index x WHERE x.indexrelid = c.conindid AND x.indisreplident AND c.contype IN ('p', 'u', 'x'))
       AS "values",
       NULL::text AS shape,
       CASE WHEN c.contype = 'n' THEN 'it is a NOT NULL: use ALTER COLUMN ... DROP NOT NULL'
            WHEN c.contype = 't' THEN 'it is a trigger'
            WHEN c.coninhcount > 0 THEN 'it is inherited' END AS lost,
       (SELECT format('constraint %I on %s', f.conname, f.conrelid::regclass) FROM pg_constraint f
        WHERE f.contype = 'f' AND f.conindid = c.conindid AND c.contype IN ('p', 'u') LIMIT 1) AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
JOIN pg_constraint c ON c.conname = k.detail
     AND (c.conrelid = k.oid AND k.object = 'CONSTRAINT' OR c.contypid = k.oid AND k.object = 'DOMAIN CONSTRAINT')
LEFT JOIN pg_class t ON t.oid = c.conrelid
