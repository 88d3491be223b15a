//! Looks at a database without changing anything, for its status.

use std::collections::BTreeMap;

use super::failure;
use super::subject::Database;
use crate::api::{Reason, ServerStatus, Version};
use crate::core::report::{CopyFact, Surveyed};
use crate::core::state::Cause;
use crate::postgres::copy::{Overlap, overlap};
use crate::postgres::ledger::Run;
use crate::postgres::{Error, Session, grants, rehearsal};

/// `application_name` of sessions that only look; a runner that takes over leaves them alone.
const NAME: &str = "whimbrel survey";

/// Connects to primary and copy, reads what the status tells, and leaves. While a run is under way
/// (`busy`) the copy is left to it. `recorded` are runs that statuses tell of as applied.
///
/// # Errors
/// Why the primary cannot be used.
pub async fn survey(database: &Database, busy: bool, recorded: &[String]) -> Result<Surveyed, Cause> {
    let primary = Session::open(&database.primary, NAME).await;
    let mut primary = primary.map_err(|error| Cause::new(failure::reason(&error), error.to_string()))?;
    let seen = match database.is_behind(&primary) {
        Ok(()) => look(&mut primary, database, busy, recorded).await,
        Err(error) => Err(error),
    };
    primary.close().await;
    seen.map_err(|error| Cause::new(failure::reason(&error), error.to_string()))
}

async fn look(
    primary: &mut Session,
    database: &Database,
    busy: bool,
    recorded: &[String],
) -> Result<Surveyed, Error> {
    let missing =
        grants::missing(primary.conn(), database.owner_role.as_deref(), &["public".to_owned()]).await?;
    let mut versions: BTreeMap<String, Version> = BTreeMap::new();
    let ledger_version = primary.head().map(|head| head.version);
    if ledger_version.is_some() {
        for (stream, text) in Run::applied_versions(primary.conn()).await? {
            let Ok(version) = Version::parse(&text, "version") else {
                continue;
            };
            let highest = versions.entry(stream).or_insert_with(|| version.clone());
            if *highest < version {
                *highest = version;
            }
        }
    }
    let copy = match &database.copy {
        None => CopyFact::None,
        Some(_) if busy => CopyFact::Busy,
        Some(target) => match Session::open(target, NAME).await {
            Err(error) => CopyFact::Unusable(unusable(&error)),
            Ok(mut copy) => {
                let found = compare(primary, &mut copy).await;
                copy.close().await;
                found.map_or_else(CopyFact::Unusable, |()| CopyFact::Usable)
            }
        },
    };
    let lost = match ledger_version {
        Some(_) => Run::lost(primary.conn(), recorded).await?,
        None => recorded.to_vec(),
    };
    let unfinished = match ledger_version {
        Some(_) => Run::unfinished(primary.conn()).await?,
        None => None,
    };
    let server = primary.server();
    Ok(Surveyed {
        unfinished,
        lost,
        server: ServerStatus {
            version: format!("{}.{}", server.version_num / 10_000, server.version_num % 10_000),
            system_identifier: server.system_identifier.clone(),
            timeline: i64::from(server.timeline_number()),
            in_recovery: server.in_recovery,
        },
        blocking: missing.iter().find(|missing| missing.blocking).map(ToString::to_string),
        missing: missing.iter().map(ToString::to_string).collect(),
        copy,
        versions: versions.into_iter().map(|(stream, version)| (stream, version.canonical())).collect(),
        ledger_version,
    })
}

fn unusable(error: &Error) -> Cause {
    let reason = match failure::reason(error) {
        Reason::DatabaseUnreachable => Reason::ReplicaUnreachable,
        reason => reason,
    };
    Cause::new(reason, format!("the copy: {error}"))
}

async fn compare(primary: &mut Session, copy: &mut Session) -> Result<(), Cause> {
    match overlap(primary.conn(), copy.conn()).await {
        Err(error) => return Err(unusable(&error)),
        Ok(Overlap::Database) => return Err(unusable(&Error::CopyIsPrimary)),
        Ok(Overlap::Server | Overlap::None) => {}
    }
    // With a ledger of its own, a copy that is behind is brought up by the next rehearsal.
    match rehearsal::drift(primary.conn(), copy.conn()).await {
        Err(error) => Err(unusable(&error)),
        Ok(None) => Ok(()),
        Ok(Some(differences)) => {
            Err(Cause::new(Reason::Drifted, format!("the copy differs from the primary: {differences}")))
        }
    }
}
