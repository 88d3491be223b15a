//! What can go wrong between us and a PostgreSQL server, and what may be done about it.
//!
//! **Invariant**: nothing in here holds a `sqlx::Error`. The server puts row values into the DETAIL and CONTEXT fields of
//! its errors, and sqlx prints both; only the fields that are safe to show are copied out.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use super::identity::Mismatch;
pub use crate::core::observation::Class;
use crate::core::observation::UnitStatus;

/// Longest text that is kept of a server message, in bytes.
pub const MAX_TEXT: usize = 1024;

/// Classifies an SQLSTATE (PostgreSQL manual, appendix A).
///
/// `own_timer_fired` says that a cancellation (57014) came from a timeout or a cancel request of our own.
pub fn classify(sqlstate: &str, own_timer_fired: bool) -> Class {
    let class = sqlstate.get(..2).unwrap_or_default();
    match sqlstate {
        "40001" | "40P01" | "55P03" | "55006" | "53000" | "53200" | "53300" => Class::Transient,
        "57014" if own_timer_fired => Class::Transient,
        "2BP01" | "3D000" | "25001" => Class::User,
        _ if sqlstate.starts_with("57P0") || class == "08" => Class::Ambiguous,
        _ => match class {
            "42" | "22" | "23" | "28" => Class::User,
            "XX" => Class::Bug,
            _ => Class::Terminal,
        },
    }
}

/// The login lacks a privilege, and what it could be, since the server gives no hint then.
const DENIED: &str = "42501";
const GRANTS: &str =
    "`whimbrel grants` prints what the login needs, and spec.ownerRole has to own what is changed";

/// The server has no space left, and what to look at; what it says itself is to look.
const DISK_FULL: &str = "53100";
const FREE: &str = "free space on the server's volume: WAL kept for a replication slot (pg_replication_slots) or a failing \
    archive_command (pg_stat_archiver), temporary files, old data";

