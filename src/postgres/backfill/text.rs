//! Pure: the SQL of batches. Everything in it is a literal, a quoted identifier, or an expression of the plan in parentheses,
//! which the parser has taken for one expression.

use super::leaf::Leaf;
use super::restore::Kept;
use crate::core::backfill::Backfill;
use crate::sql::{quote_ident, quote_literal};

/// A value of a key, each column as text.
pub type KeyValue = Vec<String>;

/// Makes an array of texts of a JSON array of the statement.
macro_rules! texts {
    ($list:literal) => {
        concat!(
            "(SELECT array_agg(v ORDER BY n) FROM jsonb_array_elements_text(",
            $list,
            ") WITH ORDINALITY AS e (v, n))"
        )
    };
}
pub(super) use texts;

/// Which rows of a leaf a batch is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Above this key; from the first where absent.
    pub after: Option<KeyValue>,
    /// Up to this key.
    pub to: KeyValue,
    /// Of so many passes over the same keys, this one.
    pub pass: (i32, i32),
}

/// Which rows of a leaf a statement is about.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// Those of a range.
    Range(&'a Range),
    /// Those that have one of these keys.
    Keys(&'a [KeyValue]),
}

/// What the keys of a look-up are called: no table of a plan is.
const LOOKED_UP: &str = "whimbrel_keys";

/// The filter, for the planner, which may take the rows by it.
fn filter(backfill: &Backfill) -> String {
    backfill.filter.as_ref().map_or_else(String::new, |filter| format!(" AND {}", closed(filter)))
}

/// The filter as the planner cannot see through it: a batch is found by its keys, however few rows match by statistics that the
/// backfill itself makes stale. Else an index on what it changes is gone over for each batch, or the table for each key. A query
/// in it stays visible: the planner finds ways to answer it for all rows together.
fn opaque(backfill: &Backfill) -> String {
    match &backfill.filter {
        Some(asking) if asking.to_ascii_lowercase().contains("select") => filter(backfill),
        Some(plain) => format!(" AND coalesce({}, false)", closed(plain)),
        None => String::new(),
    }
}

fn closed(expression: &str) -> String {
    format!("({expression}\n)")
}

fn row(parts: &[String]) -> String {
    match parts {
        [one] => one.clone(),
        many => format!("({})", many.join(", ")),
    }
}

impl Leaf {
    /// A column under the name of the table, as expressions may say it.
    fn column(&self, name: &str) -> String {
        format!("{}.{}", self.alias, quote_ident(name))
    }

    fn key_columns(&self) -> Vec<String> {
        self.key.columns.iter().map(|(name, _)| self.column(name)).collect()
    }

    fn value(&self, key: &[String]) -> String {
        let parts: Vec<String> = key
            .iter()
            .zip(&self.key.columns)
            .map(|(value, (_, kind))| format!("{}::{kind}", quote_literal(value)))
            .collect();
        row(&parts)
    }

    /// The key of a row as an array of texts.
    fn key_text(&self) -> String {
        let parts: Vec<String> = self.key_columns().iter().map(|column| format!("{column}::text")).collect();
        format!("ARRAY[{}]", parts.join(", "))
    }

    fn key_order(&self) -> String {
        self.key_columns().join(", ")
    }

    fn between(&self, after: Option<&KeyValue>, to: &KeyValue) -> String {
        let key = row(&self.key_columns());
        let (lower, upper) = if self.key.by_place { (">=", "<") } else { (">", "<=") };
        let above =
            after.map_or_else(String::new, |after| format!("{key} {lower} {} AND ", self.value(after)));
        format!("{above}{key} {upper} {}", self.value(to))
    }

    fn in_pass(&self, (pass, passes): (i32, i32)) -> String {
        if passes <= 1 {
            return String::new();
        }
        // Rows that are neighbours on a page have neighbouring keys, where the key counts.
        let number = match self.key.columns.as_slice() {
            [(name, kind)] if matches!(kind.as_str(), "smallint" | "integer" | "bigint") => {
                format!("{}::bigint", self.column(name))
            }
            _ => format!("hashtextextended({}::text, 0)", self.key_text()),
        };
        format!(" AND mod(mod({number}, {passes}) + {passes}, {passes}) = {pass}")
    }

    /// Says that a row is one of these.
    fn one_of(&self, keys: &[KeyValue]) -> String {
        if keys.is_empty() {
            return "false".to_owned();
        }
        format!("{} IN (SELECT * FROM {})", row(&self.key_columns()), self.unnested(keys))
    }

    fn unnested(&self, keys: &[KeyValue]) -> String {
        let arrays: Vec<String> = (0..self.key.columns.len())
            .map(|index| self.key_array(index, keys.iter().map(|key| key.get(index).map(String::as_str))))
            .collect();
        format!("unnest({})", arrays.join(", "))
    }

    /// The values of one column of keys. Arrays, so that the server's statistics see one statement, whatever their number.
    fn key_array<'a>(&self, index: usize, values: impl Iterator<Item = Option<&'a str>>) -> String {
        let kind = self.key.columns.get(index).map_or("text", |(_, kind)| kind.as_str());
        format!("{}::{kind}[]", array(values))
    }
}

