//! The private directory of this process.
//!
//! A small janitor process removes it when this process is gone, however that happened: statics are never dropped, and
//! a killed process drops nothing. After a failure the logs stay; with `KEEP=1` everything does.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result};

/// Lines of each interesting log that a failure prints.
const TAIL: usize = 40;

/// Waits for its standard input to end, which is when this process ends. Servers may still be dying then.
const JANITOR: &str = r#"
    cat >/dev/null
    clean() {
        if [ -s "$1/keep" ]; then
            find "$1" -type d \( -name data -o -name etcd \) -prune -exec rm -rf {} +
        elif [ ! -e "$1/keep" ]; then
            rm -rf "$1"
        fi
    }
    for i in 1 2 3 4 5 6 7 8 9; do clean "$1" && exit; sleep 0.3; done"#;

struct Scratch {
    path: PathBuf,
    _janitor: ChildStdin,
}

/// A log that a failure prints, and the thread, which has the name of its test, that started the process.
struct Subject {
    name: String,
    log: PathBuf,
    thread: Option<String>,
}

static SCRATCH: OnceLock<Scratch> = OnceLock::new();
static CREATING: Mutex<()> = Mutex::new(());
static SUBJECTS: Mutex<Vec<Subject>> = Mutex::new(Vec::new());
static NUMBER: AtomicUsize = AtomicUsize::new(0);

/// The directory, made on first use; other users may enter it, since servers run as users of their own.
///
/// # Errors
/// When it cannot be made.
pub fn root() -> Result<&'static Path> {
    let _guard = CREATING.lock().unwrap_or_else(PoisonError::into_inner);
    if SCRATCH.get().is_none() {
        let scratch = create().context("cannot make a private directory")?;
        let _ = SCRATCH.set(scratch);
    }
    SCRATCH.get().map(|scratch| scratch.path.as_path()).context("the private directory vanished")
}

fn create() -> Result<Scratch> {
    let path = tempfile::Builder::new().prefix("whimbrel-").tempdir()?.keep();
    std::fs::set_permissions(&path, Permissions::from_mode(0o755))?;
    let mut janitor = Command::new("sh")
        .args(["-c", JANITOR, "janitor"])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // An interrupt from the terminal is for us, not for the janitor.
        .process_group(0)
        .spawn()?;
    let stdin = janitor.stdin.take().context("the janitor has no standard input")?;
    if std::env::var_os("KEEP").is_some() {
        std::fs::write(path.join("keep"), "")?;
    }
    Ok(Scratch { path, _janitor: stdin })
}

/// A new directory below [`root`], named after its purpose.
///
/// # Errors
/// When it cannot be made.
pub fn directory(purpose: &str) -> Result<PathBuf> {
    let path = root()?.join(format!("{purpose}-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
    Ok(path)
}

/// Registers a log whose end is printed when the test of this thread fails.
pub fn subject(name: &str, log: &Path) {
    let subject = Subject { name: name.to_owned(), log: log.to_owned(), thread: thread_name() };
    SUBJECTS.lock().unwrap_or_else(PoisonError::into_inner).push(subject);
}

fn thread_name() -> Option<String> {
    std::thread::current().name().map(ToOwned::to_owned)
}

/// Keeps the directory, and prints where it is and the end of each interesting log of this thread's test.
pub fn report_failure(reason: &str) {
    let Some(scratch) = SCRATCH.get() else { return };
    let keep = scratch.path.join("keep");
    if !keep.exists() {
        // Not empty: the janitor keeps the logs and drops the data.
        let _ = std::fs::write(keep, format!("{reason}\n"));
    }
    let thread = thread_name();
    let subjects = SUBJECTS.lock().unwrap_or_else(PoisonError::into_inner);
    for Subject { name, log, .. } in subjects.iter().filter(|subject| subject.thread == thread) {
        eprintln!("--- the last lines of {name} ({})\n{}", log.display(), tail(log, TAIL));
    }
    eprintln!("--- all logs are kept in {}", scratch.path.display());
}

/// Removes the directory now, unless it is to be kept, so that nothing is left when this process ends.
pub fn clear() {
    let Some(scratch) = SCRATCH.get() else { return };
    if !scratch.path.join("keep").exists() {
        // What is written to at this moment is left to the janitor.
        let _ = std::fs::remove_dir_all(&scratch.path);
    }
}

/// The last lines of a file; empty where there is none.
pub fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let skip = text.lines().count().saturating_sub(lines);
    text.lines().skip(skip).collect::<Vec<_>>().join("\n")
}
