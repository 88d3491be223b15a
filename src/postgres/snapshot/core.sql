-- One statement, so that the relations are found, and their scope is planned, once.
{scope}
(SELECT 'schema' AS section, oid::int8 AS id, to_json(nspname)::text AS body FROM ns ORDER BY nspname)

UNION ALL

(SELECT 'relation', r.oid::int8, json_build_object(
    'name', json_build_object('schema', r.nspname, 'name', r.relname),
    'kind', CASE r.relkind
        WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitionedTable' WHEN 'f' THEN 'foreignTable'
        WHEN 'v' THEN 'view' WHEN 'm' THEN 'materializedView' WHEN 'S' THEN 'sequence'
        WHEN 'i' THEN 'index' WHEN 'I' THEN 'partitionedIndex' ELSE 'compositeType' END,
    'persistence', CASE r.relpersistence WHEN 'u' THEN 'unlogged' WHEN 't' THEN 'temporary' ELSE 'permanent' END,
    'owner', pg_get_userbyid(r.relowner),
    'rows', CASE WHEN r.relkind IN ('r', 'p', 'f', 'm') AND r.reltuples >= 0 THEN r.reltuples END,
    'partitionBound', pg_get_expr(r.relpartbound, r.oid),
    'partitionKey', CASE WHEN r.relkind = 'p' THEN pg_get_partkeydef(r.oid) END,
    'replicaIdentity', CASE r.relreplident
        WHEN 'f' THEN to_json('full'::text) WHEN 'n' THEN to_json('nothing'::text)
        WHEN 'i' THEN coalesce(
            (SELECT json_build_object('index', i.relname)
             FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
             WHERE x.indrelid = r.oid AND x.indisreplident),
            to_json('nothing'::text))
        ELSE to_json('default'::text) END,
    'ownedBy', CASE WHEN t.oid IS NOT NULL THEN
        json_build_array(json_build_object('schema', t.nspname, 'name', t.relname), a.attname) END)::text
FROM rel r
LEFT JOIN pg_index x ON x.indexrelid = r.oid
LEFT JOIN pg_depend d ON r.relkind = 'S' AND d.classid = 'pg_class'::regclass AND d.objid = r.oid
    AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
LEFT JOIN rel t ON t.oid = coalesce(x.indrelid, d.refobjid)
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
ORDER BY r.nspname, r.relname)

UNION ALL

(SELECT 'columns', r.oid::int8, json_agg(json_build_array(
    a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
    CASE WHEN d.oid IS NOT NULL AND NOT r.is_held THEN pg_get_expr(d.adbin, d.adrelid) END,
    a.attidentity, a.attgenerated) ORDER BY a.attnum)::text
FROM rel r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'f', 'v', 'm', 'c')
GROUP BY r.oid)

UNION ALL

-- A foreign key to a partitioned table has a further entry for each of its partitions.
(SELECT 'constraints', r.oid::int8, json_agg(json_build_object(
    'name', k.conname,
    'kind', CASE k.contype
        WHEN 'c' THEN 'check' WHEN 'u' THEN 'unique' WHEN 'p' THEN 'primaryKey' WHEN 'f' THEN 'foreignKey'
        WHEN 'x' THEN 'exclude' ELSE 'notNull' END,
    'columns', (SELECT coalesce(json_agg(a.attname ORDER BY u.position), '[]')
        FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, position)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.attnum),
    'definition', CASE WHEN NOT r.is_held OR k.contype <> 'c' THEN pg_get_constraintdef(k.oid) ELSE '' END,
    'validated', k.convalidated,
    'enforced', {enforced},
    'references', CASE WHEN f.oid IS NOT NULL THEN json_build_object('schema', f.nspname, 'name', f.relname) END,
    'index', i.relname) ORDER BY k.conname)::text
FROM rel r
JOIN pg_constraint k ON k.conrelid = r.oid AND k.contype IN ('c', 'u', 'p', 'f', 'x', 'n')
LEFT JOIN rel f ON f.oid = k.confrelid
LEFT JOIN pg_class i ON i.oid = k.conindid AND k.contype IN ('u', 'p', 'x')
WHERE k.conparentid = 0
   OR NOT EXISTS (SELECT FROM pg_constraint p WHERE p.oid = k.conparentid AND p.conrelid = k.conrelid)
GROUP BY r.oid)

UNION ALL

