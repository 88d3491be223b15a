//! Which server, which database, and who we are there: read in one round trip on every connect.

use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::error::Error;

/// What a session is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerIdentity {
    /// Identifier that initdb gave to the cluster; physical copies share it. Decimal: it exceeds what JSON numbers hold.
    pub system_identifier: String,
    /// Timeline of the WAL being written; none while in recovery. Rises with every promotion.
    pub timeline: Option<u32>,
    /// Whether the server is a standby or still recovering.
    pub in_recovery: bool,
    /// WAL position: written, or replayed while in recovery.
    pub lsn: Option<String>,
    /// Version as in `server_version_num`, for example 150018.
    pub version_num: u32,
    /// Database name.
    pub database: String,
    /// Database oid.
    pub database_oid: u32,
    /// Login role.
    pub session_user: String,
    /// Whether the login is a superuser.
    pub superuser: bool,
    /// `wal_level`: `logical` where publications can be served.
    pub wal_level: String,
    /// Whether transactions of this login are read-only unless they say otherwise.
    pub default_read_only: bool,
}

/// Which server it was, as noted outside of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Its system identifier.
    pub system_identifier: String,
    /// The highest timeline that was seen; none where that is not known.
    pub timeline: Option<u32>,
}

/// The outcome of a comparison with what was pinned at first contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// The same server on the same timeline.
    Same,
    /// The same cluster after a promotion: what was committed last may be lost, so the ledger is read again.
    Failover {
        /// The timeline that was pinned.
        from: u32,
        /// The timeline now.
        to: u32,
    },
    /// Not the server that was pinned: stop.
    WrongServer(Mismatch),
}

/// Why a server is not the pinned one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Another cluster.
    #[error("system identifier {found}, expected {expected}")]
    SystemIdentifier {
        /// The pinned identifier.
        expected: String,
        /// The identifier now.
        found: String,
    },
    /// Another database of the cluster.
    #[error("database {found:?}, expected {expected:?}")]
    Database {
        /// The pinned name.
        expected: String,
        /// The name now.
        found: String,
    },
    /// An earlier primary that missed the promotion.
    #[error("timeline {found}, although timeline {pinned} was seen before: an old primary")]
    OlderTimeline {
        /// The pinned timeline.
        pinned: u32,
        /// The timeline now.
        found: u32,
    },
}

impl ServerIdentity {
    /// Reads the identity of the server behind a session.
    ///
    /// # Errors
    /// What the server said; 42501 where EXECUTE on `pg_control_system()` was revoked from PUBLIC (`whimbrel grants`
    /// prints the grant).
    pub async fn read(session: &mut PgConnection) -> Result<Self, Error> {
        Ok(Self::from_row(&sqlx::raw_sql(IDENTITY).fetch_one(session).await?)?)
    }

    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let number =
            |column: &str| row.try_get::<i64, _>(column).map(|n| u32::try_from(n).unwrap_or_default());
        Ok(Self {
            system_identifier: row.try_get("system_identifier")?,
            timeline: row
                .try_get::<Option<String>, _>("wal_file")?
                .and_then(|file| u32::from_str_radix(file.get(..8)?, 16).ok()),
            in_recovery: row.try_get("in_recovery")?,
            lsn: row.try_get("lsn")?,
            version_num: number("version_num")?,
            database: row.try_get("database")?,
            database_oid: number("database_oid")?,
            session_user: row.try_get("login")?,
            superuser: row.try_get("superuser")?,
            wal_level: row.try_get("wal_level")?,
            default_read_only: row.try_get("read_only")?,
        })
    }

    /// Returns the timeline as the ledger stores it; 0 while it is unknown.
    pub fn timeline_number(&self) -> i32 {
        self.timeline.and_then(|timeline| i32::try_from(timeline).ok()).unwrap_or_default()
    }

    /// Returns the major version.
    pub fn major(&self) -> u32 {
        self.version_num / 10_000
    }

    /// Compares with what was pinned at first contact.
    pub fn against(&self, pinned: &Self) -> Comparison {
        let noted = Pinned { system_identifier: pinned.system_identifier.clone(), timeline: pinned.timeline };
        match self.against_noted(&noted) {
            Comparison::WrongServer(mismatch @ Mismatch::SystemIdentifier { .. }) => {
                Comparison::WrongServer(mismatch)
            }
            _ if self.database != pinned.database => Comparison::WrongServer(Mismatch::Database {
                expected: pinned.database.clone(),
                found: self.database.clone(),
            }),
            compared => compared,
        }
    }

    /// Compares with what was noted of the server outside of it.
    pub fn against_noted(&self, pinned: &Pinned) -> Comparison {
        if self.system_identifier != pinned.system_identifier {
            return Comparison::WrongServer(Mismatch::SystemIdentifier {
                expected: pinned.system_identifier.clone(),
                found: self.system_identifier.clone(),
            });
        }
        match (pinned.timeline, self.timeline) {
            (Some(from), Some(to)) if to > from => Comparison::Failover { from, to },
            (Some(pinned), Some(found)) if found < pinned => {
                Comparison::WrongServer(Mismatch::OlderTimeline { pinned, found })
            }
            _ => Comparison::Same,
        }
    }
}

/// The timeline comes from the name of the WAL file being written: the control file lags right after a promotion.
const IDENTITY: &str = "
SELECT c.system_identifier::text AS system_identifier,
       r.in_recovery,
       CASE WHEN NOT r.in_recovery THEN pg_walfile_name(pg_current_wal_lsn()) END AS wal_file,
       (CASE WHEN r.in_recovery THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END)::text AS lsn,
       current_setting('server_version_num')::bigint AS version_num,
       d.datname::text AS database,
       d.oid::bigint AS database_oid,
       session_user::text AS login,
       u.rolsuper AS superuser,
       current_setting('wal_level') AS wal_level,
       current_setting('default_transaction_read_only')::bool AS read_only
FROM pg_control_system() c, (SELECT pg_is_in_recovery() AS in_recovery) r, pg_database d, pg_roles u
WHERE d.datname = current_database() AND u.rolname = session_user";

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(system: &str, timeline: Option<u32>, database: &str) -> ServerIdentity {
        ServerIdentity {
            system_identifier: system.to_owned(),
            timeline,
            in_recovery: timeline.is_none(),
            lsn: None,
            version_num: 150_018,
            database: database.to_owned(),
            database_oid: 5,
            session_user: "ann".to_owned(),
            superuser: false,
            wal_level: "replica".to_owned(),
            default_read_only: false,
        }
    }

    #[test]
    fn a_server_is_compared_with_the_pinned_one() {
        let pinned = identity("1", Some(2), "shop");
        let check = |now: ServerIdentity, expected: Comparison| assert_eq!(now.against(&pinned), expected);
        check(identity("1", Some(2), "shop"), Comparison::Same);
        check(identity("1", None, "shop"), Comparison::Same);
        check(identity("1", Some(4), "shop"), Comparison::Failover { from: 2, to: 4 });
        let wrong = Comparison::WrongServer;
        check(identity("1", Some(1), "shop"), wrong(Mismatch::OlderTimeline { pinned: 2, found: 1 }));
        let (expected, found) = ("1".to_owned(), "9".to_owned());
        check(identity("9", Some(2), "shop"), wrong(Mismatch::SystemIdentifier { expected, found }));
        let (expected, found) = ("shop".to_owned(), "other".to_owned());
        check(identity("1", Some(3), "other"), wrong(Mismatch::Database { expected, found }));
        assert_eq!(pinned.major(), 15);
    }
}
