//! How much the result of an expression may change.

use std::collections::HashMap;
use std::sync::LazyLock;

use pg_query::{Node, NodeEnum};

use super::reads;
use super::world::World;
use crate::sql::name::RelationName;
use crate::sql::snapshot::Volatility;

/// Whether a function of `pg_catalog` is volatile, by name.
static BUILT_IN: LazyLock<HashMap<&'static str, bool>> = LazyLock::new(|| {
    let words = |text: &'static str| {
        text.lines().filter(|line| !line.starts_with('#')).flat_map(str::split_ascii_whitespace)
    };
    let steady = words(include_str!("data/steady.txt")).map(|name| (name, false));
    steady.chain(words(include_str!("data/volatile.txt")).map(|name| (name, true))).collect()
});

/// Whether a function is one of the server's own, and then whether it is volatile.
pub fn built_in(name: &RelationName) -> Option<bool> {
    match name.schema.as_deref() {
        None | Some("pg_catalog") => BUILT_IN.get(name.name.as_str()).copied(),
        Some(_) => None,
    }
}

/// The volatility of a function; `None` if nothing is known of it.
pub fn of_function(world: &mut World<'_>, name: &RelationName) -> Option<Volatility> {
    if let Some(volatile) = built_in(name) {
        return Some(if volatile { Volatility::Volatile } else { Volatility::Stable });
    }
    world.functions(name).into_iter().map(|facts| facts.volatility).max()
}

/// Whether an expression is volatile; the functions of which nothing is known, which count as such, are given back.
pub fn is_volatile(world: &mut World<'_>, expression: &Node) -> (bool, Vec<RelationName>) {
    if is_constant(expression) {
        return (false, Vec::new());
    }
    let mut volatile = false;
    let mut unknown = Vec::new();
    for name in reads::of_expression(expression).functions {
        match of_function(world, &name) {
            Some(Volatility::Volatile) => volatile = true,
            Some(_) => {}
            None => unknown.push(name),
        }
    }
    (volatile || !unknown.is_empty(), unknown)
}

/// A literal, also with a cast.
pub fn is_constant(expression: &Node) -> bool {
    match &expression.node {
        Some(NodeEnum::AConst(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_constant),
        _ => false,
    }
}

/// The constant NULL, also with a cast.
pub fn is_null(expression: &Node) -> bool {
    match &expression.node {
        Some(NodeEnum::AConst(constant)) => constant.isnull,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_null),
        _ => false,
    }
}
