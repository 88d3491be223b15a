//! What a rule looks at: one statement, in the surroundings in which it runs.

use std::collections::HashMap;

use pg_query::NodeEnum;
use pg_query::protobuf::{AlterTableCmd, AlterTableStmt};

use super::weigh::{self, Size};
use super::{Finding, Severity};
use crate::sql::foresight::{Foreseen, Heavy, LockMode};
use crate::sql::grammar::Tree;
use crate::sql::kind::Kind;
use crate::sql::name::{RelationName, clip};
use crate::sql::snapshot::{Relation, RelationType, Snapshot};
use crate::sql::statement::Statement;
use crate::sql::usage::QueryImpact;

/// A script with all that is known of it.
pub struct Surroundings<'a> {
    pub statements: &'a [Statement],
    pub foreseen: &'a [Foreseen],
    pub trees: Vec<Option<Tree>>,
    /// The number of the transaction of each statement.
    pub transactions: Vec<usize>,
    /// Statements that lock out writers of a relation.
    pub strong: Vec<usize>,
    /// Statements that add a value to an enum.
    pub enum_values: Vec<usize>,
    /// By bare names, the relations that the script makes, each with the statement that does.
    pub made: HashMap<&'a str, Vec<(usize, &'a RelationName)>>,
    pub catalog: &'a Snapshot,
    /// What the statements mean for those of the application.
    pub impacts: Vec<QueryImpact>,
}

/// One statement in its surroundings.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub index: usize,
    pub statement: &'a Statement,
    pub tree: Option<&'a Tree>,
    pub foreseen: &'a Foreseen,
    pub catalog: &'a Snapshot,
    pub around: &'a Surroundings<'a>,
}

impl<'a> Surroundings<'a> {
    /// The statements, one by one.
    pub fn subjects(&'a self) -> impl DoubleEndedIterator<Item = Subject<'a>> {
        let trees = self.trees.iter().map(Option::as_ref);
        let pairs = self.statements.iter().zip(self.foreseen).zip(trees).enumerate();
        let pairs: Vec<_> = pairs.collect();
        pairs.into_iter().map(move |(index, ((statement, foreseen), tree))| Subject {
            index,
            statement,
            tree,
            foreseen,
            catalog: self.catalog,
            around: self,
        })
    }
}

/// What [`Surroundings::made`] says of some statements.
pub fn made(statements: &[Statement]) -> HashMap<&str, Vec<(usize, &RelationName)>> {
    let mut made: HashMap<&str, Vec<(usize, &RelationName)>> = HashMap::new();
    for (index, statement) in statements.iter().enumerate() {
        let relation = match &statement.kind {
            Kind::CreateTable(table) if !table.if_not_exists => &table.relation,
            Kind::CreateView { relation, replace: false, if_not_exists: false, .. } => relation,
            _ => continue,
        };
        made.entry(&relation.name).or_default().push((index, relation));
    }
    made
}

/// Whether two names may be those of one relation; a schema that is not written may be any.
pub fn same(one: &RelationName, other: &RelationName) -> bool {
    one.name == other.name
        && match (&one.schema, &other.schema) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
}

impl<'a> Subject<'a> {
    pub fn node(&self) -> Option<&'a NodeEnum> {
        self.tree.map(|tree| &tree.node)
    }

    /// A finding at a byte offset of the statement.
    pub fn finding(
        &self,
        code: &str,
        severity: Severity,
        offset: usize,
        message: impl Into<String>,
    ) -> Finding {
        let before = clip(&self.statement.sql, offset);
        let lines = u32::try_from(before.matches('\n').count()).unwrap_or(u32::MAX);
        let last = before.rsplit('\n').next().unwrap_or_default();
        let column = u32::try_from(last.chars().count()).unwrap_or(u32::MAX);
        Finding {
            code: code.to_owned(),
            severity,
            statement: self.index,
            line: self.statement.line + lines,
            column: if lines == 0 { self.statement.column + column } else { column + 1 },
            message: message.into(),
            ..Finding::default()
        }
    }

