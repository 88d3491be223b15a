//! `shop serve`: orders over HTTP, straight from the database.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions};

use super::metrics::{Metrics, ROUTES};

/// Answers HTTP requests.
#[derive(clap::Args)]
pub struct Arguments {
    /// The database.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database_url: String,
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8000")]
    listen_address: SocketAddr,
    /// Most connections to the database.
    #[arg(long, default_value_t = 8)]
    connections: u32,
}

#[derive(Clone)]
struct Shop {
    database: PgPool,
    metrics: Metrics,
}

/// A failed query is the shop's own failure: 500, and a line in its log.
struct Failure(sqlx::Error);

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        eprintln!("query failed: {}", self.0);
        (StatusCode::INTERNAL_SERVER_ERROR, "the database refused\n").into_response()
    }
}

/// Columns are named one by one, as an application does that does not want surprises from `SELECT *`.
const ORDER: &str = "
    SELECT json_build_object('id', o.id, 'customer', o.customer_id, 'status', o.status, 'currency', o.currency,
        'totalCents', o.total_cents, 'placedAt', o.placed_at, 'items', (
            SELECT json_agg(json_build_object('line', i.line, 'sku', p.sku, 'product', p.name, 'quantity', i.quantity)
                            ORDER BY i.line)
            FROM order_items i JOIN products p ON p.id = i.product_id WHERE i.order_id = o.id))
    FROM orders o WHERE o.id = $1";

const ORDERS_OF_CUSTOMER: &str = "
    SELECT json_build_object('id', id, 'status', status, 'totalCents', total_cents, 'placedAt', placed_at)
    FROM orders WHERE customer_id = $1 ORDER BY placed_at DESC LIMIT 20";

const PLACE_ORDER: &str = "
    INSERT INTO orders (customer_id, status, total_cents)
    SELECT $1, 'placed', price_cents::bigint * $3 FROM products WHERE id = $2 RETURNING id";

const PLACE_ITEM: &str = "
    INSERT INTO order_items (order_id, line, product_id, quantity, unit_price_cents)
    SELECT $1, 1, id, $3, price_cents FROM products WHERE id = $2";

#[derive(Deserialize)]
struct NewOrder {
    customer_id: i64,
    product_id: i64,
    quantity: i32,
}

/// Runs the command until the process is told to stop.
///
/// # Errors
/// When the database cannot be reached at first, or the address is taken.
pub async fn run(arguments: Arguments) -> Result<()> {
    let database = PgPoolOptions::new()
        .max_connections(arguments.connections)
        .acquire_timeout(Duration::from_secs(2))
        .connect(&arguments.database_url)
        .await
        .context("cannot connect to the database")?;
    let shop = Shop { database, metrics: Metrics::new() };
    let seen = |route| middleware::from_fn_with_state((shop.metrics.clone(), route), observe);
    let [one, of_customer, all] = ROUTES;
    let router = Router::new()
        .route(one.1, get(order).layer(seen(one)))
        .route(of_customer.1, get(orders_of_customer).layer(seen(of_customer)))
        .route(all.1, post(place).layer(seen(all)))
        .route("/healthz", get(healthy))
        .route("/metrics", get(metrics));
    let listener = tokio::net::TcpListener::bind(arguments.listen_address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, router.with_state(shop)).await?;
    Ok(())
}

async fn observe(
    State((metrics, (method, route))): State<(Metrics, (&'static str, &'static str))>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let response = next.run(request).await;
    metrics.count(method, route, response.status().as_u16(), started.elapsed());
    response
}

async fn order(State(shop): State<Shop>, Path(id): Path<i64>) -> Result<Response, Failure> {
    let order: Option<Value> = sqlx::query_scalar(ORDER).bind(id).fetch_optional(&shop.database).await?;
    Ok(order.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |order| Json(order).into_response()))
}

async fn orders_of_customer(
    State(shop): State<Shop>,
    Path(id): Path<i64>,
) -> Result<Json<Vec<Value>>, Failure> {
    Ok(Json(sqlx::query_scalar(ORDERS_OF_CUSTOMER).bind(id).fetch_all(&shop.database).await?))
}

async fn place(State(shop): State<Shop>, Json(new): Json<NewOrder>) -> Result<Json<Value>, Failure> {
    let mut transaction = shop.database.begin().await?;
    let order = sqlx::query_scalar(PLACE_ORDER).bind(new.customer_id).bind(new.product_id).bind(new.quantity);
    let id: i64 = order.fetch_one(&mut *transaction).await?;
    let item = sqlx::query(PLACE_ITEM).bind(id).bind(new.product_id).bind(new.quantity);
    item.execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Json(json!({"id": id})))
}

async fn healthy(State(shop): State<Shop>) -> Result<Response, Failure> {
    sqlx::query("SELECT 1").execute(&shop.database).await?;
    Ok(Json(json!({"status": "ok"})).into_response())
}

async fn metrics(State(shop): State<Shop>) -> Response {
    let content = [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    match shop.metrics.encode() {
        Ok(text) => (content, text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
