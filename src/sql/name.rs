//! Names of database objects: quoting, and the names that PostgreSQL chooses by itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest identifier that PostgreSQL keeps, in bytes.
pub(super) const MAX_IDENTIFIER: usize = 63;

/// Keywords that PostgreSQL does not take as a bare name everywhere (all but the unreserved ones).
const KEYWORDS: &str = "\
    all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean \
    both case cast char character check coalesce collate collation column concurrently constraint create \
    cross current_catalog current_date current_role current_schema current_time current_timestamp \
    current_user dec decimal default deferrable desc distinct do else end except exists extract false \
    fetch float for foreign freeze from full grant greatest group grouping having ilike in initially \
    inner inout int integer intersect interval into is isnull join json json_array json_arrayagg \
    json_exists json_object json_objectagg json_query json_scalar json_serialize json_table json_value \
    lateral leading least left like limit localtime localtimestamp merge_action national natural nchar \
    none normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay \
    placing position precision primary real references returning right row select session_user setof \
    similar smallint some substring symmetric system_user table tablesample then time timestamp to \
    trailing treat trim true union unique user using values varchar variadic verbose when where window \
    with xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot \
    xmlserialize xmltable";

/// Quotes an identifier, where that is needed to have it read back unchanged.
///
/// All generated SQL gets its names from here. A NUL byte, which no identifier can hold, is left out.
pub fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        && !KEYWORDS.split(' ').any(|word| word == name);
    if plain {
        return name.to_owned();
    }
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for c in name.chars().filter(|c| *c != '\0') {
        if c == '"' {
            quoted.push('"');
        }
        quoted.push(c);
    }
    quoted.push('"');
    quoted
}

/// Quotes a string literal, whatever `standard_conforming_strings` says.
pub fn quote_literal(text: &str) -> String {
    let escaped = text.replace('\0', "").replace('\'', "''");
    if escaped.contains('\\') {
        format!("E'{}'", escaped.replace('\\', "\\\\"))
    } else {
        format!("'{escaped}'")
    }
}

/// The name of a relation, type or other object of a schema, as the statement wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct RelationName {
    /// Schema, if the statement named one; else the search path decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Name without quotes.
    pub name: String,
}

impl RelationName {
    /// A name without a schema.
    pub fn unqualified(name: impl Into<String>) -> Self {
        Self { schema: None, name: name.into() }
    }

    /// A name within a schema.
    pub fn qualified(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: Some(schema.into()), name: name.into() }
    }

    /// Another object of the same schema.
    #[must_use]
    pub fn sibling(&self, name: impl Into<String>) -> Self {
        Self { schema: self.schema.clone(), name: name.into() }
    }

    /// The name as SQL, quoted where needed; also what `to_regclass` takes.
    pub fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quote_ident(schema), quote_ident(&self.name)),
            None => quote_ident(&self.name),
        }
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sql())
    }
}

/// Cuts a name to at most `bytes` bytes at a character boundary.
pub(super) fn clip(name: &str, bytes: usize) -> &str {
    let mut end = bytes.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.get(..end).unwrap_or_default()
}

/// The name that PostgreSQL makes of a table, a column and a label (`makeObjectName` of the server), before it numbers
/// names that are taken.
pub(super) fn object_name(first: &str, second: Option<&str>, label: &str) -> String {
    let overhead = label.len() + 1 + usize::from(second.is_some());
    let available = MAX_IDENTIFIER.saturating_sub(overhead);
    let (mut one, mut two) = (first.len(), second.map_or(0, str::len));
    while one + two > available {
        if one > two {
            one -= 1;
        } else {
            two -= 1;
        }
    }
    match second {
        Some(second) => format!("{}_{}_{label}", clip(first, one), clip(second, two)),
        None => format!("{}_{label}", clip(first, one)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_only_when_needed() {
        let check = |name: &str, quoted: &str| assert_eq!(quote_ident(name), quoted, "{name}");
        check("users", "users");
        check("_a1", "_a1");
        check("name", "name");
        check("order", "\"order\"");
        check("user", "\"user\"");
        check("values", "\"values\"");
        check("Users", "\"Users\"");
        check("1a", "\"1a\"");
        check("a-b", "\"a-b\"");
        check("a\"b", "\"a\"\"b\"");
        check("", "\"\"");
        check("größe", "\"größe\"");
        check("a$b", "\"a$b\"");
    }

    #[test]
    fn quotes_literals() {
        let check = |text: &str, quoted: &str| assert_eq!(quote_literal(text), quoted, "{text}");
        check("it's", "'it''s'");
        check("a\\b", "E'a\\\\b'");
        check("", "''");
    }

    #[test]
    fn knows_every_keyword_of_the_grammar() {
        let missing: Vec<String> = (0..2000)
            .filter_map(|n| pg_query::protobuf::Token::try_from(n).ok())
            .map(|token| token.as_str_name().trim_end_matches("_P").to_lowercase())
            .filter(|word| {
                let tokens = pg_query::scan_tokens(word).unwrap_or_default();
                tokens.len() == 1
                    && tokens[0].keyword_kind > pg_query::protobuf::KeywordKind::UnreservedKeyword as i32
            })
            .filter(|word| !KEYWORDS.split(' ').any(|known| known == word))
            .collect();
        assert_eq!(missing, Vec::<String>::new());
    }

    #[test]
    fn chooses_names_like_the_server() {
        let check = |first: &str, second: Option<&str>, label: &str, expected: &str| {
            assert_eq!(object_name(first, second, label), expected);
        };
        check("users", Some("email"), "key", "users_email_key");
        check("users", None, "pkey", "users_pkey");
        let (long, tail) = ("a".repeat(63), "b".repeat(40));
        check(&long, None, "pkey", &format!("{}_pkey", "a".repeat(58)));
        check(&long, Some(&tail), "check", &format!("{}_{}_check", "a".repeat(28), "b".repeat(28)));
        check(&"ä".repeat(31), None, "pkey", &format!("{}_pkey", "ä".repeat(29)));
    }

    proptest! {
        #[test]
        fn an_identifier_comes_back(name in "[^\0]{1,20}") {
            prop_assume!(name.len() <= MAX_IDENTIFIER);
            let sql = format!("SELECT 1 FROM {}", quote_ident(&name));
            let parsed = pg_query::parse(&sql, 0).unwrap();
            let text = format!("{:?}", parsed.tables());
            prop_assert_eq!(text, format!("{:?}", vec![name]));
        }
    }
}
