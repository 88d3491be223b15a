SELECT 'publication ' || quote_ident(p.pubname) || ' on ' || r.name,
       concat_ws(' ', 'published', '(' || a.columns || ')', 'WHERE ' || pg_get_expr(t.prqual, t.prrelid))
FROM pg_publication_rel t
JOIN pg_publication p ON p.oid = t.prpubid AND p.pubname !~ '^_whimbrel_'
JOIN rel r ON r.oid = t.prrelid
LEFT JOIN LATERAL (
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attname COLLATE "C") AS columns
    FROM pg_attribute a WHERE a.attrelid = t.prrelid AND a.attnum = ANY (t.prattrs::int2[])
) a ON true
UNION ALL
SELECT 'publication ' || quote_ident(p.pubname) || ' of schema ' || ns.name, 'published'
FROM pg_publication_namespace s
JOIN pg_publication p ON p.oid = s.pnpubid AND p.pubname !~ '^_whimbrel_'
JOIN ns ON ns.oid = s.pnnspid
