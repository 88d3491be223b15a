//! From errors of the edges to causes and the time of the next attempt.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::Rng;

use crate::api::Reason;
use crate::core::observation::{Attempt, Blocker, Class};
use crate::core::state::Cause;
use crate::postgres::Error;
use crate::sql::quote_literal;

/// Statements that overran the stall budget so often in a row do not fit it; on the way back more is tried.
const OVERRUNS: u32 = 3;
const OVERRUNS_BACK: u32 = 20;

/// What stops a way forward and may pass by itself or by a person: the way back is not given up for it, but tried again,
/// soon at first and then seldom. Cancelled by somebody (57014), no space (53100), another limit (53400), an I/O error (58030), read-only (25006).
const NOT_THE_WAY_BACK: [&str; 5] = ["57014", "53100", "53400", "58030", "25006"];
const SELDOM: SignedDuration = SignedDuration::from_secs(20);

/// Keeps a way back going where its failure says nothing about the way back itself.
pub fn on_the_way_back(error: &Error, attempt: Attempt) -> Attempt {
    let passes =
        matches!(error, Error::Server(server) if NOT_THE_WAY_BACK.contains(&server.sqlstate.as_str()));
    if !passes || attempt.class != Class::Terminal || attempt.cause.reason == Reason::StallBudgetExceeded {
        return attempt;
    }
    let pause = SELDOM.min(SignedDuration::from_millis(100 << attempt.count.min(8)));
    Attempt { class: Class::Transient, retry_at: attempt.at + pause, ..attempt }
}

/// Returns the word for an error of the PostgreSQL edge.
pub fn reason(error: &Error) -> Reason {
    match error {
        Error::Settings(_) => Reason::ConnectionInvalid,
        Error::Unreachable { .. } | Error::ConnectionLost(_) | Error::Deadline { .. } | Error::Tls { .. } => {
            Reason::DatabaseUnreachable
        }
        Error::Authentication { .. } => Reason::AuthenticationFailed,
        Error::DatabaseMissing { .. } => Reason::DatabaseNotFound,
        Error::PoolerDetected { .. } => Reason::PoolerDetected,
        Error::Server(server) if server.is_lock_timeout() => Reason::WaitingForLock,
        Error::Server(server) if server.is_disk_full() => Reason::DiskFull,
        Error::Server(server) if server.is_denied() => Reason::InsufficientPrivilege,
        Error::Server(_) | Error::TransactionEscaped | Error::NameTaken { .. } => Reason::ApplyFailed,
        Error::Unexpected(_) | Error::Unprobed(_) | Error::PostconditionMissing(_) => Reason::Internal,
        Error::Fenced | Error::OwnerAlive(_) | Error::LedgerMoved { .. } => Reason::Retrying,
        Error::LedgerNewer { .. } => Reason::LedgerNewer,
        Error::LedgerTouched(_) => Reason::LedgerTouched,
        Error::LockPlanViolated(_) => Reason::LockPlanViolated,
        Error::Backfill(_) => Reason::BackfillFailed,
        Error::Validation(_) => Reason::ValidationFailed,
        Error::RowsHeld(_) => Reason::WaitingForLock,
        Error::InRecovery { .. } => Reason::ServerInRecovery,
        Error::WrongServer { .. } | Error::NotPinned(_) | Error::IsACopy => Reason::WrongServer,
        Error::LedgerGone | Error::LedgerRewound { .. } => Reason::LedgerRewound,
        Error::NoStandby | Error::StandbyBehind(_) => Reason::WaitingForStandby,
        Error::CopyIsPrimary => Reason::ReplicaIsPrimary,
    }
}

/// Returns what people are told where a database could not be used at all; it is tried again.
pub fn of_the_database(error: &Error) -> Cause {
    let message = match error {
        Error::Server(server) if server.is_disk_full() => {
            format!("the history table cannot be written: {error}; it goes on by itself when there is some")
        }
        error => error.to_string(),
    };
    Cause::new(reason(error), message)
}

/// Returns whether the session that met this error can go on.
pub fn session_survives(error: &Error) -> bool {
    match error {
        Error::Server(server) => !server.sqlstate.starts_with("57P") && !server.sqlstate.starts_with("08"),
        Error::LedgerTouched(_)
        | Error::LockPlanViolated(_)
        | Error::Backfill(_)
        | Error::Validation(_)
        | Error::RowsHeld(_)
        | Error::PostconditionMissing(_)
        | Error::Unprobed(_)
        | Error::LedgerMoved { .. }
        | Error::NameTaken { .. }
        | Error::OwnerAlive(_)
        | Error::LedgerRewound { .. }
        | Error::NoStandby
        | Error::StandbyBehind(_) => true,
        _ => false,
    }
}

/// Draws the pause after the n-th failed attempt: full jitter up to a bound that grows.
pub fn pause(class: Class, lock: bool, count: u32) -> Duration {
    let (least, first, most) = match (class, lock) {
        (Class::Ambiguous, _) => (20, 100, 10_000),
        (_, true) => (10, 40, if count > 20 { 2_000 } else { 1_000 }),
        _ => (100, 500, 30_000),
    };
    let bound = u64::from(count.min(20)).pow(2).saturating_mul(first).clamp(first, most);
    Duration::from_millis(rand::rng().random_range(least..=bound.max(least)))
}

