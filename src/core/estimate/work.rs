//! What a statement has to read and to write.

use std::collections::{HashMap, HashSet};

use super::Missing;
use super::cost::{self, Build, Load, Size};
use crate::sql::{
    self, AlterTable, Constraint, ConstraintKind, CreateIndex, Foreseen, Kind, Relation, RelationName,
    Snapshot, Statement, TableAction,
};

/// The catalog, and the tables that the plan itself makes, which are empty.
pub(super) struct Stage<'a> {
    catalog: &'a Snapshot,
    made: HashSet<&'a str>,
    made_indexes: HashSet<&'a str>,
    /// The tables of the catalog that have an index of a name.
    tables: HashMap<&'a str, Vec<&'a Relation>>,
}

impl<'a> Stage<'a> {
    /// The stage for the first statement.
    pub fn new(catalog: &'a Snapshot) -> Self {
        let mut tables: HashMap<&str, Vec<&Relation>> = HashMap::new();
        for relation in &catalog.relations {
            for index in &relation.indexes {
                tables.entry(&index.name).or_default().push(relation);
            }
        }
        Self { catalog, made: HashSet::new(), made_indexes: HashSet::new(), tables }
    }

    /// Goes on past a statement.
    pub fn pass(&mut self, statement: &'a Statement) {
        match &statement.kind {
            Kind::CreateTable(table) if !table.from_query => {
                self.made.insert(&table.relation.name);
            }
            Kind::CreateIndex(CreateIndex { name: Some(name), .. }) => {
                self.made_indexes.insert(name);
            }
            _ => {}
        }
    }

    /// Whether somebody may wait for a lock on a relation: not for one that the plan itself makes, and for an index only
    /// together with its table.
    pub fn is_used(&self, name: &RelationName) -> bool {
        let index = self.index(name).is_some() || self.made_indexes.contains(name.name.as_str());
        !self.made.contains(name.name.as_str()) && !index
    }

    /// A relation with its size; `Ok(None)` for one that the plan makes, `Err` if its size is not known.
    fn find(&self, name: &RelationName) -> Result<Option<(&'a Relation, Size)>, Missing> {
        if self.made.contains(name.name.as_str()) {
            return Ok(None);
        }
        let relation = self.catalog.relation(name).ok_or_else(|| Missing::Size(name.clone()))?;
        let size = Size::of(relation).ok_or_else(|| Missing::Size(name.clone()))?;
        Ok(Some((relation, size)))
    }

    fn of(&self, name: &RelationName, load: impl Fn(&Relation, Size) -> Load) -> Result<Load, Missing> {
        Ok(self.find(name)?.map_or_else(Load::default, |(relation, size)| load(relation, size)))
    }

    /// The table that an index belongs to, with the index.
    fn index(&self, name: &RelationName) -> Option<(&'a Relation, &'a crate::sql::IndexFacts)> {
        self.tables.get(name.name.as_str())?.iter().find_map(|relation| {
            let same_schema = name.schema.is_none() || name.schema == relation.name.schema;
            let index = relation.indexes.iter().find(|index| same_schema && index.name == name.name)?;
            Some((*relation, index))
        })
    }
}

/// Milliseconds of the least that a statement does.
pub(super) const LEAST: f64 = cost::CATALOG_CHANGE / 3.0;

/// Whether a condition may leave only a few rows to be changed.
pub(super) fn is_partial(statement: &Statement) -> bool {
    let changes = matches!(statement.kind, Kind::Update { .. } | Kind::Delete { .. });
    changes && statement.says("where")
}

/// Adds up what a statement has to do.
pub(super) fn load(statement: &Statement, foreseen: &Foreseen, stage: &Stage<'_>) -> Result<Load, Missing> {
    if foreseen.opaque {
        return Err(Missing::Text);
    }
    let mut sum = Load { ms: cost::CATALOG_CHANGE, ..Load::default() };
    // What the planner reckons with includes what is read.
    if let Some(stored) = stored(statement, stage)? {
        return Ok(sum.plus(stored));
    }
    let built = build(statement, stage)?;
    for name in &foreseen.rewrites {
        sum = sum.plus(rewritten(statement, foreseen, name, stage)?);
    }
    for name in foreseen.scans.iter().filter(|name| !foreseen.rewrites.contains(name)) {
        if built.is_none() {
            sum = sum.plus(stage.of(name, |relation, size| scanned(statement, relation, size))?);
        }
    }
    Ok(sum.plus(built.unwrap_or_default()).plus(rows(statement, stage)?))
}

fn rewritten(
    statement: &Statement,
    foreseen: &Foreseen,
    name: &RelationName,
    stage: &Stage<'_>,
) -> Result<Load, Missing> {
    let build = if statement.transactional { Build::Plain } else { Build::Concurrent };
    if let Some((relation, index)) = stage.index(name) {
        // With its table, every index is counted there.
        if foreseen.rewrites.contains(&relation.name) {
            return Ok(Load::default());
        }
        let size = Size::of(relation).ok_or_else(|| Missing::Size(relation.name.clone()))?;
        return Ok(cost::rebuild(relation, size, index, build));
    }
    match &statement.kind {
        Kind::Truncate { .. } | Kind::DropTable { .. } => {
            return Ok(stage.find(name)?.map_or_else(Load::default, |(_, size)| cost::unlink(size.bytes)));
        }
        Kind::RefreshMaterializedView { .. } => return stage.of(name, |_, size| cost::refresh(size)),
        _ => {}
    }
    stage.of(name, |relation, size| {
        let table = cost::rewrite(size, adds_column(statement));
        relation
            .indexes
            .iter()
            .map(|index| cost::rebuild(relation, size, index, Build::Plain))
            .fold(table, Load::plus)
    })
}

