//! From the tree of a statement to its [`Kind`].

mod edit;
mod lock;
mod named;
mod privilege;
mod setting;
pub(super) mod table;
pub(super) mod tree;

use pg_query::protobuf::{
    CommentStmt, CreateFunctionStmt, DropBehavior, DropStmt, FunctionParameterMode, GrantStmt,
    GrantTargetType, IndexStmt, ObjectType, ObjectWithArgs, ReindexObjectType, ReindexStmt, RenameStmt,
};
use pg_query::{Node, NodeEnum};

pub(super) use edit::edits;
pub(super) use lock::{blocking, transactional};
pub(super) use tree::has_option;

use super::grammar;
use super::kind::{CreateIndex, Kind, RelationKind, Rename, RenameTarget};
use super::token::Token;
use tree::{only_relation, optional, path, range, relation_kind, strings, writes};

/// What a statement is.
pub(super) fn kind(node: &NodeEnum, sql: &str, tokens: &[Token]) -> Kind {
    data(node, sql, tokens)
        .or_else(|| definition(node))
        .or_else(|| definition_without_rows(node))
        .or_else(|| change(node))
        .unwrap_or_else(|| Kind::Other(tree::label(node)))
}

/// Statements on rows.
fn data(node: &NodeEnum, sql: &str, tokens: &[Token]) -> Option<Kind> {
    Some(match node {
        NodeEnum::InsertStmt(insert) => {
            Kind::Insert { relation: only_relation(insert.relation.as_ref(), insert.with_clause.as_ref()) }
        }
        NodeEnum::UpdateStmt(update) => Kind::Update {
            relation: only_relation(update.relation.as_ref(), update.with_clause.as_ref()),
            columns: update.target_list.iter().filter_map(tree::target).collect(),
        },
        NodeEnum::DeleteStmt(delete) => {
            Kind::Delete { relation: only_relation(delete.relation.as_ref(), delete.with_clause.as_ref()) }
        }
        NodeEnum::MergeStmt(merge) => {
            Kind::Merge { relation: only_relation(merge.relation.as_ref(), merge.with_clause.as_ref()) }
        }
        NodeEnum::CopyStmt(copy) if copy.is_from => {
            Kind::Insert { relation: copy.relation.as_ref().map(range) }
        }
        NodeEnum::TruncateStmt(truncate) => Kind::Truncate {
            relations: truncate.relations.iter().filter_map(tree::relation).collect(),
            cascade: truncate.behavior() == DropBehavior::DropCascade,
        },
        NodeEnum::SelectStmt(select) if select.into_clause.is_some() => {
            let into = select.into_clause.as_ref()?;
            Kind::CreateTable(table::from_query(into, false)?)
        }
        NodeEnum::SelectStmt(select) if writes(select.with_clause.as_ref()) => return None,
        NodeEnum::SelectStmt(_) => Kind::Select { calls: calls_function(sql, tokens) },
        NodeEnum::LockStmt(_) => Kind::Lock,
        NodeEnum::VariableSetStmt(set) => Kind::SetLocal { parameter: set.name.clone() },
        NodeEnum::ConstraintsSetStmt(_) => Kind::SetLocal { parameter: "constraints".into() },
        NodeEnum::VacuumStmt(vacuum) => {
            if vacuum.is_vacuumcmd {
                Kind::Vacuum
            } else {
                Kind::Analyze
            }
        }
        NodeEnum::RefreshMatViewStmt(refresh) => {
            Kind::RefreshMaterializedView { relation: range(refresh.relation.as_ref()?) }
        }
        _ => return None,
    })
}

/// Whether a name or a keyword stands before an opening parenthesis.
fn calls_function(sql: &str, tokens: &[Token]) -> bool {
    const NO_CALL: &[&str] = &[
        "all",
        "and",
        "any",
        "as",
        "between",
        "by",
        "case",
        "distinct",
        "else",
        "except",
        "exists",
        "from",
        "group",
        "in",
        "intersect",
        "join",
        "lateral",
        "limit",
        "not",
        "offset",
        "on",
        "or",
        "over",
        "row",
        "select",
        "some",
        "then",
        "union",
        "using",
        "values",
        "when",
        "where",
        "with",
    ];
    tokens.windows(2).any(|pair| match pair {
        [name, open] if open.is_word(sql, "(") => {
            name.name(sql).is_some_and(|name| !NO_CALL.contains(&name.as_str()))
        }
        _ => false,
    })
}

