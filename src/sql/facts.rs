//! What has to be known of the catalog before statements run.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::aside::AsideSuffix;
use super::inverse;
use super::kind::{Part, Target};
use super::name::RelationName;
use super::overlay::{Catalog, State};
use super::statement::Statement;

/// A question to the catalog, asked before the first statement of the plan runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FactKey {
    /// A column of a relation.
    Column {
        /// The relation, for `to_regclass`.
        relation: RelationName,
        /// The column.
        column: String,
    },
    /// Whether a name is taken in the schema of a relation (in the one where new objects go, if there is no such
    /// relation and it has no schema): by a relation (`pg_class.relname`) or by a constraint (`pg_constraint.conname`).
    Name {
        /// The relation whose schema is meant.
        relation: RelationName,
        /// The name.
        name: String,
    },
    /// A table whose rows are to be changed in batches, and functions that are called for that.
    Rows {
        /// The table.
        relation: RelationName,
        /// The functions, as they are called.
        functions: Vec<RelationName>,
    },
    /// What something of an object is, in the words that set it so again.
    Before {
        /// What.
        part: Part,
        /// Of which object.
        of: Target,
        /// A second name, where one is needed: the role of [`Part::Held`], the parent of [`Part::Attach`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        with: Option<String>,
    },
}

/// An answer of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FactValue {
    /// Answers [`FactKey::Column`].
    Column {
        /// The relation has this column.
        exists: bool,
        /// Its default, as `pg_get_expr` gives it; none for a generated column.
        default: Option<String>,
        /// It is `NOT NULL`.
        not_null: bool,
        /// It is an identity column.
        identity: bool,
        /// It is a generated column.
        generated: bool,
    },
    /// Answers [`FactKey::Name`].
    Name {
        /// It is taken.
        taken: bool,
    },
    /// Answers [`FactKey::Before`].
    Before(Before),
    /// Answers [`FactKey::Rows`].
    Rows(RowsFact),
}

/// A table whose rows are to be changed in batches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowsFact {
    /// `pg_class.relkind`; absent if there is no such relation.
    pub kind: Option<String>,
    /// Its columns.
    pub columns: Vec<RowColumn>,
    /// The columns of the key by which its rows can be gone through, in order; empty if there is none.
    pub key: Vec<String>,
    /// The columns by which it is partitioned.
    pub partitioned_by: Vec<String>,
    /// A partition that is a foreign table.
    pub foreign_part: Option<String>,
    /// Those of the functions that are volatile.
    pub volatile: Vec<String>,
}

/// A column of such a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RowColumn {
    /// Its name.
    pub name: String,
    /// Its value is generated.
    pub generated: bool,
    /// It is an identity column `GENERATED ALWAYS`.
    pub always_identity: bool,
}

/// What something of an object is before the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Before {
    /// The object is there.
    pub exists: bool,
    /// A value, or statements, as the part says; names are qualified.
    pub values: Vec<String>,
    /// What the values alone do not tell, as the part says.
    pub shape: Option<String>,
    /// Why it cannot be brought back as it is, in words that can stand after "because".
    pub lost: Option<String>,
    /// An object that would be dropped with it by `CASCADE`.
    pub dependent: Option<String>,
}

/// Answers of the catalog, stored with the plan (as a list of pairs, since JSON knows only strings as keys).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(FactKey, FactValue)>", into = "Vec<(FactKey, FactValue)>")]
pub struct Facts(pub BTreeMap<FactKey, FactValue>);

impl Facts {
    /// The answer to a question, if it was asked.
    pub fn get(&self, key: &FactKey) -> Option<&FactValue> {
        self.0.get(key)
    }

    /// Notes an answer.
    pub fn insert(&mut self, key: FactKey, value: FactValue) {
        self.0.insert(key, value);
    }
}

impl From<Vec<(FactKey, FactValue)>> for Facts {
    fn from(pairs: Vec<(FactKey, FactValue)>) -> Self {
        Self(pairs.into_iter().collect())
    }
}

impl From<Facts> for Vec<(FactKey, FactValue)> {
    fn from(facts: Facts) -> Self {
        facts.0.into_iter().collect()
    }
}

impl FromIterator<(FactKey, FactValue)> for Facts {
    fn from_iter<I: IntoIterator<Item = (FactKey, FactValue)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

/// What the inverses of these statements need to know, for [`super::derive`].
pub fn facts_wanted(statements: &[Statement]) -> BTreeSet<FactKey> {
    facts_wanted_where(statements, |_| true)
}

/// The same where only some statements, by their index, need an inverse: of what the others change, only columns and names
/// are asked for.
pub fn facts_wanted_where(
    statements: &[Statement],
    needs_inverse: impl Fn(usize) -> bool,
) -> BTreeSet<FactKey> {
    let catalog = Catalog::collecting();
    let mut state = State::new(&catalog);
    let mut wanted = BTreeSet::new();
    for (index, statement) in statements.iter().enumerate() {
        let _ = inverse::undo(statement, &mut state, Some(&AsideSuffix::placeholder()));
        let needed = |key: &FactKey| needs_inverse(index) || !matches!(key, FactKey::Before { .. });
        wanted.extend(catalog.take_asked().into_iter().filter(needed));
    }
    wanted
}
