//! One statement under examination: what has been found out about it, and the catalog that it changes.

use std::collections::{BTreeMap, BTreeSet};

use super::lock::LockMode;
use super::world::{Found, Id, World};
use super::{Foreseen, Heavy, RelationLock};
use crate::sql::name::RelationName;
use crate::sql::snapshot::{IndexFacts, Persistence, Relation, RelationType};

/// Schemas whose relations belong to the server.
const SYSTEM: &[&str] = &["pg_catalog", "information_schema", "pg_toast"];

/// Columns that every table has.
const SYSTEM_COLUMNS: &[&str] = &["tableoid", "ctid", "xmin", "cmin", "xmax", "cmax"];

/// What is found out about one statement.
pub struct Case<'w, 'a> {
    pub world: &'w mut World<'a>,
    pub out: Foreseen,
    locks: BTreeMap<RelationName, LockMode>,
    rewrites: BTreeSet<RelationName>,
    scans: BTreeSet<RelationName>,
    /// Tables with work on them that takes the longer, the larger they are.
    work: BTreeSet<RelationName>,
    /// Indexes among the locked relations.
    indexes: BTreeSet<RelationName>,
    /// Who waits at least, whatever the locks that are known say.
    at_least: Heavy,
}

impl<'w, 'a> Case<'w, 'a> {
    pub fn new(world: &'w mut World<'a>) -> Self {
        Self {
            world,
            out: Foreseen::default(),
            locks: BTreeMap::new(),
            rewrites: BTreeSet::new(),
            scans: BTreeSet::new(),
            work: BTreeSet::new(),
            indexes: BTreeSet::new(),
            at_least: Heavy::None,
        }
    }

    pub fn finish(self) -> Foreseen {
        // All locks are held until the work is done, not only those on the table that it is done on.
        let tables = self.locks.iter().filter(|(name, _)| !self.indexes.contains(name));
        let heavy = match tables.map(|(_, mode)| *mode).max() {
            _ if self.work.is_empty() => Heavy::None,
            Some(mode) if mode.blocks_reads() => Heavy::Everything,
            Some(mode) if mode.blocks_writes() => Heavy::Writes,
            _ => Heavy::None,
        };
        let heavy = heavy.max(self.at_least);
        let locks = self.locks.into_iter().map(|(relation, mode)| RelationLock { relation, mode }).collect();
        Foreseen {
            locks,
            rewrites: self.rewrites.into_iter().collect(),
            scans: self.scans.into_iter().collect(),
            heavy,
            ..self.out
        }
    }

    /// Names a fact that is missing.
    pub fn assume(&mut self, fact: impl Into<String>) {
        let fact = fact.into();
        if !self.out.assumptions.contains(&fact) {
            self.out.assumptions.push(fact);
        }
    }

    pub fn consequence(&mut self, sentence: impl Into<String>) {
        let sentence = sentence.into();
        if !self.out.consequences.contains(&sentence) {
            self.out.consequences.push(sentence);
        }
    }

    /// Notes that the server will refuse the statement.
    pub fn fails(&mut self, why: &str) {
        self.consequence(format!("fails: {why}"));
    }

    /// What the statement does cannot be told from its text.
    pub fn opaque(&mut self, why: impl Into<String>) {
        self.out.opaque = true;
        self.consequence(why);
    }

    /// The relation of a name, if there is one: with `missing_ok`, a relation that is known not to be there is left out.
    pub fn target(&mut self, name: &RelationName, missing_ok: bool) -> Option<Id> {
        let found = self.world.find(name);
        if found.is_none() && is_of_the_server(name) {
            return None;
        }
        if found.is_none() && self.world.snapshot.complete {
            if missing_ok {
                return None;
            }
            self.fails(&format!("there is no {name}"));
        }
        Some(found.unwrap_or_else(|| self.world.resolve(name)))
    }

