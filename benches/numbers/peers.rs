//! The ways to add a column that are compared: the operator, `psql`, golang-migrate and pgroll as they come, and nobody.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::harness::postgres::{Database, SUPERUSER};
use crate::harness::scratch;
use crate::shared::program;
use crate::shared::sightings::is_ready;
use crate::shared::stage::{SHOP, Shop, Stage};

/// Who does not come to an end within this time does not come to one.
pub const GIVEN_UP: Duration = Duration::from_mins(1);

/// A way to add a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// A Migration.
    Operator,
    /// `psql -c`.
    Psql,
    /// `migrate up`, by its program.
    Migrate(String),
    /// `pgroll start --complete`, by its program.
    Pgroll(String),
    /// Nobody changes anything.
    Nobody,
}

impl Way {
    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Operator => "Whimbrel",
            Self::Psql => "psql -c",
            Self::Migrate(_) => "golang-migrate",
            Self::Pgroll(_) => "pgroll",
            Self::Nobody => "nobody changes anything",
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Psql => "psql",
            Self::Migrate(_) => "migrate",
            Self::Pgroll(_) => "pgroll",
            Self::Nobody => "nobody",
        }
    }
}

/// A way with a database of its own.
pub struct Peer<'a> {
    /// The way.
    pub way: Way,
    /// Its database.
    pub database: Database,
    shop: Option<Shop<'a>>,
    /// Where its migrations are, for those who read files.
    directory: PathBuf,
}

impl<'a> Peer<'a> {
    /// Prepares it: what is done once for a database is not measured.
    ///
    /// # Errors
    /// When that fails.
    pub async fn new(stage: &'a Stage, way: &Way) -> Result<Self> {
        let name = format!("stall{}", way.word());
        let (database, shop) = if *way == Way::Operator {
            let shop = stage.shop(&name, false).await?;
            (shop.database.clone(), Some(shop))
        } else {
            let database = stage.primary.database(&name).await?;
            database.execute(SHOP).await?;
            (database, None)
        };
        let peer = Self { way: way.clone(), database, shop, directory: scratch::directory(way.word())? };
        if let Way::Pgroll(program) = way {
            program::introduce_to_pgroll(program, &peer.database).await?;
        }
        peer.add(0).await?;
        Ok(peer)
    }

    /// The column of a round.
    pub fn column(round: usize) -> String {
        format!("added_{round}")
    }

    /// The operator's Migration of a round.
    pub fn migration(round: usize) -> String {
        format!("add-{round}")
    }

    /// Adds a column; returns when it is told to be there.
    ///
    /// # Errors
    /// When it is not added in time.
    pub async fn add(&self, round: usize) -> Result<()> {
        let added = tokio::time::timeout(GIVEN_UP, self.adding(round)).await;
        added.with_context(|| format!("{} does not come to an end", self.way.name()))?
    }

    async fn adding(&self, round: usize) -> Result<()> {
        let column = Self::column(round);
        let sql = format!("ALTER TABLE users ADD COLUMN {column} text DEFAULT 'none'");
        match &self.way {
            Way::Nobody => Ok(()),
            Way::Psql => {
                let database = self.database.clone();
                tokio::task::spawn_blocking(move || database.psql(&sql)).await??;
                Ok(())
            }
            Way::Operator => {
                let shop = self.shop.as_ref().context("the operator does not know the database")?;
                let name = Self::migration(round);
                shop.create(&shop.migration(&name, round + 1, &json!({"up": sql}))).await?;
                shop.stage.sightings.first_within(GIVEN_UP, (&shop.name, &name), is_ready).await.map(drop)
            }
            Way::Migrate(program) => {
                std::fs::write(self.directory.join(format!("{}_add.up.sql", round + 1)), sql)?;
                let directory = self.directory.display().to_string();
                let url = self.database.url(SUPERUSER);
                program::run(program, &["-path", &directory, "-database", &url, "up"]).await
            }
            Way::Pgroll(program) => {
                let file = self.directory.join(format!("{:05}_add.json", round + 1));
                std::fs::write(&file, added_by_pgroll(&column).to_string())?;
                let file = file.display().to_string();
                program::pgroll(program, &self.database, &["start", "--complete", &file]).await
            }
        }
    }
}

fn added_by_pgroll(column: &str) -> Value {
    let column = json!({"name": column, "type": "text", "nullable": true, "default": "'none'"});
    json!({"operations": [{"add_column": {"table": "users", "column": column}}]})
}
