CREATE ROLE app_owner NOLOGIN;
CREATE ROLE whimbrel LOGIN PASSWORD 'sentinel-7f3a9c51' IN ROLE app_owner;
CREATE ROLE app LOGIN PASSWORD 'sentinel-7f3a9c51' IN ROLE pg_read_all_data, pg_write_all_data;
