//! What we depend on may be used and passed on under the Apache licence, and comes from the public registry.

use std::process::Command;

use anyhow::{Result, ensure};

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
        .args(["tree", "--locked", "--offline", "--prefix", "none", "--edges", "normal,build,dev"])
        .args(["--format", "{p}|{l}", "--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout)?;
    let problems: Vec<String> = tree.lines().filter_map(problem).collect();
    assert!(tree.lines().count() > 100, "{tree}");
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

/// A line such as `serde v1.0.0|MIT OR Apache-2.0`; packages that were seen before end in `(*)`.
fn problem(line: &str) -> Option<String> {
    let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
    if package.contains("://") {
        return Some(format!("{package} does not come from the public registry"));
    }
    (!acceptable(licence)).then(|| format!("{package} has the licence {licence:?}"))
}

/// `AND` binds tighter than `OR`, parentheses hold alternatives.
fn acceptable(expression: &str) -> bool {
    let flat = expression.replace('/', " OR ");
    if let Some((before, rest)) = flat.split_once('(') {
        let Some((inside, after)) = rest.split_once(')') else {
            return false;
        };
        let verdict = if acceptable(inside) { "MIT" } else { "refused" };
        return acceptable(&format!("{before}{verdict}{after}"));
    }
    let all = |group: &str| group.split(" AND ").all(|licence| ACCEPTED.contains(&licence.trim()));
    flat.split(" OR ").any(all)
}
