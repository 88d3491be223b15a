//! The forms: everything that a migration may contain.

mod columns;
mod constraints;
mod data;
mod indexes;
mod objects;
mod outside;
mod partitions;
mod sequences;
mod tables;
mod types;
mod views;

use super::form::Form;

const SECTIONS: &[(&str, &[Form])] = &[
    ("Columns", columns::FORMS),
    ("Types of columns", types::FORMS),
    ("Constraints", constraints::FORMS),
    ("Indexes", indexes::FORMS),
    ("Tables", tables::FORMS),
    ("Partitions and inheritance", partitions::FORMS),
    ("Views", views::FORMS),
    ("Sequences", sequences::FORMS),
    ("Types, functions, triggers, policies, publications", objects::FORMS),
    ("Rows", data::FORMS),
    ("Outside of transactions", outside::FORMS),
];

/// All forms, each with the title of its section.
pub fn all() -> impl Iterator<Item = (&'static str, Form)> {
    SECTIONS.iter().flat_map(|(section, forms)| forms.iter().map(|form| (*section, *form)))
}
