//! What statements change of objects that are there, apart from `ALTER TABLE`.

use pg_query::protobuf::{
    AlterDomainStmt, AlterObjectSchemaStmt, AlterOwnerStmt, AlterSeqStmt, AlterStatsStmt, CommentStmt,
    CreateExtensionStmt, CreateFunctionStmt, DropBehavior, DropStmt, FunctionParameterMode, ObjectType,
    RoleSpec, RoleSpecType, SelectStmt, ViewStmt,
};
use pg_query::{Node, NodeEnum};

use super::named::{self, target};
use super::privilege;
use super::table::expression;
use super::tree::{self, has_option, path, range};
use crate::sql::kind::{Edit, Part, Target};
use crate::sql::name::{RelationName, quote_ident, quote_literal};

/// What a statement changes.
pub fn edits(node: &NodeEnum) -> Vec<Edit> {
    match node {
        NodeEnum::DropStmt(drop) => dropped(drop),
        NodeEnum::GrantStmt(grant) => privilege::granted(grant),
        _ => change(node).into_iter().collect(),
    }
}

fn change(node: &NodeEnum) -> Option<Edit> {
    match node {
        NodeEnum::AlterOwnerStmt(alter) => owned(alter),
        NodeEnum::AlterObjectSchemaStmt(alter) => moved(alter),
        NodeEnum::CommentStmt(comment) => commented(comment),
        NodeEnum::AlterSeqStmt(alter) => sequence(alter),
        NodeEnum::AlterDomainStmt(alter) => domain(alter),
        NodeEnum::AlterStatsStmt(alter) => statistics(alter),
        NodeEnum::ViewStmt(view) => viewed(view),
        NodeEnum::CreateFunctionStmt(create) => function(create),
        NodeEnum::CreateExtensionStmt(create) => Some(extension(create)),
        NodeEnum::AlterPolicyStmt(alter) => {
            let what = Target::within("POLICY", range(alter.table.as_ref()?), &alter.policy_name);
            let drop = format!("DROP {}", what.sql());
            // Whatever the statement leaves out stays, and what it adds cannot be taken away: made anew.
            Some(Edit::Replace { what, drop, shape: Some("altered".into()) })
        }
        NodeEnum::CreatePolicyStmt(create) => Some(Edit::Make {
            what: Target::within("POLICY", range(create.table.as_ref()?), &create.policy_name),
        }),
        NodeEnum::CreateTrigStmt(create) => {
            let what = Target::within("TRIGGER", range(create.relation.as_ref()?), &create.trigname);
            let drop = format!("DROP {}", what.sql());
            Some(if create.replace { Edit::Replace { what, drop, shape: None } } else { Edit::Make { what } })
        }
        NodeEnum::CreateStatsStmt(create) => {
            Some(Edit::Make { what: Target::new("STATISTICS", path(&create.defnames)?) })
        }
        _ => None,
    }
}

/// A role as SQL.
pub fn role(role: &RoleSpec) -> String {
    match role.roletype() {
        RoleSpecType::RolespecPublic => "PUBLIC".into(),
        RoleSpecType::RolespecCurrentRole => "CURRENT_ROLE".into(),
        RoleSpecType::RolespecCurrentUser => "CURRENT_USER".into(),
        RoleSpecType::RolespecSessionUser => "SESSION_USER".into(),
        _ => quote_ident(&role.rolename),
    }
}

fn owned(alter: &AlterOwnerStmt) -> Option<Edit> {
    let of = target(alter.object_type(), alter.object.as_deref()?)?;
    let prefix = format!("ALTER {} OWNER TO ", of.sql());
    Some(Edit::Set { part: Part::Owner, of, prefix, value: alter.newowner.as_ref().map(role) })
}

fn moved(alter: &AlterObjectSchemaStmt) -> Option<Edit> {
    let of = match (&alter.relation, alter.object.as_deref()) {
        (Some(relation), _) => Target::new(tree::relation_kind(alter.object_type())?.sql(), range(relation)),
        (None, Some(object)) => target(alter.object_type(), object)?,
        (None, None) => return None,
    };
    let now = RelationName { schema: Some(alter.newschema.clone()), name: of.name.name.clone() };
    let prefix = format!("ALTER {} SET SCHEMA ", Target { name: now, ..of.clone() }.sql());
    let value = Some(quote_ident(&alter.newschema));
    Some(Edit::Set { part: Part::Schema, of, prefix, value })
}

fn commented(comment: &CommentStmt) -> Option<Edit> {
    let of = target(comment.objtype(), comment.object.as_deref()?)?;
    let prefix = format!("COMMENT ON {} IS ", of.sql());
    let text = &comment.comment;
    let value = if text.is_empty() { "NULL".into() } else { quote_literal(text) };
    Some(Edit::Set { part: Part::Comment, of, prefix, value: Some(value) })
}

fn sequence(alter: &AlterSeqStmt) -> Option<Edit> {
    let of = Target::new("SEQUENCE", range(alter.sequence.as_ref()?));
    if alter.missing_ok || has_option(&alter.options, "restart") {
        let reason = "the value of the sequence before is not kept".to_owned();
        return Some(Edit::Lost { reason });
    }
    let prefix = format!("ALTER SEQUENCE {} ", of.name);
    Some(Edit::Set { part: Part::SequenceOptions, of, prefix, value: None })
}