/// An error of the PostgreSQL edge.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The connection settings cannot be used. The text never repeats the URL.
    #[error("connection settings: {0}")]
    Settings(String),
    /// No session: refused, no route, no such host, timed out, starting up, out of connections.
    #[error("cannot reach {target}: {cause}")]
    Unreachable {
        /// Host and port.
        target: String,
        /// What the system or the server said.
        cause: String,
    },
    /// The TLS handshake failed, or the server has no TLS.
    #[error("TLS with {target} failed: {cause}")]
    Tls {
        /// Host and port.
        target: String,
        /// What the TLS library said.
        cause: String,
    },
    /// The server refused the login (class 28).
    #[error("{target} refused the login: {cause}")]
    Authentication {
        /// Host and port.
        target: String,
        /// What the server said.
        cause: String,
    },
    /// The server has no such database (3D000).
    #[error("{target}: {cause}")]
    DatabaseMissing {
        /// Host and port.
        target: String,
        /// What the server said.
        cause: String,
    },
    /// A pooler hands our sessions to different backends, so that locks and settings do not hold.
    #[error(
        "{target} is a transaction pooler ({evidence}); connect to the server itself, or pool by session"
    )]
    PoolerDetected {
        /// Host and port.
        target: String,
        /// What gave it away.
        evidence: String,
    },
    /// The server answered with an error.
    #[error("{0}")]
    Server(Box<ServerError>),
    /// The connection was lost while a request was under way.
    #[error("the connection was lost: {0}")]
    ConnectionLost(String),
    /// Our own deadline passed. The session must be closed, not used again: its statement may still run.
    #[error("no answer to {what} within {after:?}")]
    Deadline {
        /// What was asked.
        what: &'static str,
        /// The deadline.
        after: Duration,
    },
    /// An answer that this program does not understand.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
    /// Another owner took over: this one must not act any more.
    #[error("another owner took over this database")]
    Fenced,
    /// A predecessor's session or concurrent build is still there.
    #[error("waiting for a predecessor: {0}")]
    OwnerAlive(String),
    /// The ledger says something else than it did when this was decided.
    #[error("unit {unit} is {status:?} meanwhile; looking again")]
    LedgerMoved {
        /// The unit, from 1.
        unit: usize,
        /// How far it is.
        status: UnitStatus,
    },
    /// The ledger was written by a newer version of this program.
    #[error("the ledger has version {found}, this program knows up to {known}; use a newer whimbrel")]
    LedgerNewer {
        /// What is there.
        found: i32,
        /// What is known.
        known: i32,
    },
    /// User SQL touched the ledger; its transaction was rolled back.
    #[error("the SQL touched {0}, which belongs to whimbrel; it was rolled back")]
    LedgerTouched(String),
    /// The transaction holds locks that it did not take on the copy; it was rolled back.
    #[error("on the primary it locked more than on the copy, and was rolled back: {0}")]
    LockPlanViolated(String),
    /// A backfill cannot go on as it is written, or with the data that is there.
    #[error("{0}")]
    Backfill(String),
    /// Rows that a backfill has to change are held by somebody.
    #[error("{0}")]
    RowsHeld(String),
    /// What a backfill was to bring about is not so at its end.
    #[error("{0}")]
    Validation(String),
    /// User SQL ended the transaction around it.
    #[error("the SQL ended the transaction that it ran in (a COMMIT or ROLLBACK inside DO or CALL)")]
    TransactionEscaped,
    /// A statement reported success, and the catalog does not show it.
    #[error("{0}: the server reported success, but the catalog does not show it")]
    PostconditionMissing(String),
    /// The name of an index is taken by another one.
    #[error("{what}: an index of that name is there, and is another one: {how}")]
    NameTaken {
        /// The statement.
        what: String,
        /// How they differ.
        how: String,
    },
    /// A statement outside a transaction without a postcondition.
    #[error("{0}: cannot run outside a transaction, since nothing tells whether it took effect")]
    Unprobed(String),
    /// The server takes no writes.
    #[error("{target} is in recovery (a standby); the primary is needed")]
    InRecovery {
        /// Host and port.
        target: String,
    },
    /// Not the server that the ledger was made on.
    #[error(
        "wrong server: system identifier {found}, the ledger was made on {expected}; if the database was moved on purpose: \
         UPDATE whimbrel.ledger SET system_identifier = '{found}'"
    )]
    WrongServer {
        /// What the ledger says.
        expected: String,
        /// What was reached.
        found: String,
    },
    /// Not the server that was seen before.
    #[error(
        "wrong server: {0}; nothing is done there; correct the connection, or, if the database was moved on purpose, delete the \
         Database object and create it again"
    )]
    NotPinned(Mismatch),
    /// There was a ledger, and there is none.
    #[error(
        "the history table (schema whimbrel) is gone, so that nothing tells which versions are applied; restore it from a backup, \
         or set spec.baseline of the Database to the version that is in force"
    )]
    LedgerGone,
    /// The ledger lacks a run that was recorded as applied.
    #[error(
        "the history table lacks version {version} of stream {stream}, which was applied: the server lost its last commits, in a \
         failover or because an older state was restored; its Migration is applied again first"
    )]
    LedgerRewound {
        /// The line of versions.
        stream: String,
        /// The version that is lost.
        version: String,
    },
    /// Nothing can be made durable on a standby.
    #[error(
        "durability is RemoteApply, and the server has no synchronous standby; nothing more is done until \
         synchronous_standby_names is set (or durability is ServerDefault)"
    )]
    NoStandby,
    /// The standby does not have what was committed.
    #[error(
        "durability is RemoteApply, and no synchronous standby has applied what was committed within {0:?}; nothing more is done \
         until one has: look at pg_stat_replication"
    )]
    StandbyBehind(Duration),
    /// The copy that was named is the primary itself.
    #[error(
        "the copy is the primary itself: both connections reach the same database server; name a separate copy"
    )]
    CopyIsPrimary,
    /// The database is known as a copy of another one.
    #[error("this database is a copy: its ledger says so; it cannot be a primary")]
    IsACopy,
}