    /// The subcommands of an `ALTER TABLE`.
    pub fn commands(&self) -> impl Iterator<Item = &'a AlterTableCmd> {
        let alter = match self.node() {
            Some(NodeEnum::AlterTableStmt(alter)) => Some(alter),
            _ => None,
        };
        alter.into_iter().flat_map(commands)
    }

    /// The byte offset of a location in the tree.
    pub fn at(&self, location: i32) -> usize {
        self.tree.map_or(0, |tree| if location > 0 { tree.offset(location) } else { 0 })
    }

    /// The table as the catalog has it.
    pub fn relation(&self, name: &RelationName) -> Option<&'a Relation> {
        self.catalog.relation(name)
    }

    /// The statements before this one that run in the same transaction and lock out writers of a relation, with what is
    /// foreseen of them.
    pub fn locking(&self) -> impl Iterator<Item = (&'a Statement, &'a Foreseen)> {
        let (around, end) = (self.around, self.index);
        let mine = around.transactions.get(end).copied();
        let earlier = around.strong.iter().copied().take_while(move |index| *index < end);
        let together = earlier.filter(move |index| around.transactions.get(*index).copied() == mine);
        together.filter_map(move |index| Some((around.statements.get(index)?, around.foreseen.get(index)?)))
    }

    /// How many statements of the application fail once this one has run; `None` if they are not known.
    pub fn broken(&self) -> Option<usize> {
        self.catalog.queries.as_ref().filter(|queries| !queries.is_empty())?;
        let broken = |impact: &&QueryImpact| impact.breaks.is_some() && impact.statement == Some(self.index);
        Some(self.around.impacts.iter().filter(broken).count())
    }

    /// Whether the script made the table before this statement, so that nobody else knows it.
    pub fn is_new(&self, name: &RelationName) -> bool {
        let made = self.around.made.get(name.name.as_str()).into_iter().flatten();
        made.into_iter().any(|(index, relation)| *index < self.index && same(relation, name))
    }

    /// Whether the statement reads the table from end to end, or writes it anew, while others wait.
    pub fn is_heavy_on(&self, table: &RelationName) -> bool {
        let long = || self.foreseen.scans.iter().chain(&self.foreseen.rewrites);
        self.foreseen.heavy != Heavy::None
            && long()
                .any(|one| same(one, table) || self.is_index_of(one, table) || self.is_partition(one, table))
    }

    /// Whether the statement writes the table or one of its indexes anew.
    pub fn rewrites(&self, table: &RelationName) -> bool {
        self.foreseen.rewrites.iter().any(|one| same(one, table) || self.is_partition(one, table))
    }

    fn is_index_of(&self, index: &RelationName, table: &RelationName) -> bool {
        self.relation(table).is_some_and(|table| table.indexes.iter().any(|known| known.name == index.name))
    }

    fn is_partition(&self, child: &RelationName, parent: &RelationName) -> bool {
        self.relation(child)
            .is_some_and(|child| child.partition_of.iter().chain(&child.inherits).any(|of| same(of, parent)))
    }

    /// The mode in which the statement locks a relation.
    pub fn mode_on(&self, table: &RelationName) -> Option<LockMode> {
        self.foreseen.locks.iter().filter(|lock| same(&lock.relation, table)).map(|lock| lock.mode).max()
    }

    /// The size of a table; that of a partitioned one is that of its partitions together.
    pub fn size(&self, table: &RelationName) -> Size {
        let Some(relation) = self.relation(table) else {
            return if self.is_new(table) { Size::EMPTY } else { Size::UNKNOWN };
        };
        if relation.kind != RelationType::PartitionedTable {
            return Size::of(relation, self.catalog);
        }
        let children =
            self.catalog.relations.iter().filter(|child| {
                child.partition_of.as_ref().is_some_and(|parent| same(parent, &relation.name))
            });
        children.map(|child| self.size(&child.name)).fold(Size::EMPTY, Size::plus)
    }

    /// The severity of long work on a table, by who waits for it.
    pub fn weight(&self, table: &RelationName) -> Severity {
        weigh::weight(self.foreseen.heavy, self.size(table), self.relation(table).and_then(|t| t.activity))
    }

    /// The table with its size, for a sentence.
    pub fn named(&self, table: &RelationName) -> String {
        format!("{table} ({})", self.size(table))
    }

    /// Who waits, for a sentence.
    pub fn waiting(&self) -> &'static str {
        match self.foreseen.heavy {
            Heavy::Writes => "writers wait",
            Heavy::Everything | Heavy::None => "readers and writers wait",
        }
    }

    /// What an unknown fact, that speaks of something, adds to a sentence about what was taken for the worst.
    pub fn doubt(&self, of: &str) -> String {
        match self.foreseen.assumptions.iter().find(|assumption| assumption.contains(of)) {
            Some(assumption) => format!(" (not known: {assumption})"),
            None => String::new(),
        }
    }
}

/// The subcommands of an `ALTER TABLE`.
pub fn commands(alter: &AlterTableStmt) -> impl Iterator<Item = &AlterTableCmd> {
    alter.cmds.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::AlterTableCmd(command)) => Some(command.as_ref()),
        _ => None,
    })
}
