//! Which of the application's statements a plan breaks: what is foretold, against what a real server does.
//!
//! The application runs its statements; `pg_stat_statements` has them in the server's own normal form. For each change,
//! what is foretold from that is compared with what happens when the change is made, each statement is run, and all is
//! rolled back.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use sqlx::PgConnection;
use whimbrel::postgres::snapshot;
use whimbrel::sql::{Snapshot, impacts, parse};

use crate::harness::postgres::{self, APPLICATION, Database, SUPERUSER, execute};
use crate::harness::run;
use crate::postgres_edge::session;

const SCHEMA: &str = "
CREATE EXTENSION pg_stat_statements;
CREATE SCHEMA shop;
CREATE TYPE shop.state AS ENUM ('open', 'paid', 'sent');
CREATE TABLE shop.users (id bigserial PRIMARY KEY, name text NOT NULL, mail text NOT NULL UNIQUE, born date,
    active boolean NOT NULL DEFAULT true, created timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.products (id bigserial PRIMARY KEY, sku text NOT NULL UNIQUE, title text NOT NULL,
    price numeric(10,2) NOT NULL, tags jsonb NOT NULL DEFAULT '{}', stock int NOT NULL DEFAULT 0);
CREATE TABLE shop.orders (id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES shop.users, state shop.state NOT NULL DEFAULT 'open',
    total numeric(12,2), placed timestamptz NOT NULL DEFAULT now());
CREATE TABLE shop.lines (order_id bigint NOT NULL REFERENCES shop.orders, product_id bigint NOT NULL REFERENCES shop.products,
    amount int NOT NULL, price numeric(10,2) NOT NULL, PRIMARY KEY (order_id, product_id));
CREATE TABLE shop.orders_archive (LIKE shop.orders);
CREATE VIEW shop.customers AS SELECT id, name AS full_name, mail FROM shop.users WHERE active;
CREATE VIEW shop.turnover AS SELECT o.user_id, sum(l.amount * l.price) AS total FROM shop.orders o
    JOIN shop.lines l ON l.order_id = o.id GROUP BY o.user_id;
CREATE FUNCTION shop.vat(amount numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT amount * 0.19';
INSERT INTO shop.users (name, mail, born) VALUES ('Ann', 'ann@example.com', '1990-01-01'), ('Bob', 'bob@example.com', NULL);
INSERT INTO shop.products (sku, title, price) VALUES ('a', 'Apple', 1), ('b', 'Bread', 2);
INSERT INTO shop.orders (user_id, total) VALUES (1, 3), (2, 4);
INSERT INTO shop.lines VALUES (1, 1, 2, 1), (2, 2, 1, 2);";

/// What the application runs; `{}` is the place of the mark that tells one from another.
const STATEMENTS: [&str; 30] = [
    "SELECT {} id, name FROM users WHERE mail = 'ann@example.com'",
    "SELECT {} * FROM users WHERE id = '1'",
    "SELECT {} u.name, count(*) FROM users u JOIN orders o ON o.user_id = u.id GROUP BY u.id ORDER BY 2 DESC",
    "INSERT {} INTO users (name, mail) VALUES ('Eve', 'eve@example.com') RETURNING id",
    "UPDATE {} users SET name = 'Anna', born = '1991-01-01' WHERE id = '1'",
    "DELETE {} FROM lines WHERE order_id = '1' AND product_id = '1'",
    "SELECT {} full_name FROM customers WHERE mail LIKE 'a%'",
    "SELECT {} c.id, t.total FROM customers c LEFT JOIN turnover t ON t.user_id = c.id",
    "WITH {} recent AS (SELECT id, user_id, placed FROM orders WHERE placed > now() - interval '1 day')
        SELECT r.id, u.mail FROM recent r JOIN users u ON u.id = r.user_id",
    "SELECT {} o.id FROM orders o WHERE EXISTS (SELECT 1 FROM lines l WHERE l.order_id = o.id AND l.amount > '1')",
    "INSERT {} INTO orders_archive SELECT * FROM orders WHERE state = 'sent'",
    "INSERT {} INTO products (sku, title, price) VALUES ('a', 'Apples', '3')
        ON CONFLICT (sku) DO UPDATE SET title = excluded.title, price = excluded.price",
    "SELECT {} id, title, tags->>'color' AS color FROM products WHERE tags @> '{\"new\": true}'",
    "SELECT {} sum(total), date_trunc('month', placed) AS month FROM orders GROUP BY month ORDER BY month",
    "SELECT {} lower(name) FROM users WHERE active ORDER BY created DESC LIMIT 10",
    "SELECT {} shop.vat(total) FROM orders WHERE state = 'paid'::state",
    "UPDATE {} orders o SET total = t.total FROM turnover t WHERE t.user_id = o.user_id",
    "SELECT {} x.title FROM (SELECT p.title, p.price FROM products p) x WHERE x.price < '5'",
    "SELECT {} id, state FROM orders UNION ALL SELECT id, state FROM orders_archive",
    "SELECT {} * FROM orders UNION ALL SELECT * FROM orders_archive",
    "SELECT {} row_to_json(u) FROM users u WHERE u.id IN (SELECT user_id FROM orders)",
    "SELECT {} o.id, p.title FROM orders o JOIN lines l ON l.order_id = o.id JOIN products p ON p.id = l.product_id",
    "SELECT {} CASE WHEN o.total > '100' THEN 'big' ELSE 'small' END AS size, coalesce(o.total, '0') FROM orders o",
    "INSERT {} INTO lines VALUES ('1', '2', '1', '2.50')",
    "SELECT {} amount, price, amount * price AS net FROM lines JOIN orders ON orders.id = lines.order_id WHERE total > '1'",
    "SELECT {} u.id, placed, rank() OVER (PARTITION BY u.id ORDER BY placed) FROM users u, orders WHERE user_id = u.id",
    "SELECT {} title FROM products WHERE sku = ANY ('{a,b}') AND stock + '1' > '0'",
    "DELETE {} FROM orders USING users WHERE users.id = orders.user_id AND users.mail = 'nobody' RETURNING orders.*",
    "SELECT {} u.name FROM users u JOIN LATERAL (SELECT max(placed) AS last FROM orders WHERE user_id = u.id) o ON true WHERE o.last > u.created",
    "SELECT {} name AS mail FROM users GROUP BY name HAVING count(*) > '0' ORDER BY mail",
];

/// What the schema is changed by, each alone.
const CHANGES: [&str; 30] = [
    "ALTER TABLE shop.users DROP COLUMN born",
    "ALTER TABLE shop.users DROP COLUMN name CASCADE",
    "ALTER TABLE shop.users RENAME COLUMN mail TO email",
    "ALTER TABLE shop.users ADD phone text NOT NULL DEFAULT ''; ALTER TABLE shop.users ALTER phone DROP DEFAULT",
    "ALTER TABLE shop.users ADD COLUMN phone text NOT NULL DEFAULT ''",
    "ALTER TABLE shop.orders ADD COLUMN note text",
    "ALTER TABLE shop.orders RENAME TO purchases",
    "ALTER TABLE shop.orders SET SCHEMA public",
    "DROP TABLE shop.lines CASCADE",
    "DROP VIEW shop.customers",
    "ALTER TABLE shop.products ALTER COLUMN stock TYPE text",
    "ALTER TABLE shop.products ALTER COLUMN price TYPE text",
    "ALTER TABLE shop.products ALTER COLUMN tags DROP DEFAULT, ALTER COLUMN tags TYPE json USING tags::json",
    "ALTER TABLE shop.users ALTER COLUMN created TYPE text",
    "ALTER TABLE shop.products DROP CONSTRAINT products_sku_key",
    "ALTER TABLE shop.users DROP CONSTRAINT users_pkey CASCADE",
    "ALTER TYPE shop.state RENAME TO order_state",
    "ALTER FUNCTION shop.vat(numeric) RENAME TO tax",
    "DROP FUNCTION shop.vat(numeric)",
    "ALTER TABLE shop.products ADD COLUMN placed date",
    "ALTER TABLE shop.lines ADD COLUMN placed date",
    "ALTER TABLE shop.products ALTER COLUMN stock DROP DEFAULT",
    "ALTER VIEW shop.customers RENAME COLUMN full_name TO name",
    "ALTER TABLE shop.users ALTER COLUMN active DROP DEFAULT",
    "CREATE INDEX ON shop.orders (placed); ALTER TABLE shop.orders ADD CHECK (total >= 0) NOT VALID",
    "ALTER TABLE shop.orders_archive DROP COLUMN total",
    "ALTER TABLE shop.lines DROP COLUMN price CASCADE",
    "ALTER TABLE shop.users RENAME TO people; CREATE VIEW shop.users AS SELECT * FROM shop.people",
    "ALTER TABLE shop.users RENAME COLUMN name TO full_name; ALTER TABLE shop.users ADD COLUMN name text",
    "ALTER TABLE shop.orders ALTER COLUMN state DROP DEFAULT, ALTER COLUMN state TYPE text",
];

fn marked(index: usize) -> String {
    STATEMENTS[index].replacen("{}", &format!("/* q{index:02} */"), 1)
}

/// Runs every statement, and tells which fail.
async fn failing(session: &mut PgConnection) -> Result<BTreeSet<usize>> {
    let mut failed = BTreeSet::new();
    for index in 0..STATEMENTS.len() {
        execute(session, "SAVEPOINT here").await?;
        if execute(session, &marked(index)).await.is_err() {
            failed.insert(index);
        }
        execute(session, "ROLLBACK TO here").await?;
    }
    Ok(failed)
}

/// The mark in the text of a statement.
fn mark(text: &str) -> Option<usize> {
    text.split_once("/* q")?.1.get(..2)?.parse().ok()
}

async fn prepared(name: &str) -> Result<(Database, Snapshot)> {
    let database = postgres::shared().await?.database(name).await?;
    database.execute(SCHEMA).await?;
    let path = format!(
        "ALTER ROLE {APPLICATION} IN DATABASE {name} SET search_path = shop; GRANT USAGE ON SCHEMA shop TO {APPLICATION}"
    );
    database.execute(&path).await?;
    database.execute(&format!("GRANT USAGE ON ALL SEQUENCES IN SCHEMA shop TO {APPLICATION}")).await?;
    let mut application = database.connect_as(APPLICATION).await?;
    execute(&mut application, "BEGIN").await?;
    assert_eq!(failing(&mut application).await?, BTreeSet::new(), "the statements work to begin with");
    execute(&mut application, "ROLLBACK").await?;
    let catalog = snapshot::read(&mut session(&database, SUPERUSER).await?, &["shop".to_owned()]).await?;
    let seen: BTreeSet<usize> =
        catalog.queries.iter().flatten().filter_map(|query| mark(&query.text)).collect();
    assert_eq!(seen.len(), STATEMENTS.len(), "{seen:?}");
    Ok((database, catalog))
}

#[test]
fn every_broken_statement_is_foretold_and_no_other() -> Result<()> {
    run(async {
        let (database, catalog) = prepared("snapshot_queries").await?;
        let mut session = database.connect().await?;
        let (mut broken, mut wrong) = (0, Vec::new());
        for change in CHANGES {
            execute(&mut session, "BEGIN; SET LOCAL search_path = shop").await?;
            execute(&mut session, change).await?;
            let happened = failing(&mut session).await?;
            execute(&mut session, "ROLLBACK").await?;
            let plan = parse(change).map_err(|refusals| anyhow::anyhow!("{refusals:?}"))?;
            let told = impacts(&plan.statements, &catalog);
            let foretold: BTreeSet<usize> = told
                .iter()
                .filter(|impact| impact.breaks.is_some())
                .filter_map(|impact| mark(&catalog.queries.as_ref()?.get(impact.query)?.text))
                .collect();
            broken += happened.len();
            for index in happened.difference(&foretold) {
                wrong.push(format!("missed by {change}: {}", marked(*index)));
            }
            for index in foretold.difference(&happened) {
                let why = told.iter().find_map(|impact| {
                    let text = &catalog.queries.as_ref()?.get(impact.query)?.text;
                    (mark(text) == Some(*index)).then(|| impact.breaks.clone())?
                });
                wrong.push(format!("false alarm of {change}: {}: {why:?}", marked(*index)));
            }
        }
        let pairs = CHANGES.len() * STATEMENTS.len();
        println!("{broken} of {pairs} pairs of change and statement break; {} are told wrongly", wrong.len());
        ensure!(broken > 60, "the changes break too little to tell anything: {broken}");
        ensure!(wrong.is_empty(), "{wrong:#?}");
        Ok(())
    })
}

#[test]
fn the_statements_that_use_a_column_are_told_with_their_user() -> Result<()> {
    run(async {
        let (_, catalog) = prepared("snapshot_uses").await?;
        let plan = parse("ALTER TABLE users ALTER COLUMN mail SET STATISTICS 100").ok().context("plan")?;
        let told = impacts(&plan.statements, &catalog);
        let marks: BTreeSet<usize> = told
            .iter()
            .filter_map(|impact| mark(&catalog.queries.as_ref()?.get(impact.query)?.text))
            .collect();
        // Through `*`, a view, an alias, a whole row.
        assert_eq!(marks, BTreeSet::from([0, 1, 3, 6, 8, 20, 27]), "{told:#?}");
        assert!(told.iter().all(|impact| impact.breaks.is_none()), "{told:#?}");
        let query =
            catalog.queries.iter().flatten().find(|query| mark(&query.text) == Some(0)).context("query")?;
        assert_eq!(query.user.as_deref(), Some(APPLICATION));
        assert!(query.calls_per_minute > 0.0 && query.mean_ms > 0.0, "{query:?}");
        assert_eq!(catalog.role_search_paths[APPLICATION], ["shop"]);
        Ok(())
    })
}
