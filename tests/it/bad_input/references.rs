//! What a Database refers to is missing or wrong: the Migration says so, and goes on when it is corrected.

use anyhow::Result;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::stage::{Expected, Stage, WRONG_PASSWORD, database, without_copy};
use crate::harness::postgres::{Cluster, OPERATOR, Options, PASSWORD};
use crate::harness::run;

fn add(database: &str) -> Value {
    json!({"databaseRef": {"name": database}, "up": "CREATE TABLE healed ()"})
}

#[test]
fn missing_and_wrong_secrets_heal() -> Result<()> {
    run(async {
        let mut stage = Stage::new("bad_secret").await?;
        let names = ["no_secret", "no_key", "no_password", "no_copy_password", "no_url", "no_database"];
        let mut good = Vec::new();
        for name in names {
            good.push((name, stage.database(&format!("bad_secret_{name}")).await?));
        }
        let copy_of = |url: &str| json!({"uri": url, "copy": stage.copy.url(OPERATOR)});
        let url = |index: usize| good[index].1.url(OPERATOR);

        // Before: each Database and its Migration, and what is said of it.
        let wrong = url(2).replace(PASSWORD, WRONG_PASSWORD);
        stage.secret("no-key", &json!({"url": url(1)})).await?;
        stage.secret("no-password", &json!({"uri": wrong})).await?;
        let copy = stage.copy.url(OPERATOR).replace(PASSWORD, WRONG_PASSWORD);
        stage.secret("no-copy-password", &json!({"uri": url(3), "copy": copy})).await?;
        stage.secret("no-url", &json!({"uri": format!("postgres://{OPERATOR}:{PASSWORD}@127.0.0.1:1/x?sslmode=prefer&passfile=/x")})).await?;
        for (name, _) in &good {
            let name = name.replace('_', "-");
            let spec = if name == "no-copy-password" { database(&name) } else { without_copy(&name) };
            if name != "no-database" {
                stage.create("Database", &name, spec).await?;
            }
            stage.migrate(&name, add(&name)).await?;
        }
        let cases: &[(&str, &str, &[&str])] = &[
            ("no-secret", "SecretNotFound", &["Secret no-secret does not exist"]),
            ("no-key", "SecretKeyNotFound", &["Secret no-key has no key uri"]),
            ("no-password", "AuthenticationFailed", &["refused the login", "password authentication failed"]),
            ("no-copy-password", "AuthenticationFailed", &["the copy", "refused the login"]),
            ("no-url", "ConnectionInvalid", &["spec.primary", "passfile"]),
            ("no-database", "DatabaseNotFound", &["Database no-database does not exist"]),
        ];
        for (name, reason, says) in cases {
            stage.await_migration(name, &Expected::retrying(reason, says)).await?;
        }
        stage.assert_untouched().await?;

        // After: corrected, and nothing else was done.
        for (index, (name, _)) in good.iter().enumerate() {
            let mut data = copy_of(&url(index));
            if *name == "no_copy_password" {
                data["copy"] = json!(stage.copy.url(OPERATOR));
            }
            stage.secret(&name.replace('_', "-"), &data).await?;
        }
        stage.create("Database", "no-database", without_copy("no-database")).await?;
        for (name, database) in &good {
            stage.await_migration(&name.replace('_', "-"), &Expected::ready()).await?;
            assert_eq!(database.value("SELECT to_regclass('healed') IS NOT NULL").await?, "t", "{name}");
        }
        stage.assert_goes_on("bad_secret_other").await?;
        stage.assert_no_secret().await
    })
}

#[test]
fn database_that_is_down_is_awaited() -> Result<()> {
    run(async {
        let stage = Stage::new("bad_down").await?;
        let mut cluster = Cluster::start(Options::default()).await?;
        let database = cluster.database("away").await?;
        stage.secret("away", &json!({"uri": database.url(OPERATOR)})).await?;
        stage.create("Database", "away", without_copy("away")).await?;
        cluster.stop(Signal::SIGINT).await?;
        stage.migrate("away", add("away")).await?;
        let port = format!("127.0.0.1:{}", database.port());
        let says = [port.as_str(), "refused"];
        let expected = Expected::retrying("DatabaseUnreachable", &says);
        stage.await_migration("away", &expected).await?;
        let calm = stage.requests()?;
        cluster.resume().await?;
        stage.await_migration("away", &Expected::ready()).await?;
        assert_eq!(database.value("SELECT to_regclass('healed') IS NOT NULL").await?, "t");
        assert!(calm < 200, "{calm} requests to the API server about one Migration whose database is away");
        stage.finish().await
    })
}
