//! Types as the catalog writes them, and what a change from one to another costs.

use pg_query::protobuf::TypeName;
use pg_query::{Node, NodeEnum};

use super::world::World;
use crate::sql::classify::tree;
use crate::sql::name::RelationName;
use crate::sql::snapshot::TypeKind;

/// Names that the grammar, or people, have for types, and those of `format_type`.
const ALIASES: &[(&str, &str)] = &[
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int", "integer"),
    ("int8", "bigint"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("bool", "boolean"),
    ("varchar", "character varying"),
    ("bpchar", "character"),
    ("varbit", "bit varying"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("time", "time without time zone"),
    ("timetz", "time with time zone"),
    ("decimal", "numeric"),
    ("smallserial", "smallint"),
    ("serial2", "smallint"),
    ("serial", "integer"),
    ("serial4", "integer"),
    ("bigserial", "bigint"),
    ("serial8", "bigint"),
];

/// Casts of `pg_cast` that change no bit (castmethod `b`), PostgreSQL 15; the numbers of objects are in [`OID_LIKE`].
const SAME_BITS: &[(&str, &str)] = &[
    ("text", "character"),
    ("text", "character varying"),
    ("character varying", "text"),
    ("character varying", "character"),
    ("cidr", "inet"),
    ("bit", "bit varying"),
    ("bit varying", "bit"),
    ("xml", "text"),
    ("xml", "character varying"),
    ("xml", "character"),
];

/// Types that are the number of an object: each has the bits of any other that is `oid` or `integer`.
const OID_LIKE: &[&str] = &[
    "regproc",
    "regprocedure",
    "regoper",
    "regoperator",
    "regclass",
    "regcollation",
    "regtype",
    "regconfig",
    "regdictionary",
    "regrole",
    "regnamespace",
];

/// Types with an operator class in common, so that an index need not be built again.
const SAME_ORDER: &[(&str, &str)] =
    &[("text", "character varying"), ("character varying", "text"), ("cidr", "inet")];

/// Highest precision of the types of time, which is the same as none.
const FULL_PRECISION: i64 = 6;

/// What `interval` has where it names no fields.
const ALL_FIELDS: i64 = 0x7fff;

/// Zones that have never been off UTC.
const ZERO_ZONES: &[&str] = &[
    "UTC",
    "Etc/UTC",
    "UCT",
    "Etc/UCT",
    "Zulu",
    "Etc/Zulu",
    "Universal",
    "Etc/Universal",
    "GMT",
    "Etc/GMT",
    "GMT0",
    "Etc/GMT0",
    "GMT+0",
    "GMT-0",
    "Etc/GMT+0",
    "Etc/GMT-0",
    "Greenwich",
    "Etc/Greenwich",
    "0",
    "00:00",
    "+00:00",
];

/// Domains over domains that are followed.
const MAX_DOMAINS: usize = 32;

/// A type with its modifiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Type {
    /// As `format_type` has it, without modifiers.
    pub base: String,
    /// Length, precision, scale.
    pub modifiers: Vec<i64>,
    pub array: bool,
}

/// What a change of a column's type makes of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// Nothing; indexes stay as well.
    Nothing,
    /// The table stays, its indexes on the column are built anew.
    Indexes,
    /// Everything is written anew.
    Rewrite,
}

impl Type {
    /// From the text of `format_type`.
    pub fn parse(text: &str) -> Self {
        let (text, array) = match text.strip_suffix("[]") {
            Some(element) => (element.trim_end_matches("[]"), true),
            None => (text, false),
        };
        let (mut base, mut modifiers) = (text.to_owned(), Vec::new());
        if let Some((head, rest)) = text.split_once('(')
            && let Some((inner, tail)) = rest.split_once(')')
        {
            base = format!("{head}{tail}");
            modifiers = inner.split(',').filter_map(|part| part.trim().parse().ok()).collect();
        }
        let alias =
            ALIASES.iter().find(|(alias, _)| *alias == base && *alias != "timestamp" && *alias != "time");
        if let Some((_, full)) = alias {
            base = (*full).to_owned();
        }
        Self { base, modifiers, array }
    }

