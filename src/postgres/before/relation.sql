-- Settings of a relation.
SELECT k.ordinal,
       ARRAY[CASE k.part
           WHEN 'option' THEN coalesce((
               SELECT format('SET (%s = %L)', k.detail, substr(o.text, strpos(o.text, '=') + 1))
               FROM unnest(CASE WHEN k.detail LIKE 'toast.%' THEN t.reloptions ELSE c.reloptions END) AS o (text)
               WHERE split_part(o.text, '=', 1) = regexp_replace(k.detail, '^toast\.', '')
               LIMIT 1), format('RESET (%s)', k.detail))
           WHEN 'rowSecurity' THEN CASE WHEN c.relrowsecurity THEN 'ENABLE' ELSE 'DISABLE' END || ' ROW LEVEL SECURITY'
           WHEN 'forcedRowSecurity' THEN CASE WHEN c.relforcerowsecurity THEN 'FORCE' ELSE 'NO FORCE' END || ' ROW LEVEL SECURITY'
           WHEN 'replicaIdentity' THEN CASE c.relreplident WHEN 'f' THEN 'FULL' WHEN 'n' THEN 'NOTHING' WHEN 'd' THEN 'DEFAULT'
               ELSE coalesce('USING INDEX ' || (
                   SELECT quote_ident(i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
                   WHERE x.indrelid = c.oid AND x.indisreplident), 'DEFAULT') END
           WHEN 'cluster' THEN coalesce('CLUSTER ON ' || (
               SELECT quote_ident(i.relname) FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
               WHERE x.indrelid = c.oid AND x.indisclustered), 'SET WITHOUT CLUSTER')
           WHEN 'persistence' THEN CASE c.relpersistence WHEN 'u' THEN 'SET UNLOGGED' ELSE 'SET LOGGED' END
           WHEN 'tablespace' THEN quote_ident(coalesce(s.spcname, (
               SELECT x.spcname FROM pg_database d JOIN pg_tablespace x ON x.oid = d.dattablespace
               WHERE d.datname = current_database())))
           WHEN 'accessMethod' THEN quote_ident(m.amname)
       END] AS "values",
       NULL::text AS shape, NULL::text AS lost, NULL::text AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
JOIN pg_class c ON c.oid = k.oid
LEFT JOIN pg_class t ON t.oid = c.reltoastrelid
LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
LEFT JOIN pg_am m ON m.oid = c.relam
