//! What constraints that are there already tell of the rows.

use pg_query::protobuf::{AConst, BoolExprType, NullTestType, PartitionBoundSpec, a_const::Val};
use pg_query::{Node, NodeEnum};

use crate::sql::classify::tree;
use crate::sql::grammar;
use crate::sql::kind::ConstraintKind;
use crate::sql::snapshot::Relation;

/// The tree of an expression.
pub fn expression(text: &str) -> Option<Node> {
    let sql = format!("SELECT {text}");
    let tree = grammar::trees(std::iter::once(sql.as_str())).pop().flatten()?;
    let NodeEnum::SelectStmt(select) = tree.node else { return None };
    match select.target_list.into_iter().next()?.node? {
        NodeEnum::ResTarget(target) => target.val.map(|node| *node),
        _ => None,
    }
}

/// The expression of a `CHECK`, from `pg_get_constraintdef` or as a statement wrote it.
fn check_expression(definition: &str) -> Option<Node> {
    let rest = definition.trim().strip_prefix("CHECK")?.trim();
    let end = rest.rfind(')')?;
    expression(rest.get(..=end)?)
}

/// What is known of every row, from the valid `CHECK` constraints of a table.
fn known(relation: &Relation) -> Vec<Node> {
    let checks = relation
        .constraints
        .iter()
        .filter(|facts| facts.kind == ConstraintKind::Check && facts.validated && facts.enforced);
    let mut found = Vec::new();
    for check in checks {
        if let Some(node) = check_expression(&check.definition) {
            conjuncts(node, &mut found);
        }
    }
    found
}

fn conjuncts(node: Node, found: &mut Vec<Node>) {
    match node.node {
        Some(NodeEnum::BoolExpr(all)) if all.boolop() == BoolExprType::AndExpr => {
            all.args.into_iter().for_each(|arg| conjuncts(arg, found));
        }
        other => found.push(Node { node: other }),
    }
}

fn column(node: &Node) -> Option<String> {
    match &node.node {
        Some(NodeEnum::ColumnRef(reference)) => reference.fields.last().and_then(tree::string),
        Some(NodeEnum::TypeCast(cast)) => column(cast.arg.as_deref()?),
        Some(NodeEnum::RelabelType(relabel)) => column(relabel.arg.as_deref()?),
        _ => None,
    }
}

fn says_not_null(node: &Node, name: &str) -> bool {
    match &node.node {
        Some(NodeEnum::NullTest(test)) => {
            test.nulltesttype() == NullTestType::IsNotNull
                && test.arg.as_deref().and_then(column).as_deref() == Some(name)
        }
        _ => false,
    }
}

/// Whether a valid constraint tells that a column holds no null.
pub fn not_null(relation: &Relation, name: &str) -> bool {
    known(relation).iter().any(|node| says_not_null(node, name))
}

/// A constant that can be compared.
#[derive(Clone, Debug, PartialEq)]
enum Constant {
    Number(f64),
    Text(String),
}

fn constant(node: &Node) -> Option<Constant> {
    match &node.node {
        Some(NodeEnum::AConst(AConst { val: Some(val), isnull: false, .. })) => match val {
            Val::Ival(value) => Some(Constant::Number(f64::from(value.ival))),
            Val::Fval(value) => value.fval.parse().ok().map(Constant::Number),
            Val::Sval(value) => {
                Some(value.sval.parse().map_or_else(|_| Constant::Text(value.sval.clone()), Constant::Number))
            }
            Val::Boolval(value) => Some(Constant::Text(value.boolval.to_string())),
            Val::Bsval(_) => None,
        },
        Some(NodeEnum::TypeCast(cast)) => constant(cast.arg.as_deref()?),
        Some(NodeEnum::AExpr(minus)) if minus.lexpr.is_none() => match constant(minus.rexpr.as_deref()?)? {
            Constant::Number(value) => Some(Constant::Number(-value)),
            Constant::Text(_) => None,
        },
        _ => None,
    }
}

/// Whether one constant is known not to be larger than another; dates compare as text in their usual form.
fn at_most(one: &Constant, other: &Constant) -> bool {
    match (one, other) {
        (Constant::Number(one), Constant::Number(other)) => one <= other,
        (Constant::Text(one), Constant::Text(other)) => {
            one == other
                || one.starts_with(|c: char| c.is_ascii_digit()) && one.len() == other.len() && one <= other
        }
        _ => false,
    }
}

/// A comparison of a column with a constant.
struct Comparison {
    column: String,
    operator: String,
    value: Constant,
}

