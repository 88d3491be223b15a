//! Where runs take place: a server for each worker, and databases made from a template for each run.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;
use sqlx::PgConnection;

use super::owner::SOON;
use crate::harness::await_until;
use crate::harness::postgres::{Cluster, Database, OPERATOR, OWNER, Options, execute};

const TEMPLATE: &str = include_str!("template.sql");

/// A server, and the session that makes databases.
pub struct Stage {
    cluster: Cluster,
    admin: Option<PgConnection>,
    made: u32,
    /// Copying files is twice as fast as logging each page (from PostgreSQL 15 on there is a choice).
    strategy: &'static str,
}

impl Stage {
    /// Starts a server with the template.
    ///
    /// # Errors
    /// When it does not start.
    pub async fn start() -> Result<Self> {
        let settings = [
            ("autovacuum", "off"),
            ("log_statement", "none"),
            ("max_wal_senders", "4"),
            ("max_wal_size", "64MB"),
            ("min_wal_size", "32MB"),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let cluster = Cluster::start(Options { trust: true, settings, ..Options::default() }).await?;
        let template = cluster.database("crash").await?;
        template.execute(TEMPLATE).await.context("the template")?;
        let major = template.value("SELECT current_setting('server_version_num')::int / 10000").await?;
        let strategy = if major.parse::<u32>()? >= 15 { "STRATEGY file_copy" } else { "" };
        Ok(Self { cluster, admin: None, made: 0, strategy })
    }

    async fn admin(&mut self, sql: &str) -> Result<()> {
        if self.admin.is_none() {
            self.admin = Some(self.cluster.admin().connect().await?);
        }
        let admin = self.admin.as_mut().context("no session")?;
        let done = execute(admin, sql).await;
        if done.is_err() {
            self.admin = None;
        }
        done
    }

    /// The statements that make a database of the template. With `brake`, changes of its schema take at least so many seconds.
    fn making(&mut self, brake: Option<f64>) -> (String, [String; 2]) {
        self.made += 1;
        let name = format!("run_{}", self.made);
        let strategy = self.strategy;
        let create = format!("CREATE DATABASE {name} TEMPLATE crash OWNER {OWNER} {strategy}");
        let brake = brake.map(|brake| format!("; ALTER DATABASE {name} SET crash.brake TO '{brake}'"));
        let brake = brake.unwrap_or_default();
        let grant = format!("GRANT CREATE ON DATABASE {name} TO {OPERATOR}{brake}");
        (name, [create, grant])
    }

    /// Makes a database of the template. With `brake`, changes of its schema take at least so many seconds.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn database(&mut self, brake: Option<f64>) -> Result<Database> {
        let (name, statements) = self.making(brake);
        for statement in &statements {
            self.admin(statement).await?;
        }
        Ok(self.cluster.named(&name))
    }

    /// Starts a server of the same content with a standby, and makes a database on it.
    ///
    /// # Errors
    /// When one does not start.
    pub async fn pair(&mut self, brake: Option<f64>) -> Result<(Pair, Database)> {
        let primary = self.cluster.writable_copy().await?;
        let standby = primary.standby().await?;
        let (name, statements) = self.making(brake);
        for statement in &statements {
            primary.admin().execute(statement).await?;
        }
        let database = primary.named(&name);
        let there = standby.named(&name);
        await_until("the standby having the database", SOON, async || there.connect().await.map(drop))
            .await?;
        Ok((Pair { primary, standby }, database))
    }

    /// Removes a database, whoever is in it.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove(&mut self, database: &Database) -> Result<()> {
        self.admin(&format!("DROP DATABASE {} WITH (FORCE)", database.name())).await
    }

    /// The template itself.
    pub fn template(&self) -> Database {
        self.cluster.named("crash")
    }

    /// Where the server listens.
    pub fn port(&self) -> u16 {
        self.cluster.port()
    }

    /// Stops the server as a crash does, and starts it again.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn crash(&mut self) -> Result<()> {
        self.admin = None;
        self.cluster.stop(Signal::SIGQUIT).await?;
        self.cluster.resume().await
    }
}

/// A server, and the standby that takes its place.
pub struct Pair {
    primary: Cluster,
    /// The standby.
    pub standby: Cluster,
}

impl Pair {
    /// The server is gone, and the standby is what there is.
    ///
    /// # Errors
    /// When the standby does not become a primary.
    pub async fn fail_over(&mut self) -> Result<()> {
        self.primary.stop(Signal::SIGQUIT).await?;
        self.standby.promote().await
    }

    /// Removes both.
    ///
    /// # Errors
    /// When one does not end.
    pub async fn discard(self) -> Result<()> {
        self.primary.discard().await?;
        self.standby.discard().await
    }
}

/// How often each text occurs.
pub fn counted(texts: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counted = BTreeMap::new();
    for text in texts {
        *counted.entry(text).or_default() += 1;
    }
    counted
}
