//! The structure of a database as text, and the hash of it: to see drift, and to prove that a round trip came back.
//!
//! Logical: no oids, no column positions. Left out: owners, grants, comments, tablespaces, current values of sequences;
//! schema `whimbrel`, members of extensions, and whatever was put aside (`_whimbrel_*`, with its indexes, constraints and
//! sequences). Nor is it told whether a constraint is validated: to validate one says something of the rows, and there is
//! nothing to undo. Not covered: text search objects, operator classes, casts, foreign servers, event triggers, languages.
//!
//! **Invariant**: the result does not depend on the settings, the search path or the privileges of the session.

mod clock;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgRow};

use super::error::Error;

/// Number of differences that are put into words.
pub const SHOWN_DIFFERENCES: usize = 5;

/// Longest definition that is quoted in a difference, in characters.
const QUOTED: usize = 120;

/// Every object of the user's schemas with its canonical definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fingerprint {
    /// `sha256:` and 64 hex digits over all items.
    pub hash: String,
    /// Definition by identity, for example `column public.users.tier` or `index public.users_pkey on public.users`.
    pub items: BTreeMap<String, String>,
}

/// What two fingerprints disagree about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differences {
    /// The first [`SHOWN_DIFFERENCES`], as sentences without a full stop.
    pub first: Vec<String>,
    /// How many there are. What belongs to a table that only one side has is not counted.
    pub total: usize,
}

/// Reads the structure of the connected database in one round trip.
///
/// # Errors
/// What the server said; a lock timeout where somebody holds a table or view exclusively.
pub async fn read(session: &mut PgConnection) -> Result<Fingerprint, Error> {
    let major = session.server_version_num().unwrap_or_default() / 10_000;
    let query = if major < 15 { QUERY_14 } else { QUERY_15 };
    let rows = match sqlx::raw_sql(query).fetch_all(&mut *session).await.map_err(Error::from) {
        // An object that was dropped while it was being described: the next look does not see it.
        Err(error) if error.sqlstate() == Some("XX000") => {
            sqlx::raw_sql(query).fetch_all(session).await.map_err(|_| error)?
        }
        rows => rows?,
    };
    let mut items = BTreeMap::from([("server".to_owned(), format!("PostgreSQL {major}"))]);
    for row in rows.iter().filter(|row| row.len() == 2) {
        let (identity, definition) = item(row)?;
        items.insert(identity, definition);
    }
    Ok(Fingerprint::from_items(items))
}

impl Fingerprint {
    /// Computes the hash over items.
    pub fn from_items(items: BTreeMap<String, String>) -> Self {
        let mut hasher = Sha256::new();
        for text in items.iter().flat_map(|(identity, definition)| [identity, definition]) {
            // Lengths keep the boundaries: ("ab", "c") is not ("a", "bc").
            hasher.update(text.len().to_be_bytes());
            hasher.update(text);
        }
        let mut hash = "sha256:".to_owned();
        for byte in hasher.finalize() {
            let _ = write!(hash, "{byte:02x}");
        }
        Self { hash, items }
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join("; "))?;
        match self.total - self.first.len() {
            0 => Ok(()),
            left => write!(f, "; and {left} more"),
        }
    }
}

/// Says in what a copy differs from its primary.
pub fn diff(primary: &Fingerprint, copy: &Fingerprint) -> Differences {
    compare(primary, copy, |identity, pair| match pair {
        (Some(a), Some(b)) => {
            format!("{identity} is {} on the primary, {} on the copy", quoted(a), quoted(b))
        }
        (Some(_), None) => format!("{identity} exists only on the primary"),
        (None, _) => format!("{identity} exists only on the copy"),
    })
}

/// Says in what a database differs from what it was.
pub fn changes(before: &Fingerprint, now: &Fingerprint) -> Differences {
    compare(before, now, |identity, pair| match pair {
        (Some(a), Some(b)) => format!("{identity} was {}, and is now {}", quoted(a), quoted(b)),
        (Some(_), None) => format!("{identity} is gone"),
        (None, _) => format!("{identity} was not there before"),
    })
}

fn compare(
    left: &Fingerprint,
    right: &Fingerprint,
    sentence: impl Fn(&str, (Option<&str>, Option<&str>)) -> String,
) -> Differences {
    let mut identities: Vec<&String> = left.items.keys().chain(right.items.keys()).collect();
    // Tables first, so that the few sentences that are shown are the telling ones.
    identities.sort_by_key(|identity| (!identity.starts_with("table "), *identity));
    identities.dedup();
    let mut differences = Differences { first: Vec::new(), total: 0 };
    for identity in identities {
        let pair =
            (left.items.get(identity).map(String::as_str), right.items.get(identity).map(String::as_str));
        let belongs_to_missing = || {
            parents(identity)
                .any(|parent| left.items.contains_key(&parent) != right.items.contains_key(&parent))
        };
        if pair.0 == pair.1 || (pair.0.is_some() != pair.1.is_some() && belongs_to_missing()) {
            continue;
        }
        differences.total += 1;
        if differences.first.len() < SHOWN_DIFFERENCES {
            differences.first.push(sentence(identity, pair));
        }
    }
    differences
}

