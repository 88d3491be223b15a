//! What is made: tables, views, sequences, types, functions.

use pg_query::protobuf::{
    CreateDomainStmt, CreateFunctionStmt, CreateSeqStmt, CreateStmt, CreateTableAsStmt, IntoClause,
    ObjectType, RangeVar, TableLikeClause, ViewStmt,
};
use pg_query::{Node, NodeEnum};

use super::alter::{column, constraint, create_of};
use super::case::Case;
use super::data;
use super::index;
use super::lock::LockMode;
use super::reads;
use super::types::Type;
use super::world::Id;
use crate::sql::classify::tree;
use crate::sql::grammar;
use crate::sql::kind::ConstraintKind;
use crate::sql::name::RelationName;
use crate::sql::snapshot::{
    ConstraintFacts, FunctionFacts, IndexFacts, Persistence, Relation, RelationType, TypeFacts, TypeKind,
    Volatility,
};

/// Bits of `LIKE ... INCLUDING`.
const LIKE_CONSTRAINTS: u32 = 1 << 2;
const LIKE_DEFAULTS: u32 = 1 << 3;
const LIKE_GENERATED: u32 = 1 << 4;
const LIKE_IDENTITY: u32 = 1 << 5;
const LIKE_INDEXES: u32 = 1 << 6;

fn persistence(range: &RangeVar) -> Persistence {
    match range.relpersistence.as_str() {
        "t" => Persistence::Temporary,
        "u" => Persistence::Unlogged,
        _ => Persistence::Permanent,
    }
}

pub fn table(case: &mut Case<'_, '_>, stmt: &CreateStmt, foreign: bool) {
    let Some(range) = &stmt.relation else { return };
    let name = tree::range(range);
    if stmt.if_not_exists && case.world.find(&case.world.placed(&name)).is_some() {
        return;
    }
    if case.is_taken(&name, persistence(range)) {
        return;
    }
    let mut relation = Relation { name, persistence: persistence(range), ..Relation::default() };
    relation.kind = match (foreign, stmt.partspec.is_some()) {
        (true, _) => RelationType::ForeignTable,
        (_, true) => RelationType::PartitionedTable,
        _ => RelationType::Table,
    };
    if let Some(spec) = &stmt.partspec {
        relation.partition_key = Some(partition_key(spec));
    }
    let parents = parents(case, stmt, &mut relation, foreign);
    if let Some(of) = stmt.of_typename.as_ref().and_then(|of| tree::path(&of.names))
        && let Some(of) = case.target(&of, false)
    {
        case.lock(of, LockMode::AccessShare);
        relation.columns = case.copy(of).columns;
    }
    let mut constraints = Vec::new();
    for element in stmt.table_elts.iter().chain(&stmt.constraints) {
        match &element.node {
            Some(NodeEnum::ColumnDef(definition)) => {
                let parts = column::parts(definition);
                if let Some(default) = parts.default {
                    data::stored(case, default);
                }
                constraints.extend(
                    parts.constraints.iter().map(|part| ((*part).clone(), Some(parts.facts.name.clone()))),
                );
                merge_column(&mut relation, &parts);
            }
            Some(NodeEnum::TableLikeClause(like)) => copy_of(case, like, &mut relation),
            Some(NodeEnum::Constraint(part)) => constraints.push(((**part).clone(), None)),
            _ => {}
        }
    }
    let id = case.world.make(relation);
    for (part, of) in constraints {
        own_constraint(case, id, &part, of.as_deref());
    }
    for parent in parents {
        parts_of_indexes(case, parent, id);
    }
    serials(case, id);
}

/// `RANGE (id)`, as the catalog writes it.
fn partition_key(spec: &pg_query::protobuf::PartitionSpec) -> String {
    let columns: Vec<String> = spec
        .part_params
        .iter()
        .map(|node| match &node.node {
            Some(NodeEnum::PartitionElem(element)) if !element.name.is_empty() => element.name.clone(),
            Some(NodeEnum::PartitionElem(element)) => {
                format!("({})", element.expr.as_deref().and_then(constraint::text).unwrap_or_default())
            }
            _ => String::new(),
        })
        .collect();
    format!("KEY ({})", columns.join(", "))
}

