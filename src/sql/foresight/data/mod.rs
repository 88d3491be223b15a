//! Statements on rows, and queries.

mod change;

use pg_query::protobuf::LockStmt;
use pg_query::{Node, NodeEnum};

use crate::sql::classify::tree;
use crate::sql::foresight::case::Case;
use crate::sql::foresight::lock::LockMode;
use crate::sql::foresight::reads::{self, Lookup, Reads};
use crate::sql::foresight::volatility;
use crate::sql::foresight::world::Id;
use crate::sql::name::RelationName;
use crate::sql::snapshot::{RelationType, Volatility};
pub use change::{change, copy, named_sequence, owned_sequences, referenced_columns, triggers};
use change::{delete_rows, insert_rows, merge_rows, update_rows};

/// Functions of the server that run a query which is given as text.
const RUN_TEXT: &[&str] = &[
    "query_to_xml",
    "query_to_xmlschema",
    "query_to_xml_and_xmlschema",
    "cursor_to_xml",
    "dblink_exec",
    "dblink",
];

/// The parts of a statement that a query is made of: what it reads, calls and changes below `WITH`.
pub fn query(case: &mut Case<'_, '_>, node: &NodeEnum) {
    apply(case, &reads::of_statement(node), true);
    nested(case, node);
}

/// The same of an expression or a nested query.
pub fn expression(case: &mut Case<'_, '_>, node: &Node) {
    apply(case, &reads::of_expression(node), true);
    if let Some(node) = &node.node {
        nested(case, node);
    }
}

/// A query that is planned or stored, but not run.
pub fn stored(case: &mut Case<'_, '_>, node: &Node) {
    let reads = reads::of_expression(node);
    for access in &reads.relations {
        if let Some(id) = case.target(&access.name, false) {
            case.lock(id, access.mode);
        }
    }
}

/// Sequences that an expression takes values from when it is evaluated.
pub fn evaluated(case: &mut Case<'_, '_>, node: &Node) {
    let reads = reads::of_expression(node);
    sequences_of(case, &reads);
}

fn sequences_of(case: &mut Case<'_, '_>, reads: &Reads) {
    for sequence in &reads.sequences {
        if let Some(id) = case.target(sequence, false) {
            case.lock(id, LockMode::RowExclusive);
        }
    }
    for (table, column) in &reads.serials {
        let Some(id) = case.target(table, false) else { continue };
        for sequence in owned_sequences(case, id, Some(column)) {
            case.lock(sequence, LockMode::RowExclusive);
        }
    }
}

/// A query that is planned, with the views that it reads, but not run.
pub fn planned(case: &mut Case<'_, '_>, node: &Node) {
    let reads = reads::of_expression(node);
    for access in &reads.relations {
        if let Some(id) = case.target(&access.name, false) {
            read(case, id, access.mode, access.inherit, false, 0);
        }
    }
    if let Some(node) = &node.node {
        analyzed_target(case, node);
    }
}

/// What a query that is only analyzed locks.
pub fn analyzed(case: &mut Case<'_, '_>, reads: &Reads) {
    for access in &reads.relations {
        if let Some(id) = case.target(&access.name, false) {
            case.lock(id, access.mode);
        }
    }
}

/// The relation whose rows a statement would change, were it run.
pub fn analyzed_target(case: &mut Case<'_, '_>, node: &NodeEnum) {
    let range = match node {
        NodeEnum::InsertStmt(stmt) => stmt.relation.as_ref(),
        NodeEnum::UpdateStmt(stmt) => stmt.relation.as_ref(),
        NodeEnum::DeleteStmt(stmt) => stmt.relation.as_ref(),
        NodeEnum::MergeStmt(stmt) => stmt.relation.as_ref(),
        _ => None,
    };
    if let Some(id) = range.and_then(|range| case.target(&tree::range(range), false)) {
        case.lock(id, LockMode::RowExclusive);
    }
}

pub fn apply(case: &mut Case<'_, '_>, reads: &Reads, runs: bool) {
    for access in &reads.relations {
        if let Some(id) = case.target(&access.name, false) {
            let runs = runs && access.whole && !reaches_index(case, id, &access.found_by);
            read(case, id, access.mode, access.inherit, runs, 0);
        }
    }
    sequences_of(case, reads);
    for function in &reads.functions {
        call(case, function);
    }
}

