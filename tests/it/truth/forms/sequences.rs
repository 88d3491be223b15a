//! Sequences.

use super::super::form::{Form, form};

pub const FORMS: &[Form] = &[
    form("CREATE SEQUENCE extra"),
    form("CREATE SEQUENCE IF NOT EXISTS numbers"),
    form("CREATE SEQUENCE extra OWNED BY users.age"),
    form("ALTER SEQUENCE numbers RESTART WITH 100"),
    form("ALTER SEQUENCE numbers INCREMENT BY 5 CACHE 10"),
    form("ALTER SEQUENCE numbers AS int"),
    form("ALTER SEQUENCE orders_id_seq AS bigint"),
    form("ALTER SEQUENCE numbers OWNED BY users.age"),
    form("ALTER SEQUENCE orders_id_seq OWNED BY NONE"),
    form("ALTER SEQUENCE numbers RENAME TO counts"),
    form("ALTER SEQUENCE numbers SET SCHEMA app"),
    form("ALTER SEQUENCE numbers OWNER TO app_owner"),
    form("ALTER SEQUENCE numbers SET UNLOGGED").since(15),
    form("ALTER SEQUENCE IF EXISTS missing RESTART"),
    form("DROP SEQUENCE numbers"),
    form("DROP SEQUENCE orders_id_seq CASCADE"),
    form("COMMENT ON SEQUENCE numbers IS 'counts'"),
    form("GRANT USAGE ON SEQUENCE numbers TO app"),
    form("SELECT setval('numbers', 100)"),
    form("SELECT nextval('numbers')"),
    form("SELECT setval(pg_get_serial_sequence('orders', 'id'), (SELECT max(id) FROM orders))").at_most(),
];
