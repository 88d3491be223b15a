//! The table of rules. Codes are stable: one that is given up is not given again.

use std::fmt;

/// What kind of harm a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Readers or writers of a table wait.
    Availability,
    /// The statement fails, or does something else than it says.
    Correctness,
    /// Clients, replicas or subscribers that run stop working.
    Compatibility,
    /// Data is lost.
    Loss,
    /// What cannot be judged, and comments that are about findings.
    Review,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Availability => "availability",
            Self::Correctness => "correctness",
            Self::Compatibility => "compatibility",
            Self::Loss => "loss",
            Self::Review => "review",
        })
    }
}

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `WB` and three digits.
    pub code: &'static str,
    /// A short name.
    pub name: &'static str,
    /// What it is about.
    pub class: Class,
    /// What it finds, and why that matters.
    pub summary: &'static str,
}

const fn rule(code: &'static str, name: &'static str, class: Class, summary: &'static str) -> Rule {
    Rule { code, name, class, summary }
}

use Class::{Availability, Compatibility, Correctness, Loss, Review};

/// All rules, in the order of their codes.
pub const RULES: &[Rule] = &[
    rule("WB001", "refused", Correctness, "Whimbrel does not run this statement."),
    rule(
        "WB101",
        "index-blocks-writes",
        Availability,
        "CREATE INDEX without CONCURRENTLY makes writers wait until the index is built.",
    ),
    rule(
        "WB102",
        "drop-index-blocks",
        Availability,
        "DROP INDEX without CONCURRENTLY waits for all users of the table, and makes the next ones wait behind it.",
    ),
    rule(
        "WB103",
        "reindex-blocks-writes",
        Availability,
        "REINDEX without CONCURRENTLY makes writers wait, and readers who need the index too; of what is partitioned it does so \
         for a moment with CONCURRENTLY.",
    ),
    rule(
        "WB104",
        "detach-blocks",
        Availability,
        "DETACH PARTITION without CONCURRENTLY locks the partitioned table against readers and writers.",
    ),
    rule(
        "WB105",
        "concurrently-in-transaction",
        Correctness,
        "A statement that cannot run in a transaction stands between BEGIN and COMMIT, and fails there.",
    ),
    rule(
        "WB106",
        "check-scans",
        Availability,
        "A CHECK constraint without NOT VALID reads the whole table while readers and writers wait.",
    ),
    rule(
        "WB107",
        "foreign-key-scans",
        Availability,
        "A foreign key without NOT VALID reads both tables while their writers wait.",
    ),
    rule(
        "WB108",
        "validate-under-lock",
        Availability,
        "VALIDATE CONSTRAINT in the transaction of a statement that took a strong lock reads the table under that lock.",
    ),
    rule(
        "WB109",
        "not-null-scans",
        Availability,
        "SET NOT NULL reads the whole table while readers and writers wait, unless a valid CHECK proves it.",
    ),
    rule(
        "WB110",
        "primary-key-scans",
        Availability,
        "A primary key on a column that may be null reads the whole table, even USING INDEX.",
    ),
    rule(
        "WB111",
        "unique-builds-index",
        Availability,
        "A unique constraint or primary key without USING INDEX builds its index while readers and writers wait.",
    ),
    rule(
        "WB112",
        "exclusion-builds-index",
        Availability,
        "An exclusion constraint builds its index while readers and writers wait; there is no form that does not.",
    ),
    rule(
        "WB113",
        "column-rewrites",
        Availability,
        "A new column whose value differs from row to row (volatile default, serial, identity, stored generated, checked \
         domain) rewrites the table.",
    ),
    rule(
        "WB114",
        "type-rewrites",
        Availability,
        "A change of a column's type that the old values do not fit as they are rewrites the table and its indexes.",
    ),
    rule(
        "WB115",
        "type-scans",
        Availability,
        "A change of a column's type reads the table or builds its indexes anew while readers and writers wait.",
    ),
    rule(
        "WB116",
        "table-rewrites",
        Availability,
        "SET LOGGED, SET UNLOGGED, SET ACCESS METHOD, SET TABLESPACE, CLUSTER and VACUUM FULL write the table anew.",
    ),
    rule(
        "WB117",
        "refresh-blocks",
        Availability,
        "REFRESH MATERIALIZED VIEW without CONCURRENTLY makes the view's readers wait until it is filled.",
    ),
    rule(
        "WB118",
        "attach-scans",
        Availability,
        "ATTACH PARTITION reads the new partition, and the default partition, unless a valid CHECK proves the bound.",
    ),
    rule(
        "WB119",
        "partition-of-locks",
        Availability,
        "CREATE TABLE ... PARTITION OF locks the partitioned table, and reads its default partition.",
    ),
    rule(
        "WB120",
        "lock-held-on",
        Availability,
        "A strong lock that an earlier statement of the transaction took is held while this one does long work.",
    ),
    rule(
        "WB121",
        "explicit-lock",
        Availability,
        "LOCK TABLE makes readers or writers wait until the transaction ends.",
    ),
    rule(
        "WB122",
        "far-side-locked",
        Availability,
        "The statement also locks a table that it does not name, for example the other side of a foreign key.",
    ),
    rule(
        "WB129",
        "heavy-under-lock",
        Availability,
        "The statement reads or writes a whole table while others wait for it.",
    ),
    rule(
        "WB201",
        "required-column",
        Correctness,
        "A new column that is NOT NULL and has no default fails on a table with rows.",
    ),
    rule(
        "WB202",
        "enum-value-too-early",
        Correctness,
        "A value that ALTER TYPE ... ADD VALUE added cannot be used in the same transaction.",
    ),
    rule(
        "WB203",
        "identifier-too-long",
        Correctness,
        "An identifier longer than 63 bytes is cut by the server, with no more than a notice.",
    ),
    rule(
        "WB204",
        "duplicate-assignment",
        Correctness,
        "A column that is set twice, or to itself: the statement fails or does nothing.",
    ),
    rule(
        "WB205",
        "session-time-zone",
        Correctness,
        "A change between timestamp with and without time zone takes the session's TimeZone for the old values.",
    ),
    rule(
        "WB206",
        "foreign-key-without-index",
        Availability,
        "A foreign key without an index on its own columns makes each DELETE or UPDATE of the other table read this one.",
    ),
    rule(
        "WB207",
        "replica-identity-lost",
        Compatibility,
        "A published table loses its primary key or the index of its replica identity: UPDATE and DELETE fail from then on.",
    ),
    rule(
        "WB208",
        "subscribers-break",
        Compatibility,
        "A published table or a column of it is renamed, dropped or changes its type: subscribers stop at the next row.",
    ),
    rule(
        "WB209",
        "accepts-invalid-index",
        Correctness,
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS takes an invalid index that a failed run left for a good one.",
    ),
    rule(
        "WB210",
        "fails",
        Correctness,
        "The server refuses the statement: what it names is not there, is there already, or is still used.",
    ),
    rule("WB301", "drop-table", Loss, "A table is dropped: its rows are lost, and who uses it fails."),
    rule("WB302", "drop-column", Loss, "A column is dropped: its values are lost, and who names it fails."),
    rule(
        "WB303",
        "drop-object",
        Compatibility,
        "A view, function, type or other object is dropped: who uses it fails.",
    ),
    rule(
        "WB304",
        "rename-table",
        Compatibility,
        "A table or view is renamed, or moved to another schema: who uses the old name fails at once.",
    ),
    rule(
        "WB305",
        "rename-column",
        Compatibility,
        "A column is renamed: who uses the old name fails at once.",
    ),
    rule(
        "WB306",
        "rename-object",
        Compatibility,
        "A schema, type, enum value, function or other object is renamed: who uses the old name fails at once.",
    ),
    rule("WB307", "truncate", Loss, "TRUNCATE deletes all rows, while readers and writers wait."),
    rule(
        "WB308",
        "truncate-cascade",
        Loss,
        "TRUNCATE ... CASCADE also empties every table that refers to the one that is named.",
    ),
    rule(
        "WB309",
        "drop-cascade",
        Loss,
        "DROP ... CASCADE also drops everything that depends on the object, without naming it.",
    ),
    rule("WB310", "delete-all", Loss, "DELETE without a condition deletes all rows."),
    rule(
        "WB401",
        "backfill-at-once",
        Availability,
        "UPDATE or DELETE of a whole table in one statement locks its rows until the end, and doubles the table.",
    ),
    rule(
        "WB402",
        "backfill-beside-ddl",
        Availability,
        "Rows are changed in the transaction of a change of the schema, whose locks are held all the while.",
    ),
    rule(
        "WB403",
        "opaque",
        Review,
        "What the statement does (DO, CALL, EXECUTE, a function) cannot be known before it runs.",
    ),
    rule(
        "WB501",
        "ignore-without-reason",
        Review,
        "A whimbrel:ignore comment gives no reason, and does not count.",
    ),
    rule("WB502", "ignore-unused", Review, "A whimbrel:ignore comment names a finding that is not there."),
    rule(
        "WB503",
        "ignore-unknown",
        Review,
        "A whimbrel:ignore comment names no known finding, and does not count.",
    ),
];

/// The rule of a code; `None` for advice.
pub fn find(code: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_in_order_and_unique() {
        assert!(RULES.windows(2).all(|pair| pair[0].code < pair[1].code));
        let mut names: Vec<_> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
        for rule in RULES {
            assert!(rule.code.len() == 5 && rule.code.starts_with("WB"), "{}", rule.code);
            assert!(rule.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", rule.name);
            assert!(rule.summary.ends_with('.'), "{}", rule.code);
        }
    }
}
