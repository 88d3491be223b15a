//! A driver process, as its harness sees it: an owner that lives, is frozen, or is dead.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::orders::{Orders, Outcome, Wanted};
use crate::harness::await_until;

/// How long anything may take that should come soon.
pub const SOON: Duration = Duration::from_secs(40);

/// A running driver.
pub struct Owner {
    child: Child,
    directory: PathBuf,
    name: String,
    listener: UnixListener,
    control: Option<UnixStream>,
}

/// A driver that waits at a point.
pub struct Waiting(UnixStream);

impl Waiting {
    /// Lets it go on.
    ///
    /// # Errors
    /// When it is gone.
    pub async fn release(mut self) -> Result<()> {
        self.0.write_all(b"+").await.context("the driver that waited is gone")
    }
}

impl Owner {
    /// Starts a driver whose orders and logs are in a directory. `faults` is the value of `WHIMBREL_CRASH`.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(
        directory: &Path,
        mut orders: Orders,
        faults: Option<&str>,
        mutant: Option<&str>,
    ) -> Result<Self> {
        let name = orders.owner.clone();
        let file = |suffix: &str| directory.join(format!("{name}.{suffix}"));
        let listener = UnixListener::bind(file("socket"))?;
        orders.outcome = file("outcome").display().to_string();
        orders.control = file("socket").display().to_string();
        std::fs::write(file("orders"), serde_json::to_vec(&orders)?)?;
        let log = std::fs::File::create(file("log"))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(std::env::current_exe()?);
        command.arg("driver").arg(file("orders"));
        for (variable, _) in std::env::vars_os() {
            let name = variable.to_string_lossy();
            if name.starts_with("PG") || name.starts_with("WHIMBREL_") || name.ends_with("_proxy") {
                command.env_remove(&variable);
            }
        }
        command.env("WHIMBREL_CRASH_LOG", file("points")).env("WHIMBREL_CRASH_SOCKET", file("socket"));
        if let Some(faults) = faults {
            command.env("WHIMBREL_CRASH", faults);
        }
        if let Some(mutant) = mutant {
            command.env("WHIMBREL_MUTANT", mutant);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().context("cannot start a driver")?;
        Ok(Self { child, directory: directory.to_owned(), name, listener, control: None })
    }

    fn file(&self, suffix: &str) -> PathBuf {
        self.directory.join(format!("{}.{suffix}", self.name))
    }

    /// Waits until the driver waits at its point; `None` when it ended before.
    ///
    /// # Errors
    /// When it does neither.
    pub async fn waiting(&mut self) -> Result<Option<Waiting>> {
        let arrival = async {
            loop {
                let stream = tokio::select! {
                    accepted = self.listener.accept() => accepted?.0,
                    _ = self.child.wait() => return Ok(None),
                };
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                if line == "control\n" {
                    self.control = Some(stream.into_inner());
                } else {
                    return Ok(Some(Waiting(stream.into_inner())));
                }
            }
        };
        timeout(SOON, arrival).await.context("the driver does not come to the point, nor to its end")?
    }

    /// Changes what is wanted, and returns when the runners were told.
    ///
    /// # Errors
    /// When the driver is gone.
    pub async fn wants(&mut self, subjects: &[Wanted]) -> Result<()> {
        if self.control.is_none() {
            let (stream, _) =
                timeout(SOON, self.listener.accept()).await.context("no control connection")??;
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            ensure!(line == "control\n", "{line} is not a control connection");
            self.control = Some(stream.into_inner());
        }
        let control = self.control.as_mut().context("no control connection")?;
        control.write_all(format!("{}\n", serde_json::to_string(subjects)?).as_bytes()).await?;
        timeout(SOON, control.read_u8()).await.context("the driver does not take its orders")??;
        Ok(())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end(&mut self, within: Duration) -> Result<ExitStatus> {
        let ended = timeout(within, self.child.wait()).await;
        Ok(ended.with_context(|| format!("{} does not end within {within:?}", self.name))??)
    }

    /// Waits until it is stopped by a signal; false when it ended instead.
    ///
    /// # Errors
    /// When it is neither.
    pub async fn frozen(&mut self) -> Result<bool> {
        let pid = self.pid()?;
        let state = format!("/proc/{pid}/stat");
        await_until("the driver being stopped or at its end", SOON, async || {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            let text = std::fs::read_to_string(&state)?;
            let stopped = text.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'));
            ensure!(stopped, "it runs");
            Ok(true)
        })
        .await
    }

    fn pid(&self) -> Result<Pid> {
        Ok(Pid::from_raw(i32::try_from(self.child.id().context("it has ended")?)?))
    }

    /// Wakes it up.
    ///
    /// # Errors
    /// When it is gone.
    pub fn wake(&self) -> Result<()> {
        Ok(kill(self.pid()?, Signal::SIGCONT)?)
    }

    /// The points that it passed, each as `Site/Moment#n`, and those at which something happened.
    pub fn points(&self) -> (Vec<String>, Vec<String>) {
        let text = std::fs::read_to_string(self.file("points")).unwrap_or_default();
        let passed = text.lines().map(|line| line.trim_start_matches('!').to_owned()).collect();
        let fired = text.lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
        (passed, fired)
    }

    /// What it said at its end.
    pub fn outcomes(&self) -> Option<Vec<Outcome>> {
        serde_json::from_slice(&std::fs::read(self.file("outcome")).ok()?).ok()
    }

    /// The end of its log.
    pub fn tail(&self) -> String {
        let text = std::fs::read_to_string(self.file("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}
