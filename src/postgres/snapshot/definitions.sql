SELECT 'definition', oid::int8, to_json(pg_get_viewdef(oid))::text
FROM rel
WHERE relkind IN ('v', 'm') AND NOT is_held
  AND NOT EXISTS (SELECT FROM pg_rewrite w
                  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
                      AND d.refclassid = 'pg_class'::regclass
                  JOIN held ON held.relation = d.refobjid
                  WHERE w.ev_class = rel.oid)
