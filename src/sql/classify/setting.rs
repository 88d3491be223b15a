//! What a subcommand of `ALTER TABLE` sets, and with it what has to be known to set it back.

use pg_query::protobuf::{AlterTableCmd, AlterTableType, ColumnDef, DefElem};
use pg_query::{Node, NodeEnum};

use super::edit::role;
use super::named::integer;
use super::tree::{has_option, range, string};
use crate::sql::foresight::types::Type;
use crate::sql::kind::{Edit, Part, Target};
use crate::sql::name::{RelationName, quote_ident, quote_literal};

/// Types between which nothing but the range differs.
pub const INTEGERS: &[&str] = &["smallint", "integer", "bigint"];

/// The relation that is altered.
pub struct Altered<'a> {
    /// `TABLE`, `VIEW`, `INDEX`, ...
    pub object: &'a str,
    /// `ONLY `, or nothing.
    pub only: &'a str,
    pub relation: &'a RelationName,
}

/// What a subcommand changes; nothing if its way back is not known.
pub fn edits(of: &Altered<'_>, command: &AlterTableCmd) -> Vec<Edit> {
    use AlterTableType as Sub;
    let def = command.def.as_deref();
    match command.subtype() {
        Sub::AtSetRelOptions => options(of, None, false, def),
        Sub::AtResetRelOptions => options(of, None, true, def),
        Sub::AtSetOptions => options(of, Some(&command.name), false, def),
        Sub::AtResetOptions => options(of, Some(&command.name), true, def),
        Sub::AtAlterColumnType | Sub::AtSetStatistics | Sub::AtSetStorage | Sub::AtSetCompression => {
            column(of, command).into_iter().collect()
        }
        Sub::AtAddIdentity | Sub::AtSetIdentity | Sub::AtDropIdentity | Sub::AtDropExpression => {
            computed(of, command).into_iter().collect()
        }
        Sub::AtAddInherit | Sub::AtDropInherit => {
            let parent = def.and_then(super::tree::relation);
            let back = if command.subtype() == Sub::AtAddInherit { "NO INHERIT" } else { "INHERIT" };
            parent
                .map(|parent| Edit::Plain { sql: of.alter(&format!("{back} {parent}")) })
                .into_iter()
                .collect()
        }
        _ => whole(of, command).or_else(|| trigger(of, command)).into_iter().collect(),
    }
}

impl Altered<'_> {
    fn alter(&self, action: &str) -> String {
        format!("ALTER {} {}{} {action}", self.object, self.only, self.relation)
    }

    fn of_column(&self, column: &str, action: &str) -> String {
        self.alter(&format!("ALTER COLUMN {} {action}", quote_ident(column)))
    }

    fn itself(&self) -> Target {
        Target::new(self.object, self.relation.clone())
    }

    fn column(&self, column: &str) -> Target {
        Target::within("COLUMN", self.relation.clone(), column)
    }

    fn set(&self, part: Part, prefix: &str, value: impl Into<String>) -> Edit {
        Edit::Set { part, of: self.itself(), prefix: self.alter(prefix), value: Some(value.into()) }
    }
}

