//! The eight lock modes of a table (PostgreSQL documentation, "Explicit Locking", table 13.2).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A lock mode, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LockMode {
    /// Taken by `SELECT`.
    #[serde(rename = "ACCESS SHARE")]
    AccessShare,
    /// Taken by `SELECT ... FOR UPDATE`.
    #[serde(rename = "ROW SHARE")]
    RowShare,
    /// Taken by `INSERT`, `UPDATE`, `DELETE`.
    #[serde(rename = "ROW EXCLUSIVE")]
    RowExclusive,
    /// Taken by `VACUUM`, `CREATE INDEX CONCURRENTLY`, `VALIDATE CONSTRAINT`.
    #[serde(rename = "SHARE UPDATE EXCLUSIVE")]
    ShareUpdateExclusive,
    /// Taken by `CREATE INDEX`.
    #[serde(rename = "SHARE")]
    Share,
    /// Taken by `CREATE TRIGGER`, `ADD FOREIGN KEY`.
    #[serde(rename = "SHARE ROW EXCLUSIVE")]
    ShareRowExclusive,
    /// Taken by `REFRESH MATERIALIZED VIEW CONCURRENTLY`.
    #[serde(rename = "EXCLUSIVE")]
    Exclusive,
    /// Taken by most of `ALTER TABLE`.
    #[serde(rename = "ACCESS EXCLUSIVE")]
    AccessExclusive,
}

impl LockMode {
    /// All modes, weakest first.
    pub const ALL: [Self; 8] = [
        Self::AccessShare,
        Self::RowShare,
        Self::RowExclusive,
        Self::ShareUpdateExclusive,
        Self::Share,
        Self::ShareRowExclusive,
        Self::Exclusive,
        Self::AccessExclusive,
    ];

    /// The mode as PostgreSQL's documentation spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessShare => "ACCESS SHARE",
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// The mode from `pg_locks.mode` (`AccessExclusiveLock`).
    pub fn from_pg_locks(mode: &str) -> Option<Self> {
        let bare = mode.strip_suffix("Lock")?;
        Self::ALL.into_iter().find(|one| one.name().replace(' ', "").eq_ignore_ascii_case(bare))
    }

    /// The modes that wait for it, as bits: the first is ACCESS SHARE.
    fn conflicts(self) -> u8 {
        match self {
            Self::AccessShare => 0b1000_0000,
            Self::RowShare => 0b1100_0000,
            Self::RowExclusive => 0b1111_0000,
            Self::ShareUpdateExclusive => 0b1111_1000,
            Self::Share => 0b1110_1100,
            Self::ShareRowExclusive => 0b1111_1100,
            Self::Exclusive => 0b1111_1110,
            Self::AccessExclusive => 0b1111_1111,
        }
    }

    /// Whether nobody waits for `other` who does not wait for this mode. The order of the modes does not say so: who reads
    /// and writes waits for SHARE, but not who runs `CREATE INDEX`, who waits for ROW EXCLUSIVE.
    pub fn covers(self, other: Self) -> bool {
        other.conflicts() & !self.conflicts() == 0
    }

    /// The mode from its name in PostgreSQL's documentation (`ACCESS EXCLUSIVE`).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Whether `SELECT` waits for it.
    pub fn blocks_reads(self) -> bool {
        self == Self::AccessExclusive
    }

    /// Whether `INSERT`, `UPDATE` and `DELETE` wait for it.
    pub fn blocks_writes(self) -> bool {
        self >= Self::Share
    }

    /// Whether other changes of the schema, and `VACUUM`, wait for it.
    pub fn blocks_ddl(self) -> bool {
        self >= Self::ShareUpdateExclusive
    }
}

impl fmt::Display for LockMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::LockMode;

    /// Table 13.2 is symmetric, and its rows grow but for SHARE.
    #[test]
    fn conflicts_are_those_of_the_documentation() {
        let bit = |mode: LockMode| LockMode::ALL.iter().position(|one| *one == mode).unwrap();
        for one in LockMode::ALL {
            for other in LockMode::ALL {
                let waits = |held: LockMode, asked: LockMode| held.conflicts() >> bit(asked) & 1 == 1;
                assert_eq!(waits(one, other), waits(other, one), "{one} {other}");
            }
            assert!(one.covers(one) && LockMode::AccessExclusive.covers(one), "{one}");
            assert_eq!(LockMode::from_name(one.name()), Some(one));
        }
        assert!(LockMode::ShareRowExclusive.covers(LockMode::Share));
        assert!(LockMode::ShareRowExclusive.covers(LockMode::ShareUpdateExclusive));
        assert!(!LockMode::Share.covers(LockMode::RowExclusive));
        assert!(!LockMode::Share.covers(LockMode::ShareUpdateExclusive));
    }
}
