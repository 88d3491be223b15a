//! Where the catalog comes from: a database, a file of `whimbrel catalog`, or nowhere.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::anyhow;

use crate::cli::database;
use crate::core::{estimate, preview};
use crate::sql::{self, FactKey, Facts, RelationName, Snapshot, Statement, Unknown};

/// Majors of the server that are supported.
const MAJORS: std::ops::RangeInclusive<u32> = 14..=18;

#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    #[command(flatten)]
    database: database::DatabaseArgs,
    /// Looks at no database, even if `WHIMBREL_DATABASE_URL` is set.
    #[arg(long, conflicts_with = "database_url")]
    offline: bool,
    /// Major version of the server, where no catalog says it: 14 to 18.
    #[arg(long, value_name = "MAJOR", value_parser = major, conflicts_with = "database_url")]
    server_version: Option<u32>,
    /// Catalog that whimbrel catalog has written, instead of a database.
    #[arg(long, value_name = "FILE", conflicts_with = "database_url")]
    catalog: Option<PathBuf>,
}

impl SourceArgs {
    /// Refuses a `--database-url` without a value, as a variable that is not set gives it: to look at no database has to be
    /// said. The variable of our own may be empty.
    fn refuse_empty(&self) -> anyhow::Result<()> {
        let blank = |text: &str| text.trim().is_empty();
        let in_variable = std::env::var("WHIMBREL_DATABASE_URL").is_ok_and(|url| blank(&url));
        let given = self.database.database_url.as_deref().is_some_and(blank) && !in_variable;
        anyhow::ensure!(
            !given,
            "--database-url is empty: is a variable in it not set? Leave it out, or say --offline, to look at no database"
        );
        Ok(())
    }

    /// The database, if one is to be looked at.
    pub fn online(&self) -> Option<&database::DatabaseArgs> {
        let offline = self.offline || self.server_version.is_some() || self.catalog.is_some();
        let named = self.database.database_url.as_ref().is_some_and(|url| !url.trim().is_empty());
        (named && !offline).then_some(&self.database)
    }
}

/// `--rows`.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    table: RelationName,
    rows: f64,
}

fn major(text: &str) -> Result<u32, String> {
    let supported = format!("supported are {} to {}", MAJORS.start(), MAJORS.end());
    let number: u32 =
        text.parse().map_err(|_| format!("write the major version as a number; {supported}"))?;
    if MAJORS.contains(&number) {
        Ok(number)
    } else {
        Err(format!("PostgreSQL {number} is not known; {supported}"))
    }
}

/// Reads `TABLE=N`; a table is written as in SQL.
pub(super) fn rows(text: &str) -> Result<Rows, String> {
    let (table, number) = text.rsplit_once('=').ok_or("write it as TABLE=N, for example users=5000000")?;
    let digits: String = number.chars().filter(|c| *c != '_' && *c != ',').collect();
    let rows: u64 = digits.parse().map_err(|_| format!("{number:?} is not a number of rows"))?;
    #[allow(clippy::cast_precision_loss, reason = "an estimate")]
    let rows = rows as f64;
    Ok(Rows { table: name(table).ok_or_else(|| format!("{table:?} is not the name of a table"))?, rows })
}

/// A name as SQL has it: folded to lower case where it is not quoted.
fn name(text: &str) -> Option<RelationName> {
    let (mut parts, mut part) = (Vec::new(), String::new());
    let mut quoted = false;
    let mut letters = text.trim().chars().peekable();
    while let Some(c) = letters.next() {
        match c {
            '"' if quoted && letters.peek() == Some(&'"') => part.extend(letters.next()),
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            c if quoted => part.push(c),
            c => part.extend(c.to_lowercase()),
        }
    }
    parts.push(part);
    if quoted || parts.iter().any(String::is_empty) {
        return None;
    }
    match parts.as_slice() {
        [table] => Some(RelationName::unqualified(table)),
        [schema, table] => Some(RelationName::qualified(schema, table)),
        _ => None,
    }
}