/// Whether each row gets a value that is computed for it.
fn adds_column(statement: &Statement) -> bool {
    actions(statement).iter().any(|action| matches!(action, TableAction::AddColumn { .. }))
}

fn actions(statement: &Statement) -> &[TableAction] {
    match &statement.kind {
        Kind::AlterTable(AlterTable { actions, .. }) => actions,
        _ => &[],
    }
}

fn scanned(statement: &Statement, relation: &Relation, size: Size) -> Load {
    let foreign_key = actions(statement).iter().any(|action| match action {
        TableAction::AddConstraint(constraint) => constraint.kind == ConstraintKind::ForeignKey,
        TableAction::ValidateConstraint { constraint } => relation
            .constraints
            .iter()
            .any(|one| one.name == *constraint && one.kind == ConstraintKind::ForeignKey),
        _ => false,
    });
    if foreign_key { cost::foreign_key(size) } else { cost::check(size) }
}

/// Indexes that the statement builds; `None` if it builds none.
fn build(statement: &Statement, stage: &Stage<'_>) -> Result<Option<Load>, Missing> {
    match &statement.kind {
        Kind::CreateIndex(CreateIndex { relation, columns, concurrently, .. }) => {
            let how = if *concurrently { Build::Concurrent } else { Build::Plain };
            stage.of(relation, |table, size| cost::index(table, size, columns, how)).map(Some)
        }
        Kind::Reindex { relation, index: false, concurrently } => {
            let how = if *concurrently { Build::Concurrent } else { Build::Plain };
            let all = |table: &Relation, size| {
                let each = table.indexes.iter().map(|index| cost::rebuild(table, size, index, how));
                each.fold(Load::default(), Load::plus)
            };
            stage.of(relation, all).map(Some)
        }
        Kind::AlterTable(alter) => {
            let mut sum = None;
            for constraint in alter.actions.iter().flat_map(constraints).filter(|one| builds_index(one)) {
                let load = stage.of(&alter.relation, |table, size| {
                    cost::index(table, size, &constraint.columns, Build::Plain)
                })?;
                sum = Some(load.plus(sum.unwrap_or_default()));
            }
            Ok(sum)
        }
        _ => Ok(None),
    }
}

fn constraints(action: &TableAction) -> &[Constraint] {
    match action {
        TableAction::AddConstraint(constraint) => std::slice::from_ref(constraint),
        TableAction::AddColumn { column, .. } => &column.constraints,
        _ => &[],
    }
}

fn builds_index(constraint: &Constraint) -> bool {
    constraint.using_index.is_none()
        && matches!(
            constraint.kind,
            ConstraintKind::Unique | ConstraintKind::PrimaryKey | ConstraintKind::Exclude
        )
}

/// Rows of a query that are stored; `None` for a statement that stores none, or the few that it writes down.
fn stored(statement: &Statement, stage: &Stage<'_>) -> Result<Option<Load>, Missing> {
    let Some(plan) = stage.catalog.query_plans.iter().find(|plan| plan.statement == statement.sql) else {
        let Some(query) = sql::stored_query(statement, stage.catalog) else { return Ok(None) };
        let wanted = statement.rows_wanted();
        let told = stage.catalog.unknown.iter().find(|unknown| unknown.what == wanted);
        return Err(Missing::Plan(query.unasked.or_else(|| told.map(|unknown| unknown.why.clone()))));
    };
    let into = match &statement.kind {
        Kind::Insert { relation: Some(relation) } => stage.catalog.relation(relation),
        _ => None,
    };
    Ok(Some(cost::stored(plan, into)))
}

/// Work on rows.
fn rows(statement: &Statement, stage: &Stage<'_>) -> Result<Load, Missing> {
    match &statement.kind {
        Kind::Update { relation: Some(relation), .. } => {
            stage.of(relation, |table, size| cost::update(size, table.indexes.len()))
        }
        Kind::Delete { relation: Some(relation) } => stage.of(relation, |_, size| cost::delete(size)),
        Kind::Select { calls: false } if !statement.says("from") => Ok(Load::default()),
        Kind::Update { .. } | Kind::Delete { .. } | Kind::Merge { .. } | Kind::Select { .. } => {
            Err(Missing::Rows)
        }
        Kind::Vacuum | Kind::Analyze => touched(statement, stage),
        _ => Ok(Load::default()),
    }
}

/// `VACUUM` and `ANALYZE` of the one table that the statement names.
fn touched(statement: &Statement, stage: &Stage<'_>) -> Result<Load, Missing> {
    let Some(name) = statement.sql.split_whitespace().last() else { return Err(Missing::Rows) };
    let plain = name.trim_matches('"');
    let named = match plain.split_once('.') {
        Some((schema, name)) => RelationName::qualified(schema, name),
        None => RelationName::unqualified(plain),
    };
    let vacuum = statement.kind == Kind::Vacuum;
    stage.of(&named, |_, size| if vacuum { cost::vacuum(size) } else { cost::analyze(size) })
}
