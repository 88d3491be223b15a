//! The way back from what a statement sets, replaces or drops of objects that are there.

use super::privilege::undo_grant;
use super::widen;
use super::{Derived, Undo};
use crate::sql::facts::Before;
use crate::sql::kind::{Edit, Part, Target};
use crate::sql::name::quote_ident;
use crate::sql::overlay::{State, Value};

/// The inverse of changes, the last one first.
pub fn undo_edits(edits: &[Edit], state: &State<'_>) -> Derived {
    edits.iter().try_fold(Undo::nothing(), |whole, edit| Ok(undo_edit(edit, state)?.then(whole)))
}

fn undo_edit(change: &Edit, state: &State<'_>) -> Derived {
    match change {
        Edit::Set { part, of, prefix, value } => set_back(*part, of, prefix, value.as_deref(), state),
        Edit::Make { .. } => Ok(Undo::nothing()),
        Edit::Replace { what, drop, shape } => replaced(what, drop, shape.as_deref(), state),
        Edit::Drop { what, if_exists, cascade } => dropped(what, *if_exists, *cascade, state),
        Edit::Grant(grant) => undo_grant(grant, state),
        Edit::Plain { sql } if sql.is_empty() => Ok(Undo::nothing()),
        Edit::Plain { sql } => Ok(Undo::by(sql.clone())),
        Edit::Lost { reason } => Err(reason.clone()),
    }
}

/// Sets something back to what it was before: what the plan has set it to, or what it was before the plan.
fn set_back(part: Part, of: &Target, prefix: &str, new: Option<&str>, state: &State<'_>) -> Derived {
    if state.made_target(of) {
        return Ok(Undo::nothing());
    }
    if part == Part::Schema {
        return moved_back(of, prefix, state);
    }
    match state.known.value(part, of) {
        Value::Known(value) if part != Part::Type => return Ok(Undo::by(format!("{prefix}{value}"))),
        Value::Untouched => {}
        Value::Known(_) | Value::Untold => {
            return Err(format!("the plan changes {} twice, and what it is between is not kept", of.sql()));
        }
    }
    let before = state.before_of(part, of, None)?;
    let privileges = match part {
        Part::Owner => merged_privileges(of, new, state)?,
        _ => Vec::new(),
    };
    if state.only_asks() {
        return Ok(Undo::nothing());
    }
    if !before.exists {
        let view = Target::new("VIEW", of.name.clone());
        let replaced = state.known.redefined(of) || state.known.redefined(&view);
        let gone = || format!("{} was not there before", of.sql());
        return if replaced { Ok(Undo::nothing()) } else { Err(gone()) };
    }
    if let Some(reason) = before.lost {
        return Err(reason);
    }
    let mut undo = Undo::nothing();
    if part == Part::Type {
        let old = before.shape.as_deref().unwrap_or_default();
        undo.condition = widen::way_back(old, new)?;
    }
    for (index, value) in before.values.iter().enumerate() {
        unmoved(value, state)?;
        // The first is a value, or one of several; whole statements begin with a word of their own.
        let whole = [Part::AddIdentity, Part::Type].contains(&part) && index > 0;
        undo.statements.push(if whole { value.clone() } else { format!("{prefix}{value}") });
    }
    if part == Part::Owner {
        undo.statements.extend(privileges);
    }
    Ok(undo)
}

/// What was granted to the role that becomes the owner, which is then no longer told apart from what an owner may.
fn merged_privileges(of: &Target, new: Option<&str>, state: &State<'_>) -> Result<Vec<String>, String> {
    let before = state.before_of(Part::Privileges, of, None)?;
    let to_new = |sql: &String| {
        let role = new.map(|new| format!(" TO {new}"));
        role.is_some_and(|role| sql.ends_with(&role) || sql.contains(&format!("{role} WITH")))
    };
    Ok(if before.values.iter().any(to_new) { before.values } else { Vec::new() })
}

fn moved_back(of: &Target, prefix: &str, state: &State<'_>) -> Derived {
    if let Some(schema) = &of.name.schema {
        return Ok(Undo::by(format!("{prefix}{}", quote_ident(schema))));
    }
    let before = state.before_of(Part::Schema, of, None)?;
    match before.values.first() {
        Some(schema) => {
            unmoved(schema, state)?;
            Ok(Undo::by(format!("{prefix}{schema}")))
        }
        None if state.only_asks() => Ok(Undo::nothing()),
        None => Err(format!("{} was not there before", of.sql())),
    }
}

/// Refuses SQL that was composed of names before the plan, where the plan has renamed what they mean.
pub fn unmoved(sql: &str, state: &State<'_>) -> Result<(), String> {
    match state.known.gone(sql) {
        Some(name) => Err(format!("what it was before names {name}, which the same plan renames or moves")),
        None => Ok(()),
    }
}

