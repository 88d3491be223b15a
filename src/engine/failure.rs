//! From errors of the edges to causes and the time of the next attempt.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::Rng;

use crate::api::Reason;
use crate::core::observation::{Attempt, Blocker, Class};
use crate::core::state::Cause;
use crate::postgres::Error;

/// Statements that overran the stall budget so often in a row do not fit it.
const OVERRUNS: u32 = 3;

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
        Error::Server(server) if server.is_denied() => Reason::InsufficientPrivilege,
        Error::Server(_) | Error::TransactionEscaped | Error::NameTaken { .. } => Reason::ApplyFailed,
        Error::Unexpected(_) | Error::Unprobed(_) | Error::PostconditionMissing(_) => Reason::Internal,
        Error::Fenced | Error::OwnerAlive(_) | Error::LedgerMoved { .. } => Reason::Retrying,
        Error::LedgerNewer { .. } => Reason::LedgerNewer,
        Error::LedgerTouched(_) => Reason::LedgerTouched,
        Error::InRecovery { .. } => Reason::ServerInRecovery,
        Error::WrongServer { .. } | Error::IsACopy => Reason::WrongServer,
        Error::CopyIsPrimary => Reason::ReplicaIsPrimary,
    }
}

/// Returns whether the session that met this error can go on.
pub fn session_survives(error: &Error) -> bool {
    match error {
        Error::Server(server) => !server.sqlstate.starts_with("57P") && !server.sqlstate.starts_with("08"),
        Error::LedgerTouched(_)
        | Error::PostconditionMissing(_)
        | Error::Unprobed(_)
        | Error::LedgerMoved { .. }
        | Error::NameTaken { .. }
        | Error::OwnerAlive(_) => true,
        _ => false,
    }
}

/// Draws the pause after the n-th failed attempt: full jitter up to a bound that grows.
pub fn pause(class: Class, lock: bool, count: u32) -> Duration {
    let (least, first, most) = match (class, lock) {
        (Class::Ambiguous, _) => (20, 100, 10_000),
        (_, true) => (50, 200, 2_000),
        _ => (100, 500, 30_000),
    };
    let bound = u64::from(count.min(20)).pow(2).saturating_mul(first).clamp(first, most);
    Duration::from_millis(rand::rng().random_range(least..=bound.max(least)))
}

/// Turns a failure into the attempt that the next decision sees.
pub fn attempt(
    error: &Error,
    text: String,
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
        if count >= OVERRUNS {
            class = Class::Terminal;
            message = format!(
                "{message}; it does not fit the stall budget: use a form that does not block, or a larger maxStall on the step"
            );
        }
    }
    let lock = reason == Reason::WaitingForLock;
    if lock && !blockers.is_empty() {
        message = format!("{message}; blocked by {}", named(&blockers));
    }
    let wait = SignedDuration::try_from(pause(class, lock, count)).unwrap_or(SignedDuration::from_secs(1));
    Attempt { at: now, count, class, cause: Cause::new(reason, message), retry_at: now + wait, blockers }
}

/// Names who is in the way, in one line.
fn named(blockers: &[Blocker]) -> String {
    let one = |blocker: &Blocker| {
        let application =
            if blocker.application.is_empty() { "unknown application" } else { &blocker.application };
        let age =
            blocker.age_seconds.map_or_else(String::new, |age| format!(", transaction open for {age:.1} s"));
        format!("pid {} ({application}{age})", blocker.pid)
    };
    blockers.iter().take(3).map(one).collect::<Vec<_>>().join(", ")
}
