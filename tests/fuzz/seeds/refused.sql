BEGIN;
SELECT 1;
\i other.sql
COPY t FROM stdin;
1	2
\.
ALTER SYSTEM SET a = 1;
SET ROLE x;
INSERT INTO whimbrel.runs VALUES (1);
COMMIT;
