//! `CREATE TABLE` and `ALTER TABLE`.

use pg_query::protobuf::{
    AlterTableCmd, AlterTableStmt, AlterTableType, ColumnDef, ConstrType, Constraint as Node_, CreateStmt,
    DropBehavior, IntoClause, ObjectType, ResTarget, SelectStmt,
};
use pg_query::{Node, NodeEnum};

use super::setting::{self, Altered, partition};
use super::tree::{self, names, optional, range, relation, relation_kind};
use crate::sql::grammar;
use crate::sql::kind::{
    AlterTable, Column, Constraint, ConstraintKind, CreateTable, Generated, RelationKind, TableAction,
};

pub const SERIAL: &[&str] = &["serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"];

pub fn create(create: &CreateStmt) -> Option<CreateTable> {
    let target = create.relation.as_ref()?;
    let parents: Vec<_> = create.inh_relations.iter().filter_map(relation).collect();
    let partition = create.partbound.is_some();
    let elements = || create.table_elts.iter().filter_map(|element| element.node.as_ref());
    Some(CreateTable {
        relation: range(target),
        if_not_exists: create.if_not_exists,
        temporary: target.relpersistence == "t",
        foreign: false,
        from_query: false,
        like: create.of_typename.is_some()
            || elements()
                .any(|element| matches!(element, NodeEnum::TableLikeClause(like) if like.options != 0)),
        columns: elements()
            .filter_map(|element| match element {
                NodeEnum::ColumnDef(definition) => Some(column(definition)),
                _ => None,
            })
            .collect(),
        constraints: create
            .table_elts
            .iter()
            .chain(&create.constraints)
            .filter_map(|node| constraint(node, None))
            .collect(),
        partition_of: parents.first().filter(|_| partition).cloned(),
        inherits: if partition { Vec::new() } else { parents },
        partitioned: create.partspec.is_some(),
    })
}

pub fn from_query(into: &IntoClause, if_not_exists: bool) -> Option<CreateTable> {
    let target = into.rel.as_ref()?;
    Some(CreateTable {
        relation: range(target),
        if_not_exists,
        temporary: target.relpersistence == "t",
        from_query: true,
        ..CreateTable::default()
    })
}

pub fn column(definition: &ColumnDef) -> Column {
    let mut column = Column {
        name: definition.colname.clone(),
        not_null: definition.is_not_null,
        serial: definition.type_name.as_ref().is_some_and(
            |name| matches!(names(&name.names).as_slice(), [only] if SERIAL.contains(&only.as_str())),
        ),
        ..Column::default()
    };
    for node in &definition.constraints {
        let Some(NodeEnum::Constraint(part)) = &node.node else {
            continue;
        };
        match part.contype() {
            ConstrType::ConstrNotnull => column.not_null = true,
            ConstrType::ConstrDefault => column.default = part.raw_expr.as_deref().and_then(expression),
            ConstrType::ConstrIdentity => column.identity = true,
            ConstrType::ConstrGenerated => {
                let kind = if part.generated_kind == "v" { Generated::Virtual } else { Generated::Stored };
                column.generated = Some(kind);
            }
            _ => column.constraints.extend(constraint(node, Some(&definition.colname))),
        }
    }
    column
}

/// A constraint that is an object of its own; `column` is the one it is written with.
pub fn constraint(node: &Node, column: Option<&String>) -> Option<Constraint> {
    let Some(NodeEnum::Constraint(part)) = &node.node else {
        return None;
    };
    let own = |keys: &[Node]| {
        if keys.is_empty() { column.cloned().into_iter().collect() } else { names(keys) }
    };
    let (kind, columns) = match part.contype() {
        ConstrType::ConstrCheck => {
            (ConstraintKind::Check, part.raw_expr.as_deref().and_then(tree::columns).unwrap_or_default())
        }
        ConstrType::ConstrUnique => {
            (ConstraintKind::Unique, [own(&part.keys), names(&part.including)].concat())
        }
        ConstrType::ConstrPrimary => (ConstraintKind::PrimaryKey, own(&part.keys)),
        ConstrType::ConstrForeign => (ConstraintKind::ForeignKey, own(&part.fk_attrs)),
        ConstrType::ConstrExclusion => (ConstraintKind::Exclude, excluded(part)),
        ConstrType::ConstrNotnull => (ConstraintKind::NotNull, own(&part.keys)),
        _ => return None,
    };
    Some(Constraint {
        name: optional(&part.conname),
        kind,
        columns,
        references: part.pktable.as_ref().map(range),
        using_index: optional(&part.indexname),
        not_valid: part.skip_validation,
    })
}

fn excluded(part: &Node_) -> Vec<String> {
    let elements = part.exclusions.iter().filter_map(|pair| match &pair.node {
        Some(NodeEnum::List(list)) => list.items.first(),
        _ => None,
    });
    tree::index_columns(elements.chain(&part.including))
}