/// Subcommands that set something of the relation itself.
fn whole(of: &Altered<'_>, command: &AlterTableCmd) -> Option<Edit> {
    use AlterTableType as Sub;
    Some(match command.subtype() {
        Sub::AtChangeOwner => of.set(Part::Owner, "OWNER TO ", role(command.newowner.as_ref()?)),
        Sub::AtClusterOn => of.set(Part::Cluster, "", format!("CLUSTER ON {}", quote_ident(&command.name))),
        Sub::AtDropCluster => of.set(Part::Cluster, "", "SET WITHOUT CLUSTER"),
        Sub::AtSetLogged => of.set(Part::Persistence, "", "SET LOGGED"),
        Sub::AtSetUnLogged => of.set(Part::Persistence, "", "SET UNLOGGED"),
        Sub::AtSetTableSpace => of.set(Part::Tablespace, "SET TABLESPACE ", quote_ident(&command.name)),
        Sub::AtSetAccessMethod if !command.name.is_empty() => {
            of.set(Part::AccessMethod, "SET ACCESS METHOD ", quote_ident(&command.name))
        }
        Sub::AtEnableRowSecurity => of.set(Part::RowSecurity, "", "ENABLE ROW LEVEL SECURITY"),
        Sub::AtDisableRowSecurity => of.set(Part::RowSecurity, "", "DISABLE ROW LEVEL SECURITY"),
        Sub::AtForceRowSecurity => of.set(Part::ForcedRowSecurity, "", "FORCE ROW LEVEL SECURITY"),
        Sub::AtNoForceRowSecurity => of.set(Part::ForcedRowSecurity, "", "NO FORCE ROW LEVEL SECURITY"),
        Sub::AtReplicaIdentity => {
            let Some(NodeEnum::ReplicaIdentityStmt(identity)) = &command.def.as_ref()?.node else {
                return None;
            };
            let value = match identity.identity_type.as_str() {
                "d" => "DEFAULT".to_owned(),
                "f" => "FULL".to_owned(),
                "n" => "NOTHING".to_owned(),
                _ => format!("USING INDEX {}", quote_ident(&identity.name)),
            };
            of.set(Part::ReplicaIdentity, "REPLICA IDENTITY ", value)
        }
        _ => return None,
    })
}

fn trigger(of: &Altered<'_>, command: &AlterTableCmd) -> Option<Edit> {
    use AlterTableType as Sub;
    let (words, name) = match command.subtype() {
        Sub::AtEnableTrig => ("ENABLE TRIGGER", command.name.as_str()),
        Sub::AtEnableAlwaysTrig => ("ENABLE ALWAYS TRIGGER", command.name.as_str()),
        Sub::AtEnableReplicaTrig => ("ENABLE REPLICA TRIGGER", command.name.as_str()),
        Sub::AtDisableTrig => ("DISABLE TRIGGER", command.name.as_str()),
        Sub::AtEnableTrigUser | Sub::AtDisableTrigUser => ("", "USER"),
        Sub::AtEnableTrigAll | Sub::AtDisableTrigAll => ("", "ALL"),
        Sub::AtEnableRule => ("ENABLE RULE", command.name.as_str()),
        Sub::AtEnableAlwaysRule => ("ENABLE ALWAYS RULE", command.name.as_str()),
        Sub::AtEnableReplicaRule => ("ENABLE REPLICA RULE", command.name.as_str()),
        Sub::AtDisableRule => ("DISABLE RULE", command.name.as_str()),
        _ => return None,
    };
    if words.is_empty() {
        // Several at once: what each was before is told one by one.
        let target = Target::new(format!("{name} TRIGGERS"), of.relation.clone());
        return Some(Edit::Set { part: Part::TriggerState, of: target, prefix: of.alter(""), value: None });
    }
    let rule = words.ends_with("RULE");
    let (object, part) = if rule { ("RULE", Part::RuleState) } else { ("TRIGGER", Part::TriggerState) };
    let target = Target::within(object, of.relation.clone(), name);
    let value = Some(format!("{words} {}", quote_ident(name)));
    Some(Edit::Set { part, of: target, prefix: of.alter(""), value })
}

/// Subcommands that set something of a column.
fn column(of: &Altered<'_>, command: &AlterTableCmd) -> Option<Edit> {
    use AlterTableType as Sub;
    let name = command.name.as_str();
    let def = command.def.as_deref();
    if name.is_empty() {
        return None;
    }
    let set = |part, words: &str, value| Edit::Set {
        part,
        of: of.column(name),
        prefix: of.of_column(name, words),
        value,
    };
    Some(match command.subtype() {
        Sub::AtSetStatistics => {
            let value = integer(def).unwrap_or_else(|| "-1".into());
            set(Part::Statistics, "SET STATISTICS ", Some(value))
        }
        Sub::AtSetStorage => set(Part::Storage, "SET STORAGE ", def.and_then(string)),
        Sub::AtSetCompression => set(Part::Compression, "SET COMPRESSION ", def.and_then(string)),
        Sub::AtAlterColumnType => {
            let Some(NodeEnum::ColumnDef(definition)) = def.and_then(|def| def.node.as_ref()) else {
                return None;
            };
            set(Part::Type, "TYPE ", plain_type(name, definition))
        }
        _ => return None,
    })
}

