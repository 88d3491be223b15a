//! The statuses of Database and `MetricsProvider`.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::{Draft, Tri, stamp};
use crate::api::{
    Database, DatabaseStatus, MetricsProvider, MetricsProviderStatus, Reason, ReplicaMode, ServerStatus,
    condition,
};
use crate::core::state::Cause;

/// What was seen of a database.
#[derive(Clone, Debug)]
pub struct Surveyed {
    /// The server.
    pub server: ServerStatus,
    /// Grants that the login lacks, each with the feature that it disables.
    pub missing: Vec<String>,
    /// The first of them without which nothing runs.
    pub blocking: Option<String>,
    /// The copy.
    pub copy: CopyFact,
    /// Highest applied version of each stream.
    pub versions: Vec<(String, String)>,
    /// Version of the ledger, once there is one.
    pub ledger_version: Option<i32>,
    /// Runs that are recorded as applied, and that the ledger does not have.
    pub lost: Vec<String>,
    /// UID of the object whose run has not ended.
    pub unfinished: Option<String>,
}

/// What was seen of a copy.
#[derive(Clone, Debug)]
pub enum CopyFact {
    /// There is none.
    None,
    /// A run is on it; what was known stays.
    Busy,
    /// It can be used.
    Usable,
    /// It cannot be used.
    Unusable(Cause),
}

/// Makes the status of a Database.
pub fn database(
    object: &Database,
    seen: &Result<Surveyed, Cause>,
    active: Option<&str>,
    now: Timestamp,
) -> DatabaseStatus {
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let mut drafts = Vec::new();
    let wrong = match seen {
        Err(cause) => {
            drafts.push(Draft::new(condition::CONNECTED, Tri::False, cause.reason, &cause.message));
            Some(cause.clone())
        }
        Ok(seen) => facts(object, seen, &mut drafts),
    };
    match &wrong {
        None => {
            drafts
                .insert(0, Draft::new(condition::READY, Tri::True, Reason::Succeeded, "migrations can run"));
        }
        Some(cause) => {
            drafts.insert(0, Draft::new(condition::READY, Tri::False, cause.reason, &cause.message));
            drafts.insert(1, Draft::new(condition::RECONCILING, Tri::True, Reason::Retrying, &cause.message));
        }
    }
    let kept = match seen {
        Ok(Surveyed { copy: CopyFact::None | CopyFact::Usable | CopyFact::Unusable(_), .. }) => Vec::new(),
        Ok(Surveyed { copy: CopyFact::Busy, .. }) | Err(_) => still_true(&before.conditions),
    };
    let conditions = stamp(drafts, &kept, &before.conditions, generation, now);
    let seen = seen.as_ref().ok();
    DatabaseStatus {
        observed_generation: Some(generation),
        conditions,
        server: seen.map(|seen| seen.server.clone()).or(before.server),
        current_versions: seen
            .map_or(before.current_versions, |seen| seen.versions.iter().cloned().collect()),
        ledger_version: seen.map_or(before.ledger_version, |seen| seen.ledger_version),
        active_migration: active.map(str::to_owned),
    }
}

/// What an unreachable server leaves true: what was known of it.
fn still_true(conditions: &[Condition]) -> Vec<Condition> {
    let facts = [condition::PRIVILEGED, condition::REPLICA_USABLE];
    conditions.iter().filter(|old| facts.contains(&old.type_.as_str())).cloned().collect()
}

/// Makes the conditions of a server that answers; returns what keeps migrations from running.
fn facts(object: &Database, seen: &Surveyed, drafts: &mut Vec<Draft>) -> Option<Cause> {
    let server = format!(
        "PostgreSQL {}, system identifier {}, timeline {}",
        seen.server.version, seen.server.system_identifier, seen.server.timeline
    );
    drafts.push(Draft::new(condition::CONNECTED, Tri::True, Reason::Connected, &server));
    let mut wrong = None;
    if seen.missing.is_empty() {
        drafts.push(Draft::new(
            condition::PRIVILEGED,
            Tri::True,
            Reason::Privileged,
            "the login has every grant that is used",
        ));
    } else {
        let message = seen.missing.join("; ");
        drafts.push(Draft::new(condition::PRIVILEGED, Tri::False, Reason::InsufficientPrivilege, &message));
        wrong = seen
            .blocking
            .as_ref()
            .map(|blocking| Cause::new(Reason::InsufficientPrivilege, blocking.clone()));
    }
    match &seen.copy {
        CopyFact::Busy => {}
        CopyFact::None => {
            let message = "spec.replica.mode is None: nothing is rehearsed";
            drafts.push(Draft::new(condition::REPLICA_USABLE, Tri::False, Reason::NotRequired, message));
        }
        CopyFact::Usable => {
            let message = "the copy is writable, is not the primary, and has its schema";
            drafts.push(Draft::new(condition::REPLICA_USABLE, Tri::True, Reason::ReplicaUsable, message));
        }
        CopyFact::Unusable(cause) => {
            drafts.push(Draft::new(condition::REPLICA_USABLE, Tri::False, cause.reason, &cause.message));
            if object.spec.replica.mode == ReplicaMode::Existing {
                wrong = wrong.or_else(|| Some(cause.clone()));
            }
        }
    }
    wrong
}

/// Makes the status of a provider, which was asked or could not be.
pub fn provider(
    object: &MetricsProvider,
    asked: &Result<(), Cause>,
    now: Timestamp,
) -> MetricsProviderStatus {
    let before = object.status.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let drafts = match asked {
        Ok(()) => vec![Draft::new(condition::READY, Tri::True, Reason::Succeeded, "the provider answers")],
        Err(cause) => vec![
            Draft::new(condition::READY, Tri::False, cause.reason, &cause.message),
            Draft::new(condition::RECONCILING, Tri::True, Reason::Retrying, &cause.message),
        ],
    };
    MetricsProviderStatus {
        observed_generation: Some(generation),
        conditions: stamp(drafts, &[], &before.conditions, generation, now),
    }
}
