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

fn filter(backfill: &Backfill) -> String {
    backfill.filter.as_ref().map_or_else(String::new, |filter| format!(" AND {}", closed(filter)))
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
    pub fn one_of(&self, keys: &[KeyValue]) -> String {
        if keys.is_empty() {
            return "false".to_owned();
        }
        let arrays: Vec<String> = (0..self.key.columns.len())
            .map(|index| self.key_array(index, keys.iter().map(|key| key.get(index).map(String::as_str))))
            .collect();
        format!("{} IN (SELECT * FROM unnest({}))", row(&self.key_columns()), arrays.join(", "))
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

    /// The rows of a range that have to be changed, in the order of their keys: their keys, and the values of the columns that
    /// are set, locked or not.
    pub fn rows(&self, backfill: &Backfill, range: &str, lock: &str) -> String {
        format!(
            "SELECT {}, {} FROM {} WHERE {range}{} ORDER BY {}{lock}",
            self.key_text(),
            self.kept(backfill),
            self.from(),
            filter(backfill),
            self.key_order(),
        )
    }

    /// The condition of a range.
    pub fn range(&self, range: &Range) -> String {
        format!("{}{}", self.between(range.after.as_ref(), &range.to), self.in_pass(range.pass))
    }

    fn kept(&self, backfill: &Backfill) -> String {
        let columns: Vec<String> =
            backfill.set.iter().map(|(column, _)| format!("{}::text", self.column(column))).collect();
        format!("ARRAY[{}]", columns.join(", "))
    }

    /// The rows of a range that have to be changed, for the planner.
    pub fn matching(&self, backfill: &Backfill, range: &str) -> String {
        format!("SELECT FROM {} WHERE {range}{}", self.from(), filter(backfill))
    }

    /// Changes rows, and says of each its key, whether it would be changed again, whether it is not what was computed, and
    /// what is in it now.
    pub fn update(&self, backfill: &Backfill, range: &str, details: bool) -> String {
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
        let differs = if differs.is_empty() { "false".to_owned() } else { differs.join(" OR ") };
        let changed =
            format!("UPDATE {} SET {} WHERE {range}{}", self.from(), set.join(", "), filter(backfill));
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
