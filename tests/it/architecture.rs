//! The invariants of ARCHITECTURE.md that are about the code itself: who may use what.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms in the direction of their dependencies: a room may use those before it, and edges not each other.
const ROOMS: &[(&str, &[&str])] = &[
    ("crash", &[]),
    ("api", &[]),
    ("sql", &["api"]),
    ("core", &["api", "sql"]),
    ("postgres", &["crash", "api", "sql", "core"]),
    ("metrics", &["crash", "api", "sql", "core"]),
    ("engine", &["crash", "api", "sql", "core", "postgres", "metrics"]),
    ("server", &[]),
    ("telemetry", &[]),
    ("controller", &["crash", "api", "sql", "core", "postgres", "metrics", "engine", "server"]),
    ("cli", &["api", "sql", "core", "postgres", "metrics", "engine", "controller", "server", "telemetry"]),
];

/// Crates, and the rooms that alone may use them.
const CRATES: &[(&str, &[&str])] = &[
    ("sqlx", &["postgres"]),
    ("pg_query", &["sql"]),
    ("squawk_linter", &["sql"]),
    ("squawk_syntax", &["sql"]),
    ("reqwest", &["metrics"]),
    ("kube::runtime", &["controller"]),
    ("axum", &["server"]),
    ("clap", &["cli", "telemetry"]),
    ("rand", &["postgres", "engine", "controller"]),
];

/// What has no place in a pure room.
const IMPURE: &[&str] = &[
    "tokio",
    "sqlx",
    "reqwest",
    "kube",
    "rand",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::time::Instant",
    "std::time::SystemTime",
    "Timestamp::now",
    "Uuid::new_v4",
    "tracing",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(path: &Path, found: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else if path.extension().is_some_and(|extension| extension == "rs") {
        found.push(path.to_owned());
    }
}

/// The source of a room, file by file, without its tests and comments.
fn room(name: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&root().join(name), &mut found);
    let single = root().join(format!("{name}.rs"));
    if single.exists() {
        found.push(single);
    }
    let is_test = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let tests_folder = path.components().any(|part| part.as_os_str() == "tests");
        tests_folder || name.ends_with("tests") || name == "fixture" || name == "generated"
    };
    found.retain(|path| !is_test(path));
    let source = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let text = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (path, code.join("\n"))
    };
    found.into_iter().map(source).collect()
}

#[test]
fn rooms_use_only_the_rooms_before_them() {
    for (name, allowed) in ROOMS {
        for (path, code) in room(name) {
            for (other, _) in ROOMS.iter().filter(|(other, _)| other != name && !allowed.contains(other)) {
                assert!(
                    !code.contains(&format!("crate::{other}::"))
                        && !code.contains(&format!("crate::{other};")),
                    "{} uses crate::{other}, which is not among the rooms before {name}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn each_outside_system_has_one_room() {
    for (name, _) in ROOMS {
        for (path, code) in room(name) {
            for (krate, rooms) in CRATES.iter().filter(|(_, rooms)| !rooms.contains(name)) {
                assert!(
                    !code.contains(&format!("{krate}::")),
                    "{} uses {krate}, which belongs to {rooms:?}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn pure_rooms_are_pure() {
    for name in ["sql", "core"] {
        for (path, code) in room(name) {
            for word in IMPURE {
                let used = code.contains(&format!("{word}::"))
                    || code.contains(&format!("use {word};"))
                    || code.contains(&format!("{word}("));
                assert!(!used, "{} uses {word}: {name} is pure", path.display());
            }
        }
    }
}

#[test]
fn files_and_rooms_say_what_they_are() {
    for (name, _) in ROOMS {
        let mut found = Vec::new();
        files(&root().join(name), &mut found);
        for path in found {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//!"), "{} has no module documentation", path.display());
            let lines = text.lines().count();
            assert!(lines <= 500, "{} has {lines} lines: move walls", path.display());
        }
    }
}

#[test]
fn text_that_is_not_a_literal_is_sent_from_one_file() {
    for (path, code) in room("postgres") {
        let here = path.ends_with("statement.rs");
        assert!(here || !code.contains("AssertSqlSafe"), "{} asserts that SQL is safe", path.display());
    }
}
