//! Names that the server cuts.

use super::Found;
use crate::sql::lint::Severity;
use crate::sql::lint::subject::Subject;
use crate::sql::name::{MAX_IDENTIFIER, clip};
use crate::sql::token;

pub fn check(subject: &Subject<'_>, found: &mut Vec<Found>) {
    let sql = &subject.statement.sql;
    // Most statements have no word that is long enough, and the scanner makes others take turns.
    let part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
    let quoted = sql.contains('"');
    if !quoted && sql.split(|c: char| !part(c)).all(|word| word.len() <= MAX_IDENTIFIER) {
        return;
    }
    for token in token::scan(sql).unwrap_or_default() {
        if token.end - token.start <= MAX_IDENTIFIER {
            continue;
        }
        let Some(name) = token.name(sql).filter(|name| name.len() > MAX_IDENTIFIER) else { continue };
        let message = format!(
            "the identifier has {} bytes; the server cuts it to {MAX_IDENTIFIER}, to {}",
            name.len(),
            clip(&name, MAX_IDENTIFIER)
        );
        found.push(subject.finding("WB203", Severity::Medium, token.start, message).without_remedy());
    }
}