/// Changes of rows in the `WITH` of a statement.
fn nested(case: &mut Case<'_, '_>, node: &NodeEnum) {
    for inner in reads::nested(node) {
        match inner {
            NodeEnum::InsertStmt(stmt) => insert_rows(case, stmt),
            NodeEnum::UpdateStmt(stmt) => update_rows(case, stmt),
            NodeEnum::DeleteStmt(stmt) => delete_rows(case, stmt),
            NodeEnum::MergeStmt(stmt) => merge_rows(case, stmt),
            _ => {}
        }
    }
}

/// Calls a function; one that may change something makes the statement opaque.
pub fn call(case: &mut Case<'_, '_>, function: &RelationName) {
    if RUN_TEXT.contains(&function.name.as_str()) {
        case.opaque(format!("{function} runs a query that is given as text"));
    } else if volatility::built_in(function).is_some() {
    } else {
        match volatility::of_function(case.world, function) {
            Some(Volatility::Volatile) => case.opaque(format!("calls {function}, which may do anything")),
            Some(_) => {}
            None => {
                case.assume(format!("what {function}() does"));
                case.opaque(format!("calls {function}, of which nothing is known"));
            }
        }
    }
}

/// Levels of views within views.
const MAX_VIEWS: usize = 64;

/// Reads a relation: a view with all that is below it, a table with its children.
pub fn read(case: &mut Case<'_, '_>, id: Id, mode: LockMode, inherit: bool, runs: bool, depth: usize) {
    if case.world.kind(id) == RelationType::View {
        case.lock(id, mode);
        let Some(view) = definition(case, id) else {
            case.assume(format!("what the view {} reads", case.world.name(id)));
            return;
        };
        for access in &view.relations {
            if depth < MAX_VIEWS
                && let Some(base) = case.target_in_view(&access.name)
            {
                read(case, base, access.mode.max(mode), access.inherit, runs, depth + 1);
            }
        }
        return;
    }
    for one in below(case, id, inherit) {
        case.lock(one, mode);
        if runs {
            case.scan(one);
        }
    }
}

/// A relation, and what is below it; that this is not known is not worth a word where rows are only read.
pub fn below(case: &mut Case<'_, '_>, id: Id, inherit: bool) -> Vec<Id> {
    if inherit { case.world.family(id) } else { vec![id] }
}

/// What a view reads.
pub fn definition(case: &mut Case<'_, '_>, id: Id) -> Option<std::rc::Rc<Reads>> {
    if let Some(known) = case.world.definitions.get(&id) {
        return known.clone();
    }
    let sql = case.world.relation(id).and_then(|relation| relation.definition.clone());
    let tree = sql.and_then(|sql| crate::sql::grammar::trees(std::iter::once(sql.as_str())).pop().flatten());
    let found = tree.map(|tree| std::rc::Rc::new(reads::of_statement(&tree.node)));
    case.world.definitions.insert(id, found.clone());
    found
}

/// Whether one of these columns leads to a row by an index.
pub fn reaches_index(case: &Case<'_, '_>, id: Id, columns: &[(String, Lookup)]) -> bool {
    let indexes = case.world.relation(id).map(|relation| relation.indexes.as_slice()).unwrap_or_default();
    indexes.iter().filter(|index| index.valid && !index.partial).any(|index| {
        let first = index.columns.first().and_then(Option::as_ref);
        columns.iter().any(|(column, lookup)| {
            first == Some(column) && (*lookup == Lookup::Equal || index.method == "btree")
        })
    })
}

/// `LOCK TABLE`: a view with the tables that it reads.
pub fn lock(case: &mut Case<'_, '_>, stmt: &LockStmt) {
    let Some(mode) = usize::try_from(stmt.mode - 1).ok().and_then(|at| LockMode::ALL.get(at)).copied() else {
        return;
    };
    for node in &stmt.relations {
        let Some(NodeEnum::RangeVar(range)) = &node.node else { continue };
        let Some(id) = case.target(&tree::range(range), false) else { continue };
        if case.world.kind(id) == RelationType::View {
            read(case, id, mode, range.inh, false, 0);
        } else {
            let family = case.family(id, range.inh);
            case.lock_all(&family, mode);
        }
    }
}