/// Texts as one literal.
fn array<'a>(values: impl Iterator<Item = Option<&'a str>>) -> String {
    let quoted: Vec<String> = values
        .map(|value| match value {
            Some(value) => format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")),
            None => "NULL".to_owned(),
        })
        .collect();
    format!("{}::text[]", quote_literal(&format!("{{{}}}", quoted.join(","))))
}

impl Leaf {
    fn from(&self) -> String {
        format!("ONLY {} AS {}", self.relation, self.alias)
    }

    /// Says that the leaf is there, and still belongs to the table of the plan.
    pub fn is_there(&self) -> String {
        let (relid, root) = (self.relid, self.root);
        if relid == root {
            return format!("EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = {relid})");
        }
        format!(
            "EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhrelid = {relid} AND NOT i.inhdetachpending)"
        )
    }

    /// The last key of a leaf, which bounds what is done.
    pub fn bound(&self) -> String {
        let order: Vec<String> = self.key_columns().iter().map(|one| format!("{one} DESC")).collect();
        format!("SELECT {} FROM {} ORDER BY {} LIMIT 1", self.key_text(), self.from(), order.join(", "))
    }

    /// The key that ends a window of so many keys; no row where fewer are left.
    pub fn window_end(&self, after: Option<&KeyValue>, bound: &KeyValue, keys: u64) -> String {
        format!(
            "SELECT {} FROM {} WHERE {} ORDER BY {} OFFSET {} LIMIT 1",
            self.key_text(),
            self.from(),
            self.between(after, bound),
            self.key_order(),
            keys.saturating_sub(1)
        )
    }

    /// The rows that have to be changed: their keys, and the values of the columns that are set, locked or not. Those of a range
    /// come in the order of their keys.
    pub fn rows(&self, backfill: &Backfill, which: Which<'_>, lock: &str) -> String {
        let (key, kept, from) = (self.key_text(), self.kept(backfill), self.from());
        let filter = opaque(backfill);
        match which {
            Which::Range(_) => {
                let (condition, order) = (self.condition(which), self.key_order());
                format!("SELECT {key}, {kept} FROM {from} WHERE {condition}{filter} ORDER BY {order}{lock}")
            }
            // One after the other: batches do not sort, and an order would be had by going over the whole table.
            Which::Keys(keys) => {
                let columns = self.key_columns();
                let same =
                    columns.iter().enumerate().map(|(at, column)| format!("{column} = {LOOKED_UP}.k{at}"));
                let names: Vec<String> = (0..columns.len()).map(|at| format!("k{at}")).collect();
                format!(
                    "SELECT r.key, r.kept FROM {} AS {LOOKED_UP} ({}) CROSS JOIN LATERAL (\
                     SELECT {key} AS key, {kept} AS kept FROM {from} WHERE {}{filter}{lock}) AS r",
                    self.unnested(keys),
                    names.join(", "),
                    same.collect::<Vec<_>>().join(" AND "),
                )
            }
        }
    }

    /// Says that a row is one of those.
    pub fn condition(&self, which: Which<'_>) -> String {
        match which {
            Which::Range(range) => {
                format!("{}{}", self.between(range.after.as_ref(), &range.to), self.in_pass(range.pass))
            }
            Which::Keys(keys) => self.one_of(keys),
        }
    }

    fn kept(&self, backfill: &Backfill) -> String {
        let columns: Vec<String> =
            backfill.set.iter().map(|(column, _)| format!("{}::text", self.column(column))).collect();
        format!("ARRAY[{}]", columns.join(", "))
    }

