//! The findings of a preview for code scanning.

use serde_json::Value;

use super::request::Request;
use crate::cli::sarif::{self, Located};
use crate::core::preview::Preview;

/// The SARIF document; places are those in the files.
pub(super) fn document(request: &Request, preview: &Preview) -> Value {
    let located = preview.findings.iter().filter_map(|finding| {
        let statement = preview.statements.get(finding.statement)?;
        let file = statement.file.as_deref().unwrap_or("-");
        let place = |inner| request.place(file, statement.field.as_deref(), inner);
        let begin = (statement.line, statement.column);
        let range = place(begin).zip(place(sarif::end(&statement.sql, begin)));
        let known = place((finding.line, finding.column));
        Some(Located {
            file,
            field: statement.field.as_deref().filter(|_| known.is_none()),
            place: known,
            statement: range,
            finding,
            sql: &statement.sql,
        })
    });
    let located: Vec<Located<'_>> = located.collect();
    sarif::document(&located, &[])
}