/// The new type, unless values are computed anew.
fn plain_type(column: &str, definition: &ColumnDef) -> Option<String> {
    let new = Type::of(definition.type_name.as_ref()?);
    let using = definition.raw_default.as_deref();
    // An explicit cast cuts strings off; of integers it does what an assignment does.
    let plain =
        using.is_none_or(|using| INTEGERS.contains(&new.base.as_str()) && is_cast(using, column, &new));
    (plain && definition.coll_clause.is_none()).then(|| new.to_string())
}

/// Whether an expression is the column itself, cast to its new type.
fn is_cast(using: &Node, column: &str, new: &Type) -> bool {
    let Some(NodeEnum::TypeCast(cast)) = &using.node else { return false };
    let Some(NodeEnum::ColumnRef(reference)) = cast.arg.as_ref().and_then(|arg| arg.node.as_ref()) else {
        return false;
    };
    let named = reference.fields.last().and_then(string).is_some_and(|name| name == column);
    named && cast.type_name.as_ref().is_some_and(|name| Type::of(name) == *new)
}

/// Subcommands on what fills a column by itself.
fn computed(of: &Altered<'_>, command: &AlterTableCmd) -> Option<Edit> {
    use AlterTableType as Sub;
    let name = command.name.as_str();
    let prefix = of.of_column(name, "");
    Some(match command.subtype() {
        Sub::AtAddIdentity => Edit::Plain { sql: format!("{prefix}DROP IDENTITY") },
        Sub::AtDropIdentity => {
            Edit::Set { part: Part::AddIdentity, of: of.column(name), prefix, value: None }
        }
        Sub::AtSetIdentity => {
            let Some(NodeEnum::List(list)) = &command.def.as_ref()?.node else { return None };
            if has_option(&list.items, "restart") {
                return Some(Edit::Lost { reason: "the value of the sequence before is not kept".into() });
            }
            Edit::Set { part: Part::Identity, of: of.column(name), prefix, value: None }
        }
        Sub::AtDropExpression => {
            Edit::Lost { reason: format!("column {name} cannot be made a generated one again") }
        }
        _ => return None,
    })
}

/// One change for each parameter that is set or reset, of the relation or of a column.
fn options(of: &Altered<'_>, column: Option<&str>, resets: bool, def: Option<&Node>) -> Vec<Edit> {
    let Some(NodeEnum::List(list)) = def.and_then(|def| def.node.as_ref()) else { return Vec::new() };
    let each = list.items.iter().filter_map(|node| match &node.node {
        Some(NodeEnum::DefElem(option)) => Some((full_name(option), given(option))),
        _ => None,
    });
    each.map(|(option, value)| {
        let (part, prefix) = match column {
            Some(column) => (Part::ColumnOption, of.of_column(column, "")),
            None => (Part::Option, of.alter("")),
        };
        let value = if resets { Some(format!("RESET ({option})")) } else { value };
        let detail = match column {
            Some(column) => format!("{column}\n{option}"),
            None => option,
        };
        let target = Target::within(of.object, of.relation.clone(), detail);
        Edit::Set { part, of: target, prefix, value }
    })
    .collect()
}

/// What sets a parameter to the value that a statement gives it.
fn given(option: &DefElem) -> Option<String> {
    let value = match option.arg.as_ref()?.node.as_ref()? {
        NodeEnum::Integer(integer) => integer.ival.to_string(),
        NodeEnum::Float(float) => float.fval.clone(),
        NodeEnum::Boolean(boolean) => boolean.boolval.to_string(),
        NodeEnum::String(string) => string.sval.clone(),
        _ => return None,
    };
    Some(format!("SET ({} = {})", full_name(option), quote_literal(&value)))
}

/// A parameter with its namespace (`toast.autovacuum_enabled`).
fn full_name(option: &DefElem) -> String {
    if option.defnamespace.is_empty() {
        option.defname.clone()
    } else {
        format!("{}.{}", option.defnamespace, option.defname)
    }
}

/// The partition that a subcommand names.
pub fn partition(def: Option<&Node>) -> Option<RelationName> {
    match def.and_then(|def| def.node.as_ref()) {
        Some(NodeEnum::PartitionCmd(command)) => command.name.as_ref().map(range),
        _ => None,
    }
}