-- What an index depends on beyond the columns of its list is used by its expressions or its predicate.
(SELECT 'indexes', r.oid::int8, json_agg(json_build_object(
    'name', i.relname,
    'columns', (SELECT json_agg(a.attname ORDER BY u.position)
        FROM unnest(x.indkey::int2[]) WITH ORDINALITY AS u (attnum, position)
        LEFT JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = u.attnum AND u.attnum <> 0),
    'usedColumns', CASE WHEN x.indexprs IS NULL AND x.indpred IS NULL THEN '[]' ELSE
        (SELECT coalesce(json_agg(a.attname ORDER BY a.attnum), '[]')
         FROM (SELECT d.refobjsubid AS attnum, count(*) AS times
               FROM pg_depend d
               WHERE d.classid = 'pg_class'::regclass AND d.objid = x.indexrelid
                 AND d.refclassid = 'pg_class'::regclass AND d.refobjid = x.indrelid AND d.refobjsubid > 0
               GROUP BY d.refobjsubid) u
         JOIN pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = u.attnum
         WHERE u.times > 1 OR u.attnum <> ALL (x.indkey::int2[])) END,
    'keyColumns', x.indnkeyatts,
    'unique', x.indisunique,
    'primary', x.indisprimary,
    'valid', x.indisvalid,
    'partial', x.indpred IS NOT NULL,
    'clustered', x.indisclustered,
    'method', m.amname,
    'definition', CASE WHEN NOT r.is_held THEN pg_get_indexdef(x.indexrelid) ELSE '' END) ORDER BY i.relname)::text
FROM rel r
JOIN pg_index x ON x.indrelid = r.oid
JOIN pg_class i ON i.oid = x.indexrelid
JOIN pg_am m ON m.oid = i.relam
GROUP BY r.oid)

UNION ALL

(SELECT 'triggers', r.oid::int8, json_agg(json_build_object(
    'name', g.tgname,
    'definition', CASE WHEN NOT r.is_held OR g.tgqual IS NULL THEN pg_get_triggerdef(g.oid) ELSE '' END,
    'function', g.tgfoid::regproc::text,
    'enabled', g.tgenabled <> 'D') ORDER BY g.tgname)::text
FROM rel r
JOIN pg_trigger g ON g.tgrelid = r.oid AND NOT g.tgisinternal
GROUP BY r.oid)

UNION ALL

(SELECT CASE WHEN r.relispartition THEN 'partitionOf' ELSE 'inherits' END, r.oid::int8,
       json_agg(json_build_object('schema', p.nspname, 'name', p.relname) ORDER BY h.inhseqno)::text
FROM rel r
JOIN pg_inherits h ON h.inhrelid = r.oid
JOIN rel p ON p.oid = h.inhparent
GROUP BY r.oid, r.relispartition)

UNION ALL

(SELECT 'publications', r.oid::int8, json_agg(DISTINCT p.pubname ORDER BY p.pubname)::text
FROM rel r
JOIN pg_publication p ON r.relkind IN ('r', 'p') AND r.relpersistence = 'p' AND (p.puballtables
    OR EXISTS (SELECT FROM pg_publication_rel l WHERE l.prpubid = p.oid AND l.prrelid = r.oid)
    OR EXISTS (SELECT FROM {published_schemas} s (publication, schema)
               WHERE s.publication = p.oid AND s.schema = r.relnamespace))
GROUP BY r.oid)

UNION ALL

(SELECT 'held', oid::int8, to_json(quote_ident(nspname) || '.' || quote_ident(relname))::text
FROM rel
WHERE is_held AND relkind NOT IN ('i', 'I')
ORDER BY nspname, relname)

UNION ALL

(SELECT 'setting', 0::int8, json_build_array(name, CASE
    WHEN unit = 'B' THEN setting
    WHEN unit ~ '^[0-9]*(kB|MB)$' AND setting !~ '^-' THEN (setting::numeric
        * coalesce(nullif(regexp_replace(unit, '[a-zA-Z]+$', ''), '')::numeric, 1)
        * CASE WHEN unit ~ 'kB$' THEN 1024 ELSE 1048576 END)::text
    ELSE setting END)::text
FROM pg_settings
WHERE name IN ('TimeZone', 'wal_level', 'maintenance_work_mem', 'max_parallel_maintenance_workers', 'block_size',
    'shared_buffers', 'max_wal_size', 'full_page_writes', 'wal_compression', 'data_checksums',
    'default_tablespace', 'default_toast_compression', 'server_version', 'default_table_access_method',
    'synchronous_commit', 'synchronous_standby_names', 'in_hot_standby', 'max_locks_per_transaction')
ORDER BY name)

UNION ALL

(SELECT 'searchPath', s.setrole::int8, json_build_array(r.rolname, s.setdatabase <> 0, substr(c.text, 13))::text
FROM pg_db_role_setting s
LEFT JOIN pg_roles r ON r.oid = s.setrole
JOIN unnest(s.setconfig) AS c (text) ON c.text LIKE 'search\_path=%'
WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
ORDER BY s.setdatabase, s.setrole)

UNION ALL

(SELECT 'extension', e.oid::int8, json_build_array(n.nspname, e.extversion)::text
FROM pg_extension e
JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'pg_stat_statements')

UNION ALL

(SELECT 'about', 0::int8, json_build_array(current_database(), current_user,
    to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))::text);
