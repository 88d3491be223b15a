-- Tables, views, sequences, composite types, with columns, constraints, indexes and rules.
SELECT 'schema ' || name AS identity, 'exists' AS definition FROM ns
UNION ALL
SELECT CASE r.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'f' THEN 'foreign table '
                      WHEN 'c' THEN 'composite type ' ELSE 'table ' END || r.name,
       concat_ws('; ',
           'relkind ' || r.relkind::text,
           'persistence ' || nullif(c.relpersistence::text, 'p'),
           'partition by ' || CASE WHEN r.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
           'of type ' || nullif(c.reloftype, 0)::regtype::text,
           'inherits ' || i.parents,
           'access method ' || quote_ident(am.amname),
           'with ' || o.options,
           CASE WHEN c.relrowsecurity THEN 'row security' END,
           CASE WHEN c.relforcerowsecurity THEN 'row security forced' END,
           'replica identity ' || nullif(nullif(c.relreplident::text, 'd'), CASE WHEN r.relkind IN ('r', 'p') THEN '' ELSE 'n' END),
           'internal triggers not enabled: ' || nullif(t.disabled, 0)::text,
           CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END)
FROM rel r
JOIN pg_class c ON c.oid = r.oid
LEFT JOIN pg_am am ON am.oid = c.relam
LEFT JOIN LATERAL (
    SELECT string_agg(h.inhparent::regclass::text, ', ' ORDER BY h.inhparent::regclass::text COLLATE "C") AS parents
    FROM pg_inherits h WHERE h.inhrelid = c.oid
) i ON true
LEFT JOIN LATERAL (SELECT string_agg(x, ', ' ORDER BY x COLLATE "C") AS options FROM unnest(c.reloptions) x) o ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS disabled FROM pg_trigger g WHERE c.relhastriggers AND g.tgrelid = c.oid AND g.tgisinternal AND g.tgenabled <> 'O'
) t ON true
WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
UNION ALL
SELECT 'partition bound on ' || r.name, pg_get_expr(c.relpartbound, c.oid)
FROM rel r
JOIN pg_class c ON c.oid = r.oid
WHERE c.relispartition AND c.relpartbound IS NOT NULL
UNION ALL
SELECT 'column ' || r.name || '.' || quote_ident(a.attname),
       concat_ws(' ',
           format_type(a.atttypid, a.atttypmod),
           'COLLATE ' || nullif(a.attcollation, t.typcollation)::regcollation::text,
           CASE WHEN a.attnotnull THEN 'NOT NULL' END,
           CASE a.attgenerated WHEN '' THEN 'DEFAULT ' WHEN 's' THEN 'STORED ' ELSE 'VIRTUAL ' END || pg_get_expr(d.adbin, d.adrelid),
           'IDENTITY ' || CASE a.attidentity WHEN 'a' THEN 'ALWAYS' WHEN 'd' THEN 'BY DEFAULT' END,
           'STORAGE ' || nullif(a.attstorage, t.typstorage)::text,
           'COMPRESSION ' || nullif(a.attcompression::text, ''),
           'STATISTICS ' || nullif(a.attstattarget, -1)::text,
           'OPTIONS ' || a.attoptions::text,
           'FDW OPTIONS ' || a.attfdwoptions::text)
FROM rel r
JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attname !~ '^_whimbrel_'
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE r.relkind IN ('r', 'p', 'f', 'c')
UNION ALL
-- NOT NULL is told with its column: from PostgreSQL 18 on it is a constraint, too, whose name is taken while a table is put aside.
SELECT 'constraint ' || quote_ident(k.conname) || ' on ' || r.name,
       regexp_replace(pg_get_constraintdef(k.oid), ' NOT VALID$', '')
FROM rel r
JOIN pg_constraint k ON k.conrelid = r.oid AND k.contype NOT IN ('t', 'n') AND k.conname !~ '^_whimbrel_'
LEFT JOIN hidden h ON h.classid = 'pg_constraint'::regclass AND h.objid = k.oid
WHERE h.objid IS NULL
UNION ALL
SELECT 'index ' || r.name || ' on ' || t.name,
       concat_ws('; ',
           pg_get_indexdef(x.indexrelid),
           CASE WHEN NOT x.indisvalid THEN 'invalid' END,
           CASE WHEN NOT x.indisready THEN 'not ready' END,
           CASE WHEN NOT x.indimmediate THEN 'deferred' END,
           CASE WHEN x.indisreplident THEN 'replica identity' END,
           CASE WHEN x.indisclustered THEN 'clustered' END,
           'attached to ' || i.parent)
FROM pg_index x
JOIN rel r ON r.oid = x.indexrelid
JOIN rel t ON t.oid = x.indrelid
LEFT JOIN LATERAL (SELECT h.inhparent::regclass::text AS parent FROM pg_inherits h WHERE h.inhrelid = x.indexrelid) i ON true
UNION ALL
SELECT 'sequence ' || r.name,
       concat_ws(' ', format_type(s.seqtypid, NULL), 'start', s.seqstart, 'increment', s.seqincrement, 'min', s.seqmin,
                 'max', s.seqmax, 'cache', s.seqcache, CASE WHEN s.seqcycle THEN 'cycle' END,
                 'owned by ' || o.owner)
FROM rel r
JOIN pg_sequence s ON s.seqrelid = r.oid
LEFT JOIN LATERAL (
    SELECT d.refobjid::regclass::text || '.' || quote_ident(a.attname) AS owner
    FROM pg_depend d
    JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
      AND d.deptype IN ('a', 'i')
) o ON true
UNION ALL
SELECT 'rule ' || quote_ident(w.rulename) || ' on ' || r.name,
       concat_ws('; ', pg_get_ruledef(w.oid), 'enabled ' || nullif(w.ev_enabled::text, 'O'))
FROM rel r
JOIN pg_rewrite w ON w.ev_class = r.oid AND w.rulename <> '_RETURN' AND w.rulename !~ '^_whimbrel_'
UNION ALL
SELECT 'policy ' || quote_ident(p.polname) || ' on ' || r.name,
       concat_ws(' ', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, 'FOR', p.polcmd,
                 'TO ' || g.roles,
                 'USING (' || pg_get_expr(p.polqual, p.polrelid) || ')',
                 'WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')')
FROM rel r
JOIN pg_policy p ON p.polrelid = r.oid
LEFT JOIN LATERAL (
    SELECT string_agg(CASE x WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x)) END, ', '
                      ORDER BY pg_get_userbyid(x) COLLATE "C") AS roles
    FROM unnest(p.polroles) x
) g ON true
UNION ALL
SELECT 'statistics ' || ns.name || '.' || quote_ident(s.stxname) || ' on ' || r.name,
       concat_ws('; ', pg_get_statisticsobjdef(s.oid), 'target ' || nullif(s.stxstattarget, -1)::text)
FROM pg_statistic_ext s
JOIN ns ON ns.oid = s.stxnamespace
JOIN rel r ON r.oid = s.stxrelid
LEFT JOIN hidden h ON h.classid = 'pg_statistic_ext'::regclass AND h.objid = s.oid
WHERE h.objid IS NULL