    /// The rows that have to be changed, for the planner.
    pub fn matching(&self, backfill: &Backfill, which: Which<'_>) -> String {
        format!("SELECT FROM {} WHERE {}{}", self.from(), self.condition(which), filter(backfill))
    }

    /// Changes rows, and says of each its key, whether it would be changed again, whether it is not what was computed, and
    /// what is in it now.
    pub fn update(&self, backfill: &Backfill, which: Which<'_>, details: bool) -> String {
        let set: Vec<String> = backfill
            .set
            .iter()
            .map(|(column, value)| format!("{} = {}", quote_ident(column), closed(value)))
            .collect();
        // A null is not true.
        let again = match &backfill.filter {
            Some(filter) if backfill.until_done => format!("{} IS TRUE", closed(filter)),
            _ => "false".to_owned(),
        };
        let differs = self.differs(backfill);
        let (condition, filter) = (self.condition(which), opaque(backfill));
        let changed = format!("UPDATE {} SET {} WHERE {condition}{filter}", self.from(), set.join(", "));
        let odd = format!("{again} AS again, ({differs}) IS TRUE AS differs");
        if details {
            let (key, after) = (self.key_text(), self.kept(backfill));
            return format!("{changed} RETURNING {key} AS key, {odd}, {after} AS after");
        }
        // A key becomes text only where something is wrong with its row.
        let (columns, texts): (Vec<_>, Vec<_>) = self
            .key_columns()
            .iter()
            .enumerate()
            .map(|(index, column)| (format!("{column} AS k{index}"), format!("k{index}::text")))
            .unzip();
        format!(
            "WITH done AS ({changed} RETURNING {}, {odd}) \
             SELECT count(*), count(*) FILTER (WHERE again), count(*) FILTER (WHERE differs), \
             (array_agg(array_to_string(ARRAY[{}], ', ')) FILTER (WHERE again OR differs))[1] FROM done",
            columns.join(", "),
            texts.join(", ")
        )
    }

    /// Says that a row does not hold what is computed for it; false where that cannot be computed again.
    fn differs(&self, backfill: &Backfill) -> String {
        let differs: Vec<String> = backfill
            .set
            .iter()
            .filter(|_| backfill.repeatable)
            .map(|(column, value)| {
                // A column may round or pad what it is given; not every type knows equality.
                let (now, kind) = (self.column(column), self.kind(column));
                format!("{now}::text IS DISTINCT FROM {}::{kind}::text", closed(value))
            })
            .collect();
        if differs.is_empty() { "false".to_owned() } else { differs.join(" OR ") }
    }

    /// Of the rows of a range that are as a transaction left them, counts some, and those that do not hold what is computed for
    /// them; and the key of one.
    pub fn again(&self, backfill: &Backfill, range: &Range, xid: u32, most: u32) -> String {
        format!(
            "SELECT count(*), count(*) FILTER (WHERE differs), (array_agg(array_to_string(key, ', ')) FILTER (WHERE differs))[1] FROM (\
             SELECT {} AS key, ({}) IS TRUE AS differs FROM {} WHERE {} AND {}.xmin = '{xid}'::xid LIMIT {most}) rows",
            self.key_text(),
            self.differs(backfill),
            self.from(),
            self.condition(Which::Range(range)),
            self.alias
        )
    }

    fn kind(&self, column: &str) -> &str {
        self.columns.iter().find(|(name, _)| name == column).map_or("text", |(_, kind)| kind.as_str())
    }

    /// The keys of rows up to the bound that would still be changed.
    pub fn left(&self, backfill: &Backfill, bound: &KeyValue, most: u32) -> String {
        let range = self.between(None, bound);
        format!(
            "SELECT {} FROM {} WHERE {range}{} LIMIT {most}",
            self.key_text(),
            self.from(),
            filter(backfill)
        )
    }

    /// Draws keys from a share of the table's pages, in their order.
    pub fn drawn(&self, percent: f64, most: usize) -> String {
        let columns: Vec<String> = self.key.columns.iter().map(|(name, _)| quote_ident(name)).collect();
        let (columns, texts) = (columns.join(", "), self.key_text());
        format!(
            "SELECT {texts} FROM (SELECT {columns} FROM {} TABLESAMPLE SYSTEM ({percent}) ORDER BY random() LIMIT {most}) AS {} \
             ORDER BY {}",
            self.from(),
            self.alias,
            self.key_order()
        )
    }

