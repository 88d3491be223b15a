-- A view or materialized view, with everything that belongs to it. The shape is the number of its columns.
SELECT k.ordinal,
       ARRAY[CASE v.relkind
           WHEN 'v' THEN 'CREATE VIEW ' || v.oid::regclass || o.options || ' AS ' || d.query
           ELSE 'CREATE MATERIALIZED VIEW ' || v.oid::regclass || coalesce(' USING ' || quote_ident(m.amname), '') || o.options
                || coalesce(' TABLESPACE ' || quote_ident(s.spcname), '')
                || ' AS ' || d.query || CASE WHEN v.relispopulated THEN ' WITH DATA' ELSE ' WITH NO DATA' END
       END]
       || ARRAY(SELECT format('ALTER VIEW %s ALTER COLUMN %I SET DEFAULT %s', v.oid::regclass, a.attname, pg_get_expr(f.adbin, f.adrelid))
                FROM pg_attrdef f JOIN pg_attribute a ON a.attrelid = f.adrelid AND a.attnum = f.adnum
                WHERE f.adrelid = v.oid ORDER BY a.attnum)
       || ARRAY(SELECT pg_get_indexdef(x.indexrelid) FROM pg_index x WHERE x.indrelid = v.oid ORDER BY x.indexrelid)
       || ARRAY(SELECT format('ALTER MATERIALIZED VIEW %s CLUSTER ON %I', v.oid::regclass, i.relname)
                FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid WHERE x.indrelid = v.oid AND x.indisclustered)
       || ARRAY(SELECT pg_get_triggerdef(g.oid) FROM pg_trigger g WHERE g.tgrelid = v.oid AND NOT g.tgisinternal ORDER BY g.tgname)
       || ARRAY(SELECT rtrim(pg_get_ruledef(r.oid), ';') FROM pg_rewrite r WHERE r.ev_class = v.oid AND r.rulename <> '_RETURN' ORDER BY r.rulename)
       || ARRAY(SELECT format('COMMENT ON COLUMN %s.%I IS %L', v.oid::regclass, a.attname, c.description)
                FROM pg_attribute a JOIN pg_description c ON c.classoid = 'pg_class'::regclass AND c.objoid = v.oid AND c.objsubid = a.attnum
                WHERE a.attrelid = v.oid AND a.attnum > 0 ORDER BY a.attnum)
       AS "values",
       (SELECT count(*)::text FROM pg_attribute a WHERE a.attrelid = v.oid AND a.attnum > 0 AND NOT a.attisdropped) AS shape,
       NULL::text AS lost,
       (SELECT CASE WHEN p.classid = 'pg_rewrite'::regclass THEN (SELECT 'view ' || r.ev_class::regclass FROM pg_rewrite r WHERE r.oid = p.objid)
                    ELSE pg_describe_object(p.classid, p.objid, p.objsubid) END
        FROM pg_depend p
        WHERE (p.refclassid = 'pg_class'::regclass AND p.refobjid = v.oid OR p.refclassid = 'pg_type'::regclass AND p.refobjid = v.reltype)
          AND p.deptype = 'n'
          AND NOT (p.classid = 'pg_rewrite'::regclass AND EXISTS (SELECT FROM pg_rewrite r WHERE r.oid = p.objid AND r.ev_class = v.oid))
        LIMIT 1) AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
JOIN pg_class v ON v.oid = k.oid AND v.relkind IN ('v', 'm')
LEFT JOIN pg_am m ON m.oid = v.relam
LEFT JOIN pg_tablespace s ON s.oid = v.reltablespace
CROSS JOIN LATERAL (SELECT btrim(pg_get_viewdef(v.oid), '; ') AS query) d
CROSS JOIN LATERAL (
    SELECT coalesce(' WITH (' || string_agg(format('%s = %L', split_part(x, '=', 1), substr(x, strpos(x, '=') + 1)), ', ') || ')', '') AS options
    FROM unnest(v.reloptions) x
) o