fn merge_column(relation: &mut Relation, parts: &column::Parts<'_>) {
    let known = relation.columns.iter_mut().find(|facts| facts.name == parts.facts.name);
    if let Some(facts) = known {
        facts.not_null |= parts.facts.not_null;
        if parts.facts.default.is_some() {
            facts.default.clone_from(&parts.facts.default);
        }
        return;
    }
    let mut facts = parts.facts.clone();
    if parts.serial {
        let sequence = format!("{}_{}_seq", relation.name.name, facts.name);
        facts.default = Some(format!("nextval('{}'::regclass)", relation.name.sibling(sequence).sql()));
    }
    relation.columns.push(facts);
}

/// The sequences of `serial` and identity columns.
fn serials(case: &mut Case<'_, '_>, id: Id) {
    let relation = case.copy(id);
    for facts in &relation.columns {
        let named = facts.default.as_deref().and_then(data::named_sequence);
        let name = match named {
            Some(name) if case.world.find(&name).is_none() => name,
            None if facts.identity => {
                relation.name.sibling(format!("{}_{}_seq", relation.name.name, facts.name))
            }
            _ => continue,
        };
        let owned_by = Some((relation.name.clone(), Some(facts.name.clone())));
        case.world.make(Relation { name, kind: RelationType::Sequence, owned_by, ..Relation::default() });
    }
}

/// Parents by inheritance, or the partitioned table; gives those whose indexes a partition takes over.
fn parents(case: &mut Case<'_, '_>, stmt: &CreateStmt, relation: &mut Relation, foreign: bool) -> Vec<Id> {
    let mut partitioned = Vec::new();
    for name in stmt.inh_relations.iter().filter_map(tree::relation) {
        let Some(parent) = case.target(&name, false) else { continue };
        let facts = case.copy(parent);
        for column in facts.columns {
            if !relation.columns.iter().any(|known| known.name == column.name) {
                relation.columns.push(column);
            }
        }
        let inherited = [ConstraintKind::Check, ConstraintKind::NotNull, ConstraintKind::ForeignKey];
        let partition = stmt.partbound.is_some();
        relation.constraints.extend(facts.constraints.into_iter().filter(|constraint| {
            inherited.contains(&constraint.kind)
                && (partition || constraint.kind != ConstraintKind::ForeignKey)
        }));
        if let Some(spec) = &stmt.partbound {
            relation.partition_bound = Some(create_of(case, parent, spec, foreign));
            relation.partition_of = Some(case.world.name(parent));
            partitioned.push(parent);
        } else {
            case.lock(parent, LockMode::ShareUpdateExclusive);
            relation.inherits.push(case.world.name(parent));
        }
    }
    partitioned
}

fn parts_of_indexes(case: &mut Case<'_, '_>, parent: Id, child: Id) {
    for wanted in case.copy(parent).indexes {
        let name = index::chosen_name(case, child, &wanted);
        index::note(case, child, IndexFacts { name, valid: true, ..wanted });
    }
}

fn copy_of(case: &mut Case<'_, '_>, like: &TableLikeClause, relation: &mut Relation) {
    let Some(source) = like.relation.as_ref().and_then(|range| case.target(&tree::range(range), false))
    else {
        return;
    };
    case.lock(source, LockMode::AccessShare);
    let has = |bit: u32| like.options & bit != 0;
    let facts = case.copy(source);
    for mut column in facts.columns {
        let kept = match (column.generated, column.identity) {
            (Some(_), _) => has(LIKE_GENERATED),
            (None, _) => has(LIKE_DEFAULTS),
        };
        if !kept {
            column.default = None;
            column.generated = None;
        }
        column.identity &= has(LIKE_IDENTITY);
        relation.columns.push(column);
    }
    if has(LIKE_CONSTRAINTS) {
        let checks = facts.constraints.iter().filter(|facts| facts.kind == ConstraintKind::Check);
        relation.constraints.extend(checks.cloned());
    }
    if has(LIKE_INDEXES) {
        for facts in facts.indexes {
            let columns: Vec<&str> = facts.columns.iter().flatten().map(String::as_str).collect();
            let name = format!("{}_{}_idx", relation.name.name, columns.join("_"));
            relation.indexes.push(IndexFacts { name, ..facts });
        }
    }
}

