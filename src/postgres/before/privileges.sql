-- Everything that was granted by the owner, as statements for an object that has just been made.
WITH k AS (SELECT * FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)),
held AS (
    SELECT k.ordinal, o.*
    FROM k
    CROSS JOIN LATERAL (
        SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass AS name, NULL::text AS col, c.relowner AS owner, c.relacl AS acl,
               acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner) AS usual
        FROM pg_class c WHERE c.oid = k.oid AND k.object IN ('TABLE', 'VIEW', 'MATERIALIZED VIEW', 'FOREIGN TABLE', 'SEQUENCE')
        UNION ALL
        SELECT 'TABLE ' || c.oid::regclass, quote_ident(a.attname), c.relowner, a.attacl, '{}'
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.oid = k.oid AND a.attacl IS NOT NULL AND NOT a.attisdropped AND k.object IN ('TABLE', 'VIEW', 'MATERIALIZED VIEW', 'FOREIGN TABLE')
        UNION ALL
        SELECT CASE p.prokind WHEN 'p' THEN 'PROCEDURE ' ELSE 'FUNCTION ' END || p.oid::regprocedure, NULL, p.proowner, p.proacl, acldefault('f', p.proowner)
        FROM pg_proc p WHERE p.oid = k.oid AND k.object IN ('FUNCTION', 'PROCEDURE', 'ROUTINE')
        UNION ALL
        SELECT 'TYPE ' || t.oid::regtype, NULL, t.typowner, t.typacl, acldefault('T', t.typowner)
        FROM pg_type t WHERE t.oid = k.oid AND k.object IN ('TYPE', 'DOMAIN')
        UNION ALL
        SELECT 'SCHEMA ' || quote_ident(n.nspname), NULL, n.nspowner, n.nspacl, acldefault('n', n.nspowner)
        FROM pg_namespace n WHERE n.oid = k.oid AND k.object = 'SCHEMA'
    ) o
),
statements AS (
    SELECT h.ordinal, 1 AS rank, format('REVOKE ALL ON %s FROM %s', h.name, CASE u.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(u.grantee)) END) AS sql
    FROM held h CROSS JOIN LATERAL (SELECT DISTINCT grantee FROM aclexplode(h.usual)) u
    WHERE h.acl IS NOT NULL AND h.col IS NULL
    UNION ALL
    SELECT h.ordinal, 2, format('GRANT %s ON %s TO %s%s', string_agg(x.privilege_type || coalesce(' (' || h.col || ')', ''), ', ' ORDER BY x.privilege_type),
               h.name, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
               CASE WHEN x.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM held h CROSS JOIN LATERAL aclexplode(h.acl) x
    WHERE h.acl IS NOT NULL
    GROUP BY h.ordinal, h.name, h.col, x.grantee, x.is_grantable
)
SELECT k.ordinal,
       ARRAY(SELECT s.sql FROM statements s WHERE s.ordinal = k.ordinal ORDER BY s.rank, s.sql) AS "values",
       NULL::text AS shape, NULL::text AS lost, NULL::text AS dependent
FROM k
