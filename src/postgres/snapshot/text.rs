//! The text of the queries, which differs between the server's majors in a few places.

use crate::sql::quote_ident;

const SCOPE: &str = include_str!("scope.sql");
const CORE: &str = include_str!("core.sql");
const REST: &str = include_str!("rest.sql");

/// What stands at a place marked `{name}`: since a major version, and before it.
const VERSIONED: &[(&str, u32, &str, &str)] = &[
    ("{enforced}", 18, "k.conenforced", "true"),
    (
        "{published_schemas}",
        15,
        "(SELECT pnpubid, pnnspid FROM pg_publication_namespace)",
        "(SELECT NULL::oid, NULL::oid WHERE false)",
    ),
];

/// Relations and what belongs to them: what any login may read, without waiting for any table.
pub(super) fn core(major: u32) -> String {
    versioned(&CORE.replace("{scope}", &scope("MATERIALIZED")), major)
}

/// The rest of what any login may read.
pub(super) fn rest(major: u32) -> String {
    versioned(&REST.replace("{scope}", &scope("NOT MATERIALIZED")), major)
}

/// The relations of the user's schemas, kept where many queries go over them, else a part of the query.
fn scope(kept: &str) -> String {
    SCOPE.replace("{kept}", kept)
}

fn versioned(text: &str, major: u32) -> String {
    VERSIONED.iter().fold(text.to_owned(), |text, (place, since, new, old)| {
        text.replace(place, if major >= *since { new } else { old })
    })
}

/// One query over the relations of the user's schemas.
pub(super) fn scoped(query: &str) -> String {
    format!("{}{query}", scope("NOT MATERIALIZED"))
}

/// The application's statements from `pg_stat_statements`, wherever the extension is and however old it is.
pub(super) fn queries(schema: &str, version: &str) -> String {
    let version = numbers(version);
    let schema = quote_ident(schema);
    let mean = if version >= (1, 8) { "mean_exec_time" } else { "mean_time" };
    let since = match version {
        version if version >= (1, 11) => "s.stats_since".to_owned(),
        version if version >= (1, 9) => format!("(SELECT stats_reset FROM {schema}.pg_stat_statements_info)"),
        _ => "NULL::timestamptz".to_owned(),
    };
    include_str!("queries.sql")
        .replace("{schema}", &schema)
        .replace("{mean}", mean)
        .replace("{since}", &since)
}

fn numbers(version: &str) -> (u32, u32) {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_major_is_asked_for_what_it_has() {
        for major in 14..=18 {
            let text = core(major);
            assert!(!rest(major).contains(['{', '}']), "{major}");
            assert!(!text.contains(['{', '}']), "{major}");
            assert_eq!(text.contains("conenforced"), major >= 18, "{major}");
            assert_eq!(text.contains("pg_publication_namespace"), major >= 15, "{major}");
        }
    }

    #[test]
    fn the_extension_is_asked_by_its_own_version() {
        let check = |version: &str, mean: &str, since: &str| {
            let text = queries("My schema", version);
            assert!(
                text.contains(mean) && text.contains(since) && !text.contains(['{', '}']),
                "{version}: {text}"
            );
            assert!(text.contains("FROM \"My schema\".pg_stat_statements s"), "{text}");
        };
        check("1.7", "s.mean_time", "NULL::timestamptz");
        check("1.8", "s.mean_exec_time", "NULL::timestamptz");
        check("1.10", "s.mean_exec_time", "\"My schema\".pg_stat_statements_info");
        check("1.12", "s.mean_exec_time", "s.stats_since");
    }
}
