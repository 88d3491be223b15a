//! Pure: the plan of a run: every statement that will be sent, in order, and the way back of each unit.
//!
//! Invariant: a plan is stored whole in the ledger before the first effect; a run and its rollback read nothing else.

use std::fmt::Write;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::analysis::AnalysisPlan;
use super::backfill::Backfill;
use super::observation::UnitStatus;
use super::preview::Preview;
use crate::sql::{Aside, Statement};

/// What happens when the metrics breach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum OnBreach {
    /// Roll back at once.
    #[default]
    Rollback,
    /// Stop and ask a person.
    Pause,
    /// Tell, and go on.
    Notify,
}

/// How well a plan can be undone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Reversibility {
    /// At least one unit has no way back.
    #[default]
    ForwardOnly,
    /// Everything can be undone; what was added is put aside with its data.
    ReversibleWithArchive,
    /// Everything can be undone exactly.
    Reversible,
}

/// The limits under which statements run on the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The stall budget: waiting for locks plus holding them, per transaction, unless the step has its own.
    pub max_stall: Duration,
    /// How long lock attempts go on.
    pub lock_retry_for: Duration,
    /// Time limit of a statement that blocks nobody.
    pub statement_timeout: Duration,
    /// How far a standby may lag before readers are locked out, and how long its replay is waited for afterwards.
    #[serde(default = "ten_seconds")]
    pub max_replication_lag: Duration,
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            max_stall: Duration::from_millis(250),
            lock_retry_for: Duration::from_mins(30),
            statement_timeout: Duration::from_mins(5),
            max_replication_lag: ten_seconds(),
        }
    }
}

/// The database that a plan is for, pinned by the server's own identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseIdentity {
    /// `pg_control_system().system_identifier`.
    pub system_identifier: String,
    /// Name of the database in that cluster.
    pub name: String,
}

/// One step as the user wrote it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Unique within the plan.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Why it cannot be undone, if it cannot.
    pub irreversible: Option<String>,
    /// Whether a person wrote its way back, so that it is not known to be one until it was tried.
    #[serde(default)]
    pub written_back: bool,
    /// Its own stall budget, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_stall: Option<Duration>,
}

/// Statements that commit together, or one statement that cannot run in a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Block {
    /// Whether it runs inside one transaction, its ledger row included.
    pub transactional: bool,
    /// In the order in which they are sent.
    pub statements: Vec<Statement>,
    /// What this block puts aside, when it is a way back.
    pub aside: Vec<Aside>,
    /// The rows that are changed in batches; the one statement then only says what that comes to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill: Option<Box<Backfill>>,
}

impl Block {
    /// Makes a block that puts nothing aside; without statements, it only changes the ledger.
    pub fn of(statements: Vec<Statement>) -> Self {
        let transactional = statements.iter().all(|statement| statement.transactional);
        Self { transactional, statements, aside: Vec::new(), backfill: None }
    }
}

/// A unit: a block forward and its way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// Index into the plan's steps.
    pub step: usize,
    /// The stall budget of this unit.
    pub max_stall: Duration,
    /// What is applied.
    pub up: Block,
    /// The blocks that undo it, in order; absent when there is none.
    pub way_back: Option<Vec<Block>>,
    /// The same as one unit for each statement, should it hold its locks for too long as one transaction; absent where it
    /// must not be divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divided: Option<Vec<Unit>>,
}

/// The plan of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The independent line of versions.
    pub stream: String,
    /// The version that this plan reaches.
    pub version: String,
    /// `sha256:` and the hash over what the user asked for; see [`Identity`].
    pub hash: String,
    /// Where it runs.
    pub database: DatabaseIdentity,
    /// Schemas in which unqualified names are looked up, in order.
    pub search_path: Vec<String>,
    /// The role that owns what is created.
    pub owner_role: Option<String>,
    /// The limits on the primary.
    pub guard: Guard,
    /// Whether a copy goes first.
    pub rehearse: bool,
    /// What a breach means.
    pub on_breach: OnBreach,
    /// How well it can be undone.
    pub reversibility: Reversibility,
    /// The steps as written.
    pub steps: Vec<Step>,
    /// What is done, in order.
    pub units: Vec<Unit>,
    /// What was noticed while planning, for people.
    pub findings: Vec<Finding>,
    /// How it is watched, if it is.
    pub analysis: Option<AnalysisPlan>,
    /// What it will do, foreseen before it began; nothing rests on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Box<Preview>>,
}

/// Something noticed while planning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The step.
    pub step: String,
    /// Line in the step's SQL, from 1.
    pub line: u32,
    /// Column in the step's SQL, from 1.
    pub column: u32,
    /// What was noticed.
    pub message: String,
}

impl Plan {
    /// Returns why the units in force cannot all be undone, or `None` if they can.
    pub fn no_way_back(&self, units: &[UnitStatus]) -> Option<String> {
        self.units.iter().zip(units).find(|(unit, status)| status.in_force() && unit.way_back.is_none()).map(
            |(unit, _)| match self.steps.get(unit.step) {
                Some(Step { name, irreversible: Some(reason), .. }) => {
                    format!("step {name} is irreversible: {reason}")
                }
                Some(Step { name, .. }) => format!("step {name} has no way back"),
                None => "a unit has no way back".to_owned(),
            },
        )
    }

    /// Says which statement failed, where it stands, and what the server said.
    pub fn failure(&self, unit: usize, block: &Block, statement: Option<usize>, error: &str) -> String {
        let step = self.step_of(unit).map_or("?", |step| step.name.as_str());
        match statement.and_then(|index| block.statements.get(index)) {
            Some(statement) => {
                format!(
                    "step {step} at {}:{}: {}: {error}",
                    statement.line,
                    statement.column,
                    statement.summary()
                )
            }
            None => format!("step {step}: {error}"),
        }
    }

    /// Returns the step that a unit belongs to.
    pub fn step_of(&self, unit: usize) -> Option<&Step> {
        self.units.get(unit).and_then(|unit| self.steps.get(unit.step))
    }
}

/// One step as it enters the plan hash.
#[derive(Clone, Debug, Serialize)]
pub struct IdentityStep<'a> {
    /// As written or numbered.
    pub name: &'a str,
    /// As written.
    pub up: &'a str,
    /// As written.
    pub down: Option<&'a str>,
    /// As written.
    pub irreversible: Option<&'a str>,
    /// How it is divided into transactions.
    pub transaction: &'a str,
    /// As written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backfill: Option<&'a crate::api::Backfill>,
}

/// What a plan hash covers: exactly what the user asked for and where, and nothing of gates, analysis or rehearsal.
#[derive(Clone, Debug, Serialize)]
pub struct Identity<'a> {
    /// The line of versions.
    pub stream: &'a str,
    /// The version.
    pub version: &'a str,
    /// The steps.
    pub steps: Vec<IdentityStep<'a>>,
    /// The search path.
    pub search_path: &'a [String],
    /// The owner of new objects.
    pub owner_role: Option<&'a str>,
    /// The database.
    pub database: &'a DatabaseIdentity,
}

impl Identity<'_> {
    /// Returns `sha256:` and the hash of the canonical JSON.
    pub fn hash(&self) -> String {
        // Field order is fixed by the struct and maps are sorted, so the text is canonical.
        let text = serde_json::to_string(self).unwrap_or_default();
        let digest = Sha256::digest(text.as_bytes());
        digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}
