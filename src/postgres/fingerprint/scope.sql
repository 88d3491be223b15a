-- What belongs to the user's schema. Not: system schemas, ours, members of extensions, what was put aside (_whimbrel_*).
WITH
member AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
),
ns AS MATERIALIZED (
    SELECT oid, quote_ident(nspname) AS name
    FROM pg_namespace
    WHERE nspname !~ '^(pg_|_whimbrel_)' AND nspname NOT IN ('information_schema', 'whimbrel')
      AND (SELECT count(*) FROM member m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = pg_namespace.oid) = 0
),
-- Every relation of these schemas, and whether it is in scope.
every AS MATERIALIZED (
    SELECT c.oid, ns.name || '.' || quote_ident(c.relname) AS name, ns.name AS schema, c.relname, c.relkind
    FROM pg_class c
    JOIN ns ON ns.oid = c.relnamespace
    LEFT JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid
    WHERE c.relname !~ '^_whimbrel_' AND m.objid IS NULL AND c.relkind <> 't'
),
aside AS MATERIALIZED (
    SELECT a.attrelid, a.attnum
    FROM pg_attribute a
    JOIN every ON every.oid = a.attrelid AND every.relkind IN ('r', 'p', 'f')
    WHERE a.attname ~ '^_whimbrel_' AND a.attnum > 0 AND NOT a.attisdropped
),
-- What depends on a column, or a whole table, that was put aside: its sequence, its indexes, constraints, statistics.
dependent AS MATERIALIZED (
    SELECT d.classid, d.objid
    FROM pg_depend d
    JOIN aside ON d.refclassid = 'pg_class'::regclass AND d.refobjid = aside.attrelid AND d.refobjsubid = aside.attnum
    WHERE d.deptype IN ('a', 'i', 'n')
      AND d.classid IN ('pg_class'::regclass, 'pg_constraint'::regclass, 'pg_statistic_ext'::regclass)
    UNION
    SELECT d.classid, d.objid
    FROM pg_depend d
    JOIN pg_class c ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid AND c.relname ~ '^_whimbrel_'
    WHERE d.classid IN ('pg_class'::regclass, 'pg_constraint'::regclass) AND d.deptype IN ('a', 'i', 'n')
),
-- The index of a constraint depends on the constraint, not on its columns.
hidden AS MATERIALIZED (
    SELECT classid, objid FROM dependent
    UNION
    SELECT 'pg_class'::regclass, k.conindid
    FROM dependent d
    JOIN pg_constraint k ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid AND k.contype IN ('p', 'u', 'x')
),
rel AS MATERIALIZED (
    SELECT every.*
    FROM every
    LEFT JOIN hidden h ON h.classid = 'pg_class'::regclass AND h.objid = every.oid
    WHERE h.objid IS NULL OR every.relkind NOT IN ('S', 'i', 'I')
),
fn AS MATERIALIZED (
    SELECT p.oid, p.prokind,
           ns.name || '.' || quote_ident(p.proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name
    FROM pg_proc p
    JOIN ns ON ns.oid = p.pronamespace
    LEFT JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid
    WHERE m.objid IS NULL
),
typ AS MATERIALIZED (
    SELECT t.*, ns.name || '.' || quote_ident(t.typname) AS name
    FROM pg_type t
    JOIN ns ON ns.oid = t.typnamespace
    LEFT JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
    WHERE m.objid IS NULL AND t.typtype IN ('e', 'd', 'r') AND t.typname !~ '^_whimbrel_'
)
