//! Objects by schema and name.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::sql::name::RelationName;

/// What each name stands for, in each schema; an unknown schema is empty.
pub struct Names<'a, T> {
    found: HashMap<Cow<'a, str>, Vec<(Cow<'a, str>, T)>>,
}

impl<'a, T> Names<'a, T> {
    pub fn with_capacity(names: usize) -> Self {
        Self { found: HashMap::with_capacity(names) }
    }

    pub fn get(&self, schema: &str, name: &str) -> Option<&T> {
        self.found.get(name)?.iter().find(|(of, _)| of == schema).map(|(_, value)| value)
    }

    /// Adds a name that outlives the map, without a copy of it.
    pub fn add(&mut self, schema: &'a str, name: &'a str, value: T) {
        self.put(Cow::Borrowed(schema), Cow::Borrowed(name), value);
    }

    pub fn insert(&mut self, name: &RelationName, value: T) {
        let schema = name.schema.clone().unwrap_or_default();
        self.put(Cow::Owned(schema), Cow::Owned(name.name.clone()), value);
    }

    fn put(&mut self, schema: Cow<'a, str>, name: Cow<'a, str>, value: T) {
        let list = self.found.entry(name).or_default();
        list.retain(|(of, _)| *of != schema);
        list.push((schema, value));
    }

    pub fn remove(&mut self, name: &RelationName) {
        let schema = name.schema.as_deref().unwrap_or_default();
        if let Some(list) = self.found.get_mut(name.name.as_str()) {
            list.retain(|(of, _)| of != schema);
        }
    }

    /// Finds what a name means along a search path; a name that was once written without a schema, too.
    pub fn look_up(&self, path: &[String], name: &RelationName) -> Option<&T> {
        let at = |schema: &str| self.get(schema, &name.name);
        match name.schema.as_deref() {
            Some(schema) => {
                at(schema).or_else(|| path.first().filter(|first| *first == schema).and_then(|_| at("")))
            }
            None => path.iter().find_map(|schema| at(schema)).or_else(|| at("")),
        }
    }
}