/// Statements that make something new.
fn definition(node: &NodeEnum) -> Option<Kind> {
    Some(match node {
        NodeEnum::CreateStmt(create) => Kind::CreateTable(table::create(create)?),
        NodeEnum::CreateForeignTableStmt(create) => {
            let base = table::create(create.base_stmt.as_ref()?)?;
            Kind::CreateTable(super::kind::CreateTable { foreign: true, ..base })
        }
        NodeEnum::CreateTableAsStmt(create) => {
            let into = create.into.as_ref()?;
            if create.objtype() == ObjectType::ObjectMatview {
                let relation = range(into.rel.as_ref()?);
                let if_not_exists = create.if_not_exists;
                Kind::CreateView { relation, materialized: true, replace: false, if_not_exists }
            } else {
                Kind::CreateTable(table::from_query(into, create.if_not_exists)?)
            }
        }
        NodeEnum::IndexStmt(index) => Kind::CreateIndex(create_index(index)?),
        NodeEnum::ViewStmt(view) => Kind::CreateView {
            relation: range(view.view.as_ref()?),
            materialized: false,
            replace: view.replace,
            if_not_exists: false,
        },
        NodeEnum::CreateSeqStmt(create) => Kind::CreateSequence {
            relation: range(create.sequence.as_ref()?),
            if_not_exists: create.if_not_exists,
        },
        NodeEnum::CreateSchemaStmt(create) => Kind::CreateSchema {
            schema: optional(&create.schemaname)
                .or_else(|| create.authrole.as_ref().and_then(|role| optional(&role.rolename)))?,
            if_not_exists: create.if_not_exists,
            with_objects: !create.schema_elts.is_empty(),
        },
        _ => return None,
    })
}

/// The same for what holds no rows.
fn definition_without_rows(node: &NodeEnum) -> Option<Kind> {
    Some(match node {
        NodeEnum::CreateEnumStmt(create) => Kind::CreateType { relation: path(&create.type_name)? },
        NodeEnum::CreateRangeStmt(create) => Kind::CreateType { relation: path(&create.type_name)? },
        NodeEnum::CompositeTypeStmt(create) => Kind::CreateType { relation: range(create.typevar.as_ref()?) },
        NodeEnum::CreateDomainStmt(create) => Kind::CreateDomain { relation: path(&create.domainname)? },
        NodeEnum::CreateFunctionStmt(create) => Kind::CreateFunction {
            signature: signature(create),
            procedure: create.is_procedure,
            replace: create.replace,
        },
        NodeEnum::CreateTrigStmt(create) => Kind::CreateTrigger {
            trigger: create.trigname.clone(),
            relation: range(create.relation.as_ref()?),
            replace: create.replace,
        },
        NodeEnum::CreatePolicyStmt(create) => {
            Kind::CreatePolicy { policy: create.policy_name.clone(), relation: range(create.table.as_ref()?) }
        }
        NodeEnum::CreateStatsStmt(create) => {
            Kind::CreateStatistics { relation: path(&create.defnames), if_not_exists: create.if_not_exists }
        }
        _ => return None,
    })
}

/// Statements that change or drop what is there.
fn change(node: &NodeEnum) -> Option<Kind> {
    match node {
        NodeEnum::AlterTableStmt(alter) => Some(Kind::AlterTable(table::alter(alter)?)),
        NodeEnum::RenameStmt(rename) => Some(Kind::Rename(renamed(rename))),
        NodeEnum::AlterEnumStmt(alter) if alter.old_val.is_empty() => {
            Some(Kind::AddEnumValue { relation: path(&alter.type_name)?, value: alter.new_val.clone() })
        }
        NodeEnum::AlterEnumStmt(alter) => Some(Kind::Rename(Rename {
            target: RenameTarget::EnumValue {
                relation: path(&alter.type_name)?,
                value: alter.old_val.clone(),
            },
            to: alter.new_val.clone(),
            if_exists: false,
        })),
        NodeEnum::ReindexStmt(reindex) => reindexed(reindex),
        NodeEnum::DropStmt(drop) => Some(dropped(drop)),
        NodeEnum::CommentStmt(comment) => commented(comment),
        NodeEnum::GrantStmt(grant) => Some(granted(grant)),
        _ => None,
    }
}

fn create_index(index: &IndexStmt) -> Option<CreateIndex> {
    let parameters = || index.index_params.iter().chain(&index.index_including_params);
    let columns = tree::index_columns(parameters());
    let plain: Option<Vec<String>> = index.index_params.iter().map(tree::index_column).collect();
    let relation = index.relation.as_ref()?;
    Some(CreateIndex {
        name: optional(&index.idxname),
        relation: range(relation),
        columns,
        mentions: tree::mentioned(parameters().chain(index.where_clause.as_deref())),
        key: plain.unwrap_or_default(),
        unique: index.unique,
        concurrently: index.concurrent,
        if_not_exists: index.if_not_exists,
        only: !relation.inh,
    })
}

fn reindexed(reindex: &ReindexStmt) -> Option<Kind> {
    let index = match reindex.kind() {
        ReindexObjectType::ReindexObjectIndex => true,
        ReindexObjectType::ReindexObjectTable => false,
        _ => return None,
    };
    let relation = range(reindex.relation.as_ref()?);
    Some(Kind::Reindex { relation, index, concurrently: has_option(&reindex.params, "concurrently") })
}

fn renamed(rename: &RenameStmt) -> Rename {
    Rename {
        target: rename_target(rename)
            .unwrap_or_else(|| RenameTarget::Other { object: tree::object(rename.rename_type()) }),
        to: rename.newname.clone(),
        if_exists: rename.missing_ok,
    }
}

