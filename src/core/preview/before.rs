//! What a kept catalog says of how objects are: less than a database, since not everything is kept.

use crate::sql::{
    Before, ConstraintKind, IndexFacts, Part, Relation, ReplicaIdentity, Snapshot, Target, quote_ident,
};

/// Answers in the words of the database, if the catalog knows enough.
pub(super) fn answer(part: Part, of: &Target, catalog: &Snapshot) -> Option<Before> {
    if !catalog.complete {
        return None;
    }
    match (part, of.object.as_str()) {
        (Part::Definition, "INDEX") => Some(index(of, catalog)),
        (Part::Definition, "CONSTRAINT") => Some(constraint(of, catalog)),
        (Part::NotNullName, _) if catalog.major.is_some_and(|major| major < 18) => Some(known(Vec::new())),
        (
            Part::Owner | Part::ReplicaIdentity | Part::Schema,
            "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "SEQUENCE",
        ) => {
            let Some(relation) = catalog.relation(&of.name) else { return Some(Before::default()) };
            let value = match part {
                Part::Owner => quote_ident(relation.owner.as_deref()?),
                Part::Schema => quote_ident(relation.name.schema.as_deref()?),
                _ => replica_identity(relation),
            };
            Some(known(vec![value]))
        }
        (Part::PartitionBound, _) => {
            let bound = catalog.relation(&of.name).and_then(|relation| relation.partition_bound.clone());
            Some(bound.map_or_else(Before::default, |bound| known(vec![bound])))
        }
        (Part::Type, "COLUMN") => {
            let relation = catalog.relation(&of.name);
            let mut columns = relation.into_iter().flat_map(|relation| &relation.columns);
            let column = columns.find(|column| Some(&column.name) == of.detail.as_ref());
            Some(column.map_or_else(Before::default, |column| Before {
                shape: Some(column.data_type.clone()),
                ..known(vec![column.data_type.clone()])
            }))
        }
        // Comments are not kept; those on what is dropped are shown by the database only.
        (Part::Comment, "INDEX" | "CONSTRAINT") => Some(known(vec!["NULL".to_owned()])),
        _ => None,
    }
}

fn known(values: Vec<String>) -> Before {
    Before { exists: true, values, ..Before::default() }
}

fn replica_identity(relation: &Relation) -> String {
    match &relation.replica_identity {
        ReplicaIdentity::Default => "DEFAULT".to_owned(),
        ReplicaIdentity::Full => "FULL".to_owned(),
        ReplicaIdentity::Nothing => "NOTHING".to_owned(),
        ReplicaIdentity::Index(index) => format!("USING INDEX {}", quote_ident(index)),
    }
}

fn concurrently(index: &IndexFacts) -> String {
    let (unique, rest) = match index.definition.strip_prefix("CREATE UNIQUE INDEX ") {
        Some(rest) => ("UNIQUE ", rest),
        None => ("", index.definition.strip_prefix("CREATE INDEX ").unwrap_or(&index.definition)),
    };
    format!("CREATE {unique}INDEX CONCURRENTLY {rest}")
}

fn index(of: &Target, catalog: &Snapshot) -> Before {
    let schemas = of.name.schema.as_ref().map_or(catalog.search_path.as_slice(), std::slice::from_ref);
    let found = schemas.iter().find_map(|schema| {
        let here = catalog.relations.iter().filter(|one| one.name.schema.as_ref() == Some(schema));
        here.flat_map(|table| table.indexes.iter().map(move |index| (table, index)))
            .find(|(_, index)| index.name == of.name.name)
    });
    let Some((table, index)) = found else { return Before::default() };
    if table.partition_key.is_some() {
        let lost = "the indexes of the partitions are not in the catalog that was kept: the database has to be asked";
        return Before { lost: Some(lost.to_owned()), ..known(Vec::new()) };
    }
    known(vec![concurrently(index)])
}

fn constraint(of: &Target, catalog: &Snapshot) -> Before {
    let Some(table) = catalog.relation(&of.name) else { return Before::default() };
    let Some(found) = table.constraints.iter().find(|one| Some(&one.name) == of.detail.as_ref()) else {
        return Before::default();
    };
    let (name, alter) = (quote_ident(&found.name), format!("ALTER TABLE {}", table.name));
    let add = format!("{alter} ADD CONSTRAINT {name} {}", found.definition);
    let checked = matches!(found.kind, ConstraintKind::Check | ConstraintKind::ForeignKey);
    if checked && found.validated && found.enforced && table.partition_key.is_none() {
        return known(vec![format!("{add} NOT VALID"), format!("{alter} VALIDATE CONSTRAINT {name}")]);
    }
    known(vec![add])
}
