//! One statement of a script.

use serde::{Deserialize, Serialize};

use super::kind::{Edit, Kind, TableAction};
use super::name::{RelationName, clip};
use super::token;

/// Longest summary, in bytes.
const MAX_SUMMARY: usize = 120;

/// One statement, with what the engine has to know of it. Stored in the ledger as part of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// The text as it was written, without the semicolon and what surrounds it.
    pub sql: String,
    /// Line of its first character, from 1.
    pub line: u32,
    /// Column of its first character, in characters, from 1.
    pub column: u32,
    /// What it is.
    pub kind: Kind,
    /// It can run in a transaction; one that cannot is a unit of its own, and has a [`Probe`].
    pub transactional: bool,
    /// It may hold a lock on a relation that was there before, which makes readers or writers of it wait.
    pub blocking: bool,
    /// What it changes of objects that are there, apart from what the kind tells: for its way back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
}

/// What the catalog shows once a statement that cannot run in a transaction has taken effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "probe", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Probe {
    /// An index of this name on the table is there and valid, and no half-built one is left. An index that is there but
    /// invalid has to be dropped (concurrently) before the statement is sent again.
    IndexValid {
        /// The index, in the schema of its table.
        index: RelationName,
        /// The table.
        table: RelationName,
    },
    /// None of these indexes is there.
    IndexesAbsent {
        /// The indexes.
        indexes: Vec<RelationName>,
    },
    /// The index is younger than the announcement and no leftover (`_ccnew`, `_ccold`) is there. The statement may be sent
    /// again.
    IndexRebuilt {
        /// The index.
        index: RelationName,
    },
    /// All indexes of the table are younger than the announcement and no leftover (`_ccnew`, `_ccold`) is there. The
    /// statement may be sent again.
    TableReindexed {
        /// The table.
        table: RelationName,
    },
    /// The table is no partition of the parent, and no detach is pending. If one is pending, `ALTER TABLE parent DETACH
    /// PARTITION child FINALIZE` ends it.
    PartitionDetached {
        /// The partitioned table.
        parent: RelationName,
        /// The partition.
        partition: RelationName,
    },
    /// Nothing to look at: sending it once more does no harm.
    Repeatable,
}

impl Statement {
    /// How to find out whether the statement took effect, if it cannot run in a transaction.
    ///
    /// Every statement with `transactional == false` has one: [`super::parse`] refuses the others.
    pub fn probe(&self) -> Option<Probe> {
        if self.transactional {
            return None;
        }
        match &self.kind {
            Kind::CreateIndex(index) => Some(Probe::IndexValid {
                index: index.relation.sibling(index.name.clone()?),
                table: index.relation.clone(),
            }),
            Kind::DropIndex { indexes, .. } => Some(Probe::IndexesAbsent { indexes: indexes.clone() }),
            Kind::Reindex { relation, index: true, .. } => {
                Some(Probe::IndexRebuilt { index: relation.clone() })
            }
            Kind::Reindex { relation, index: false, .. } => {
                Some(Probe::TableReindexed { table: relation.clone() })
            }
            Kind::Vacuum => Some(Probe::Repeatable),
            Kind::AlterTable(alter) => alter.actions.iter().find_map(|action| match action {
                TableAction::DetachPartition { partition, concurrently: true } => {
                    Some(Probe::PartitionDetached {
                        parent: alter.relation.clone(),
                        partition: partition.clone(),
                    })
                }
                _ => None,
            }),
            _ => None,
        }
    }

    /// The statement as one that may run again after a way back which leaves what it adds: a value of an enum.
    #[must_use]
    pub fn again(self) -> Self {
        if !matches!(self.kind, Kind::AddEnumValue { .. }) {
            return self;
        }
        let tokens = token::scan(&self.sql).unwrap_or_default();
        // Strings in it are the value, and the one that it stands before or after; `IF NOT EXISTS` precedes the first.
        let value = tokens.iter().position(|token| token.string(&self.sql).is_some());
        let before = value.and_then(|at| tokens.get(at.checked_sub(1)?).zip(tokens.get(at)));
        let Some((before, value)) = before.filter(|(before, _)| !before.is_word(&self.sql, "EXISTS")) else {
            return self;
        };
        let (head, tail) = (self.sql.get(..before.end), self.sql.get(value.start..));
        let sql = format!("{} IF NOT EXISTS {}", head.unwrap_or_default(), tail.unwrap_or_default());
        Self { sql, ..self }
    }

    /// Whether a word is in its text, be it only in a name or a literal.
    pub fn says(&self, word: &str) -> bool {
        let mut words = self.sql.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.any(|one| one.eq_ignore_ascii_case(word))
    }

    /// What is asked of a planner about the query whose rows it stores, in words: `rows of CREATE TABLE ...`.
    pub fn rows_wanted(&self) -> String {
        format!("rows of {}", self.summary())
    }

    /// The statement in one short line, for people.
    pub fn summary(&self) -> String {
        let line = token::one_line(&self.sql);
        if line.len() <= MAX_SUMMARY {
            line
        } else {
            format!("{}...", clip(&line, MAX_SUMMARY - 3).trim_end())
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_value_is_added_again_without_complaint() {
        let check = |sql: &str, expected: &str| {
            let statement = crate::sql::parse(sql).unwrap().statements.remove(0).again();
            assert_eq!(statement.sql, expected);
            assert_eq!(crate::sql::parse(expected).unwrap().statements[0].kind, statement.kind);
        };
        check("ALTER TYPE mood ADD VALUE 'meh'", "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'meh'");
        check(
            "alter type value add value 'meh' before 'if not'",
            "alter type value add value IF NOT EXISTS 'meh' before 'if not'",
        );
        check(
            "ALTER TYPE s.\"exists\" ADD VALUE\n'a'",
            "ALTER TYPE s.\"exists\" ADD VALUE IF NOT EXISTS 'a'",
        );
        let there = "ALTER TYPE mood ADD VALUE IF NOT EXISTS 'meh' AFTER 'ok'";
        check(there, there);
        check("ALTER TABLE t ADD c text DEFAULT 'a'", "ALTER TABLE t ADD c text DEFAULT 'a'");
    }
}