impl Error {
    /// Returns what this error means for the caller, given that no timer of ours had fired.
    pub fn class(&self) -> Class {
        match self {
            Self::Unreachable { .. }
            | Self::OwnerAlive(_)
            | Self::LedgerRewound { .. }
            | Self::NoStandby
            | Self::RowsHeld(_)
            | Self::StandbyBehind(_) => Class::Transient,
            Self::Settings(_)
            | Self::Tls { .. }
            | Self::Authentication { .. }
            | Self::DatabaseMissing { .. }
            | Self::PoolerDetected { .. }
            | Self::LedgerTouched(_)
            | Self::Backfill(_)
            | Self::Validation(_)
            | Self::NameTaken { .. }
            | Self::TransactionEscaped
            | Self::InRecovery { .. }
            | Self::IsACopy
            | Self::CopyIsPrimary => Class::User,
            Self::Server(server) => server.class(),
            Self::ConnectionLost(_) | Self::Deadline { .. } | Self::LedgerMoved { .. } => Class::Ambiguous,
            Self::Unexpected(_) | Self::Unprobed(_) => Class::Bug,
            Self::Fenced
            | Self::LedgerNewer { .. }
            | Self::LockPlanViolated(_)
            | Self::PostconditionMissing(_)
            | Self::NotPinned(_)
            | Self::LedgerGone
            | Self::WrongServer { .. } => Class::Terminal,
        }
    }

    /// Tells whether somebody, or a timer, cancelled the statement.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Server(error) if error.is_cancelled())
    }

    /// Returns the SQLSTATE, where the server answered with one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Server(server) => Some(&server.sqlstate),
            _ => None,
        }
    }

    /// Marks a cancellation (57014) as one that our own timer or cancel request caused.
    #[must_use]
    pub fn with_own_timer(mut self, fired: bool) -> Self {
        if let Self::Server(server) = &mut self {
            server.own_timer_fired = fired;
        }
        self
    }

    /// Takes the length of what stood before a statement from the position of an error in it.
    #[must_use]
    pub(super) fn further_left(mut self, characters: usize) -> Self {
        if let Self::Server(server) = &mut self {
            server.position = server.position.and_then(|position| position.checked_sub(characters));
        }
        self
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(database) => match database.try_downcast_ref::<PgDatabaseError>() {
                Some(error) => Self::Server(Box::new(ServerError::from(error))),
                None => Self::Unexpected(bounded(database.message())),
            },
            sqlx::Error::Io(io) => Self::ConnectionLost(bounded(&io.to_string())),
            sqlx::Error::Tls(cause) => Self::ConnectionLost(bounded(&cause.to_string())),
            sqlx::Error::WorkerCrashed | sqlx::Error::PoolClosed => {
                Self::ConnectionLost("session closed".to_owned())
            }
            // The text of a conversion error may repeat the value.
            sqlx::Error::ColumnDecode { index, .. } => {
                Self::Unexpected(format!("column {index} cannot be decoded"))
            }
            other => Self::Unexpected(bounded(&other.to_string())),
        }
    }
}

/// The parts of a server error that may be shown: no DETAIL, no CONTEXT, bounded text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// Five characters (PostgreSQL manual, appendix A).
    pub sqlstate: String,
    /// The primary message, at most [`MAX_TEXT`] bytes, without values of rows.
    pub message: String,
    /// The server's advice, where it gave one.
    pub hint: Option<String>,
    /// Position in the statement that was sent, in characters, counted from 1.
    pub position: Option<usize>,
    /// Schema of the object that the error is about.
    pub schema: Option<String>,
    /// Table that the error is about.
    pub table: Option<String>,
    /// Column that the error is about.
    pub column: Option<String>,
    /// Constraint (or unique index) that was violated.
    pub constraint: Option<String>,
    /// Whether a timer or cancel request of our own caused this error.
    pub own_timer_fired: bool,
}

impl ServerError {
    /// Returns what this error means for the caller.
    pub fn class(&self) -> Class {
        classify(&self.sqlstate, self.own_timer_fired)
    }

    /// Tells whether a lock was not granted in time (55P03).
    pub fn is_lock_timeout(&self) -> bool {
        self.sqlstate == "55P03"
    }