/// Everything that has to be known of an object to make it again.
fn whole(what: &Target, state: &State<'_>) -> Result<(Before, Vec<String>), String> {
    let definition = state.before_of(Part::Definition, what, None)?;
    let mut rest = Vec::new();
    let parts: &[Part] = match what.object.as_str() {
        "CONSTRAINT" | "DOMAIN CONSTRAINT" | "TRIGGER" | "POLICY" | "RULE" | "INDEX" => &[Part::Comment],
        "STATISTICS" => &[Part::Owner, Part::Comment],
        _ => &[Part::Owner, Part::Privileges, Part::Comment],
    };
    for part in parts {
        let before = state.before_of(*part, what, None)?;
        // A comment that is not there leaves nothing to set.
        let values = before.values.into_iter().filter(|value| *part != Part::Comment || value != "NULL");
        let prefix = match part {
            Part::Owner => format!("ALTER {} OWNER TO ", what.sql()),
            Part::Comment => format!("COMMENT ON {} IS ", what.sql()),
            _ => String::new(),
        };
        rest.extend(values.map(|value| format!("{prefix}{value}")));
    }
    Ok((definition, rest))
}

fn replaced(what: &Target, drop: &str, shape: Option<&str>, state: &State<'_>) -> Derived {
    if state.made_target(what) {
        return Ok(Undo::nothing());
    }
    if state.known.redefined(what) {
        return Err(format!("the plan defines {} twice, and what it is between is not kept", what.sql()));
    }
    let (before, rest) = whole(what, state)?;
    if !before.exists {
        return Ok(Undo::by(drop.to_owned()));
    }
    if what.object == "EXTENSION" || state.only_asks() {
        return Ok(Undo::nothing());
    }
    for sql in before.values.iter().chain(&rest) {
        unmoved(sql, state)?;
    }
    if shape == before.shape.as_deref() {
        let keep = if what.object == "VIEW" { 1 } else { before.values.len() };
        let statements = before.values.iter().take(keep).map(|sql| or_replace(sql)).collect();
        return Ok(Undo { statements, ..Undo::nothing() });
    }
    if let Some(dependent) = before.dependent {
        return Err(format!("it may have to be dropped and made again, and {dependent} depends on it"));
    }
    if let Some(reason) = before.lost {
        return Err(reason);
    }
    let statements = std::iter::once(drop.to_owned()).chain(before.values).chain(rest).collect();
    Ok(Undo { statements, ..Undo::nothing() })
}

/// `CREATE` as `CREATE OR REPLACE`.
fn or_replace(sql: &str) -> String {
    for object in ["VIEW", "TRIGGER"] {
        if let Some(rest) = sql.strip_prefix(&format!("CREATE {object} ")) {
            return format!("CREATE OR REPLACE {object} {rest}");
        }
    }
    sql.to_owned()
}

fn dropped(what: &Target, if_exists: bool, cascade: bool, state: &State<'_>) -> Derived {
    if what.object == "INDEX" && state.made_target(what) {
        // Its own inverse finds it gone.
        return Ok(Undo::nothing());
    }
    let on_new_table = ["TRIGGER", "POLICY", "RULE", "CONSTRAINT"].contains(&what.object.as_str());
    if on_new_table && state.made(&what.name) {
        return Ok(Undo::nothing());
    }
    if state.made_target(what) {
        return Err(format!("the same plan makes {}: leave both out", what.sql()));
    }
    if state.known.redefined(what) {
        return Err(format!("the plan changes {} before it drops it", what.sql()));
    }
    let (before, rest) = whole(what, state)?;
    if state.only_asks() {
        return Ok(Undo::nothing());
    }
    if !before.exists {
        let gone = || format!("{} was not there before", what.sql());
        return if if_exists { Ok(Undo::nothing()) } else { Err(gone()) };
    }
    if let Some(dependent) = before.dependent.filter(|_| cascade) {
        return Err(format!("CASCADE drops {dependent} too"));
    }
    if let Some(reason) = before.lost {
        return Err(reason);
    }
    let statements: Vec<String> = before.values.into_iter().chain(rest).collect();
    for sql in &statements {
        unmoved(sql, state)?;
    }
    let checked = ["CONSTRAINT", "DOMAIN CONSTRAINT"].contains(&what.object.as_str());
    let unique = what.object == "INDEX" && statements.iter().any(|sql| sql.starts_with("CREATE UNIQUE"));
    let condition = (checked || unique).then(|| {
        let name = what.detail.as_deref().unwrap_or(&what.name.name);
        format!("no row that was written since violates {name}")
    });
    Ok(Undo { statements, condition, ..Undo::nothing() })
}