    /// From the grammar.
    pub fn of(name: &TypeName) -> Self {
        let parts = tree::names(&name.names);
        let base = match parts.as_slice() {
            [schema, one] if schema == "pg_catalog" => alias(one),
            [one] => alias(one),
            _ => tree::path(&name.names).unwrap_or_default().sql(),
        };
        let mut modifiers: Vec<i64> = name.typmods.iter().filter_map(number).collect();
        match (base.as_str(), modifiers.as_slice()) {
            ("interval", [ALL_FIELDS, precision]) => modifiers = vec![*precision],
            ("numeric", [precision]) => modifiers = vec![*precision, 0],
            ("bit", []) if parts.len() == 2 => modifiers = vec![1],
            _ => {}
        }
        Self { base, modifiers, array: !name.array_bounds.is_empty() }
    }

    /// The name of a type that is not the server's.
    pub fn name(&self) -> Option<RelationName> {
        super::reads::parse_name(&self.base)
    }
}

fn alias(name: &str) -> String {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, full)| *full).to_owned()
}

fn number(node: &Node) -> Option<i64> {
    match &node.node {
        Some(NodeEnum::AConst(constant)) => match &constant.val {
            Some(pg_query::protobuf::a_const::Val::Ival(value)) => Some(i64::from(value.ival)),
            _ => None,
        },
        _ => None,
    }
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let modifiers: Vec<String> = self.modifiers.iter().map(ToString::to_string).collect();
        let modifiers =
            if modifiers.is_empty() { String::new() } else { format!("({})", modifiers.join(",")) };
        let text = match self.base.split_once(' ') {
            Some((head, tail)) if tail.ends_with("time zone") => format!("{head}{modifiers} {tail}"),
            _ => format!("{}{modifiers}", self.base),
        };
        write!(f, "{text}{}", if self.array { "[]" } else { "" })
    }
}

/// The type below a domain, and whether a domain on the way demands something of its values; `None` if a type that is not
/// the server's is not known either.
pub fn below_domains(world: &World<'_>, of: &Type) -> (Type, Option<bool>) {
    let mut one = of.clone();
    let mut constrained = false;
    for _ in 0..MAX_DOMAINS {
        if one.array || is_built_in(&one.base) {
            return (one, Some(constrained));
        }
        let facts = one.name().and_then(|name| world.type_facts(&name));
        match facts {
            Some(facts) if facts.kind == TypeKind::Domain => {
                constrained |= facts.not_null || !facts.checks.is_empty();
                match &facts.base {
                    Some(base) => one = Type::parse(base),
                    None => return (one, Some(constrained)),
                }
            }
            Some(_) => return (one, Some(constrained)),
            None if world.snapshot.complete => return (one, Some(constrained)),
            None => return (one, None),
        }
    }
    (one, None)
}

/// Types that need no catalog to be known.
fn is_built_in(base: &str) -> bool {
    const OTHERS: &[&str] = &[
        "text",
        "numeric",
        "date",
        "interval",
        "uuid",
        "json",
        "jsonb",
        "jsonpath",
        "bytea",
        "xml",
        "inet",
        "cidr",
        "macaddr",
        "macaddr8",
        "money",
        "point",
        "line",
        "lseg",
        "box",
        "path",
        "polygon",
        "circle",
        "tsvector",
        "tsquery",
        "oid",
        "name",
        "\"char\"",
        "char",
        "bit",
        "int4range",
        "int8range",
        "numrange",
        "tsrange",
        "tstzrange",
        "daterange",
        "int4multirange",
        "int8multirange",
        "nummultirange",
        "tsmultirange",
        "tstzmultirange",
        "datemultirange",
        "pg_lsn",
        "xid",
        "xid8",
        "txid_snapshot",
        "pg_snapshot",
        "tid",
        "cid",
    ];
    ALIASES.iter().any(|(_, full)| *full == base) || OTHERS.contains(&base) || OID_LIKE.contains(&base)
}

