//! `whimbrel plan` of statements that store the rows of a query: what the planner of a real database says of them, and
//! that nothing is run for it.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cli_plan::{OFFLINE, files, json, on_database};
use crate::harness::postgres::{self, OPERATOR, SUPERUSER};
use crate::harness::run;

const SHOP: &str = "
CREATE TABLE users (id bigint PRIMARY KEY, name text, region int);
INSERT INTO users SELECT n, 'user ' || n, n % 10 FROM generate_series(1, 20000) n;
CREATE TABLE hidden (id bigint);
CREATE TABLE report (id bigint PRIMARY KEY, name text);
CREATE SEQUENCE numbers;
CREATE FUNCTION bomb() RETURNS int STABLE LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''called''; END';
CREATE VIEW bombed AS SELECT * FROM users WHERE region = bomb();
GRANT SELECT ON users, bombed TO whimbrel;
ANALYZE;";

const TEXT: &str = "
CREATE TABLE everybody AS SELECT id, name FROM users;
SELECT * INTO few FROM users WHERE region = 3;
CREATE MATERIALIZED VIEW regions AS SELECT region, count(*) FROM users GROUP BY region;
INSERT INTO report SELECT nextval('numbers'), name FROM users;
WITH gone AS (DELETE FROM users WHERE region = 4 RETURNING *) INSERT INTO report SELECT id, name FROM gone;
CREATE TABLE never AS SELECT * FROM bombed;
CREATE TABLE later AS SELECT * FROM everybody;
CREATE TABLE nothing AS SELECT * FROM users WITH NO DATA;
CREATE TABLE secret AS SELECT * FROM hidden;";

fn total(shown: &Value, statement: usize) -> Option<f64> {
    shown["statements"][statement]["estimate"]["totalMs"]["expected"].as_f64()
}

fn why(shown: &Value, statement: usize) -> &str {
    shown["statements"][statement]["noEstimate"].as_str().unwrap_or_default()
}

#[test]
fn the_planner_tells_how_many_rows_are_stored() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("plan_planner").await?;
        database.execute(SHOP).await?;
        let here = files(&[("1.sql", TEXT)])?;
        let shown = on_database(here.path(), &database, SUPERUSER, &["1.sql"]).await?;
        let all: Vec<Option<f64>> = (0..9).map(|statement| total(&shown, statement)).collect();
        let of = |statement: usize| all[statement].with_context(|| format!("{statement}: {shown:#}"));
        let wal = &shown["statements"][0]["estimate"]["walBytes"]["expected"];
        ensure!(wal.as_f64().is_some_and(|bytes| (6e5..2e6).contains(&bytes)), "20,000 rows: {wal}");
        ensure!(of(0)? > of(1)? && of(1)? > 3.0, "all rows, and a tenth: {all:?}");
        ensure!(of(3)? > of(0)?, "an index, too: {all:?}");
        ensure!(of(2)? > 2.0 && of(4)? > 2.0, "{all:?}");
        assert_eq!(all[5], None);
        ensure!(
            why(&shown, 5).contains("may call the function public.bomb in the view public.bombed"),
            "{shown:#}"
        );
        ensure!(why(&shown, 6).contains("relation \"everybody\" does not exist"), "{shown:#}");
        ensure!(of(7)? < 3.0, "{all:?}");
        let unknown = shown["unknown"].to_string();
        ensure!(
            unknown.contains("rows of CREATE TABLE later AS") && unknown.contains("the plan itself"),
            "{unknown}"
        );

        assert_eq!(database.value("SELECT count(*) FROM users").await?, "20000", "nothing is run");
        assert_eq!(database.value("SELECT is_called FROM numbers").await?, "f", "nothing is run");
        let made = "SELECT count(*) FROM pg_class WHERE relname IN ('everybody', 'few', 'regions', 'never')";
        assert_eq!(database.value(made).await?, "0");

        let many =
            on_database(here.path(), &database, SUPERUSER, &["--rows", "users=2000000", "1.sql"]).await?;
        ensure!(total(&many, 0) > total(&shown, 0).map(|ms| 50.0 * ms), "{many:#}");

        let operator = "CREATE FUNCTION same(int, int) RETURNS boolean IMMUTABLE LANGUAGE plpgsql \
             AS 'BEGIN RAISE EXCEPTION ''called''; END'; \
             CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = same, RESTRICT = eqsel)";
        database.execute(operator).await?;
        let shown = on_database(here.path(), &database, SUPERUSER, &["1.sql"]).await?;
        ensure!(why(&shown, 0).contains("may call the operator ===(integer,integer)"), "{shown:#}");
        Ok(())
    })
}

#[test]
fn a_login_that_may_not_read_is_told_the_grant() -> Result<()> {
    run(async {
        let database = postgres::shared().await?.database("plan_planner_denied").await?;
        database.execute(SHOP).await?;
        let here = files(&[("1.sql", TEXT)])?;
        let shown = on_database(here.path(), &database, OPERATOR, &["1.sql"]).await?;
        ensure!(total(&shown, 0).is_some(), "{shown:#}");
        ensure!(why(&shown, 8).contains("permission denied for table hidden"), "{shown:#}");
        let unknown = shown["unknown"].to_string();
        ensure!(unknown.contains("GRANT SELECT ON public.hidden TO whimbrel"), "{unknown}");
        Ok(())
    })
}

#[test]
fn without_a_database_it_is_said_that_nobody_knows() -> Result<()> {
    let here = files(&[("1.sql", TEXT)])?;
    let shown = json(here.path(), &[&OFFLINE[..], &["--rows", "users=1000", "1.sql"]].concat())?;
    for statement in [0, 1, 2, 3, 4, 8] {
        assert_eq!(total(&shown, statement), None, "{shown:#}");
        let why = why(&shown, statement);
        assert!(
            why.starts_with("how many rows its query has, only the planner of a database tells"),
            "{why}"
        );
    }
    assert!(total(&shown, 7).is_some(), "WITH NO DATA");
    Ok(())
}
