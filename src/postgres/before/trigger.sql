-- A trigger or rule with its state, or the state of one trigger, or of all.
SELECT k.ordinal,
       CASE WHEN k.part = 'definition' THEN
           ARRAY[CASE WHEN k.object = 'RULE' THEN (SELECT rtrim(pg_get_ruledef(r.oid), ';') FROM pg_rewrite r WHERE r.ev_class = k.oid AND r.rulename = k.detail)
                      ELSE (SELECT pg_get_triggerdef(g.oid) FROM pg_trigger g WHERE g.tgrelid = k.oid AND g.tgname = k.detail AND NOT g.tgisinternal) END]
           || ARRAY(SELECT format('ALTER TABLE %s %s', k.oid::regclass, s.state) FROM unnest(t.states) AS s (state) WHERE s.state !~ '^ENABLE (TRIGGER|RULE)')
       ELSE ARRAY(SELECT 'ENABLE TRIGGER ALL' WHERE k.object = 'ALL TRIGGERS') || t.states END AS "values",
       NULL::text AS shape,
       CASE WHEN k.object = 'ALL TRIGGERS' AND EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = k.oid AND g.tgisinternal AND g.tgenabled <> 'O')
            THEN 'triggers of the server itself are disabled already' END AS lost,
       NULL::text AS dependent
FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY AS k (oid, object, detail, second, part, ordinal)
CROSS JOIN LATERAL (
    SELECT array_agg(s.state ORDER BY s.state) AS states
    FROM (
        SELECT format('%s TRIGGER %I', CASE g.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END, g.tgname)
        FROM pg_trigger g
        WHERE g.tgrelid = k.oid AND NOT g.tgisinternal AND (k.detail IS NULL OR g.tgname = k.detail) AND k.object <> 'RULE'
        UNION ALL
        SELECT format('%s RULE %I', CASE r.ev_enabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' WHEN 'A' THEN 'ENABLE ALWAYS' ELSE 'ENABLE' END, r.rulename)
        FROM pg_rewrite r
        WHERE r.ev_class = k.oid AND r.rulename = k.detail AND k.object = 'RULE'
    ) s (state)
) t
WHERE t.states IS NOT NULL OR k.object LIKE '%TRIGGERS'