/// What a change from one type to another costs; the second value names a fact that was not known.
pub fn cost(world: &World<'_>, from: &Type, to: &Type) -> (Cost, Option<&'static str>) {
    if from == to {
        return (Cost::Nothing, None);
    }
    let (new, constrained) = below_domains(world, to);
    match constrained {
        Some(false) => {}
        Some(true) => return (Cost::Rewrite, None),
        None => return (Cost::Rewrite, Some("what the type is")),
    }
    let (old, _) = below_domains(world, from);
    if old.array || new.array {
        return (if old == new { Cost::Nothing } else { Cost::Rewrite }, None);
    }
    if old.base == new.base {
        let cost = if holds(&new, &old) { Cost::Nothing } else { Cost::Rewrite };
        return (cost, None);
    }
    let zones = ["timestamp without time zone", "timestamp with time zone"];
    if zones.contains(&old.base.as_str()) && zones.contains(&new.base.as_str()) {
        let zone = world.time_zone.as_deref();
        let zero = zone.is_some_and(|zone| ZERO_ZONES.iter().any(|zero| zero.eq_ignore_ascii_case(zone)));
        let keeps = zero && holds(&Type { base: old.base.clone(), ..new.clone() }, &old);
        let unknown = zone.is_none().then_some("time zone of the session");
        return (if keeps { Cost::Indexes } else { Cost::Rewrite }, unknown);
    }
    if !same_bits(&old.base, &new.base) || !(new.modifiers.is_empty() || fits(&new, &old)) {
        return (Cost::Rewrite, None);
    }
    let pair = (old.base.as_str(), new.base.as_str());
    (if SAME_ORDER.contains(&pair) { Cost::Nothing } else { Cost::Indexes }, None)
}

fn same_bits(old: &str, new: &str) -> bool {
    let numbers = |one: &str, other: &str| {
        OID_LIKE.contains(&one)
            && (["oid", "integer"].contains(&other) || OID_LIKE.contains(&other) && similar(one, other))
    };
    SAME_BITS.contains(&(old, new))
        || numbers(old, new)
        || numbers(new, old)
        || [("oid", "integer"), ("integer", "oid")].contains(&(old, new))
}

/// `regproc` and `regprocedure`, `regoper` and `regoperator`.
fn similar(one: &str, other: &str) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

/// A string type of limited length in one that is not shorter.
fn fits(new: &Type, old: &Type) -> bool {
    new.base == "character varying"
        && old.base == "character varying"
        && old.modifiers.first().is_some_and(|old| new.modifiers.first().is_some_and(|new| new >= old))
}

/// Whether every value of the old type is one of the new, which has the same base.
fn holds(new: &Type, old: &Type) -> bool {
    if new.modifiers == old.modifiers {
        return true;
    }
    match new.base.as_str() {
        "character varying" | "bit varying" => match (new.modifiers.first(), old.modifiers.first()) {
            (None, _) => true,
            (Some(new), Some(old)) => new >= old,
            (Some(_), None) => false,
        },
        "numeric" => match (new.modifiers.as_slice(), old.modifiers.as_slice()) {
            ([], _) => true,
            ([new, new_scale], [old, old_scale]) => new_scale == old_scale && new >= old,
            _ => false,
        },
        "interval"
        | "timestamp without time zone"
        | "timestamp with time zone"
        | "time without time zone"
        | "time with time zone" => match (new.modifiers.as_slice(), old.modifiers.as_slice()) {
            ([] | [FULL_PRECISION], _) => true,
            ([new], [old]) => new >= old,
            _ => false,
        },
        _ => false,
    }
}