    /// Whether there is a relation with the name of something that is to be made, which then fails.
    pub fn is_taken(&mut self, name: &RelationName, persistence: Persistence) -> bool {
        let placed = self.world.placed(name);
        let there = self.world.find(&placed).is_some() || self.world.index_table(&placed).is_some();
        // What is temporary has a schema of its own.
        let taken = there && persistence != Persistence::Temporary;
        if taken {
            self.fails(&format!("{placed} is there already"));
        }
        taken
    }

    /// Notes that the server refuses a statement which names columns that are not there.
    pub fn needs_columns<'c>(&mut self, id: Id, columns: impl IntoIterator<Item = &'c String>) {
        let table = self.world.name(id);
        for column in columns {
            // The whole row, and columns that no catalog lists.
            let special = *column == table.name || SYSTEM_COLUMNS.contains(&column.as_str());
            if !special && self.world.column(id, column) == Found::No {
                self.fails(&format!("{table} has no column {column}"));
            }
        }
    }

    /// The relation of a name within a view, which follows its relations when they are renamed.
    pub fn target_in_view(&mut self, name: &RelationName) -> Option<Id> {
        self.world.find_in_view(name).or_else(|| self.target(name, false))
    }

    fn is_ours(&self, id: Id) -> bool {
        let system = |entry: &super::world::Entry<'_>| {
            entry.relation.name.schema.as_deref().is_some_and(|schema| SYSTEM.contains(&schema))
        };
        !self.world.is_made(id) && !self.world.entry(id).is_none_or(system)
    }

    pub fn lock(&mut self, id: Id, mode: LockMode) {
        if self.is_ours(id) {
            self.lock_name(self.world.name(id), mode);
        }
    }

    fn lock_name(&mut self, name: RelationName, mode: LockMode) {
        let held = self.locks.entry(name).or_insert(mode);
        *held = (*held).max(mode);
    }

    pub fn lock_all(&mut self, ids: &[Id], mode: LockMode) {
        for id in ids {
            self.lock(*id, mode);
        }
    }

    /// Locks an index; weaker modes than `SHARE UPDATE EXCLUSIVE` are not told.
    pub fn lock_index(&mut self, table: Id, index: &str, mode: LockMode) {
        let name = self.world.name(table).sibling(index);
        if self.is_ours(table) && !self.world.is_made_index(&name) && mode >= LockMode::ShareUpdateExclusive {
            self.indexes.insert(name.clone());
            self.lock_name(name, mode);
        }
    }

    /// Locks an index that the catalog does not know.
    pub fn lock_unknown_index(&mut self, index: &RelationName, mode: LockMode) {
        self.indexes.insert(index.clone());
        self.lock_name(index.clone(), mode);
    }

    /// The table is read from beginning to end.
    pub fn scan(&mut self, id: Id) {
        if self.is_ours(id) && has_rows(self.world.kind(id)) {
            let name = self.world.name(id);
            self.scans.insert(name.clone());
            self.work.insert(name);
        }
    }

    /// The file of the index is written anew from the table.
    pub fn rebuild(&mut self, table: Id, index: &str) {
        let name = self.world.name(table).sibling(index);
        if self.is_ours(table) && has_rows(self.world.kind(table)) {
            self.scan(table);
            self.rewrites.insert(name);
        }
    }

    /// All files of the relation and its indexes are written anew, and everybody waits.
    pub fn rewrite(&mut self, id: Id) {
        if !self.is_ours(id) || !has_rows(self.world.kind(id)) {
            return;
        }
        self.scan(id);
        self.replace_files(id);
    }

    /// The relation and its indexes get new files; writing them takes no time that counts.
    pub fn replace_files(&mut self, id: Id) {
        if !self.is_ours(id) || !has_rows(self.world.kind(id)) {
            return;
        }
        self.rewrites.insert(self.world.name(id));
        for index in self.indexes(id) {
            self.lock_index(id, &index.name, LockMode::AccessExclusive);
            self.rewrites.insert(self.world.name(id).sibling(index.name));
        }
    }

    /// The file of a relation that is no table changes.
    pub fn replace_file(&mut self, name: RelationName) {
        self.rewrites.insert(name);
    }

    /// The statement takes the longer, the larger the table is.
    pub fn work_on(&mut self, id: Id) {
        if self.is_ours(id) {
            self.work.insert(self.world.name(id));
        }
    }

    /// The files of a table move as they are, while everybody waits; indexes stay.
    pub fn copy_file(&mut self, id: Id) {
        if self.is_ours(id) && has_rows(self.world.kind(id)) {
            let name = self.world.name(id);
            self.rewrites.insert(name);
            self.work_on(id);
        }
    }

    /// Whether a table is known to have no rows.
    pub fn is_empty(&self, id: Id) -> bool {
        self.world.relation(id).is_some_and(|relation| {
            has_rows(relation.kind) && relation.bytes == 0 && relation.rows == Some(0.0)
        })
    }

    /// Somebody waits for long work, though it cannot be told at which table.
    pub fn at_least(&mut self, heavy: Heavy) {
        self.at_least = self.at_least.max(heavy);
    }

    /// Indexes of a table; that they are not known is named.
    pub fn indexes(&mut self, id: Id) -> Vec<IndexFacts> {
        if !self.world.is_known(id) {
            self.assume(format!("indexes of {}", self.world.name(id)));
        }
        self.world.relation(id).map(|relation| relation.indexes.clone()).unwrap_or_default()
    }

    /// Locks all indexes of a table.
    pub fn lock_indexes(&mut self, id: Id, mode: LockMode) {
        for index in self.indexes(id) {
            self.lock_index(id, &index.name, mode);
        }
    }

    /// The relation, and with `recurse` what is below it; that this is not known is named.
    pub fn family(&mut self, id: Id, recurse: bool) -> Vec<Id> {
        if !recurse {
            return vec![id];
        }
        if !self.world.is_known(id) && can_have_children(self.world.kind(id)) {
            self.assume(format!("partitions and children of {}", self.world.name(id)));
        }
        self.world.family(id)
    }

    /// Tables with a foreign key to this one; that they are not known is named.
    pub fn referencing(&mut self, id: Id) -> Vec<Id> {
        if !self.world.is_known(id) && !self.world.snapshot.complete {
            self.assume(format!("foreign keys that refer to {}", self.world.name(id)));
        }
        self.world.referencing(id)
    }

    /// The type of a column, as the catalog writes it.
    pub fn column_type(&mut self, id: Id, column: &str) -> Option<String> {
        match self.world.column(id, column) {
            Found::Yes(facts) if !facts.data_type.is_empty() => Some(facts.data_type.clone()),
            Found::No => {
                self.fails(&format!("{} has no column {column}", self.world.name(id)));
                None
            }
            _ => {
                self.assume(format!("type of {}.{column}", self.world.name(id)));
                None
            }
        }
    }

    /// The default of a domain, as SQL.
    pub fn world_type_default(&self, of: &super::types::Type) -> Option<String> {
        self.world.type_facts(&of.name()?)?.default.clone()
    }

    /// The relation as it is now, for a look while the case goes on.
    pub fn copy(&self, id: Id) -> Relation {
        self.world.copy(id)
    }

    /// Whether the script made the relation: then nothing is lost with it.
    pub fn destroys(&mut self, id: Id) {
        if !self.world.is_made(id) {
            self.out.destructive = true;
        }
    }
}

/// Whether a name that the catalog does not have is one of the server's own relations.
fn is_of_the_server(name: &RelationName) -> bool {
    match name.schema.as_deref() {
        Some(schema) => SYSTEM.contains(&schema),
        None => name.name.starts_with("pg_"),
    }
}

/// Whether relations of this kind have files with rows.
pub fn has_rows(kind: RelationType) -> bool {
    matches!(kind, RelationType::Table | RelationType::MaterializedView)
}

/// Whether relations of this kind may have partitions or children.
pub fn can_have_children(kind: RelationType) -> bool {
    matches!(kind, RelationType::Table | RelationType::PartitionedTable | RelationType::ForeignTable)
}
