SELECT 'publication ' || quote_ident(p.pubname) || ' on ' || r.name, 'published'
FROM pg_publication_rel t
JOIN pg_publication p ON p.oid = t.prpubid AND p.pubname !~ '^_whimbrel_'
JOIN rel r ON r.oid = t.prrelid