/// Gets the catalog for a command. Without a `search_path`, that of the login counts.
pub(super) fn look(
    args: &SourceArgs,
    search_path: Option<&[String]>,
    command: &str,
) -> anyhow::Result<Snapshot> {
    args.refuse_empty()?;
    let wanted = search_path.map(<[String]>::to_vec);
    if let Some(database) = args.online() {
        let mut database = database.clone();
        database.search_path = wanted.unwrap_or(database.search_path);
        return database.snapshot(command);
    }
    let mut catalog = match &args.catalog {
        Some(path) => database::catalog_file(path)?,
        None => Snapshot { unknown: vec![no_catalog()], ..Snapshot::assumed(args.server_version) },
    };
    catalog.major = args.server_version.or(catalog.major);
    let given = Some(args.database.search_path.clone()).filter(|path| !path.is_empty());
    if let Some(path) = wanted.or(given) {
        catalog.search_path = path;
    }
    Ok(catalog)
}

/// Asks the planner of the database about the queries whose rows these statements store. What it does not tell is unknown,
/// and said so.
pub(super) fn plan_queries(
    args: &SourceArgs,
    statements: &[Statement],
    catalog: &mut Snapshot,
    command: &str,
) {
    let stores = |one: &Statement| sql::stored_query(one, catalog).is_some();
    let Some(database) = args.online().filter(|_| statements.iter().any(stores)) else { return };
    if let Err(error) = database.plan_queries(command, catalog, statements) {
        catalog.unknown.push(Unknown {
            what: "rows of the queries whose result is stored".to_owned(),
            why: format!("{error:#}"),
            remedy: "try again".to_owned(),
        });
    }
}

/// Answers what ways back rest on: from the catalog, and from the database what the catalog does not keep. What the
/// database does not tell is unknown, and said so.
pub(super) fn facts(
    args: &SourceArgs,
    wanted: &BTreeSet<FactKey>,
    statements: &[Statement],
    catalog: &mut Snapshot,
    command: &str,
) -> Facts {
    let mut facts = preview::facts(wanted, statements, catalog);
    let of_objects: BTreeSet<FactKey> =
        wanted.iter().filter(|key| matches!(key, FactKey::Before { .. })).cloned().collect();
    let Some(database) = args.online().filter(|_| !of_objects.is_empty()) else { return facts };
    match database.facts(command, &catalog.search_path, &of_objects) {
        Ok(told) => facts.0.extend(told.0),
        Err(error) => catalog.unknown.push(Unknown {
            what: "what objects are like before".to_owned(),
            why: format!("{error:#}"),
            remedy: "ways back that rest on it are shown once the database can be asked".to_owned(),
        }),
    }
    facts
}

fn no_catalog() -> Unknown {
    Unknown {
        what: "catalog".to_owned(),
        why: "no database was looked at: sizes, types, constraints and dependencies are taken for the worst"
            .to_owned(),
        remedy: "pass --database-url, or --catalog with a file of whimbrel catalog".to_owned(),
    }
}

/// Applies `--rows`.
pub(super) fn resize(catalog: &mut Snapshot, rows: &[Rows]) -> anyhow::Result<()> {
    for Rows { table, rows } in rows {
        estimate::resize(catalog, table, *rows).map_err(|message| anyhow!("--rows {table}: {message}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_sql_reads_names() {
        let check = |text: &str, schema: Option<&str>, table: &str, expected: f64| {
            let read = rows(text).unwrap();
            assert_eq!((read.table.schema.as_deref(), read.table.name.as_str()), (schema, table), "{text}");
            assert!((read.rows - expected).abs() < 0.5, "{text}");
        };
        check("users=5000000", None, "users", 5e6);
        check("Users=5_000_000", None, "users", 5e6);
        check("shop.\"Order.s\"=0", Some("shop"), "Order.s", 0.0);
        check("\"a\"\"=b\"=7", None, "a\"=b", 7.0);
        for wrong in ["users", "users=many", "users=-1", "=5", "a.b.c=5", "\"a=5", "a.=5"] {
            assert!(rows(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn versions_that_are_not_known_are_refused() {
        assert_eq!(major("16"), Ok(16));
        for wrong in ["13", "99", "sixteen", "16.2", ""] {
            assert!(major(wrong).unwrap_err().contains("14 to 18"), "{wrong}");
        }
    }
}
