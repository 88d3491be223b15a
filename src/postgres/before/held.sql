-- What the owner of an object has granted to a role (the second name); the shape is all that there is to grant.
SELECT k.ordinal,
       ARRAY(SELECT x.privilege_type || CASE WHEN x.is_grantable THEN '*' ELSE '' END
             FROM aclexplode(coalesce(o.acl, o.usual)) x WHERE x.grantee = g.oid AND x.grantor = o.owner)
       || ARRAY(SELECT format('%s(%s)', x.privilege_type, a.attname) || CASE WHEN x.is_grantable THEN '*' ELSE '' END
                FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) x
                WHERE o.relation AND a.attrelid = k.oid AND NOT a.attisdropped AND x.grantee = g.oid AND x.grantor = o.owner)
       AS "values",
       (SELECT string_agg(x.privilege_type, ',') FROM aclexplode(acldefault(o.kind, o.owner)) x WHERE x.grantee = o.owner) AS shape,
       NULL::text AS lost, NULL::text AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
CROSS JOIN LATERAL (SELECT CASE k.second WHEN 'PUBLIC' THEN 0::oid ELSE to_regrole(k.second)::oid END AS oid) g
CROSS JOIN LATERAL (
    SELECT u.*, acldefault(u.kind, u.owner) AS usual
    FROM (
        SELECT true AS relation, c.relowner AS owner, c.relacl AS acl, CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char" AS kind
        FROM pg_class c WHERE c.oid = k.oid AND k.object IN ('TABLE', 'SEQUENCE')
        UNION ALL
        SELECT false, p.proowner, p.proacl, 'f' FROM pg_proc p WHERE p.oid = k.oid AND k.object IN ('FUNCTION', 'PROCEDURE', 'ROUTINE')
        UNION ALL
        SELECT false, t.typowner, t.typacl, 'T' FROM pg_type t WHERE t.oid = k.oid AND k.object IN ('TYPE', 'DOMAIN')
        UNION ALL
        SELECT false, n.nspowner, n.nspacl, 'n' FROM pg_namespace n WHERE n.oid = k.oid AND k.object = 'SCHEMA'
        UNION ALL
        SELECT false, d.datdba, d.datacl, 'd' FROM pg_database d WHERE d.oid = k.oid AND k.object = 'DATABASE'
    ) u
) o
