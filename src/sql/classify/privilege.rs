//! `GRANT` and `REVOKE`.

use pg_query::NodeEnum;
use pg_query::protobuf::{DropBehavior, GrantStmt, GrantTargetType, ObjectType};

use super::edit::role;
use super::named::target;
use super::tree::{names, relation};
use crate::sql::kind::{Edit, Grant, Target};

/// One change for each object and role.
pub fn granted(grant: &GrantStmt) -> Vec<Edit> {
    let lost = |reason: &str| vec![Edit::Lost { reason: reason.to_owned() }];
    match grant.targtype() {
        GrantTargetType::AclTargetObject => {}
        GrantTargetType::AclTargetAllInSchema => return lost("ALL ... IN SCHEMA does not name the objects"),
        _ => return lost("the privileges of objects to come are not kept"),
    }
    let Some(objects) = objects(grant) else {
        return lost("the privileges before are not kept");
    };
    let roles: Vec<String> = grant
        .grantees
        .iter()
        .filter_map(|node| match &node.node {
            Some(NodeEnum::RoleSpec(spec)) => Some(role(spec)),
            _ => None,
        })
        .collect();
    let privileges = privileges(grant);
    let one = |on: &Target, role: &String| {
        Edit::Grant(Grant {
            on: on.clone(),
            role: role.clone(),
            gives: grant.is_grant,
            privileges: privileges.clone(),
            option: grant.grant_option,
            cascade: grant.behavior() == DropBehavior::DropCascade,
        })
    };
    objects.iter().flat_map(|on| roles.iter().map(|role| one(on, role))).collect()
}

fn objects(grant: &GrantStmt) -> Option<Vec<Target>> {
    let kind = grant.objtype();
    grant
        .objects
        .iter()
        .map(|object| match kind {
            ObjectType::ObjectTable => Some(Target::new("TABLE", relation(object)?)),
            ObjectType::ObjectSequence => Some(Target::new("SEQUENCE", relation(object)?)),
            kind => target(kind, object),
        })
        .collect()
}

fn privileges(grant: &GrantStmt) -> Vec<(String, Option<String>)> {
    let mut all = Vec::new();
    for node in &grant.privileges {
        let Some(NodeEnum::AccessPriv(one)) = &node.node else { continue };
        // ALL on columns has no name.
        let name =
            if one.priv_name.is_empty() { "ALL".to_owned() } else { one.priv_name.to_ascii_uppercase() };
        match names(&one.cols).as_slice() {
            [] => all.push((name, None)),
            columns => all.extend(columns.iter().map(|column| (name.clone(), Some(column.clone())))),
        }
    }
    all
}
