//! Families of types: within one, values compare and assign; between two, a statement may stop to work.

use crate::sql::name::RelationName;
use crate::sql::snapshot::{Snapshot, TypeKind};

/// A family of types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Not known, or adapts: parameters, literals in quotes, what an unknown function gives.
    Any,
    Number,
    Text,
    /// Dates and timestamps.
    Time,
    /// Times of day.
    Clock,
    Interval,
    Bool,
    Json,
    Jsonb,
    Uuid,
    Bytes,
    /// An enum; its name.
    Enum(String),
    /// Anything else; its name.
    Other(String),
}

/// Domains of domains that are followed.
const MAX_DOMAINS: usize = 8;

impl Family {
    /// The family of a type as `format_type` or a statement names it.
    pub fn of(data_type: &str, catalog: &Snapshot) -> Self {
        let mut name = data_type.to_owned();
        for _ in 0..MAX_DOMAINS {
            if let Some(builtin) = builtin(&name) {
                return builtin;
            }
            let bare = name.rsplit('.').next().unwrap_or_default().trim_matches('"');
            let found = catalog.types.iter().find(|of| of.name.sql() == name || of.name.name == bare);
            match found.map(|of| (of.kind, of.base.clone())) {
                Some((TypeKind::Enum, _)) => return Self::Enum(bare.to_owned()),
                Some((TypeKind::Domain, Some(base))) => name = base,
                _ => return Self::Other(bare.to_owned()),
            }
        }
        Self::Any
    }

    /// The family of a type by its name.
    pub fn named(name: &RelationName, catalog: &Snapshot) -> Self {
        match name.schema.as_deref() {
            None | Some("pg_catalog") => Self::of(&name.name, catalog),
            Some(_) => Self::of(&name.sql(), catalog),
        }
    }

    /// What it is called in a sentence.
    pub fn words(&self) -> String {
        match self {
            Self::Any => "anything".to_owned(),
            Self::Number => "a number".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Time => "a timestamp".to_owned(),
            Self::Clock => "a time of day".to_owned(),
            Self::Interval => "an interval".to_owned(),
            Self::Bool => "a boolean".to_owned(),
            Self::Json => "json".to_owned(),
            Self::Jsonb => "jsonb".to_owned(),
            Self::Uuid => "a uuid".to_owned(),
            Self::Bytes => "bytea".to_owned(),
            Self::Enum(name) | Self::Other(name) => name.clone(),
        }
    }

    fn is_open(&self) -> bool {
        matches!(self, Self::Any | Self::Other(_))
    }

    /// Whether `=` and its like have an operator for the two.
    pub fn compares(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Json, _) | (_, Self::Json) => false,
            (Self::Other(one), Self::Other(two)) => one == two || one.ends_with("[]") == two.ends_with("[]"),
            _ => self.is_open() || other.is_open() || self == other,
        }
    }

    /// Whether the two may stand beside each other in `COALESCE`, `CASE` or `UNION`.
    pub fn mixes(&self, other: &Self) -> bool {
        self.is_open() || other.is_open() || self == other
    }

    /// Whether a value of this family can be stored in a column of the other without a cast.
    pub fn assigns_to(&self, column: &Self) -> bool {
        let json = |of: &Self| matches!(of, Self::Json | Self::Jsonb);
        self.mixes(column)
            || *column == Self::Text
            || json(self) && json(column)
            || *self == Self::Time && *column == Self::Clock
            || *self == Self::Clock && *column == Self::Interval
            || *self == Self::Interval && *column == Self::Clock
    }

    /// Whether an operator that is not a comparison takes it; `None` where that is not known.
    pub fn takes(&self, operator: &str) -> Option<bool> {
        if self.is_open() {
            return None;
        }
        let is_json = matches!(self, Self::Json | Self::Jsonb);
        Some(match operator {
            "~~" | "!~~" | "~~*" | "!~~*" | "~" | "!~" | "~*" | "!~*" => {
                *self == Self::Text || *self == Self::Bytes
            }
            "->" | "->>" | "#>" | "#>>" => is_json,
            "?" | "?|" | "?&" | "@>" | "<@" | "@?" | "@@" => *self == Self::Jsonb,
            "*" | "/" => matches!(self, Self::Number | Self::Interval),
            "%" => *self == Self::Number,
            "+" | "-" => {
                matches!(self, Self::Number | Self::Interval | Self::Time | Self::Clock)
                    || *self == Self::Jsonb && operator == "-"
            }
            _ => return None,
        })
    }
}

