WITH /* whimbrel */ seen AS (
    SELECT s.query, s.userid, sum(s.calls) AS calls, sum(s.calls * s.{mean})::float8 AS spent, min({since}) AS since
    FROM {schema}.pg_stat_statements s
    WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY s.query, s.userid
)
SELECT 'query' AS section, 0::int8 AS id, json_build_object(
    'text', query,
    'user', pg_get_userbyid(userid),
    'callsPerMinute', calls / (greatest(extract(epoch FROM now() - coalesce(since, pg_postmaster_start_time())), 60) / 60),
    'meanMs', spent / greatest(calls, 1))::text AS body
FROM seen
WHERE query ~* '^(\s|--[^\n]*\n|/\*.*?\*/|\()*(<insufficient privilege>|select|insert|update|delete|merge|with|values|table|copy|declare)'
  AND query !~ '(/\* whimbrel|\mwhimbrel\.)'
ORDER BY calls DESC, query, userid
