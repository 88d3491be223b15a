//! The objects that statements name.

use pg_query::protobuf::{DropBehavior, DropStmt, ObjectType, ObjectWithArgs, TypeName};
use pg_query::{Node, NodeEnum};

use super::tree::{path, relation_kind, string, strings};
use crate::sql::grammar;
use crate::sql::kind::Target;
use crate::sql::name::RelationName;

/// The object that a node names; nothing if objects of its kind are not told apart here.
pub fn target(kind: ObjectType, node: &Node) -> Option<Target> {
    if let Some(kind) = relation_kind(kind).filter(|_| kind != ObjectType::ObjectType) {
        return Some(Target::new(kind.sql(), path(&strings(Some(node)))?));
    }
    match kind {
        ObjectType::ObjectFunction => function("FUNCTION", node),
        ObjectType::ObjectProcedure => function("PROCEDURE", node),
        ObjectType::ObjectRoutine => function("ROUTINE", node),
        ObjectType::ObjectType => Some(Target::new("TYPE", path(&strings(Some(node)))?)),
        ObjectType::ObjectDomain => Some(Target::new("DOMAIN", path(&strings(Some(node)))?)),
        ObjectType::ObjectStatisticExt => Some(Target::new("STATISTICS", path(&strings(Some(node)))?)),
        ObjectType::ObjectSchema => bare("SCHEMA", node),
        ObjectType::ObjectExtension => bare("EXTENSION", node),
        ObjectType::ObjectPublication => bare("PUBLICATION", node),
        ObjectType::ObjectDatabase => bare("DATABASE", node),
        ObjectType::ObjectColumn => part("COLUMN", node),
        ObjectType::ObjectTrigger => part("TRIGGER", node),
        ObjectType::ObjectPolicy => part("POLICY", node),
        ObjectType::ObjectRule => part("RULE", node),
        ObjectType::ObjectTabconstraint => part("CONSTRAINT", node),
        ObjectType::ObjectDomconstraint => {
            let Some(NodeEnum::List(list)) = &node.node else { return None };
            let [domain, constraint] = list.items.as_slice() else { return None };
            let domain = path(&strings(Some(domain)))?;
            Some(Target::within("DOMAIN CONSTRAINT", domain, string(constraint)?))
        }
        _ => None,
    }
}

fn bare(object: &str, node: &Node) -> Option<Target> {
    let name = strings(Some(node)).last().and_then(string)?;
    Some(Target::new(object, RelationName::unqualified(name)))
}

fn part(object: &str, node: &Node) -> Option<Target> {
    let mut names = strings(Some(node));
    let detail = names.pop().as_ref().and_then(string)?;
    Some(Target::within(object, path(&names)?, detail))
}

fn function(object: &str, node: &Node) -> Option<Target> {
    let Some(NodeEnum::ObjectWithArgs(function)) = &node.node else { return None };
    let name = path(&function.objname)?;
    if function.args_unspecified {
        return Some(Target::new(object, name));
    }
    let types: Option<Vec<String>> = function
        .objargs
        .iter()
        .map(|node| match &node.node {
            Some(NodeEnum::TypeName(name)) => type_text(name),
            _ => None,
        })
        .collect();
    Some(Target::within(object, name, serde_json::to_string(&types?).ok()?))
}

/// The name of a type as SQL; nothing for one that is copied from a column.
pub fn type_text(name: &TypeName) -> Option<String> {
    if name.pct_type || name.setof {
        return None;
    }
    let object = ObjectWithArgs {
        objname: vec![word("f")],
        objargs: vec![Node { node: Some(NodeEnum::TypeName(name.clone())) }],
        objfuncargs: Vec::new(),
        args_unspecified: false,
    };
    let drop = DropStmt {
        objects: vec![Node { node: Some(NodeEnum::ObjectWithArgs(object)) }],
        remove_type: ObjectType::ObjectFunction as i32,
        behavior: DropBehavior::DropRestrict as i32,
        missing_ok: false,
        concurrent: false,
    };
    let sql = grammar::deparse(NodeEnum::DropStmt(drop))?;
    sql.strip_prefix("DROP FUNCTION f(")?.strip_suffix(')').map(str::to_owned)
}

fn word(text: &str) -> Node {
    Node { node: Some(NodeEnum::String(pg_query::protobuf::String { sval: text.to_owned() })) }
}

/// The digits of an integer.
pub fn integer(node: Option<&Node>) -> Option<String> {
    match node?.node.as_ref()? {
        NodeEnum::Integer(integer) => Some(integer.ival.to_string()),
        _ => None,
    }
}