fn comparison(node: &Node) -> Option<Comparison> {
    let Some(NodeEnum::AExpr(compare)) = &node.node else { return None };
    if compare.kind() != pg_query::protobuf::AExprKind::AexprOp {
        return None;
    }
    let operator = compare.name.last().and_then(tree::string)?;
    let (left, right) = (compare.lexpr.as_deref()?, compare.rexpr.as_deref()?);
    if let (Some(column), Some(value)) = (column(left), constant(right)) {
        return Some(Comparison { column, operator, value });
    }
    let turned = match operator.as_str() {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        "=" => "=",
        _ => return None,
    };
    Some(Comparison { column: column(right)?, operator: turned.to_owned(), value: constant(left)? })
}

/// The bound of a partition.
#[derive(Clone, Debug)]
pub enum Bound {
    Default,
    /// From (inclusive) and to (exclusive), `None` for no limit.
    Range(Vec<Option<Node>>, Vec<Option<Node>>),
    List(Vec<Node>),
    Hash,
}

pub fn bound(spec: &PartitionBoundSpec) -> Bound {
    let limits = |nodes: &[Node]| {
        nodes
            .iter()
            .map(|node| match &node.node {
                // MINVALUE and MAXVALUE come as a column of that name.
                Some(NodeEnum::ColumnRef(_)) => None,
                _ => Some(node.clone()),
            })
            .collect()
    };
    match spec.strategy.as_str() {
        _ if spec.is_default => Bound::Default,
        "r" => Bound::Range(limits(&spec.lowerdatums), limits(&spec.upperdatums)),
        "l" => Bound::List(spec.listdatums.clone()),
        _ => Bound::Hash,
    }
}

/// The single plain column of a partition key (`RANGE (id)`).
pub fn key_column(key: &str) -> Option<String> {
    let (_, rest) = key.split_once('(')?;
    let inner = rest.strip_suffix(')')?.trim();
    let plain = inner.chars().all(|c| c.is_alphanumeric() || c == '_') && !inner.is_empty();
    plain
        .then(|| inner.to_owned())
        .or_else(|| super::reads::parse_name(inner).map(|name| name.name))
        .filter(|_| !inner.contains([',', '(', ' ']))
}

/// Whether every row of a table is known to lie within a bound, so that it need not be read when it is attached.
pub fn within(relation: &Relation, key: Option<&str>, bound: &Bound) -> bool {
    let Some(name) = key.and_then(key_column) else { return false };
    let known = known(relation);
    let null_free = relation.columns.iter().any(|facts| facts.name == name && facts.not_null)
        || known.iter().any(|node| says_not_null(node, &name));
    let on_key: Vec<Comparison> =
        known.iter().filter_map(comparison).filter(|comparison| comparison.column == name).collect();
    match bound {
        Bound::Range(from, to) => {
            let ([from], [to]) = (from.as_slice(), to.as_slice()) else { return false };
            let above = from.as_ref().is_none_or(|from| on_key.iter().any(|one| is_above(one, from)));
            let below = to.as_ref().is_none_or(|to| on_key.iter().any(|one| is_below(one, to)));
            null_free && above && below
        }
        Bound::List(values) => {
            let takes_null = values.iter().any(super::volatility::is_null);
            let wanted: Vec<Constant> = values.iter().filter_map(constant).collect();
            (null_free || takes_null) && known.iter().any(|node| is_among(node, &name, &wanted))
        }
        Bound::Default | Bound::Hash => false,
    }
}

fn is_above(one: &Comparison, from: &Node) -> bool {
    ["=", ">", ">="].contains(&one.operator.as_str())
        && constant(from).is_some_and(|from| at_most(&from, &one.value))
}

fn is_below(one: &Comparison, to: &Node) -> bool {
    constant(to).is_some_and(|to| match one.operator.as_str() {
        "<" => at_most(&one.value, &to),
        "<=" | "=" => at_most(&one.value, &to) && one.value != to,
        _ => false,
    })
}

/// `column = x`, or `column = ANY (ARRAY[...])` and `column IN (...)`, with none but these values.
fn is_among(node: &Node, name: &str, wanted: &[Constant]) -> bool {
    if let Some(one) = comparison(node) {
        return one.column == name && one.operator == "=" && wanted.contains(&one.value);
    }
    let Some(NodeEnum::AExpr(any)) = &node.node else { return false };
    let kinds = [pg_query::protobuf::AExprKind::AexprOpAny, pg_query::protobuf::AExprKind::AexprIn];
    if !kinds.contains(&any.kind()) || any.lexpr.as_deref().and_then(column).as_deref() != Some(name) {
        return false;
    }
    let values = any.rexpr.as_deref().map(elements).unwrap_or_default();
    !values.is_empty()
        && values.iter().all(|value| value.as_ref().is_some_and(|value| wanted.contains(value)))
}

