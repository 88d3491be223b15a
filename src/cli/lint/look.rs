//! Looks at inputs, several at once.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::cli::input::{Input, InputProblem, Piece, flyway};
use crate::cli::sarif::{Located, end_of};
use crate::sql::{self, Class, Finding, Grouping, MAX_FILE_BYTES, Snapshot, Statement};

/// What was found in one piece of SQL.
pub(super) struct Linted<'a> {
    /// The file.
    pub file: &'a str,
    pub piece: Piece<'a>,
    pub statements: Vec<Statement>,
    /// Places are those in the piece.
    pub findings: Vec<Finding>,
}

impl Linted<'_> {
    /// The place of a finding, for people: in the file, or in the field of the manifest.
    pub fn location(&self, finding: &Finding) -> String {
        let (line, column) = (finding.line, finding.column);
        if let Some((line, column)) = self.piece.place((line, column)) {
            return format!("{}:{line}:{column}", self.file);
        }
        format!("{}: {}:{line}:{column}", self.file, self.piece.field.as_deref().unwrap_or_default())
    }

    /// The findings with their places in the file.
    pub fn located(&self) -> impl Iterator<Item = Located<'_>> {
        self.findings.iter().map(|finding| {
            let place = self.piece.place((finding.line, finding.column));
            let statement = self.statements.get(finding.statement);
            let range = statement.and_then(|one| {
                Some((self.piece.place((one.line, one.column))?, self.piece.place(end_of(one))?))
            });
            Located {
                file: self.file,
                field: self.piece.field.as_deref().filter(|_| place.is_none()),
                place,
                statement: range,
                finding,
                sql: statement.map_or("", |one| one.sql.as_str()),
            }
        })
    }
}

/// Looks at every piece of every input, and keeps their order.
pub(super) fn all<'a>(inputs: &'a [Input], catalog: &Snapshot) -> (Vec<Linted<'a>>, Vec<InputProblem>) {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(inputs.len()));
    let workers = thread::available_parallelism().map_or(1, usize::from).min(inputs.len());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((index, input)) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    inputs.get(index).map(|input| (index, input))
                } {
                    let found: Vec<_> =
                        input.pieces().into_iter().map(|piece| one(input, piece, catalog)).collect();
                    if let Ok(mut results) = results.lock() {
                        results.push((index, found));
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(index, _)| *index);
    let (mut linted, mut problems) = (Vec::new(), Vec::new());
    for found in results.into_iter().flat_map(|(_, found)| found) {
        match found {
            Ok(one) => linted.push(one),
            Err(more) => problems.extend(more),
        }
    }
    (linted, problems)
}

fn one<'a>(input: &'a Input, piece: Piece<'a>, catalog: &Snapshot) -> Result<Linted<'a>, Vec<InputProblem>> {
    let reading = sql::read(piece.sql, MAX_FILE_BYTES);
    let unreadable: Vec<_> = reading
        .refusals
        .iter()
        .filter(|refusal| refusal.code.is_unreadable())
        .map(|refusal| InputProblem::refused(&input.name, &piece, refusal))
        .collect();
    if !unreadable.is_empty() {
        return Err(unreadable);
    }
    let statements = reading.script.statements;
    let grouping = match () {
        () if piece.per_statement => Grouping::PerStatement,
        () if reading.script.wants_single_transaction => Grouping::Single,
        () => Grouping::Auto,
    };
    let foreseen = sql::foresee(&statements, catalog);
    let refusals = &reading.refusals;
    let mut findings = sql::lint_script(piece.sql, &statements, &foreseen, catalog, grouping, refusals);
    let name = Path::new(&input.name).file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    if piece.down || name.ends_with(".down.sql") || matches!(flyway(&name), Some(('U', _))) {
        findings.retain(belongs_to_a_way_back);
    }
    Ok(Linted { file: &input.name, piece, statements, findings })
}

/// A way back takes away what the way forward made: that is no news.
fn belongs_to_a_way_back(finding: &Finding) -> bool {
    sql::rule(&finding.code).is_some_and(|rule| !matches!(rule.class, Class::Loss | Class::Compatibility))
}
