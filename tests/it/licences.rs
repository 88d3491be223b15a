//! What we depend on may be used and passed on under the Apache licence, and comes from the public registry.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Permissive licences; an expression needs one of its alternatives made of these.
const ACCEPTED: [&str; 12] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

#[test]
fn licences_of_dependencies_are_permissive() -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let problems: Vec<String> = packages.iter().filter_map(problem).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

#[test]
fn an_expression_needs_one_alternative_that_is_accepted() {
    for accepted in ["MIT", "GPL-3.0 OR MIT", "(MIT OR Apache-2.0) AND Unicode-3.0", "MIT/Apache-2.0"] {
        assert!(acceptable(accepted), "{accepted}");
    }
    for refused in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", ""] {
        assert!(!acceptable(refused), "{refused}");
    }
}

fn problem(package: &Value) -> Option<String> {
    let name = package["name"].as_str().unwrap_or_default();
    let licence = package["license"].as_str().unwrap_or_default();
    let source = package["source"].as_str();
    if source.is_some_and(|source| !source.starts_with("registry+https://github.com/rust-lang/crates.io-index")) {
        return Some(format!("{name} comes from {source:?}"));
    }
    (!acceptable(licence)).then(|| format!("{name} has the licence {licence:?}"))
}

/// `AND` binds tighter than `OR`, parentheses hold alternatives.
fn acceptable(expression: &str) -> bool {
    let flat = expression.replace('/', " OR ");
    if let Some((before, rest)) = flat.split_once('(') {
        let Some((inside, after)) = rest.split_once(')') else { return false };
        let verdict = if acceptable(inside) { "MIT" } else { "refused" };
        return acceptable(&format!("{before}{verdict}{after}"));
    }
    let all = |group: &str| group.split(" AND ").all(|licence| ACCEPTED.contains(&licence.trim()));
    flat.split(" OR ").any(all)
}