fn builtin(name: &str) -> Option<Family> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    if name.ends_with("[]") {
        return Some(Family::Other(name.to_owned()));
    }
    let base = name.split('(').next().unwrap_or_default().trim();
    Some(match base {
        "smallint" | "integer" | "bigint" | "numeric" | "real" | "double precision" | "int2" | "int4"
        | "int8" | "float4" | "float8" | "int" | "decimal" | "oid" => Family::Number,
        "text" | "character varying" | "character" | "varchar" | "bpchar" | "char" | "\"char\"" | "name" => {
            Family::Text
        }
        "date" | "timestamp" | "timestamptz" => Family::Time,
        "time" | "timetz" => Family::Clock,
        "interval" => Family::Interval,
        "boolean" | "bool" => Family::Bool,
        "json" => Family::Json,
        "jsonb" => Family::Jsonb,
        "uuid" => Family::Uuid,
        "bytea" => Family::Bytes,
        _ if name.starts_with("timestamp") => Family::Time,
        _ if name.starts_with("time ") || name.starts_with("time(") => Family::Clock,
        _ if name.starts_with("interval") => Family::Interval,
        "inet" | "cidr" | "money" | "point" | "tsvector" | "tsquery" | "xml" | "bit" | "bit varying"
        | "regclass" | "record" => Family::Other(base.to_owned()),
        _ => return None,
    })
}

/// What a function of the server gives, and what it demands of its first or last argument.
pub(super) struct Signature {
    pub result: Option<Family>,
    /// Families that its arguments may have; empty where that does not matter.
    pub takes: &'static [Family],
}

/// The functions that a change of a type breaks most often.
pub(super) fn signature(function: &str) -> Signature {
    use Family::{Bytes, Interval, Number, Text, Time};
    const NUMBERS: &[Family] = &[Number];
    const SUMS: &[Family] = &[Number, Interval];
    const TEXTS: &[Family] = &[Text, Bytes];
    let (result, takes): (Option<Family>, &'static [Family]) = match function {
        "count" | "row_number" | "rank" | "dense_rank" => (Some(Number), &[]),
        "sum" | "avg" => (None, SUMS),
        "abs" | "round" | "floor" | "ceil" | "ceiling" | "sqrt" | "stddev" | "variance" | "power" | "mod" => {
            (Some(Number), NUMBERS)
        }
        "length" | "char_length" | "octet_length" => (Some(Number), TEXTS),
        "lower" | "upper" | "btrim" | "ltrim" | "rtrim" | "initcap" | "substring" | "substr" | "replace"
        | "left" | "right" | "split_part" | "regexp_replace" => (Some(Text), TEXTS),
        "concat" | "concat_ws" | "to_char" | "format" | "string_agg" => (Some(Text), &[]),
        "now"
        | "clock_timestamp"
        | "statement_timestamp"
        | "transaction_timestamp"
        | "date_trunc"
        | "to_timestamp" => (Some(Time), &[]),
        _ => (None, &[]),
    };
    Signature { result, takes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::TypeFacts;

    #[test]
    fn types_have_their_family() {
        let kind = |name: &str, kind, base: Option<&str>| TypeFacts {
            name: RelationName::qualified("public", name),
            kind,
            base: base.map(ToOwned::to_owned),
            ..TypeFacts::default()
        };
        let types = vec![kind("tier", TypeKind::Enum, None), kind("email", TypeKind::Domain, Some("text"))];
        let catalog = Snapshot { types, ..Snapshot::default() };
        let check = |name: &str, expected: Family| assert_eq!(Family::of(name, &catalog), expected, "{name}");
        check("numeric(10,2)", Family::Number);
        check("character varying(20)", Family::Text);
        check("timestamp(3) with time zone", Family::Time);
        check("time without time zone", Family::Clock);
        check("interval day to second", Family::Interval);
        check("public.tier", Family::Enum("tier".to_owned()));
        check("public.email", Family::Text);
        check("integer[]", Family::Other("integer[]".to_owned()));
        assert_eq!(Family::named(&RelationName::qualified("pg_catalog", "json"), &catalog), Family::Json);
        check("tsvector", Family::Other("tsvector".to_owned()));
    }
}
