//! The same index on another table, to compare what a statement asks for with what is there.

use pg_query::NodeEnum;

use super::grammar;

/// Returns a `CREATE INDEX` statement for an index `name` on the temporary table `table`, otherwise as `sql` asks for it;
/// `None` if `sql` is no `CREATE INDEX`, or cannot be written down again.
pub fn index_on_temporary(sql: &str, name: &str, table: &str) -> Option<String> {
    grammar::on_deep_stack(|| {
        let NodeEnum::IndexStmt(mut index) = grammar::statements(sql).into_iter().next()? else {
            return None;
        };
        name.clone_into(&mut index.idxname);
        index.concurrent = false;
        index.if_not_exists = false;
        let relation = index.relation.as_mut()?;
        relation.catalogname = String::new();
        "pg_temp".clone_into(&mut relation.schemaname);
        table.clone_into(&mut relation.relname);
        relation.inh = true;
        grammar::deparse(NodeEnum::IndexStmt(index))
    })?
}

#[cfg(test)]
mod tests {
    use super::index_on_temporary;

    #[test]
    fn only_the_names_change() {
        let check = |sql: &str, expected: Option<&str>| {
            assert_eq!(index_on_temporary(sql, "x", "y").as_deref(), expected, "{sql}");
        };
        check("CREATE INDEX CONCURRENTLY i ON s.t (a)", Some("CREATE INDEX x ON pg_temp.y USING btree (a)"));
        check(
            "create unique index concurrently if not exists i on only t using gin (lower(a) COLLATE \"C\" desc) include (b) \
             with (fillfactor = 70) where c > 1",
            Some(
                "CREATE UNIQUE INDEX x ON pg_temp.y USING gin (lower(a) COLLATE \"C\" DESC) INCLUDE (b) WITH (fillfactor=70) WHERE c > 1",
            ),
        );
        check("DROP INDEX i", None);
        check("no SQL", None);
    }
}
