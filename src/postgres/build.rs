//! How far a concurrent index build is, as the server tells it.

use std::fmt;

use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::error::Error;

/// The columns of [`Build`], of `pg_stat_progress_create_index AS p`.
pub(super) const PROGRESS: &str = "p.phase, \
    CASE WHEN p.blocks_total > 0 THEN 100.0 * p.blocks_done / p.blocks_total \
         WHEN p.tuples_total > 0 THEN 100.0 * p.tuples_done / p.tuples_total \
         WHEN p.lockers_total > 0 THEN 100.0 * p.lockers_done / p.lockers_total END::float8, \
    nullif(p.current_locker_pid, 0)::int4";

/// How far a build is. What the login may not see is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Build {
    /// What it does now, in the server's words.
    pub phase: Option<String>,
    /// How much of this phase is done, in percent.
    pub percent: Option<f64>,
    /// The backend whose transaction it waits for.
    pub waits_for: Option<i32>,
}

impl Build {
    pub(super) fn read(row: &PgRow, first: usize) -> Result<Self, sqlx::Error> {
        Ok(Self {
            phase: row.try_get(first)?,
            percent: row.try_get(first + 1)?,
            waits_for: row.try_get(first + 2)?,
        })
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(phase) = &self.phase {
            write!(f, ": {phase}")?;
        }
        if let Some(percent) = self.percent {
            write!(f, ", {percent:.0} %")?;
        }
        match self.waits_for {
            Some(pid) => write!(f, ", waiting for the transaction of pid {pid}"),
            None => Ok(()),
        }
    }
}

/// Returns how far the build of a backend is; `None` when it builds nothing.
pub async fn progress(conn: &mut PgConnection, pid: i32) -> Result<Option<Build>, Error> {
    let query = format!("SELECT {PROGRESS} FROM pg_catalog.pg_stat_progress_create_index p WHERE p.pid = $1");
    let row = sqlx::query(super::statement::ours(query)).bind(pid).fetch_optional(conn).await?;
    Ok(row.as_ref().map(|row| Build::read(row, 0)).transpose()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_told_in_a_few_words() {
        let check = |phase: Option<&str>, percent, waits_for, expected: &str| {
            let build = Build { phase: phase.map(str::to_owned), percent, waits_for };
            assert_eq!(build.to_string(), expected);
        };
        check(None, None, None, "");
        check(
            Some("building index: scanning table"),
            Some(42.4),
            None,
            ": building index: scanning table, 42 %",
        );
        let waits = ": waiting for old snapshots, 0 %, waiting for the transaction of pid 7";
        check(Some("waiting for old snapshots"), Some(0.0), Some(7), waits);
    }
}
