//! Which Databases were read since the watch told of them last: until it tells more, they need not be read again to know
//! that a runner has the newest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt as _;

use crate::api::Database;

/// UID and generation of a Database.
pub type Revision = Option<(String, i64)>;

/// Returns the revision of a Database.
pub fn revision(database: &Database) -> Revision {
    Some((database.uid()?, database.metadata.generation?))
}

/// A namespace and a name.
type Key = (String, String);

#[derive(Debug, Default)]
struct Entry {
    /// How often the watch told of it.
    told: u64,
    read: Revision,
}

/// What was read; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Databases(Arc<Mutex<HashMap<Key, Entry>>>);

impl Databases {
    /// Notes that the watch told of a Database: that it is there, changed, or gone.
    pub fn told(&self, namespace: &str, name: &str) {
        self.with(namespace, name, |entry| {
            entry.told += 1;
            entry.read = None;
        });
    }

    /// Returns what [`Databases::note`] has to be given by whoever begins to read a Database now.
    pub fn news(&self, namespace: &str, name: &str) -> u64 {
        self.with(namespace, name, |entry| entry.told)
    }

    /// Notes what was read, unless the watch told of it since: then it may be older than that.
    pub fn note(&self, database: &Database, since: u64) {
        let namespace = database.namespace().unwrap_or_default();
        self.with(&namespace, &database.name_any(), |entry| {
            if entry.told == since {
                entry.read = revision(database);
            }
        });
    }

    /// Returns the revision of a Database that is the newest for all that is known.
    pub fn known(&self, namespace: &str, name: &str) -> Revision {
        self.with(namespace, name, |entry| entry.read.clone())
    }

    fn with<T>(&self, namespace: &str, name: &str, work: impl FnOnce(&mut Entry) -> T) -> T {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        work(entries.entry((namespace.to_owned(), name.to_owned())).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(generation: i64) -> Database {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "whimbrel.dev/v1alpha1", "kind": "Database",
            "metadata": {"namespace": "a", "name": "shop", "uid": "u", "generation": generation},
            "spec": {"engine": "Postgres", "primary": {}, "replica": {"mode": "None"}},
        }))
        .unwrap()
    }

    #[test]
    fn what_was_read_is_known_until_the_watch_tells_of_it() {
        let databases = Databases::default();
        let known = || databases.known("a", "shop").map(|(_, generation)| generation);
        assert_eq!(known(), None);
        let since = databases.news("a", "shop");
        databases.note(&database(1), since);
        assert_eq!(known(), Some(1));
        assert_eq!(databases.known("b", "shop"), None);
        databases.told("a", "shop");
        assert_eq!(known(), None);
        databases.note(&database(1), since);
        assert_eq!(known(), None, "it was read before the news");
        databases.note(&database(2), databases.news("a", "shop"));
        assert_eq!(known(), Some(2));
    }
}
