, obj AS MATERIALIZED (
    SELECT 'pg_class'::regclass::oid AS class, oid AS id, 0 AS sub, k.kind,
           quote_ident(nspname) || '.' || quote_ident(relname) AS identity, nspname, relname, NULL::name AS attname
    FROM rel
    JOIN (VALUES ('r', 'table'), ('p', 'table'), ('f', 'foreign table'), ('v', 'view'), ('m', 'materialized view'),
                 ('S', 'sequence'), ('i', 'index'), ('I', 'index'), ('c', 'composite type')) AS k (relkind, kind)
        ON k.relkind = rel.relkind::text
),
ref AS MATERIALIZED (
    SELECT * FROM obj
    UNION ALL
    SELECT obj.class, obj.id, a.attnum, obj.kind || ' column', obj.identity || '.' || quote_ident(a.attname),
           obj.nspname, obj.relname, a.attname
    FROM obj
    JOIN pg_attribute a ON a.attrelid = obj.id AND a.attnum > 0 AND NOT a.attisdropped
    WHERE obj.kind NOT IN ('index', 'sequence')
    UNION ALL
    SELECT 'pg_rewrite'::regclass, w.oid, 0,
           CASE WHEN w.rulename = '_RETURN' THEN obj.kind ELSE 'rule' END,
           CASE WHEN w.rulename = '_RETURN' THEN obj.identity
                ELSE quote_ident(w.rulename) || ' on ' || obj.identity END,
           obj.nspname, obj.relname, NULL
    FROM obj
    JOIN pg_rewrite w ON w.ev_class = obj.id
    UNION ALL
    SELECT 'pg_attrdef'::regclass, d.oid, 0,
           CASE WHEN a.attgenerated <> '' THEN 'generated column' ELSE 'default value' END,
           CASE WHEN a.attgenerated <> '' THEN '' ELSE 'for ' END || obj.identity || '.' || quote_ident(a.attname),
           obj.nspname, obj.relname, a.attname
    FROM obj
    JOIN pg_attrdef d ON d.adrelid = obj.id
    JOIN pg_attribute a ON a.attrelid = obj.id AND a.attnum = d.adnum
    UNION ALL
    SELECT 'pg_constraint'::regclass, k.oid, 0, 'table constraint', quote_ident(k.conname) || ' on ' || obj.identity,
           obj.nspname, obj.relname, NULL
    FROM obj
    JOIN pg_constraint k ON k.conrelid = obj.id
    UNION ALL
    SELECT 'pg_trigger'::regclass, g.oid, 0, 'trigger', quote_ident(g.tgname) || ' on ' || obj.identity,
           obj.nspname, obj.relname, NULL
    FROM obj
    JOIN pg_trigger g ON g.tgrelid = obj.id AND NOT g.tgisinternal
    UNION ALL
    SELECT 'pg_policy'::regclass, p.oid, 0, 'policy', quote_ident(p.polname) || ' on ' || obj.identity,
           obj.nspname, obj.relname, NULL
    FROM obj
    JOIN pg_policy p ON p.polrelid = obj.id
    UNION ALL
    SELECT 'pg_publication_rel'::regclass, l.oid, 0, 'publication relation',
           obj.identity || ' in publication ' || quote_ident(p.pubname), obj.nspname, obj.relname, NULL
    FROM obj
    JOIN pg_publication_rel l ON l.prrelid = obj.id
    JOIN pg_publication p ON p.oid = l.prpubid
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, s.oid, 0, 'statistics object',
           quote_ident(ns.nspname) || '.' || quote_ident(s.stxname), obj.nspname, obj.relname, NULL
    FROM obj
    JOIN pg_statistic_ext s ON s.stxrelid = obj.id
    JOIN ns ON ns.oid = s.stxnamespace
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, 0,
           CASE p.prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END,
           (pg_identify_object('pg_proc'::regclass, p.oid, 0)).identity, NULL, NULL, NULL
    FROM pg_proc p
    JOIN ns ON ns.oid = p.pronamespace
    UNION ALL
    -- The row type of a relation stands for the relation, an array for its elements.
    SELECT 'pg_type'::regclass, t.oid, 0, coalesce(obj.kind, 'type'),
           coalesce(obj.identity, quote_ident(ns.nspname) || '.' || quote_ident(e.typname)), obj.nspname, obj.relname, NULL
    FROM pg_type t
    JOIN pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE t.oid END
    JOIN ns ON ns.oid = e.typnamespace
    LEFT JOIN obj ON obj.id = e.typrelid
    UNION ALL
    SELECT 'pg_constraint'::regclass, k.oid, 0, 'domain constraint',
           quote_ident(k.conname) || ' on ' || quote_ident(ns.nspname) || '.' || quote_ident(t.typname), NULL, NULL, NULL
    FROM pg_constraint k
    JOIN pg_type t ON t.oid = k.contypid
    JOIN ns ON ns.oid = t.typnamespace
),
-- Before PostgreSQL 15, a generated column itself depends on the others; later its expression does.
edge AS MATERIALIZED (
    SELECT DISTINCT CASE WHEN g.oid IS NULL THEN d.classid ELSE 'pg_attrdef'::regclass END AS class,
           coalesce(g.oid, d.objid) AS id, CASE WHEN g.oid IS NULL THEN d.objsubid ELSE 0 END AS sub,
           d.refclassid, d.refobjid, d.refobjsubid, d.deptype
    FROM pg_depend d
    LEFT JOIN pg_attrdef g ON d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
        AND d.objid = d.refobjid AND d.objsubid > 0 AND d.refobjsubid > 0
        AND g.adrelid = d.objid AND g.adnum = d.objsubid
    WHERE d.deptype NOT IN ('e', 'x')
),
kept AS MATERIALIZED (
    SELECT edge.*
    FROM edge
    JOIN ref a ON a.class = edge.class AND a.id = edge.id AND a.sub = edge.sub
    JOIN ref b ON b.class = edge.refclassid AND b.id = edge.refobjid AND b.sub = edge.refobjsubid
    WHERE (a.kind, a.identity) <> (b.kind, b.identity)
      AND NOT (a.kind IN ('generated column', 'default value') AND b.attname IS NOT NULL
               AND (a.nspname, a.relname, a.attname) = (b.nspname, b.relname, b.attname))
)
SELECT 'object', 0::int8, json_build_array(class::int8, id::int8, sub, kind, identity, nspname, relname, attname)::text
FROM ref
WHERE (class, id, sub) IN (SELECT class, id, sub FROM kept UNION ALL SELECT refclassid, refobjid, refobjsubid FROM kept)
UNION ALL
SELECT 'depend', 0::int8, json_build_array(class::int8, id::int8, sub, refclassid::int8, refobjid::int8, refobjsubid, deptype)::text
FROM kept