/// Names what an object can belong to: `index i on s.t` to `table s.t`, `column s.t.c` to `table s.t`.
fn parents(identity: &str) -> impl Iterator<Item = String> + '_ {
    let of_column = identity.strip_prefix("column ").map(|name| {
        name.char_indices()
            .filter(|(_, c)| *c == '.')
            .filter_map(|(dot, _)| name.get(..dot))
            .collect::<Vec<_>>()
    });
    let owned_by = identity.rsplit_once(" on ").map(|(_, owner)| owner);
    of_column.into_iter().flatten().chain(owned_by).flat_map(|owner| {
        ["table", "view", "materialized view", "foreign table", "composite type", "domain"]
            .map(|kind| format!("{kind} {owner}"))
    })
}

fn quoted(definition: &str) -> String {
    let line = definition.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUOTED) {
        Some((cut, _)) => format!("`{}…`", line.get(..cut).unwrap_or_default()),
        None => format!("`{line}`"),
    }
}

fn item(row: &PgRow) -> Result<(String, String), Error> {
    let identity: String = row.try_get(0)?;
    let definition: Option<String> = row.try_get(1)?;
    let definition = definition.unwrap_or_default();
    // Bodies of functions are text as it was written, and the bounds of a partition are what they are.
    let verbatim = identity.starts_with("function ") || identity.starts_with("partition bound ");
    let definition = if verbatim { definition } else { clock::without_clock_constants(&definition) };
    Ok((identity, definition))
}

/// One string, so one round trip and, outside a transaction, one implicit transaction: the settings that decide how the
/// server prints expressions are pinned for the query, and then put back, should the caller be inside a transaction.
macro_rules! query {
    ($published:literal) => {
        concat!(
            "SELECT count(set_config('whimbrel.saved_' || s.name, current_setting(s.name), true))
                  + count(set_config(s.name, s.value, true))
             FROM (VALUES ('search_path', ''), ('timezone', 'UTC'), ('datestyle', 'ISO, MDY'),
                          ('intervalstyle', 'postgres'), ('bytea_output', 'hex'), ('extra_float_digits', '1'),
                          ('quote_all_identifiers', 'off'), ('jit', 'off')) AS s (name, value);",
            include_str!("fingerprint/scope.sql"),
            include_str!("fingerprint/relations.sql"),
            "UNION ALL\n",
            include_str!("fingerprint/code.sql"),
            "UNION ALL\n",
            include_str!($published),
            ";SELECT count(set_config(s.name, current_setting('whimbrel.saved_' || s.name), true))
             FROM (VALUES ('search_path'), ('timezone'), ('datestyle'), ('intervalstyle'), ('bytea_output'),
                          ('extra_float_digits'), ('quote_all_identifiers'), ('jit')) AS s (name)",
        )
    };
}

const QUERY_14: &str = query!("fingerprint/published_14.sql");
const QUERY_15: &str = query!("fingerprint/published_15.sql");

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(items: &[(&str, &str)]) -> Fingerprint {
        Fingerprint::from_items(items.iter().map(|(i, d)| ((*i).to_owned(), (*d).to_owned())).collect())
    }

    #[test]
    fn differences_are_sentences() {
        let base = [("table s.t", "relkind r"), ("column s.t.a", "integer")];
        let check = |copy: &[(&str, &str)], total: usize, first: &[&str]| {
            let copy: Vec<_> = base.iter().chain(copy).copied().collect();
            let found = diff(&fingerprint(&base), &fingerprint(&copy));
            assert_eq!((found.total, found.first), (total, first.iter().map(ToString::to_string).collect()));
        };
        check(&[], 0, &[]);
        check(&[("column s.t.tier", "text")], 1, &["column s.t.tier exists only on the copy"]);
        check(
            &[("column s.t.a", "bigint")],
            1,
            &["column s.t.a is `integer` on the primary, `bigint` on the copy"],
        );
        // A table that only one side has is one difference, not one for each of its columns and indexes.
        check(
            &[
                ("table s.\"a.b\"", "relkind r"),
                ("column s.\"a.b\".c", "text"),
                ("index s.i on s.\"a.b\"", "x"),
            ],
            1,
            &["table s.\"a.b\" exists only on the copy"],
        );
        let many: Vec<String> = (0..9).map(|n| format!("column s.t.c{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "text")).collect();
        let names = ["c0", "c1", "c2", "c3", "c4"].map(|c| format!("column s.t.{c} exists only on the copy"));
        check(&many, 9, &names.each_ref().map(String::as_str));
    }

    #[test]
    fn changes_say_what_was() {
        let (before, now) =
            (fingerprint(&[("index i", "a"), ("view v", "x")]), fingerprint(&[("view v", "y")]));
        assert_eq!(changes(&before, &now).to_string(), "index i is gone; view v was `x`, and is now `y`");
        assert_eq!(
            changes(&now, &before).first.first().map(String::as_str),
            Some("index i was not there before")
        );
        let differences = Differences { first: vec!["a".to_owned()], total: 3 };
        assert_eq!(differences.to_string(), "a; and 2 more");
    }

    #[test]
    fn long_definitions_are_cut() {
        assert_eq!(quoted("a\n   b"), "`a b`");
        assert_eq!(quoted(&"é".repeat(200)).chars().count(), QUOTED + 3);
    }

    #[test]
    fn the_hash_keeps_boundaries() {
        assert_ne!(fingerprint(&[("ab", "c")]).hash, fingerprint(&[("a", "bc")]).hash);
        assert_eq!(fingerprint(&[("a", "b")]).hash.len(), 7 + 64);
    }
}