    /// Tells whether the login lacks a privilege (42501).
    pub fn is_denied(&self) -> bool {
        self.sqlstate == DENIED
    }

    /// Tells whether the server has no space left (53100).
    pub fn is_disk_full(&self) -> bool {
        self.sqlstate == DISK_FULL
    }

    /// Tells whether somebody, or a timer, cancelled the statement (57014).
    pub fn is_cancelled(&self) -> bool {
        self.sqlstate == "57014"
    }

    /// Adds advice to that of the server.
    pub fn advise(&mut self, advice: String) {
        self.hint = Some(match self.hint.take() {
            Some(hint) => format!("{hint}; {advice}"),
            None => advice,
        });
    }
}

impl From<&PgDatabaseError> for ServerError {
    fn from(error: &PgDatabaseError) -> Self {
        let position = match error.position() {
            Some(PgErrorPosition::Original(position)) => Some(position),
            _ => None,
        };
        let owned = |text: Option<&str>| text.map(bounded);
        Self {
            sqlstate: error.code().to_owned(),
            message: bounded(&shown(error.code(), error.message(), position.is_some())),
            hint: match error.code() {
                DISK_FULL => Some(FREE.to_owned()),
                code => owned(error.hint().or((code == DENIED).then_some(GRANTS))),
            },
            position,
            schema: owned(error.schema()),
            table: owned(error.table()),
            column: owned(error.column()),
            constraint: owned(error.constraint()),
            own_timer_fired: false,
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (SQLSTATE {})", self.message, self.sqlstate)?;
        match &self.hint {
            Some(hint) => write!(f, "; hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Hides the value that a data exception (class 22) quotes, unless it stands in the statement itself, which is what a
/// position says: `invalid input syntax for type integer: "..."` names a cell of somebody's row.
fn shown(sqlstate: &str, message: &str, in_statement: bool) -> String {
    match message.split_once(": \"") {
        Some((before, _)) if sqlstate.starts_with("22") && !in_statement => {
            format!("{before} (value not shown)")
        }
        _ => message.to_owned(),
    }
}

/// Cuts a text at [`MAX_TEXT`] bytes, on a character boundary.
pub(super) fn bounded(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let mark = '…';
    let cut = text.floor_char_boundary(MAX_TEXT - mark.len_utf8());
    let mut kept = text.get(..cut).unwrap_or_default().to_owned();
    kept.push(mark);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstates_are_classified_as_the_design_says() {
        let check = |codes: &[&str], own_timer: bool, class: Class| {
            for code in codes {
                assert_eq!(classify(code, own_timer), class, "{code}");
            }
        };
        let retry = ["40001", "40P01", "55P03", "55006", "53000", "53200", "53300"];
        check(&retry, false, Class::Transient);
        check(&["57014"], true, Class::Transient);
        check(
            &["57014", "53100", "53400", "55000", "P0001", "0A000", "58030", "25P02", "", "é"],
            false,
            Class::Terminal,
        );
        check(&["08000", "08006", "08P01", "57P01", "57P02", "57P03", "57P05"], true, Class::Ambiguous);
        check(
            &["42601", "42P07", "42501", "22P02", "23505", "28P01", "2BP01", "3D000", "25001"],
            false,
            Class::User,
        );
        check(&["XX000", "XX001"], false, Class::Bug);
    }

    #[test]
    fn values_of_rows_are_not_shown() {
        let check = |sqlstate: &str, message: &str, in_statement: bool, expected: &str| {
            assert_eq!(shown(sqlstate, message, in_statement), expected);
        };
        let syntax = "invalid input syntax for type integer: \"ann@example.com\"";
        check("22P02", syntax, false, "invalid input syntax for type integer (value not shown)");
        check("22P02", syntax, true, syntax);
        check("42703", "column \"tier\" does not exist", false, "column \"tier\" does not exist");
    }

    #[test]
    fn long_texts_are_cut_on_a_character_boundary() {
        let text = bounded(&"é".repeat(MAX_TEXT));
        assert!(text.len() <= MAX_TEXT && text.ends_with('…'), "{} bytes", text.len());
        assert_eq!(bounded("short"), "short");
    }
}
