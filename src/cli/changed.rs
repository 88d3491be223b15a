//! Which files git says changed.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

/// Files that changed since a revision, in the work trees of some paths: committed or not, and new ones that are not
/// ignored. On a branch, what counts is where it left the revision.
pub(super) struct Changed(BTreeSet<PathBuf>);

impl Changed {
    /// Asks git.
    ///
    /// # Errors
    /// If there is no git, no work tree, or no such revision.
    pub fn since(revision: &str, paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut trees = BTreeSet::new();
        for path in paths {
            trees.insert(tree_of(path)?);
        }
        let mut changed = BTreeSet::new();
        for tree in trees {
            let base = base(&tree, revision)?;
            let tracked =
                git(&tree, &["diff", "--name-only", "-z", "--no-renames", "--diff-filter=d", &base, "--"])?;
            let new = git(&tree, &["ls-files", "--others", "--exclude-standard", "-z"])?;
            let names = tracked.split(|byte| *byte == 0).chain(new.split(|byte| *byte == 0));
            changed.extend(names.filter(|name| !name.is_empty()).map(|name| tree.join(from_bytes(name))));
        }
        Ok(Self(changed))
    }

    /// Whether a file is among them.
    pub fn holds(&self, file: &Path) -> bool {
        file.canonicalize().is_ok_and(|file| self.0.contains(&file))
    }
}

#[cfg(unix)]
fn from_bytes(name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(OsStr::from_bytes(name))
}

#[cfg(not(unix))]
fn from_bytes(name: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(name).into_owned())
}

/// The root of the work tree that a path is in.
fn tree_of(path: &Path) -> anyhow::Result<PathBuf> {
    let real = path.canonicalize().with_context(|| format!("cannot read {}", path.display()))?;
    let directory = if real.is_dir() { real.as_path() } else { real.parent().unwrap_or(&real) };
    let root = git(directory, &["rev-parse", "--show-toplevel"]).with_context(|| {
        format!("--changed-since needs a work tree of git, and {} is in none", path.display())
    })?;
    let root = from_bytes(root.strip_suffix(b"\n").unwrap_or(&root));
    root.canonicalize().with_context(|| format!("cannot read {}", root.display()))
}

/// The commit to compare with: where the branch left the revision, else the revision itself.
fn base(tree: &Path, revision: &str) -> anyhow::Result<String> {
    let commit = format!("{revision}^{{commit}}");
    let Ok(found) = git(tree, &["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]) else {
        bail!(
            "git knows no revision {revision:?} in {}: fetch it (a shallow clone has only the newest commit), or name \
             another one",
            tree.display()
        );
    };
    let found = String::from_utf8_lossy(&found).trim().to_owned();
    let fork = git(tree, &["merge-base", &found, "HEAD"]).ok();
    let fork = fork.map(|fork| String::from_utf8_lossy(&fork).trim().to_owned());
    Ok(fork.filter(|fork| !fork.is_empty()).unwrap_or(found))
}

fn git(directory: &Path, args: &[&str]) -> anyhow::Result<Vec<u8>> {
    let run = Command::new("git").arg("-C").arg(directory).args(args).output();
    let output = match run {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("--changed-since needs git, and there is none in PATH")
        }
        other => other.context("cannot run git")?,
    };
    if !output.status.success() {
        bail!("git {}: {}", args.first().unwrap_or(&""), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}
