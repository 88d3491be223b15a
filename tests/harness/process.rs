//! Supervised processes: each in a process group of its own, each killed by the kernel when this process ends.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User, geteuid};

use super::{await_until, scratch};

/// What to start.
#[derive(Clone)]
pub struct Spec {
    name: String,
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    directory: PathBuf,
    user: Option<&'static str>,
    disk: Option<(PathBuf, u32)>,
    subject: bool,
}

/// Mounts what only the process after it sees, and what goes with it.
const ON_SMALL_DISK: &str = r#"mount -t tmpfs -o "$1" none "$2" && shift 2 && exec "$@""#;

impl Spec {
    /// A program that logs to `<directory>/<name>.log`.
    pub fn new(name: &str, program: impl Into<PathBuf>, directory: &Path) -> Self {
        Self {
            name: name.to_owned(),
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: directory.to_owned(),
            user: None,
            disk: None,
            subject: false,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Adds a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Runs as this user where we are root (PostgreSQL refuses root), else as we are.
    #[must_use]
    pub fn user(mut self, user: &'static str) -> Self {
        self.user = geteuid().is_root().then_some(user);
        self
    }

    /// Sees a disk of so many MiB at this directory, which nobody else does. Needs to be root, or user namespaces.
    #[must_use]
    pub fn disk(mut self, directory: &Path, mebibytes: u32) -> Self {
        self.disk = Some((directory.to_owned(), mebibytes));
        self
    }

    /// The end of its log is printed when a test fails.
    #[must_use]
    pub fn subject(mut self) -> Self {
        self.subject = true;
        self
    }

    fn command(&self, log: &Path) -> Result<Command> {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        if let Some((directory, mebibytes)) = &self.disk {
            command.args(["--", "unshare", "--mount"]);
            let owner = if let Some(user) = self.user {
                let (uid, gid) = system_user(user)?;
                format!(",uid={uid},gid={gid}")
            } else {
                command.args(["--user", "--map-current-user", "--keep-caps"]);
                String::new()
            };
            let options = format!("size={mebibytes}m,mode=0700{owner}");
            command.args(["sh", "-c", ON_SMALL_DISK, "disk", &options]).arg(directory);
            // Whoever changes its user has to ask for its own death again.
            command.args(["setpriv", "--pdeathsig", "KILL"]);
        }
        if let Some(user) = self.user {
            command.args(["--reuid", user, "--regid", user, "--init-groups"]);
        }
        command.arg("--").arg(&self.program).args(&self.arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| foreign(name)) {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let log = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.current_dir(&self.directory).process_group(0);
        Ok(command)
    }

    /// Runs to the end and returns the standard output.
    ///
    /// # Errors
    /// When it cannot be started or fails: its standard error.
    pub fn output(&self) -> Result<String> {
        let mut command = self.command(Path::new("/dev/null"))?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.output().with_context(|| format!("cannot start {}", self.name))?;
        if !output.status.success() {
            bail!("{}: {}: {}", self.name, output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Settings of the person who runs the tests must not leak into the components.
fn foreign(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("PG")
        || name.starts_with("WHIMBREL_")
        || name == "KUBECONFIG"
        || name.ends_with("_proxy")
}

/// A running program; killed with its whole group when dropped.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; output goes to its log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(spec: &Spec) -> Result<Self> {
        let log = spec.directory.join(format!("{}.log", spec.name));
        let child = spawn(spec.command(&log)?).with_context(|| format!("cannot start {}", spec.name))?;
        if spec.subject {
            scratch::subject(&spec.name, &log);
        }
        Ok(Self { name: spec.name.clone(), child, log })
    }

    /// Probes until it is ready, and gives up at once when it ends.
    ///
    /// # Errors
    /// When it ended or did not become ready: the end of its log.
    pub async fn ready<T>(
        &mut self,
        timeout: Duration,
        mut probe: impl AsyncFnMut() -> Result<T>,
    ) -> Result<T> {
        let what = format!("{} becoming ready", self.name);
        let outcome = await_until(&what, timeout, async || match self.exited()? {
            Some(status) => Ok(Err(anyhow::anyhow!("it ended: {status}"))),
            None => probe().await.map(Ok),
        })
        .await;
        outcome.and_then(|inner| inner).with_context(|| {
            format!("{} is not ready; its last lines:\n{}", self.name, scratch::tail(&self.log, 20))
        })
    }

    /// The process id, which is also that of its group.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has printed.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Sends a signal to its group.
    ///
    /// # Errors
    /// When the group is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        killpg(self.group()?, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// When its state cannot be read.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it is still running after `timeout`.
    pub async fn wait(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("{} ending", self.name);
        await_until(&what, timeout, async || self.exited()?.context("it is still running")).await
    }

    fn group(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id())?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // A stopped process must be continued to die of anything but SIGKILL, which needs no help.
        let _ = self.group().map(|group| killpg(group, Signal::SIGKILL));
        let _ = self.child.wait();
    }
}

/// The uid and gid of a system user.
///
/// # Errors
/// When there is none of that name.
pub fn system_user(name: &str) -> Result<(u32, u32)> {
    let user = User::from_name(name)?.with_context(|| format!("there is no system user {name}"))?;
    Ok((user.uid.as_raw(), user.gid.as_raw()))
}

/// Whether [`Spec::disk`] works here.
pub fn may_mount() -> bool {
    let user: &[&str] =
        if geteuid().is_root() { &[] } else { &["--user", "--map-current-user", "--keep-caps"] };
    let mut command = Command::new("unshare");
    command.args(user).args(["--mount", "sh", "-c", "mount -t tmpfs none /mnt"]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The kernel kills a child when the *thread* that started it ends, and test threads end early: all children are
/// started by one thread that lives as long as this process.
fn spawn(command: Command) -> Result<Child> {
    type Request = (Command, Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<Sender<Request>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, requests) = channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, reply) in requests {
                let _ = reply.send(command.spawn());
            }
        });
        sender
    });
    let (reply, answer) = channel();
    spawner.send((command, reply)).context("the spawning thread is gone")?;
    Ok(answer.recv().context("the spawning thread is gone")??)
}

/// Finds a program, or says which command provides it.
///
/// # Errors
/// When it is nowhere.
pub fn find(program: &str, directories: &[PathBuf], remedy: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let all = directories.iter().cloned().chain(std::env::split_paths(&path)).chain(system);
    all.map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{program} is missing: run {remedy}"))
}
