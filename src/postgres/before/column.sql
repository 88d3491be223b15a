-- Settings of a column. The second line of a detail is the option.
SELECT k.ordinal,
       CASE k.part
           WHEN 'statistics' THEN ARRAY[coalesce(a.attstattarget, -1)::text]
           WHEN 'storage' THEN ARRAY[CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END]
           WHEN 'compression' THEN ARRAY[CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' ELSE 'default' END]
           WHEN 'columnOption' THEN ARRAY[coalesce((
               SELECT format('SET (%s = %L)', o.option, substr(o.text, strpos(o.text, '=') + 1))
               FROM (SELECT x AS text, split_part(k.detail, E'\n', 2) AS option FROM unnest(a.attoptions) x) o
               WHERE split_part(o.text, '=', 1) = o.option LIMIT 1), format('RESET (%s)', split_part(k.detail, E'\n', 2)))]
           WHEN 'type' THEN ARRAY[concat_ws(' COLLATE ', format_type(a.atttypid, a.atttypmod),
               (SELECT quote_ident(n.nspname) || '.' || quote_ident(l.collname) FROM pg_collation l JOIN pg_namespace n ON n.oid = l.collnamespace
                WHERE l.oid = a.attcollation AND a.attcollation <> t.typcollation))]
               -- A change of type makes extended statistics anew, and forgets their target; so it does with indexes.
               || ARRAY(SELECT format('ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, x.stxname, x.stxstattarget)
                        FROM pg_statistic_ext x JOIN pg_namespace n ON n.oid = x.stxnamespace
                        WHERE x.stxrelid = a.attrelid AND a.attnum = ANY (x.stxkeys) AND x.stxstattarget >= 0 ORDER BY x.stxname)
               || ARRAY(SELECT format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', y.attrelid::regclass, y.attnum, y.attstattarget)
                        FROM pg_index i JOIN pg_attribute y ON y.attrelid = i.indexrelid
                        WHERE i.indrelid = a.attrelid AND y.attstattarget >= 0 ORDER BY y.attrelid, y.attnum)
           WHEN 'notNullName' THEN ARRAY(
               SELECT n.conname::text FROM pg_constraint n
               WHERE n.conrelid = a.attrelid AND n.contype = 'n' AND n.conkey = ARRAY[a.attnum])
           WHEN 'identity' THEN ARRAY[concat_ws(' ', 'SET GENERATED', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END,
               'SET INCREMENT BY', s.seqincrement, 'SET MINVALUE', s.seqmin, 'SET MAXVALUE', s.seqmax, 'SET START WITH', s.seqstart,
               'SET CACHE', s.seqcache, CASE WHEN s.seqcycle THEN 'SET CYCLE' ELSE 'SET NO CYCLE' END)]
           WHEN 'addIdentity' THEN ARRAY[
               concat_ws(' ', 'ADD GENERATED', CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, 'AS IDENTITY (SEQUENCE NAME',
                   s.seqrelid::regclass, 'INCREMENT BY', s.seqincrement, 'MINVALUE', s.seqmin, 'MAXVALUE', s.seqmax, 'START WITH', s.seqstart,
                   'CACHE', s.seqcache, CASE WHEN s.seqcycle THEN 'CYCLE)' ELSE 'NO CYCLE)' END),
               -- No value is given twice: neither one that was given before, nor one that a row was given since.
               format('SELECT pg_catalog.setval(%L, %s(%s, (SELECT %s(%I) FROM %s)))', s.seqrelid::regclass,
                   CASE WHEN s.seqincrement > 0 THEN 'greatest' ELSE 'least' END,
                   coalesce(CASE WHEN has_sequence_privilege(s.seqrelid, 'USAGE, SELECT') THEN pg_sequence_last_value(s.seqrelid) END::text, 'NULL'),
                   CASE WHEN s.seqincrement > 0 THEN 'max' ELSE 'min' END, a.attname, a.attrelid::regclass)]
       END AS "values",
       format_type(a.atttypid, a.atttypmod) AS shape,
       CASE WHEN k.part = 'notNullName' AND EXISTS (
           SELECT FROM pg_constraint n WHERE n.conrelid = a.attrelid AND n.contype = 'n' AND n.conkey = ARRAY[a.attnum]
           AND (n.connoinherit OR NOT n.convalidated))
       THEN 'its NOT NULL holds for some rows or tables only' END AS lost,
       NULL::text AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
JOIN pg_attribute a ON a.attrelid = k.oid AND a.attname = split_part(k.detail, E'\n', 1) AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum
     AND d.deptype = 'i' AND d.classid = 'pg_class'::regclass AND a.attidentity <> ''
LEFT JOIN pg_sequence s ON s.seqrelid = d.objid
WHERE k.part NOT IN ('identity', 'addIdentity') OR s.seqrelid IS NOT NULL
