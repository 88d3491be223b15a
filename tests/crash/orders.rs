//! What a driver is told: by a file at its start, and by lines on its control socket later.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a driver works on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Orders {
    /// Name of the owner.
    pub owner: String,
    /// The databases, each with a runner.
    pub databases: Vec<Place>,
    /// The Migrations.
    pub subjects: Vec<Wanted>,
    /// A rollback is asked for as soon as a migration is watched.
    pub rolled_back_on_request: bool,
    /// Where the outcome is written.
    pub outcome: String,
    /// The socket of the harness.
    pub control: String,
}

/// Where a database is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Place {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Name of the database.
    pub name: String,
    /// Port and name of its writable copy.
    pub copy: Option<(u16, String)>,
    /// What was seen of it before, as the status of the Database tells.
    pub recorded: Option<Recorded>,
}

/// What was seen of a database.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// The server's identifier and its timeline.
    pub server: (String, u32),
    /// The version that is applied.
    pub version: Option<String>,
}

/// One Migration.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Wanted {
    /// Index of its database.
    pub database: usize,
    /// Name and UID.
    pub name: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// `spec`.
    pub spec: Value,
    /// It is being deleted.
    pub gone: bool,
    /// The run that its status tells of.
    pub run: Option<String>,
}

/// How a Migration ended, as the driver was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Name.
    pub name: String,
    /// Phase of the run, or how it stands without one.
    pub phase: String,
    /// Why.
    pub message: String,
}