fn domain(alter: &AlterDomainStmt) -> Option<Edit> {
    let of = Target::new("DOMAIN", path(&alter.type_name)?);
    let prefix = format!("ALTER DOMAIN {} ", of.name);
    let set = |part, value: Option<String>| Edit::Set { part, of: of.clone(), prefix: prefix.clone(), value };
    Some(match alter.subtype.as_str() {
        "T" => {
            let default = alter.def.as_deref().and_then(expression);
            let value = default.map_or_else(|| "DROP DEFAULT".into(), |sql| format!("SET DEFAULT {sql}"));
            set(Part::DomainDefault, Some(value))
        }
        "N" => set(Part::DomainNotNull, Some("DROP NOT NULL".into())),
        "O" => set(Part::DomainNotNull, Some("SET NOT NULL".into())),
        "C" => {
            let Some(NodeEnum::Constraint(constraint)) = &alter.def.as_ref()?.node else { return None };
            let name = tree::optional(&constraint.conname);
            match name {
                Some(name) => Edit::Plain { sql: format!("{prefix}DROP CONSTRAINT {}", quote_ident(&name)) },
                None => Edit::Lost {
                    reason: "the server chooses the name of the constraint: write a name".into(),
                },
            }
        }
        "X" => Edit::Drop {
            what: Target::within("DOMAIN CONSTRAINT", of.name.clone(), &alter.name),
            if_exists: alter.missing_ok,
            cascade: alter.behavior() == DropBehavior::DropCascade,
        },
        "V" => Edit::Plain { sql: String::new() },
        _ => return None,
    })
}

fn statistics(alter: &AlterStatsStmt) -> Option<Edit> {
    let of = Target::new("STATISTICS", path(&alter.defnames)?);
    let prefix = format!("ALTER STATISTICS {} SET STATISTICS ", of.name);
    let value = named::integer(alter.stxstattarget.as_deref()).unwrap_or_else(|| "-1".into());
    Some(Edit::Set { part: Part::Statistics, of, prefix, value: Some(value) })
}

fn viewed(view: &ViewStmt) -> Option<Edit> {
    let relation = view.view.as_ref()?;
    let what = Target::new("VIEW", range(relation));
    if !view.replace || relation.relpersistence == "t" {
        return None;
    }
    let drop = format!("DROP {}", what.sql());
    let query = match view.query.as_ref().and_then(|query| query.node.as_ref()) {
        Some(NodeEnum::SelectStmt(select)) => width(select),
        _ => None,
    };
    Some(Edit::Replace {
        what,
        drop,
        shape: Some(query.map_or_else(|| "?".into(), |width| width.to_string())),
    })
}

/// The number of columns of a query, unless a star stands among them.
fn width(select: &SelectStmt) -> Option<usize> {
    if let Some(left) = &select.larg {
        return width(left);
    }
    if let Some(Node { node: Some(NodeEnum::List(row)) }) = select.values_lists.first() {
        return Some(row.items.len());
    }
    let star = |node: &Node| match &node.node {
        Some(NodeEnum::ResTarget(target)) => {
            match target.val.as_ref().and_then(|value| value.node.as_ref()) {
                Some(NodeEnum::ColumnRef(reference)) => {
                    reference.fields.iter().any(|field| matches!(field.node, Some(NodeEnum::AStar(_))))
                }
                Some(NodeEnum::AIndirection(part)) => {
                    part.indirection.iter().any(|field| matches!(field.node, Some(NodeEnum::AStar(_))))
                }
                _ => false,
            }
        }
        _ => true,
    };
    let targets = &select.target_list;
    (!targets.is_empty() && !targets.iter().any(star)).then_some(targets.len())
}

fn function(create: &CreateFunctionStmt) -> Option<Edit> {
    let parameters = || {
        create.parameters.iter().filter_map(|node| match &node.node {
            Some(NodeEnum::FunctionParameter(parameter)) => Some(parameter),
            _ => None,
        })
    };
    let output = [FunctionParameterMode::FuncParamOut, FunctionParameterMode::FuncParamTable];
    let inputs = parameters().filter(|one| !output.contains(&one.mode()));
    let types: Option<Vec<String>> =
        inputs.clone().map(|one| named::type_text(one.arg_type.as_ref()?)).collect();
    let object = if create.is_procedure { "PROCEDURE" } else { "FUNCTION" };
    let list = serde_json::to_string(&types?).ok()?;
    let what = Target::within(object, path(&create.funcname)?, list);
    // OUT parameters are a part of a procedure's signature since PostgreSQL 14, and of its identity they are not.
    if create.is_procedure && create.parameters.iter().any(tree::is_output) {
        return None;
    }
    if !create.replace {
        return Some(Edit::Make { what });
    }
    let drop = format!("DROP {}", what.sql());
    let names: Vec<&str> = parameters().map(|one| one.name.as_str()).collect();
    let defaults = inputs.filter(|one| one.defexpr.is_some()).count();
    Some(Edit::Replace { what, drop, shape: Some(format!("{} {defaults}", names.join(","))) })
}

fn extension(create: &CreateExtensionStmt) -> Edit {
    let what = Target::new("EXTENSION", RelationName::unqualified(&create.extname));
    let drop = format!("DROP {}", what.sql());
    if create.if_not_exists { Edit::Replace { what, drop, shape: None } } else { Edit::Plain { sql: drop } }
}

fn dropped(drop: &DropStmt) -> Vec<Edit> {
    let cascade = drop.behavior() == DropBehavior::DropCascade;
    match drop.remove_type() {
        ObjectType::ObjectTable | ObjectType::ObjectIndex | ObjectType::ObjectForeignTable => Vec::new(),
        ObjectType::ObjectSequence => {
            vec![Edit::Lost { reason: "the current value of the sequence is gone with it".into() }]
        }
        kind => {
            let each = drop.objects.iter().map(|object| {
                Some(Edit::Drop { what: target(kind, object)?, if_exists: drop.missing_ok, cascade })
            });
            each.collect::<Option<Vec<Edit>>>().unwrap_or_default()
        }
    }
}