/// A constraint of a table that is new, and empty.
fn own_constraint(case: &mut Case<'_, '_>, id: Id, part: &pg_query::protobuf::Constraint, of: Option<&str>) {
    let Some(facts) = constraint::facts(case, id, part, of) else { return };
    let facts = ConstraintFacts { validated: true, ..facts };
    if let Some(range) = &part.pktable
        && let Some(far) = case.target(&tree::range(range), false)
    {
        let partitioned = case.world.kind(far) == RelationType::PartitionedTable;
        let fars = if partitioned { case.world.family(far) } else { vec![far] };
        case.lock_all(&fars, LockMode::ShareRowExclusive);
        case.world.add_reference(far, id);
    }
    if let Some(name) = &facts.index {
        let index = IndexFacts {
            name: name.clone(),
            columns: facts.columns.iter().cloned().map(Some).collect(),
            key_columns: u32::try_from(facts.columns.len()).unwrap_or_default(),
            unique: facts.kind != ConstraintKind::Exclude,
            primary: facts.kind == ConstraintKind::PrimaryKey,
            valid: true,
            method: "btree".to_owned(),
            ..IndexFacts::default()
        };
        index::note(case, id, index);
    }
    let marks = [ConstraintKind::PrimaryKey, ConstraintKind::NotNull].contains(&facts.kind);
    for name in facts.columns.iter().filter(|_| marks) {
        column::mark_not_null(case, id, name, true);
    }
    column::note_constraint(case, id, facts);
}

pub fn table_as(case: &mut Case<'_, '_>, stmt: &CreateTableAsStmt) {
    let Some(into) = stmt.into.as_deref() else { return };
    let materialized = stmt.objtype() == ObjectType::ObjectMatview;
    let exists = into
        .rel
        .as_ref()
        .is_some_and(|range| case.world.find(&case.world.placed(&tree::range(range))).is_some());
    if stmt.if_not_exists && exists {
        return;
    }
    let Some(query) = stmt.query.as_deref() else { return };
    if matches!(query.node, Some(NodeEnum::ExecuteStmt(_))) {
        case.opaque("runs a statement that was prepared elsewhere");
    } else if into.skip_data {
        data::planned(case, query);
    } else {
        data::expression(case, query);
    }
    let definition = grammar::deparse_node(query);
    made_from_query(case, into, materialized, definition);
}

/// The table of `CREATE TABLE AS` and `SELECT INTO`; its columns are not followed.
pub fn made_from_query(
    case: &mut Case<'_, '_>,
    into: &IntoClause,
    materialized: bool,
    definition: Option<String>,
) {
    let Some(range) = &into.rel else { return };
    let kind = if materialized { RelationType::MaterializedView } else { RelationType::Table };
    let name = tree::range(range);
    if case.is_taken(&name, persistence(range)) {
        return;
    }
    let id = case.world.make(Relation {
        name,
        kind,
        persistence: persistence(range),
        definition: definition.filter(|_| materialized),
        ..Relation::default()
    });
    case.world.forget_columns(id);
}

pub fn view(case: &mut Case<'_, '_>, stmt: &ViewStmt) {
    let Some(range) = &stmt.view else { return };
    let Some(query) = stmt.query.as_deref() else { return };
    let name = tree::range(range);
    data::stored(case, query);
    let definition = grammar::deparse_node(query);
    let there = case.world.find(&name);
    if stmt.replace {
        let unknown = there.is_none() && !case.world.snapshot.complete;
        let id = if unknown {
            case.assume(format!("whether there is a view {name}"));
            Some(case.world.resolve(&name))
        } else {
            there
        };
        if let Some(id) = id {
            case.world.set_kind(id, RelationType::View);
            case.lock(id, LockMode::AccessExclusive);
            case.world.definitions.remove(&id);
            case.world.change(id, |relation| {
                relation.kind = RelationType::View;
                relation.definition = definition;
            });
            return;
        }
    }
    if !stmt.replace && case.is_taken(&name, persistence(range)) {
        return;
    }
    let kind = RelationType::View;
    let id = case.world.make(Relation { name, kind, definition, ..Relation::default() });
    case.world.forget_columns(id);
}

pub fn sequence(case: &mut Case<'_, '_>, stmt: &CreateSeqStmt) {
    let Some(range) = &stmt.sequence else { return };
    let name = tree::range(range);
    if stmt.if_not_exists && case.world.find(&case.world.placed(&name)).is_some() {
        return;
    }
    let owned_by = owner(case, &stmt.options);
    if case.is_taken(&name, persistence(range)) {
        return;
    }
    case.world.make(Relation { name, kind: RelationType::Sequence, owned_by, ..Relation::default() });
}