fn rename_target(rename: &RenameStmt) -> Option<RenameTarget> {
    let relation = rename.relation.as_ref().map(range);
    let composite = rename.rename_type() == ObjectType::ObjectAttribute;
    let only = !composite && rename.relation.as_ref().is_some_and(|relation| !relation.inh);
    let from = rename.subname.clone();
    let named = |object: &str| {
        let relation = path(&strings(rename.object.as_deref()))?;
        Some(RenameTarget::Named { object: object.into(), relation })
    };
    let of_table = |object: &str| {
        Some(RenameTarget::OfTable { object: object.into(), relation: relation.clone()?, name: from.clone() })
    };
    match rename.rename_type() {
        ObjectType::ObjectColumn | ObjectType::ObjectAttribute => Some(RenameTarget::Column {
            object: relation_kind(rename.relation_type()).unwrap_or(RelationKind::Type),
            relation: relation?,
            column: from,
            only,
        }),
        ObjectType::ObjectTabconstraint => {
            Some(RenameTarget::Constraint { relation: relation?, constraint: from, only })
        }
        ObjectType::ObjectTrigger => of_table("TRIGGER"),
        ObjectType::ObjectPolicy => of_table("POLICY"),
        ObjectType::ObjectRule => of_table("RULE"),
        ObjectType::ObjectSchema => Some(RenameTarget::Schema { schema: from }),
        ObjectType::ObjectType => named("TYPE"),
        ObjectType::ObjectDomain => named("DOMAIN"),
        ObjectType::ObjectStatisticExt => named("STATISTICS"),
        ObjectType::ObjectCollation => named("COLLATION"),
        other => Some(RenameTarget::Relation { object: relation_kind(other)?, relation: relation? }),
    }
}

fn dropped(drop: &DropStmt) -> Kind {
    let relations = || drop.objects.iter().filter_map(|object| path(&strings(Some(object)))).collect();
    let cascade = drop.behavior() == DropBehavior::DropCascade;
    match drop.remove_type() {
        ObjectType::ObjectTable => {
            Kind::DropTable { relations: relations(), if_exists: drop.missing_ok, cascade }
        }
        ObjectType::ObjectIndex => Kind::DropIndex {
            indexes: relations(),
            concurrently: drop.concurrent,
            if_exists: drop.missing_ok,
        },
        other => Kind::Drop { object: tree::object(other) },
    }
}

fn commented(comment: &CommentStmt) -> Option<Kind> {
    let mut names = strings(comment.object.as_deref());
    if comment.objtype() == ObjectType::ObjectColumn {
        let column = names.pop().as_ref().and_then(tree::string)?;
        return Some(Kind::Comment {
            relation: path(&names)?,
            object: RelationKind::Table,
            column: Some(column),
        });
    }
    let object = relation_kind(comment.objtype())?;
    Some(Kind::Comment { relation: path(&names)?, object, column: None })
}

fn granted(grant: &GrantStmt) -> Kind {
    let direct = grant.targtype() == GrantTargetType::AclTargetObject;
    let relations =
        direct && [ObjectType::ObjectTable, ObjectType::ObjectSequence].contains(&grant.objtype());
    let schemas = direct && grant.objtype() == ObjectType::ObjectSchema;
    Kind::Grant {
        relations: grant.objects.iter().filter(|_| relations).filter_map(tree::relation).collect(),
        schemas: grant.objects.iter().filter(|_| schemas).filter_map(tree::string).collect(),
    }
}

/// The name and the types of the arguments, as `DROP FUNCTION` takes them.
fn signature(create: &CreateFunctionStmt) -> Option<String> {
    let object_type =
        if create.is_procedure { ObjectType::ObjectProcedure } else { ObjectType::ObjectFunction };
    let input = |node: &Node| match &node.node {
        Some(NodeEnum::FunctionParameter(parameter)) => {
            let output = [FunctionParameterMode::FuncParamOut, FunctionParameterMode::FuncParamTable];
            if output.contains(&parameter.mode()) && !create.is_procedure {
                return None;
            }
            parameter.arg_type.clone().map(|arg| Node { node: Some(NodeEnum::TypeName(arg)) })
        }
        _ => None,
    };
    if create.is_procedure && create.parameters.iter().any(tree::is_output) {
        return None;
    }
    let object = ObjectWithArgs {
        objname: create.funcname.clone(),
        objargs: create.parameters.iter().filter_map(input).collect(),
        objfuncargs: Vec::new(),
        args_unspecified: false,
    };
    let drop = DropStmt {
        objects: vec![Node { node: Some(NodeEnum::ObjectWithArgs(object)) }],
        remove_type: object_type as i32,
        behavior: DropBehavior::DropRestrict as i32,
        missing_ok: false,
        concurrent: false,
    };
    let sql = grammar::deparse(NodeEnum::DropStmt(drop))?;
    let prefix = if create.is_procedure { "DROP PROCEDURE " } else { "DROP FUNCTION " };
    sql.strip_prefix(prefix).map(str::to_owned)
}