    /// Says whether a key comes after another one.
    pub fn is_after(&self, one: &KeyValue, other: &KeyValue) -> String {
        format!("SELECT {} > {}", self.value(one), self.value(other))
    }

    /// The rows that are not done yet.
    pub fn rest(&self, bound: &KeyValue) -> Range {
        Range { after: self.cursor.clone(), to: bound.clone(), pass: (0, 1) }
    }

    /// Asks for a few rows as a batch does, and waits for whoever holds them.
    pub fn asked(&self, which: Which<'_>) -> String {
        format!(
            "SELECT FROM {} WHERE {} ORDER BY {} LIMIT 20 FOR NO KEY UPDATE",
            self.from(),
            self.condition(which),
            self.key_order()
        )
    }

    /// Puts values in again where the row holds what was left in it.
    pub fn restore(&self, backfill: &Backfill, rows: &[Kept]) -> String {
        fn of(values: &[Option<String>], index: usize) -> Option<&str> {
            values.get(index).and_then(Option::as_deref)
        }
        let of_keys = (0..self.key.columns.len()).map(|index| {
            self.key_array(index, rows.iter().map(|row| row.key.get(index).map(String::as_str)))
        });
        let of_values = (0..backfill.set.len()).flat_map(|index| {
            [
                array(rows.iter().map(|row| of(&row.before, index))),
                array(rows.iter().map(|row| of(&row.after, index))),
            ]
        });
        let arrays: Vec<String> = of_keys.chain(of_values).collect();
        let keys = (0..self.key.columns.len()).map(|index| format!("k{index}"));
        let pairs = (0..backfill.set.len()).flat_map(|index| [format!("b{index}"), format!("a{index}")]);
        let names: Vec<String> = keys.chain(pairs).collect();
        let set: Vec<String> = backfill
            .set
            .iter()
            .enumerate()
            .map(|(index, (column, _))| {
                format!("{} = v.b{index}::{}", quote_ident(column), self.kind(column))
            })
            .collect();
        let same_key = self
            .key_columns()
            .iter()
            .enumerate()
            .map(|(index, column)| format!("{column} = v.k{index}"))
            .collect::<Vec<_>>();
        let same = backfill.set.iter().enumerate().map(|(index, (column, _))| {
            format!("{}::text IS NOT DISTINCT FROM v.a{index}", self.column(column))
        });
        format!(
            "UPDATE {} SET {} FROM unnest({}) AS v ({}) WHERE {} RETURNING {}",
            self.from(),
            set.join(", "),
            arrays.join(", "),
            names.join(", "),
            same_key.into_iter().chain(same).collect::<Vec<_>>().join(" AND "),
            self.key_text()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::backfill::leaf::Key;

    #[test]
    fn the_planner_sees_queries_of_the_filter_and_nothing_else_of_it() {
        let said = |filter: &str| {
            let backfill = Backfill { filter: Some(filter.to_owned()), ..Backfill::default() };
            let leaf = Leaf { relation: "t".to_owned(), alias: "t".to_owned(), ..Leaf::default() };
            leaf.update(&backfill, Which::Keys(&[]), true)
        };
        assert!(said("n IS NULL").contains(" WHERE false AND coalesce((n IS NULL\n), false) RETURNING"));
        let exists = said("EXISTS (SELECT FROM o WHERE o.t = t.id)");
        assert!(
            exists.contains(" WHERE false AND (EXISTS (SELECT FROM o WHERE o.t = t.id)\n) RETURNING"),
            "{exists}"
        );
    }

    #[test]
    fn values_cannot_leave_their_literal() {
        let key = Key {
            columns: vec![("id".to_owned(), "text".to_owned()), ("n".to_owned(), "integer".to_owned())],
            by_place: false,
        };
        let leaf = Leaf { alias: "t".to_owned(), key, ..Leaf::default() };
        let keys =
            [vec!["it's \"a\\b\", }".to_owned(), "1".to_owned()], vec!["NULL".to_owned(), "2".to_owned()]];
        assert_eq!(
            leaf.one_of(&keys),
            "(t.id, t.n) IN (SELECT * FROM unnest(E'{\"it''s \\\\\"a\\\\\\\\b\\\\\", }\",\"NULL\"}'::text[]::text[], \
             '{\"1\",\"2\"}'::text[]::integer[]))"
        );
        assert_eq!(leaf.one_of(&[]), "false");
    }
}
