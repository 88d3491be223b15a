//! Which files are meant.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::{InputProblem, STDIN};

/// Deepest directory below one that is named; a link may lead in a circle.
const MAX_DEPTH: usize = 32;

/// A file.
#[derive(Debug)]
pub(super) struct Named {
    pub path: PathBuf,
    /// It was found in a directory, not named itself.
    pub found: bool,
}

/// The files that are named, and those in the directories that are named.
pub(super) fn files(paths: &[PathBuf]) -> (Vec<Named>, Vec<InputProblem>) {
    let mut files = Vec::new();
    let mut problems = Vec::new();
    for path in paths {
        if path.as_os_str() == STDIN || !path.is_dir() {
            files.push(Named { path: path.clone(), found: false });
            continue;
        }
        let before = files.len();
        match below(path, &mut files, MAX_DEPTH) {
            Ok(()) if files.len() == before => problems.push(
                InputProblem::new(path.to_string_lossy(), "there is no file of SQL in this directory").hint(
                    "files that end in .sql are read, and Migrations in files that end in .yaml or .yml",
                ),
            ),
            Ok(()) => {}
            Err(problem) => problems.push(problem),
        }
    }
    (files, problems)
}

fn below(directory: &Path, files: &mut Vec<Named>, depth: usize) -> Result<(), InputProblem> {
    let unreadable = |error: std::io::Error| {
        InputProblem::new(directory.to_string_lossy(), format!("cannot be read: {error}"))
    };
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        entries.push(entry.map_err(unreadable)?.path());
    }
    let versioned = entries.iter().any(|path| matches!(flyway(&file_name(path)), Some(('V', _))));
    // What Flyway repeats runs after everything that has a version.
    let last = |path: &Path| versioned && matches!(flyway(&file_name(path)), Some(('R', _)));
    entries.sort_by(|a, b| last(a).cmp(&last(b)).then_with(|| natural(&file_name(a), &file_name(b))));
    for path in entries {
        let hidden = file_name(&path).starts_with('.');
        if path.is_dir() {
            if depth > 0 && !hidden {
                below(&path, files, depth - 1)?;
            }
        } else if has_extension(&path, &["sql"]) || is_yaml(&path) && holds_migration(&path) {
            files.push(Named { path, found: true });
        }
    }
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().map(OsStr::to_string_lossy).unwrap_or_default().into_owned()
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().map(OsStr::to_string_lossy).unwrap_or_default();
    extensions.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

pub(super) fn is_yaml(path: &Path) -> bool {
    has_extension(path, &["yaml", "yml"])
}

/// Whether a file of YAML in a directory is meant: one of another kind is none of our business.
fn holds_migration(path: &Path) -> bool {
    let small = fs::metadata(path).is_ok_and(|meta| meta.len() <= crate::sql::MAX_FILE_BYTES as u64);
    small
        && fs::read(path).is_ok_and(|bytes| super::manifest::looks_like_one(&String::from_utf8_lossy(&bytes)))
}

/// What a name of Flyway's says: `V` (forward), `U` (the way back of that version) or `R` (repeated), and the version.
pub(in crate::cli) fn flyway(name: &str) -> Option<(char, &str)> {
    let (prefix, _) = name.strip_suffix(".sql")?.split_once("__")?;
    let kind = prefix.chars().next().filter(|kind| "VUR".contains(*kind))?;
    let version = prefix.get(1..)?;
    let numbered = version.starts_with(|c: char| c.is_ascii_digit())
        && version.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '_');
    (numbered || kind == 'R' && version.is_empty()).then_some((kind, version))
}

/// Compares names so that `V2__b` comes before `V10__a`.
fn natural(one: &str, other: &str) -> Ordering {
    let (mut a, mut b) = (one, other);
    while !a.is_empty() && !b.is_empty() {
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let ordering = match (digits(a), digits(b)) {
            (0, _) | (_, 0) => {
                let (x, y) = (a.chars().next(), b.chars().next());
                let width = |c: Option<char>| c.map_or(0, char::len_utf8);
                let ordering = x.cmp(&y);
                a = a.get(width(x)..).unwrap_or_default();
                b = b.get(width(y)..).unwrap_or_default();
                ordering
            }
            (m, n) => {
                let number = |text: &str, length: usize| {
                    let digits = text.get(..length).unwrap_or_default().trim_start_matches('0').to_owned();
                    (digits.len(), digits)
                };
                let ordering = number(a, m).cmp(&number(b, n));
                a = a.get(m..).unwrap_or_default();
                b = b.get(n..).unwrap_or_default();
                ordering
            }
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    a.len().cmp(&b.len()).then_with(|| one.cmp(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_flyway_are_known() {
        let check = |name: &str, expected| assert_eq!(flyway(name), expected, "{name}");
        check("V1__init.sql", Some(('V', "1")));
        check("U2.1__more.sql", Some(('U', "2.1")));
        check("R__views.sql", Some(('R', "")));
        check("Users__old.sql", None);
        check("V__x.sql", None);
        check("V1_x.sql", None);
        check("1__x.sql", None);
    }

    #[test]
    fn names_are_in_natural_order() {
        let check = |ordered: &[&str]| {
            let mut names = ordered.to_vec();
            names.reverse();
            names.sort_by(|a, b| natural(a, b));
            assert_eq!(names, ordered);
        };
        check(&["V1__a.sql", "V2__b.sql", "V10__c.sql"]);
        check(&["1.sql", "2.sql", "10.sql", "a.sql"]);
        check(&["001_x.sql", "1_y.sql", "2.sql"]);
        check(&["20250101000000_a.sql", "20260101000000_a.sql"]);
        check(&["a", "a1", "ä"]);
    }
}
