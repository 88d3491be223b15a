//! The catalog, arranged by what is depended on.

use std::collections::HashMap;

use crate::sql::{
    BodyUses, ConstraintFacts, ConstraintKind, Dependency, ObjectRef, Relation, RelationName, RelationType,
    Snapshot,
};

/// The edges of the catalog.
pub(super) struct Graph<'a> {
    pub catalog: &'a Snapshot,
    /// By the relation that is depended on.
    pub on_relation: HashMap<&'a RelationName, Vec<&'a Dependency>>,
    /// By the function (without its arguments) or type that is depended on.
    pub on_name: HashMap<&'a str, Vec<&'a Dependency>>,
    /// Partitions and children by their parent.
    pub children: HashMap<&'a RelationName, Vec<&'a Relation>>,
    /// Foreign keys by the table that they refer to.
    pub referring: HashMap<&'a RelationName, Vec<(&'a Relation, &'a ConstraintFacts)>>,
    /// What functions use according to their source.
    pub bodies: Vec<BodyUses>,
}

impl<'a> Graph<'a> {
    pub fn new(catalog: &'a Snapshot) -> Self {
        let mut graph = Self {
            catalog,
            on_relation: HashMap::new(),
            on_name: HashMap::new(),
            children: HashMap::new(),
            referring: HashMap::new(),
            bodies: Vec::new(),
        };
        for edge in &catalog.dependencies {
            match &edge.on.relation {
                Some(relation) => graph.on_relation.entry(relation).or_default().push(edge),
                None => graph.on_name.entry(bare(&edge.on.identity)).or_default().push(edge),
            }
        }
        for relation in &catalog.relations {
            for parent in relation.partition_of.iter().chain(&relation.inherits) {
                graph.children.entry(parent).or_default().push(relation);
            }
            for key in relation.constraints.iter().filter(|of| of.kind == ConstraintKind::ForeignKey) {
                if let Some(referred) = &key.references {
                    graph.referring.entry(referred).or_default().push((relation, key));
                }
            }
        }
        graph
    }
}

/// The name of a function without its arguments.
pub(super) fn bare(identity: &str) -> &str {
    identity.split('(').next().unwrap_or_default()
}

/// What `pg_identify_object` calls a relation.
pub(super) fn kind(of: RelationType) -> &'static str {
    match of {
        RelationType::Table | RelationType::PartitionedTable => "table",
        RelationType::Index | RelationType::PartitionedIndex => "index",
        RelationType::View => "view",
        RelationType::MaterializedView => "materialized view",
        RelationType::Sequence => "sequence",
        RelationType::ForeignTable => "foreign table",
        RelationType::CompositeType => "composite type",
    }
}

/// A relation as an object.
pub(super) fn whole(relation: &Relation) -> ObjectRef {
    ObjectRef {
        kind: kind(relation.kind).to_owned(),
        identity: relation.name.sql(),
        relation: Some(relation.name.clone()),
        column: None,
    }
}

/// Rows and bytes of a relation that has some.
pub(super) fn size(relation: &Relation) -> (Option<f64>, Option<u64>) {
    let holds =
        !matches!(relation.kind, RelationType::View | RelationType::Sequence | RelationType::CompositeType);
    let bytes = relation.total_bytes.max(relation.bytes);
    (relation.rows.filter(|_| holds), Some(bytes).filter(|bytes| holds && *bytes > 0))
}
