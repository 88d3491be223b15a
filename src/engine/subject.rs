//! What the engine is given: a database to work on, and the newest objects that want something of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;

use crate::api::{MigrationSpec, Version};
use crate::core::plan::{Guard, Reversibility};
use crate::core::state::Cause;
use crate::core::view::Tokens;
use crate::metrics::Provider;
use crate::postgres::identity::Pinned;
use crate::postgres::ledger::RunKey;
use crate::postgres::{Error, Session, Target};

/// A database, its Secrets resolved.
#[derive(Debug)]
pub struct Database {
    /// Name for logs and labels, for example `shop/shop`.
    pub name: String,
    /// Where the primary is.
    pub primary: Target,
    /// Where the writable copy is, if there is one.
    pub copy: Option<Target>,
    /// The physical standbys that serve readers.
    pub standbys: Vec<Standby>,
    /// The role that owns what a migration creates.
    pub owner_role: Option<String>,
    /// Limits on the primary.
    pub guard: Guard,
    /// The least grade that a plan may have.
    pub min_reversibility: Reversibility,
    /// Whether versions may come late.
    pub out_of_order: bool,
    /// Up to here everything counts as applied.
    pub baseline: Option<Version>,
    /// Whether what is committed counts only once a synchronous standby has applied it.
    pub remote_apply: bool,
    /// What was seen before.
    pub recorded: Recorded,
}

/// What was seen of a database before, as noted outside of it.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// The server.
    pub server: Option<Pinned>,
    /// Whether there was a ledger.
    pub ledger: bool,
    /// The highest applied version of each stream.
    pub versions: Vec<(String, Version)>,
}

impl Database {
    /// Compares a session with what was seen before.
    ///
    /// # Errors
    /// `NotPinned`, `LedgerGone`.
    pub fn is_behind(&self, session: &Session) -> Result<(), Error> {
        if let Some(pinned) = &self.recorded.server {
            session.expect(pinned)?;
        }
        if self.recorded.ledger && session.head().is_none() && self.baseline.is_none() {
            return Err(Error::LedgerGone);
        }
        Ok(())
    }
}

/// A physical standby, its Secret resolved.
#[derive(Clone, Debug)]
pub struct Standby {
    /// Name for messages.
    pub name: String,
    /// Where it is.
    pub target: Target,
}

/// The metric providers that an analysis names, their Secrets resolved.
#[derive(Clone, Debug, Default)]
pub struct Providers {
    /// By name; one that cannot be asked says why.
    pub by_name: BTreeMap<String, Provider>,
    /// How often each scrapes.
    pub scrape_intervals: BTreeMap<String, Duration>,
    /// What is wrong with those that cannot be asked.
    pub wrong: Vec<Cause>,
}

/// The newest state of one Migration object.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Identity of the object.
    pub key: RunKey,
    /// `metadata.generation`.
    pub generation: i64,
    /// When it was created.
    pub created: Timestamp,
    /// What it asks for.
    pub spec: MigrationSpec,
    /// It is being deleted, or is gone.
    pub gone: bool,
    /// Its one-shot tokens.
    pub tokens: Tokens,
    /// The providers that its analysis names.
    pub providers: Providers,
    /// The run that its status tells of.
    pub recorded_run: Option<String>,
}

/// Asks whether an object still exists, at its source and not in a cache; the error says why that is not known.
pub type Presence = Arc<dyn Fn(RunKey) -> BoxFuture<'static, Result<bool, String>> + Send + Sync>;

/// Everything that is wanted of one database.
#[derive(Clone)]
pub struct Desired {
    /// The database.
    pub database: Arc<Database>,
    /// The objects that are not settled.
    pub subjects: Vec<Arc<Subject>>,
    /// Streams and versions that the statuses of the settled objects call applied.
    pub settled: Vec<(String, Version)>,
    /// Tells a deleted object from one that was not seen yet.
    pub presence: Presence,
    /// When it was gathered.
    pub at: Instant,
}

impl Desired {
    /// Returns the subject of that UID.
    pub fn subject(&self, uid: &str) -> Option<&Arc<Subject>> {
        self.subjects.iter().find(|subject| subject.key.uid == uid)
    }
}
