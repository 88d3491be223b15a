//! Constraints of tables and of domains.

use super::super::form::{Form, form};

pub const FORMS: &[Form] = &[
    form("ALTER TABLE users ADD CONSTRAINT c CHECK (age < 100000)"),
    form("ALTER TABLE users ADD CONSTRAINT c CHECK (age < 100000) NOT VALID"),
    form("ALTER TABLE users ADD CONSTRAINT c CHECK (age < 100000) NO INHERIT"),
    form("ALTER TABLE users ADD CONSTRAINT c CHECK (age < 100000) NOT ENFORCED").since(18),
    form("ALTER TABLE users ADD CHECK (age < 100000), ADD CHECK (rank >= 0)"),
    form("ALTER TABLE empty ADD CHECK (a > 0)"),
    form("ALTER TABLE users VALIDATE CONSTRAINT users_promised"),
    form("ALTER TABLE users VALIDATE CONSTRAINT users_age"),
    form("ALTER TABLE orders VALIDATE CONSTRAINT orders_seller"),
    form("ALTER TABLE orders VALIDATE CONSTRAINT orders_buyer"),
    form("ALTER TABLE orders VALIDATE CONSTRAINT orders_total, ALTER COLUMN total SET DEFAULT 1"),
    form("ALTER TABLE users ADD CONSTRAINT n NOT NULL age NOT VALID").since(18),
    form("ALTER TABLE users ADD CONSTRAINT n NOT NULL age").since(18),
    form("ALTER TABLE users VALIDATE CONSTRAINT n")
        .after("ALTER TABLE users ADD CONSTRAINT n NOT NULL age NOT VALID")
        .since(18),
    form("ALTER TABLE users ALTER COLUMN age SET NOT NULL")
        .after("ALTER TABLE users ADD CONSTRAINT n NOT NULL age NOT VALID")
        .since(18),
    form("ALTER TABLE items ADD CONSTRAINT f FOREIGN KEY (price) REFERENCES orders (id)"),
    form("ALTER TABLE items ADD CONSTRAINT f FOREIGN KEY (price) REFERENCES orders (id) NOT VALID"),
    form("ALTER TABLE items ADD CONSTRAINT f FOREIGN KEY (price) REFERENCES orders (id) NOT ENFORCED")
        .since(18),
    form(
        "ALTER TABLE items ADD CONSTRAINT f FOREIGN KEY (price) REFERENCES orders (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
    ),
    form("ALTER TABLE items ADD FOREIGN KEY (id) REFERENCES items"),
    form("ALTER TABLE app.notes ADD FOREIGN KEY (id) REFERENCES public.orders"),
    form("ALTER TABLE parts ADD FOREIGN KEY (owner) REFERENCES users"),
    form("ALTER TABLE items ADD FOREIGN KEY (id) REFERENCES parts")
        .after("INSERT INTO items SELECT 9999, 1000, 1, 1; DELETE FROM items WHERE id >= 1000"),
    form("ALTER TABLE empty ADD FOREIGN KEY (a) REFERENCES orders").at_most(),
    form("ALTER TABLE users ADD CONSTRAINT u UNIQUE (rank, age)"),
    form("ALTER TABLE lonely ADD PRIMARY KEY (a)"),
    form("ALTER TABLE lonely ADD PRIMARY KEY (b)"),
    form("ALTER TABLE lonely ADD PRIMARY KEY USING INDEX lonely_a"),
    form("ALTER TABLE lonely ADD PRIMARY KEY USING INDEX lonely_b"),
    form("ALTER TABLE lonely ADD CONSTRAINT lonely_key UNIQUE USING INDEX lonely_a"),
    form("ALTER TABLE lonely ADD PRIMARY KEY USING INDEX lonely_a")
        .after("ALTER TABLE lonely ADD CHECK (a IS NOT NULL)"),
    form("ALTER TABLE lonely ADD CONSTRAINT e EXCLUDE USING btree (a WITH =)"),
    form("ALTER TABLE users ADD CONSTRAINT e EXCLUDE USING gist (int4range(age, age + 1) WITH &&)"),
    form("ALTER TABLE empty ADD PRIMARY KEY (a)"),
    form("ALTER TABLE users DROP CONSTRAINT users_age"),
    form("ALTER TABLE users DROP CONSTRAINT IF EXISTS missing"),
    form("ALTER TABLE orders DROP CONSTRAINT orders_buyer"),
    form("ALTER TABLE orders DROP CONSTRAINT orders_number"),
    form("ALTER TABLE orders DROP CONSTRAINT orders_pkey CASCADE"),
    form("ALTER TABLE users DROP CONSTRAINT users_pkey CASCADE"),
    form("ALTER TABLE items DROP CONSTRAINT items_parent"),
    form("ALTER TABLE items DROP CONSTRAINT items_pkey CASCADE"),
    form("ALTER TABLE users RENAME CONSTRAINT users_age TO users_years"),
    form("ALTER TABLE orders RENAME CONSTRAINT orders_number TO orders_text"),
    form("ALTER TABLE orders RENAME CONSTRAINT orders_buyer TO orders_user"),
    form("ALTER TABLE orders ALTER CONSTRAINT orders_buyer DEFERRABLE INITIALLY DEFERRED"),
    form("ALTER TABLE orders ALTER CONSTRAINT orders_buyer NOT ENFORCED").since(18),
    form("ALTER TABLE orders ALTER CONSTRAINT f ENFORCED")
        .after("ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (seller) REFERENCES users NOT ENFORCED")
        .since(18),
    form("ALTER TABLE users ALTER CONSTRAINT n NO INHERIT")
        .after("ALTER TABLE users ADD CONSTRAINT n NOT NULL age")
        .since(18),
    form("ALTER DOMAIN email ADD CONSTRAINT c CHECK (VALUE <> '')"),
    form("ALTER DOMAIN email ADD CONSTRAINT c CHECK (VALUE <> '') NOT VALID"),
    form("ALTER DOMAIN email VALIDATE CONSTRAINT c")
        .after("ALTER DOMAIN email ADD CONSTRAINT c CHECK (VALUE <> '') NOT VALID"),
    form("ALTER DOMAIN email DROP CONSTRAINT email_check"),
    form("ALTER DOMAIN share_unused SET NOT NULL").after("CREATE DOMAIN share_unused AS int"),
    form("ALTER DOMAIN email SET NOT NULL"),
    form("ALTER DOMAIN email DROP NOT NULL"),
    form("ALTER DOMAIN email SET DEFAULT 'a@b'"),
    form("ALTER DOMAIN email RENAME CONSTRAINT email_check TO at"),
    form("ALTER DOMAIN email RENAME TO address"),
    form(
        "ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (seller) REFERENCES users NOT VALID; ALTER TABLE orders VALIDATE CONSTRAINT f",
    ),
];
