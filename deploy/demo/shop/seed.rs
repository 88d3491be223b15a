//! `shop seed`: the schema, and rows that look like a shop's.

use anyhow::{Context as _, Result};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

/// Makes the schema and fills it.
#[derive(clap::Args)]
pub struct Arguments {
    /// The database, which must be empty.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// How many orders; customers and items follow from it.
    #[arg(long, default_value_t = 200_000)]
    orders: i64,
    /// The role that owns the tables; by default the one that logs in.
    #[arg(long)]
    owner: Option<String>,
}

const CUSTOMERS: &str = "
    INSERT INTO customers (id, email, name, country, created_at)
    SELECT n, 'customer' || n || '@example.org', 'Customer ' || n, (ARRAY['DE','FR','PL','SE','IT'])[1 + n % 5],
           now() - n % 900 * interval '1 day'
    FROM generate_series(1, greatest($1 / 10, 1)) n";

const PRODUCTS: &str = "
    INSERT INTO products (id, sku, name, price_cents, active)
    SELECT n, 'SKU-' || lpad(n::text, 6, '0'), 'Product ' || n, 199 + n * 37 % 9800, n % 20 <> 0
    FROM generate_series(1, 500) n";

const ITEMS: &str = "
    INSERT INTO order_items (order_id, line, product_id, quantity, unit_price_cents)
    SELECT o, line, p, 1 + o % 3, 199 + p * 37 % 9800
    FROM generate_series(1, $1) o, generate_series(1, 1 + o % 3) line, LATERAL (SELECT 1 + (o * 31 + line * 17) % 500 AS p) q";

const ORDERS: &str = "
    INSERT INTO orders (id, customer_id, status, total_cents, placed_at)
    SELECT order_id, 1 + order_id * 7919 % greatest($1 / 10, 1),
           CASE WHEN order_id % 50 = 0 THEN 'cancelled' WHEN order_id > $1 - $1 / 100 THEN 'placed' ELSE 'shipped' END,
           sum(quantity * unit_price_cents), now() - ($1 - order_id) * interval '90 seconds'
    FROM order_items GROUP BY order_id ORDER BY order_id";

const PAYMENTS: &str = "
    INSERT INTO payments (order_id, provider, state, amount_cents, captured_at)
    SELECT id, (ARRAY['card','transfer','wallet'])[1 + id % 3],
           CASE WHEN status = 'cancelled' THEN 'refunded' ELSE 'captured' END, total_cents, placed_at + interval '1 minute'
    FROM orders WHERE $1 > 0 AND status <> 'placed'";

const SEQUENCES: &str = "
    SELECT setval(pg_get_serial_sequence(name, 'id'), last)
    FROM (VALUES ('customers', (SELECT max(id) FROM customers)), ('products', (SELECT max(id) FROM products)),
                 ('orders', (SELECT max(id) FROM orders))) AS t (name, last)";

/// Runs the command.
///
/// # Errors
/// When the database is not empty, or refuses.
pub async fn run(arguments: Arguments) -> Result<()> {
    let mut connection = PgConnection::connect(&arguments.database_url).await.context("cannot connect")?;
    if let Some(owner) = &arguments.owner {
        sqlx::query("SELECT set_config('role', $1, false)").bind(owner).execute(&mut connection).await?;
    }
    connection.execute(sqlx::raw_sql(include_str!("schema.sql"))).await.context("cannot make the schema")?;
    let steps =
        [("customers", CUSTOMERS), ("order items", ITEMS), ("orders", ORDERS), ("payments", PAYMENTS)];
    connection.execute(PRODUCTS).await?;
    for (name, sql) in steps {
        let done = sqlx::query(sql).bind(arguments.orders).execute(&mut connection).await;
        println!("{name}: {} rows", done.with_context(|| format!("cannot fill {name}"))?.rows_affected());
    }
    connection.execute(SEQUENCES).await?;
    println!("indexes and foreign keys");
    connection
        .execute(sqlx::raw_sql(include_str!("indexes.sql")))
        .await
        .context("cannot make the indexes")?;
    println!("statistics");
    connection.execute("VACUUM (ANALYZE)").await?;
    Ok(connection.close().await?)
}
