-- What really happened to the schema, seen by the server itself: rolled back DDL leaves no row, CREATE INDEX
-- CONCURRENTLY leaves one when it completes.
CREATE SCHEMA obs;
CREATE TABLE obs.ddl (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    application text NOT NULL DEFAULT current_setting('application_name'),
    tag text NOT NULL,
    object text
);
CREATE FUNCTION obs.ddl_end() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO obs.ddl (tag, object)
    SELECT command_tag, object_identity FROM pg_event_trigger_ddl_commands()
    WHERE schema_name IS DISTINCT FROM 'pg_temp';
END $$;
-- ALTER TABLE ... DROP COLUMN is seen here and at its end; only objects that a statement named count.
CREATE FUNCTION obs.dropped() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO obs.ddl (tag, object)
    SELECT tg_tag || ' (dropped)', object_identity FROM pg_event_trigger_dropped_objects()
    WHERE original AND NOT is_temporary;
END $$;
CREATE EVENT TRIGGER obs_ddl_end ON ddl_command_end EXECUTE FUNCTION obs.ddl_end();
CREATE EVENT TRIGGER obs_dropped ON sql_drop EXECUTE FUNCTION obs.dropped();
