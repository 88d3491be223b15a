-- What the runs of the matrix work on. The observer's event triggers are in the template already.
CREATE TABLE public.users (id bigint PRIMARY KEY, name text NOT NULL, active boolean NOT NULL);
INSERT INTO public.users SELECT g, 'user ' || g, g % 3 > 0 FROM generate_series(1, 40) g;
CREATE TABLE public.orders (id bigint PRIMARY KEY, user_id bigint NOT NULL, cents bigint NOT NULL);
INSERT INTO public.orders SELECT g, g % 40 + 1, g * 7 FROM generate_series(1, 40) g;
ALTER TABLE public.users OWNER TO app_owner;
ALTER TABLE public.orders OWNER TO app_owner;
GRANT CREATE ON SCHEMA public TO app_owner;

-- Where a database has the setting crash.brake (seconds), statements that change the schema take at least so long: long
-- enough to be met in the middle. An index build is also held up while its index is there and not valid.
CREATE FUNCTION obs.brake() RETURNS event_trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_sleep(coalesce(nullif(current_setting('crash.brake', true), ''), '0')::float8);
END $$;
CREATE EVENT TRIGGER brake_start ON ddl_command_start EXECUTE FUNCTION obs.brake();
CREATE EVENT TRIGGER brake_end ON ddl_command_end EXECUTE FUNCTION obs.brake();
CREATE FUNCTION public.slow(id bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF id = 1 THEN
        PERFORM pg_catalog.pg_sleep(coalesce(nullif(pg_catalog.current_setting('crash.brake', true), ''), '0')::float8);
    END IF;
    RETURN id;
END $$;
TRUNCATE obs.ddl;