fn elements(node: &Node) -> Vec<Option<Constant>> {
    match &node.node {
        Some(NodeEnum::AArrayExpr(array)) => array.elements.iter().map(constant).collect(),
        Some(NodeEnum::List(list)) => list.items.iter().map(constant).collect(),
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().map(elements).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// Whether no row of a default partition can lie within the bound of a new one.
pub fn outside(relation: &Relation, key: Option<&str>, bound: &Bound) -> bool {
    let Some(name) = key.and_then(key_column) else { return false };
    known(relation).iter().any(|node| excludes(node, &name, bound, false))
}

/// Whether an expression that is true (or, `negated`, one that is not) keeps the column out of a bound.
fn excludes(node: &Node, name: &str, bound: &Bound, negated: bool) -> bool {
    match &node.node {
        Some(NodeEnum::BoolExpr(all)) => {
            let mut args = all.args.iter();
            match (all.boolop(), negated) {
                (BoolExprType::NotExpr, _) => args.all(|arg| excludes(arg, name, bound, !negated)),
                (BoolExprType::AndExpr, false) | (BoolExprType::OrExpr, true) => {
                    args.any(|arg| excludes(arg, name, bound, negated))
                }
                _ => args.all(|arg| excludes(arg, name, bound, negated)),
            }
        }
        Some(NodeEnum::NullTest(test)) => {
            let is_null = (test.nulltesttype() == NullTestType::IsNull) != negated;
            let takes_null =
                matches!(bound, Bound::List(values) if values.iter().any(super::volatility::is_null));
            is_null && !takes_null && test.arg.as_deref().and_then(column).as_deref() == Some(name)
        }
        _ => comparison(node)
            .and_then(|one| if negated { opposite(one) } else { Some(one) })
            .is_some_and(|one| one.column == name && is_outside(&one, bound)),
    }
}

fn opposite(one: Comparison) -> Option<Comparison> {
    let operator = match one.operator.as_str() {
        "<" => ">=",
        "<=" => ">",
        ">" => "<=",
        ">=" => "<",
        "=" => "<>",
        "<>" => "=",
        _ => return None,
    };
    Some(Comparison { operator: operator.to_owned(), ..one })
}

fn is_outside(one: &Comparison, bound: &Bound) -> bool {
    match bound {
        Bound::Range(from, to) => {
            let ([from], [to]) = (from.as_slice(), to.as_slice()) else { return false };
            from.as_ref().is_some_and(|from| is_below(one, from))
                || to.as_ref().is_some_and(|to| is_above(one, to))
        }
        Bound::List(values) => {
            let taken: Vec<Constant> = values.iter().filter_map(constant).collect();
            match one.operator.as_str() {
                "=" => !taken.contains(&one.value),
                "<>" => taken.len() == values.len() && taken.iter().all(|value| *value == one.value),
                _ => false,
            }
        }
        Bound::Default | Bound::Hash => false,
    }
}

/// The partitions that take rows with these values of the key; `None` if that cannot be told.
pub fn takes(bounds: &[(usize, Bound)], value: &Node) -> Option<usize> {
    let value = constant(value)?;
    let within = |bound: &Bound| match bound {
        Bound::Range(from, to) => {
            let ([from], [to]) = (from.as_slice(), to.as_slice()) else { return None };
            let above =
                from.as_ref().is_none_or(|from| constant(from).is_some_and(|from| at_most(&from, &value)));
            let below = to
                .as_ref()
                .is_none_or(|to| constant(to).is_some_and(|to| at_most(&value, &to) && value != to));
            Some(above && below)
        }
        Bound::List(values) => Some(values.iter().filter_map(constant).any(|one| one == value)),
        Bound::Default => Some(false),
        Bound::Hash => None,
    };
    let mut found = None;
    for (partition, bound) in bounds {
        if within(bound)? {
            found = Some(*partition);
        }
    }
    found.or_else(|| {
        bounds.iter().find(|(_, bound)| matches!(bound, Bound::Default)).map(|(partition, _)| *partition)
    })
}

/// A partition bound as the catalog writes it.
pub fn bound_of(text: &str) -> Option<Bound> {
    let sql = format!("ALTER TABLE a ATTACH PARTITION b {text}");
    let NodeEnum::AlterTableStmt(alter) = grammar::statements(&sql).pop()? else { return None };
    match alter.cmds.into_iter().next()?.node? {
        NodeEnum::AlterTableCmd(command) => match command.def?.node? {
            NodeEnum::PartitionCmd(partition) => partition.bound.as_ref().map(bound),
            _ => None,
        },
        _ => None,
    }
}