/// An expression as SQL.
pub fn expression(node: &Node) -> Option<String> {
    let target = ResTarget { val: Some(Box::new(node.clone())), ..ResTarget::default() };
    let select = SelectStmt {
        target_list: vec![Node { node: Some(NodeEnum::ResTarget(Box::new(target))) }],
        limit_option: pg_query::protobuf::LimitOption::Default as i32,
        op: pg_query::protobuf::SetOperation::SetopNone as i32,
        ..SelectStmt::default()
    };
    let sql = grammar::deparse(NodeEnum::SelectStmt(Box::new(select)))?;
    sql.strip_prefix("SELECT ").map(str::to_owned)
}

pub fn alter(alter: &AlterTableStmt) -> Option<AlterTable> {
    let target = alter.relation.as_ref()?;
    let relation = range(target);
    let object = relation_kind(alter.objtype()).unwrap_or(RelationKind::Table);
    let only = !target.inh && alter.objtype() != ObjectType::ObjectType;
    let of = Altered { object: object.sql(), only: if only { "ONLY " } else { "" }, relation: &relation };
    let actions = alter
        .cmds
        .iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::AlterTableCmd(command)) => Some(action(&of, command)),
            _ => None,
        })
        .collect();
    Some(AlterTable { relation, object, if_exists: alter.missing_ok, only, actions })
}

fn action(of: &Altered<'_>, command: &AlterTableCmd) -> TableAction {
    let definition = command.def.as_deref();
    let node = definition.and_then(|definition| definition.node.as_ref());
    let name = command.name.clone();
    let label = || command.subtype().as_str_name().trim_start_matches("AT_").to_owned();
    match (command.subtype(), node) {
        (AlterTableType::AtAddColumn, Some(NodeEnum::ColumnDef(definition))) => {
            TableAction::AddColumn { column: column(definition), if_not_exists: command.missing_ok }
        }
        (AlterTableType::AtDropColumn, _) => TableAction::DropColumn {
            column: name,
            if_exists: command.missing_ok,
            cascade: command.behavior() == DropBehavior::DropCascade,
        },
        (AlterTableType::AtAddConstraint, _) => {
            match definition.and_then(|definition| constraint(definition, None)) {
                Some(constraint) => TableAction::AddConstraint(constraint),
                None => TableAction::Other(label()),
            }
        }
        (AlterTableType::AtDropConstraint, _) => TableAction::DropConstraint {
            constraint: name,
            if_exists: command.missing_ok,
            cascade: command.behavior() == DropBehavior::DropCascade,
        },
        (AlterTableType::AtValidateConstraint, _) => TableAction::ValidateConstraint { constraint: name },
        (AlterTableType::AtColumnDefault, None) => TableAction::DropDefault { column: name },
        (AlterTableType::AtColumnDefault, Some(_)) => match definition.and_then(expression) {
            Some(default) => TableAction::SetDefault { column: name, default },
            None => TableAction::Other(label()),
        },
        (AlterTableType::AtSetNotNull, _) => TableAction::SetNotNull { column: name },
        (AlterTableType::AtDropNotNull, _) => TableAction::DropNotNull { column: name },
        (AlterTableType::AtDetachPartition, Some(NodeEnum::PartitionCmd(partition))) => {
            TableAction::DetachPartition {
                partition: partition.name.as_ref().map(range).unwrap_or_default(),
                concurrently: partition.concurrent,
            }
        }
        (AlterTableType::AtAttachPartition, _) => match partition(definition) {
            Some(partition) => TableAction::AttachPartition { partition },
            None => TableAction::Other(label()),
        },
        (kind, _) => {
            let edits = setting::edits(of, command);
            if is_setting(kind) || !edits.is_empty() {
                TableAction::Setting { action: label(), edits }
            } else {
                TableAction::Other(label())
            }
        }
    }
}

/// Subcommands that only set what goes away together with the relation.
fn is_setting(kind: AlterTableType) -> bool {
    matches!(
        kind,
        AlterTableType::AtChangeOwner
            | AlterTableType::AtSetStatistics
            | AlterTableType::AtSetOptions
            | AlterTableType::AtResetOptions
            | AlterTableType::AtSetStorage
            | AlterTableType::AtSetCompression
            | AlterTableType::AtClusterOn
            | AlterTableType::AtDropCluster
            | AlterTableType::AtSetRelOptions
            | AlterTableType::AtResetRelOptions
            | AlterTableType::AtReplicaIdentity
            | AlterTableType::AtEnableRowSecurity
            | AlterTableType::AtDisableRowSecurity
            | AlterTableType::AtForceRowSecurity
            | AlterTableType::AtNoForceRowSecurity
    )
}
