//! What is given on the command line: files of SQL, Migrations in YAML, directories of both, standard input.

mod fields;
mod manifest;
mod problem;
mod sections;
mod walk;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use manifest::Piece;
pub(super) use problem::InputProblem;
pub(super) use walk::flyway;

use crate::api::MigrationSpec;
use crate::sql::MAX_FILE_BYTES;

/// What standard input is called, as an argument and in output.
const STDIN: &str = "-";

/// One script or one Migration.
#[derive(Debug)]
pub(super) struct Input {
    /// What it is called in output: its path as it was given, or `-`.
    pub name: String,
    /// The whole text of the file; without its way back where that is divided from the rest by comments.
    pub text: Arc<str>,
    /// The way back that stands in the same file.
    pub down: Option<Arc<str>>,
    /// What it holds.
    pub content: Content,
}

/// What an input holds.
#[derive(Debug)]
pub(super) enum Content {
    /// The text is SQL.
    Sql,
    /// A Migration, one of the documents of a file.
    Migration {
        /// `metadata.name`.
        object: String,
        /// Its spec.
        spec: Box<MigrationSpec>,
        /// Byte offset of its document in the file.
        start: usize,
    },
}

impl Input {
    /// Its pieces of SQL in the order in which they are written, ways back after the ways forward.
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        match &self.content {
            Content::Sql => {
                let down = self.down.iter().map(|text| Piece { down: true, ..Piece::whole(text) });
                std::iter::once(Piece::whole(&self.text)).chain(down).collect()
            }
            Content::Migration { spec, start, .. } => manifest::pieces(spec, &self.text, *start),
        }
    }
}

/// Reads everything that is named: a directory stands for the files in it, in natural order of their names.
///
/// # Errors
/// Everything that cannot be read.
pub(super) fn gather(paths: &[PathBuf]) -> Result<Vec<Input>, Vec<InputProblem>> {
    let (files, problems) = walk::files(paths);
    read_all(files, problems)
}

/// The same, but only files for which `wanted` says yes; that none is left is no error.
///
/// # Errors
/// Everything that cannot be read.
pub(super) fn gather_some(
    paths: &[PathBuf],
    wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<Input>, Vec<InputProblem>> {
    let (mut files, problems) = walk::files(paths);
    files.retain(|file| wanted(&file.path));
    read_all(files, problems)
}

fn read_all(
    files: Vec<walk::Named>,
    mut problems: Vec<InputProblem>,
) -> Result<Vec<Input>, Vec<InputProblem>> {
    let mut inputs = Vec::new();
    for file in files {
        match load(&file) {
            Ok(found) => inputs.extend(found),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(inputs) } else { Err(problems) }
}

fn load(file: &walk::Named) -> Result<Vec<Input>, InputProblem> {
    let name = file.path.to_string_lossy().into_owned();
    let bytes =
        if name == STDIN { bytes_of(&name, io::stdin().lock())? } else { bytes_of_file(&name, &file.path)? };
    let text: Arc<str> = decode(&name, bytes)?.into();
    let yaml = walk::is_yaml(&file.path) || name == STDIN && manifest::looks_like_one(&text);
    if !yaml {
        let (text, down) = match sections::divide(&text) {
            Some((up, down)) => (up.into(), down.map(Arc::from)),
            None => (text, None),
        };
        return Ok(vec![Input { name, text, down, content: Content::Sql }]);
    }
    let migrations = manifest::migrations(&name, &text)?;
    if migrations.is_empty() && !file.found {
        return Err(InputProblem::new(&name, "there is no Migration in this file")
            .hint("name a file of SQL, or of YAML with `kind: Migration`"));
    }
    Ok(migrations
        .into_iter()
        .map(|content| Input { name: name.clone(), text: text.clone(), down: None, content })
        .collect())
}

fn bytes_of_file(name: &str, path: &Path) -> Result<Vec<u8>, InputProblem> {
    let unreadable = |error: io::Error| InputProblem::new(name, format!("cannot be read: {}", cause(&error)));
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(InputProblem::new(name, "is neither a file nor a directory")
            .hint("pass SQL on standard input as -"));
    }
    bytes_of(name, File::open(path).map_err(unreadable)?)
}

/// The system's words without the number of the error.
fn cause(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads no more than what is allowed, however long the source is.
fn bytes_of(name: &str, source: impl Read) -> Result<Vec<u8>, InputProblem> {
    let most = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    source
        .take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| InputProblem::new(name, format!("cannot be read: {}", cause(&error))))?;
    if bytes.len() > MAX_FILE_BYTES {
        let message = format!("is longer than {} MiB", MAX_FILE_BYTES / 1024 / 1024);
        return Err(InputProblem::new(name, message)
            .hint("split it; data is loaded by other means (COPY, pg_restore), a dump is not a migration"));
    }
    Ok(bytes)
}

fn decode(name: &str, bytes: Vec<u8>) -> Result<String, InputProblem> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(InputProblem::new(name, "is UTF-16, not UTF-8").hint("save it as UTF-8"));
    }
    let place = |at: usize| {
        let before = bytes.get(..at).unwrap_or_default();
        let line = before.split(|byte| *byte == b'\n').count();
        let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let column = String::from_utf8_lossy(before.get(start..).unwrap_or_default()).chars().count() + 1;
        (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
    };
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(InputProblem::new(name, "is a binary file: it holds a NUL byte").at(place(at)).hint(
            "name a file of SQL; a dump in pg_dump's custom format is turned into SQL by pg_restore -f",
        ));
    }
    if let Err(error) = std::str::from_utf8(&bytes) {
        return Err(InputProblem::new(name, "is not valid UTF-8").at(place(error.valid_up_to())).hint(
            "save it as UTF-8 (iconv -f LATIN1 -t UTF-8), or name a file of SQL if this is something else",
        ));
    }
    let text = String::from_utf8(bytes).unwrap_or_default();
    // psql skips a byte order mark too.
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests;