/// Draws the same as a span of time.
pub fn wait(class: Class, lock: bool, count: u32) -> SignedDuration {
    SignedDuration::try_from(pause(class, lock, count)).unwrap_or(SignedDuration::from_secs(1))
}

/// Turns a failure into the attempt that the next decision sees. `way_out` is what a person can do about a statement that
/// does not fit the stall budget; absent on the way back.
pub fn attempt(
    error: &Error,
    (text, way_out): (String, Option<&str>),
    blockers: Vec<Blocker>,
    before: Option<&Attempt>,
    now: Timestamp,
) -> Attempt {
    let count = before.map_or(1, |attempt| attempt.count + 1);
    let overran =
        matches!(error, Error::Server(server) if server.sqlstate == "57014" && server.own_timer_fired);
    let mut reason = reason(error);
    let mut class = error.class();
    let mut message = text;
    if overran {
        reason = Reason::StallBudgetExceeded;
        if count >= way_out.map_or(OVERRUNS_BACK, |_| OVERRUNS) {
            class = Class::Terminal;
            let way_out = way_out.unwrap_or("undo it when fewer people wait for it");
            message = format!("{message}; it does not fit the stall budget: {way_out}");
        }
    }
    let lock = reason == Reason::WaitingForLock;
    if lock && !blockers.is_empty() {
        message = format!("{message}; blocked by {}", named(&blockers, now));
    }
    let wait = wait(class, lock, count);
    let first = before.map_or(now, |attempt| attempt.first);
    Attempt {
        first,
        at: now,
        count,
        class,
        cause: Cause::new(reason, message),
        retry_at: now + wait,
        blockers,
    }
}

/// The attempt that was not made, and will not be by itself.
pub fn stopped(cause: Cause, before: Option<&Attempt>, now: Timestamp) -> Attempt {
    Attempt {
        first: before.map_or(now, |attempt| attempt.first),
        at: now,
        count: before.map_or(1, |attempt| attempt.count + 1),
        class: Class::Terminal,
        cause,
        retry_at: now,
        blockers: Vec::new(),
    }
}

/// Names who is in the way, since when, and what ends it, in one line.
fn named(blockers: &[Blocker], now: Timestamp) -> String {
    blockers.iter().take(3).map(|blocker| one(blocker, now)).collect::<Vec<_>>().join(", ")
}

fn one(blocker: &Blocker, now: Timestamp) -> String {
    let since = blocker.age_seconds.and_then(|age| SignedDuration::try_from_secs_f64(age).ok()).map(|age| {
        let since = now - age;
        format!(" since {since:.0}")
    });
    let since = since.unwrap_or_default();
    if let Some(gid) = &blocker.prepared {
        let gid = quote_literal(gid);
        return format!(
            "{}{since}, which ends by COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid} only",
            blocker.activity
        );
    }
    let application =
        if blocker.application.is_empty() { "unknown application" } else { &blocker.application };
    let hint = hint(blocker).map_or_else(String::new, |hint| format!("; {hint}"));
    format!("pid {} ({application}, in a transaction{since}: {}{hint})", blocker.pid, blocker.activity)
}

/// What is special about a session that holds its locks for long.
fn hint(blocker: &Blocker) -> Option<&'static str> {
    if blocker.activity.contains("(to prevent wraparound)") {
        Some("this autovacuum does not give way, and begins again if it is cancelled: let it finish")
    } else if blocker.application == "pg_dump" {
        Some("it holds its locks until the dump ends")
    } else if blocker.activity.starts_with("idle in transaction") {
        Some("it does nothing: end its transaction")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_the_way_is_named_with_what_ends_it() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let blocker = |application: &str, activity: &str| Blocker {
            pid: 7,
            application: application.to_owned(),
            age_seconds: Some(7200.4),
            activity: activity.to_owned(),
            prepared: None,
        };
        let check = |blocker: Blocker, expected: &str| {
            assert_eq!(named(&[blocker], now), expected);
        };
        check(
            blocker("pg_dump", "active: COPY public.users TO stdout"),
            "pid 7 (pg_dump, in a transaction since 2027-01-15T05:59:59Z: active: COPY public.users TO stdout; it holds its \
             locks until the dump ends)",
        );
        check(
            blocker("autovacuum worker", "active: autovacuum: VACUUM public.users (to prevent wraparound)"),
            "pid 7 (autovacuum worker, in a transaction since 2027-01-15T05:59:59Z: active: autovacuum: VACUUM public.users \
             (to prevent wraparound); this autovacuum does not give way, and begins again if it is cancelled: let it finish)",
        );
        check(
            Blocker { age_seconds: None, ..blocker("", "not visible to this login") },
            "pid 7 (unknown application, in a transaction: not visible to this login)",
        );
        check(
            Blocker { prepared: Some("it's".to_owned()), ..blocker("", "prepared transaction it's of app") },
            "prepared transaction it's of app since 2027-01-15T05:59:59Z, which ends by COMMIT PREPARED 'it''s' or ROLLBACK \
             PREPARED 'it''s' only",
        );
    }
}
