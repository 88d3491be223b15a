//! Puts the answers of the server together.

use std::collections::{BTreeMap, HashMap};

use serde::de::DeserializeOwned;

use super::dependencies::Key;
use crate::postgres::error::Error;
use crate::sql::{
    Activity, ColumnFacts, FORMAT, Generated, LiveQuery, ObjectRef, RelationName, Snapshot, Unknown,
    quote_ident,
};

/// One row of an answer: every query gives rows of this form.
pub(super) struct Item {
    /// What the row tells.
    pub section: String,
    /// The object identifier of the relation that it is about.
    pub id: i64,
    /// The rest, as JSON in the form of the [`Snapshot`].
    pub body: String,
}

/// A search path as it is configured: for which role, for this database only, and the setting.
type Configured = (Option<String>, bool, String);

/// What the last analysis counted; a negative number of rows where there was none.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub rows: f64,
    pub pages: f64,
}

/// A snapshot in the making.
#[derive(Clone, Default)]
pub(super) struct Assembly {
    pub(super) snapshot: Snapshot,
    /// Index into the relations by object identifier.
    pub(super) relations: HashMap<i64, usize>,
    /// Names of columns by the identifier of their relation and their number.
    pub(super) attributes: HashMap<(i64, i32), String>,
    pub(super) objects: HashMap<Key, ObjectRef>,
    pub(super) edges: Vec<(Key, Key, char)>,
    pub(super) paths: Vec<Configured>,
    pub(super) login: String,
    pub(super) extension: Option<(String, String)>,
    pub(super) sizes: HashMap<i64, Size>,
    pub(super) live_rows: HashMap<i64, f64>,
    pub(super) held: Vec<String>,
    pub(super) unreadable: Vec<String>,
    pub(super) hidden_transactions: usize,
    pub(super) hidden_queries: usize,
    /// The application's statements could be asked for.
    pub(super) queries_read: bool,
}

impl Assembly {
    pub(super) fn new(major: u32) -> Self {
        let snapshot = Snapshot { format: FORMAT, complete: true, major: Some(major), ..Snapshot::default() };
        Self { snapshot, ..Self::default() }
    }

    /// The role that is logged in, quoted.
    pub(super) fn login(&self) -> String {
        quote_ident(&self.login)
    }

    /// Schema and version of `pg_stat_statements`, if it is installed.
    pub(super) fn statistics_extension(&self) -> Option<(&str, &str)> {
        self.extension.as_ref().map(|(schema, version)| (schema.as_str(), version.as_str()))
    }

    /// Notes what could not be read.
    pub(super) fn unknown(&mut self, unknown: Unknown) {
        if unknown.what == "dependencies" {
            self.snapshot.complete = false;
        }
        self.snapshot.unknown.push(unknown);
    }

    /// Takes in one row.
    ///
    /// # Errors
    /// [`Error::Unexpected`] where the row is not what the query was written to give.
    pub(super) fn add(&mut self, item: &Item) -> Result<(), Error> {
        match item.section.as_str() {
            "schema" => self.snapshot.schemas.push(parsed(item)?),
            "relation" => {
                self.relations.insert(item.id, self.snapshot.relations.len());
                self.snapshot.relations.push(parsed(item)?);
            }
            "type" => self.snapshot.types.push(parsed(item)?),
            "function" => self.snapshot.functions.push(parsed(item)?),
            "setting" => {
                let (name, value): (String, Option<String>) = parsed(item)?;
                self.snapshot.settings.insert(name, value.unwrap_or_default());
            }
            "searchPath" => self.paths.push(parsed(item)?),
            "extension" => self.extension = Some(parsed(item)?),
            "about" => {
                let (database, login, taken_at): (String, String, String) = parsed(item)?;
                self.snapshot.database = Some(database);
                self.snapshot.taken_at = Some(taken_at);
                self.login = login;
            }
            "object" => self.add_object(item)?,
            "depend" => self.add_edges(item)?,
            "held" => self.held.push(parsed(item)?),
            "unreadable" => self.unreadable.push(parsed(item)?),
            "transaction" => match parsed(item)? {
                (_, true) => self.hidden_transactions += 1,
                (Some(age), false) => self.snapshot.transaction_ages.push(age),
                (None, false) => {}
            },
            "query" => self.add_query(item)?,
            "columns" => self.add_columns(item)?,
            _ => self.add_to_relation(item)?,
        }
        Ok(())
    }

    fn add_query(&mut self, item: &Item) -> Result<(), Error> {
        let query: LiveQuery = parsed(item)?;
        if query.text == "<insufficient privilege>" {
            self.hidden_queries += 1;
        } else {
            self.snapshot.queries.get_or_insert_default().push(query);
        }
        Ok(())
    }

    fn add_columns(&mut self, item: &Item) -> Result<(), Error> {
        /// Number, name, type, whether it is NOT NULL, default, identity, generated.
        type Row = (i32, String, String, bool, Option<String>, String, String);
        let rows: Vec<Row> = parsed(item)?;
        let mut columns = Vec::with_capacity(rows.len());
        for (number, name, data_type, not_null, default, identity, generated) in rows {
            self.attributes.insert((item.id, number), name.clone());
            columns.push(ColumnFacts {
                name,
                data_type,
                not_null,
                default,
                identity: !identity.is_empty(),
                generated: match generated.as_str() {
                    "s" => Some(Generated::Stored),
                    "v" => Some(Generated::Virtual),
                    _ => None,
                },
                width: None,
            });
        }
        if let Some(relation) =
            self.relations.get(&item.id).and_then(|index| self.snapshot.relations.get_mut(*index))
        {
            relation.columns = columns;
        }
        Ok(())
    }

    fn add_to_relation(&mut self, item: &Item) -> Result<(), Error> {
        // A relation that was created after the relations were read.
        let Some(relation) =
            self.relations.get(&item.id).and_then(|index| self.snapshot.relations.get_mut(*index))
        else {
            return Ok(());
        };
        match item.section.as_str() {
            "constraints" => relation.constraints = parsed(item)?,
            "indexes" => relation.indexes = parsed(item)?,
            "triggers" => relation.triggers = parsed(item)?,
            "policies" => relation.policies = parsed(item)?,
            "inherits" => relation.inherits = parsed(item)?,
            "partitionOf" => relation.partition_of = parsed::<Vec<RelationName>>(item)?.into_iter().next(),
            "publications" => relation.publications = parsed(item)?,
            "definition" => relation.definition = parsed(item)?,
            "widths" => {
                let widths: BTreeMap<String, u32> = parsed(item)?;
                for column in &mut relation.columns {
                    column.width = widths.get(&column.name).copied();
                }
            }
            "size" => {
                let (bytes, toast, rows, pages): (Option<u64>, Option<u64>, f64, f64) = parsed(item)?;
                relation.bytes = bytes.unwrap_or_default();
                relation.total_bytes = relation.bytes + toast.unwrap_or_default();
                self.sizes.insert(item.id, Size { rows, pages });
            }
            "activity" => {
                let (reads_per_second, writes_per_second, live): (f64, f64, f64) = parsed(item)?;
                relation.activity = Some(Activity { reads_per_second, writes_per_second });
                self.live_rows.insert(item.id, live);
            }
            other => return Err(Error::Unexpected(format!("a row of the catalog is named {other}"))),
        }
        Ok(())
    }
}

pub(super) fn parsed<T: DeserializeOwned>(item: &Item) -> Result<T, Error> {
    serde_json::from_str(&item.body)
        .map_err(|error| Error::Unexpected(format!("a row of the catalog ({}): {error}", item.section)))
}