/// `OWNED BY table.column`: the table is looked at.
pub fn owner(case: &mut Case<'_, '_>, options: &[Node]) -> Option<(RelationName, Option<String>)> {
    let arg = options.iter().find_map(|option| match &option.node {
        Some(NodeEnum::DefElem(element)) if element.defname == "owned_by" => element.arg.as_deref(),
        _ => None,
    })?;
    let parts = tree::strings(Some(arg));
    let (last, table) = parts.split_last()?;
    let table = tree::path(table)?;
    let id = case.target(&table, false)?;
    case.lock(id, LockMode::AccessShare);
    Some((case.world.name(id), tree::string(last)))
}

pub fn domain(case: &mut Case<'_, '_>, stmt: &CreateDomainStmt) {
    let Some(name) = tree::path(&stmt.domainname) else { return };
    let mut facts = TypeFacts {
        name,
        kind: TypeKind::Domain,
        base: stmt.type_name.as_ref().map(|name| Type::of(name).to_string()),
        ..TypeFacts::default()
    };
    for node in &stmt.constraints {
        let Some(NodeEnum::Constraint(part)) = &node.node else { continue };
        match constraint::kind(part) {
            Some(ConstraintKind::NotNull) => facts.not_null = true,
            Some(ConstraintKind::Check) => {
                let name = tree::optional(&part.conname);
                facts.checks.push(name.unwrap_or_else(|| format!("{}_check", facts.name.name)));
            }
            _ if part.contype() == pg_query::protobuf::ConstrType::ConstrDefault => {
                facts.default = part.raw_expr.as_deref().and_then(constraint::text);
            }
            _ => {}
        }
    }
    case.world.make_type(facts);
}

pub fn plain_type(case: &mut Case<'_, '_>, names: &[Node], kind: TypeKind) {
    if let Some(name) = tree::path(names) {
        case.world.make_type(TypeFacts { name, kind, ..TypeFacts::default() });
    }
}

pub fn composite(case: &mut Case<'_, '_>, range: Option<&RangeVar>, columns: &[Node]) {
    let Some(range) = range else { return };
    let name = tree::range(range);
    let columns = columns
        .iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::ColumnDef(definition)) => Some(column::parts(definition).facts),
            _ => None,
        })
        .collect();
    case.world.make_type(TypeFacts { name: name.clone(), kind: TypeKind::Composite, ..TypeFacts::default() });
    case.world.make(Relation { name, kind: RelationType::CompositeType, columns, ..Relation::default() });
}

/// `CREATE FUNCTION`: the body of one in SQL is analyzed at once, and with it its tables.
pub fn function(case: &mut Case<'_, '_>, stmt: &CreateFunctionStmt) {
    let Some(name) = tree::path(&stmt.funcname) else { return };
    let option = |wanted: &str| {
        stmt.options.iter().find_map(|node| match &node.node {
            Some(NodeEnum::DefElem(element)) if element.defname == wanted => element.arg.as_deref(),
            _ => None,
        })
    };
    let language = option("language").and_then(tree::string).unwrap_or_else(|| "sql".to_owned());
    let volatility = match option("volatility").and_then(tree::string).as_deref() {
        Some("immutable") => Volatility::Immutable,
        Some("stable") => Volatility::Stable,
        _ => Volatility::Volatile,
    };
    let source = option("as")
        .map(|node| tree::strings(Some(node)))
        .and_then(|parts| parts.first().and_then(tree::string));
    if language == "sql" {
        let body = stmt.sql_body.as_deref().map(|body| vec![reads::of_expression(body)]);
        let parsed = source.as_deref().map(|text| statements(text).iter().map(reads::of_statement).collect());
        for reads in body.or(parsed).unwrap_or_default() {
            data::analyzed(case, &reads);
        }
        for node in source.as_deref().map(statements).unwrap_or_default() {
            data::analyzed_target(case, &node);
        }
    }
    if stmt.replace {
        case.consequence(format!("{name} does something else from now on, where it is there already"));
    }
    let parsed_body = stmt.sql_body.is_some();
    let procedure = stmt.is_procedure;
    case.world.make_function(FunctionFacts {
        name,
        volatility,
        language,
        procedure,
        source,
        parsed_body,
        ..FunctionFacts::default()
    });
}

/// The statements of a body in SQL.
fn statements(text: &str) -> Vec<NodeEnum> {
    grammar::statements(text)
}
