//! PostgreSQL servers: a primary, a writable copy of it, a physical standby.

mod database;
mod programs;

pub use database::{Database, Ddl, LogLine, execute, rows, text};
pub use programs::path as program;

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tokio::sync::OnceCell;

use super::process::{Process, Spec, system_user};
use super::tls::Authority;
use super::{await_until, ports, scratch};

/// The superuser: administers, observes, and is no role that the code under test knows of.
pub const SUPERUSER: &str = "postgres";
/// The role that owns the schemas of applications; nobody logs in as it.
pub const OWNER: &str = "app_owner";
/// The login of the operator: no superuser, a member of [`OWNER`].
pub const OPERATOR: &str = "whimbrel";
/// The login of the application: reads and writes rows.
pub const APPLICATION: &str = "app";
/// The password of every login; it must appear nowhere but in Secrets.
pub const PASSWORD: &str = "sentinel-7f3a9c51";

/// The system user that servers run as where we are root.
const SYSTEM_USER: &str = "postgres";
const READY: Duration = Duration::from_secs(30);

const ROLES: &str = include_str!("roles.sql");
const OBSERVER: &str = include_str!("observer.sql");

/// How a primary is made.
#[derive(Clone, Default)]
pub struct Options {
    /// Real `fsync`; off unless the test measures time or kills the machine's idea of durability.
    pub durable: bool,
    /// Serves TLS, with a certificate of this authority for `localhost` and `127.0.0.1`, and refuses plain connections.
    pub authority: Option<std::sync::Arc<Authority>>,
    /// A system identifier of its own; clusters without it share one, as they come from the same template.
    pub own_identity: bool,
    /// Believes everybody: for tests that connect so often that computing passwords' hashes is what they would measure.
    pub trust: bool,
    /// A tablespace `small` on a disk of so many MiB, which the server loses when it stops.
    pub small_disk: Option<u32>,
    /// Further settings, such as `("max_connections", "20")`.
    pub settings: Vec<(String, String)>,
}

/// A server and its data directory.
pub struct Cluster {
    directory: PathBuf,
    port: u16,
    options: Options,
    process: Option<Process>,
}

/// The primary that the tests of this binary share, each with databases of its own.
///
/// # Errors
/// When it cannot be started.
pub async fn shared() -> Result<&'static Cluster> {
    static SHARED: OnceCell<Cluster> = OnceCell::const_new();
    SHARED.get_or_try_init(|| Cluster::start(Options::default())).await
}

impl Cluster {
    /// A new primary with the roles of this module and the template of [`Cluster::database`].
    ///
    /// # Errors
    /// When the server does not start.
    pub async fn start(options: Options) -> Result<Self> {
        let directory = private_directory("primary")?;
        if options.own_identity {
            programs::initdb(&directory.join("data"))?;
        } else {
            let template = programs::template().await?;
            programs::run_as_server(
                "cp",
                ["-a".as_ref(), template.as_os_str(), directory.join("data").as_os_str()],
            )?;
        }
        let mut cluster = Self { directory, port: ports::free()?, options, process: None };
        cluster.write_certificate()?;
        if cluster.options.trust {
            cluster.rewrite_hba("scram-sha-256", "trust")?;
        }
        cluster.resume().await?;
        cluster.admin().execute(ROLES).await.context("cannot create the roles")?;
        cluster.admin().execute("CREATE DATABASE observed OWNER app_owner IS_TEMPLATE true").await?;
        cluster.named("observed").execute(OBSERVER).await.context("cannot create the observer")?;
        if cluster.options.small_disk.is_some() {
            let directory = cluster.directory.join("small").display().to_string();
            cluster.admin().execute(&format!("CREATE TABLESPACE small LOCATION '{directory}'")).await?;
        }
        Ok(cluster)
    }

    /// A writable copy as of now: the same system identifier, a life of its own.
    ///
    /// # Errors
    /// When the copy fails or does not start.
    pub async fn writable_copy(&self) -> Result<Self> {
        self.copy("copy", &[]).await
    }

    /// A physical standby that follows this server.
    ///
    /// # Errors
    /// When the copy fails or does not start.
    pub async fn standby(&self) -> Result<Self> {
        self.copy("standby", &["-R"]).await
    }

    async fn copy(&self, purpose: &str, arguments: &[&str]) -> Result<Self> {
        let directory = private_directory(purpose)?;
        let data = directory.join("data");
        let fixed = ["-h", "127.0.0.1", "-U", SUPERUSER, "-c", "fast", "-X", "stream", "--no-sync", "-p"];
        let port = self.port.to_string();
        let spec = Spec::new("pg_basebackup", programs::path("pg_basebackup")?, &directory)
            .user(SYSTEM_USER)
            .env("PGPASSWORD", PASSWORD)
            .args(fixed)
            .args([port.as_str(), "-D"])
            .args([&data])
            .args(arguments);
        tokio::task::spawn_blocking(move || spec.output()).await??;
        let mut copy = Self { directory, port: ports::free()?, options: self.options.clone(), process: None };
        copy.resume().await?;
        Ok(copy)
    }

    /// Starts the server again, on the same port, after it was stopped or died.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn resume(&mut self) -> Result<()> {
        self.process = None;
        let mut process = Process::start(&self.server()?)?;
        let admin = self.admin();
        process.ready(READY, async || admin.connect().await.map(drop)).await?;
        self.process = Some(process);
        Ok(())
    }

    fn server(&self) -> Result<Spec> {
        let logs = self.directory.join("log");
        let data = self.directory.join("data");
        let port = self.port.to_string();
        let mut settings: Vec<(String, String)> = programs::settings(self.options.durable)
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        settings.push(("log_directory".to_owned(), logs.display().to_string()));
        settings.push(("unix_socket_directories".to_owned(), self.directory.display().to_string()));
        if self.options.authority.is_some() {
            settings.push(("ssl".to_owned(), "on".to_owned()));
        }
        settings.extend(self.options.settings.iter().cloned());
        let spec = Spec::new("postgres", programs::path("postgres")?, &self.directory)
            .user(SYSTEM_USER)
            .env("LC_ALL", "C")
            .args(["-p", &port, "-D"])
            .args([&data])
            .args(settings.iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]));
        let Some(mebibytes) = self.options.small_disk else { return Ok(spec) };
        let directory = self.directory.join("small");
        std::fs::create_dir_all(&directory)?;
        Ok(spec.disk(&directory, mebibytes))
    }

    /// Stops the server and waits for its end: `SIGINT` fast, `SIGQUIT` immediate (as after a crash).
    ///
    /// # Errors
    /// When it is still running half a minute later.
    pub async fn stop(&mut self, how: Signal) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            // Only the postmaster: its children have their own groups and follow it.
            kill(Pid::from_raw(i32::try_from(process.pid())?), how)?;
            process.wait(READY).await?;
        }
        Ok(())
    }

    /// Makes a standby a primary on a new timeline.
    ///
    /// # Errors
    /// When it refuses, or is no standby.
    pub async fn promote(&self) -> Result<()> {
        self.admin().execute("SELECT pg_promote()").await
    }

    /// Lets a standby stay behind from now on.
    ///
    /// # Errors
    /// When it goes on following.
    pub async fn fall_behind(&self) -> Result<()> {
        let admin = self.admin();
        admin.execute("ALTER SYSTEM SET primary_conninfo = ''").await?;
        admin.execute("SELECT pg_reload_conf()").await?;
        await_until("the standby having stopped to follow", READY, async || {
            let follows = admin.value("SELECT count(*) FROM pg_stat_wal_receiver").await?;
            ensure!(follows == "0", "it follows");
            Ok(())
        })
        .await
    }

    /// Ends the server as a crash does, and removes what it has.
    ///
    /// # Errors
    /// When it goes on.
    pub async fn discard(mut self) -> Result<()> {
        self.stop(Signal::SIGQUIT).await?;
        Ok(std::fs::remove_dir_all(&self.directory)?)
    }

    /// Where it listens, on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the postmaster while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// A new database with the observer in it, owned by [`OWNER`]; the operator may create its own schema there.
    ///
    /// # Errors
    /// When it cannot be created.
    pub async fn database(&self, name: &str) -> Result<Database> {
        self.admin().execute(&format!("CREATE DATABASE {name} TEMPLATE observed OWNER {OWNER}")).await?;
        self.admin().execute(&format!("GRANT CREATE ON DATABASE {name} TO {OPERATOR}")).await?;
        Ok(self.named(name))
    }

    /// A database that exists already, by name.
    pub fn named(&self, name: &str) -> Database {
        Database::new(name, self.port, self.options.authority.is_some())
    }

    /// The maintenance database, for what concerns the whole server.
    pub fn admin(&self) -> Database {
        self.named("postgres")
    }

    /// The observer's view of the server log: statements that change a schema, errors, and everything above.
    ///
    /// # Errors
    /// When the server is not running.
    pub async fn server_log(&self, database: &str) -> Result<Vec<LogLine>> {
        self.admin().server_log(&self.directory.join("log"), database).await
    }

    fn write_certificate(&self) -> Result<()> {
        let Some(authority) = &self.options.authority else {
            return Ok(());
        };
        let identity = authority.issue(&["localhost", "127.0.0.1"])?;
        let data = self.directory.join("data");
        programs::write_private(&data.join("server.crt"), &identity.certificate)?;
        programs::write_private(&data.join("server.key"), &identity.key)?;
        self.rewrite_hba("host ", "hostssl ")
    }

    fn rewrite_hba(&self, from: &str, to: &str) -> Result<()> {
        let file = self.directory.join("data/pg_hba.conf");
        let hba = std::fs::read_to_string(&file)?;
        programs::write_private(&file, &hba.replace(from, to))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Killing the postmaster alone would leave its children to find out by themselves.
        let Some(process) = self.process.as_mut() else {
            return;
        };
        let Ok(pid) = i32::try_from(process.pid()) else {
            return;
        };
        if kill(Pid::from_raw(pid), Signal::SIGQUIT).is_ok() {
            for _ in 0..100 {
                if !matches!(process.exited(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// A directory that the server's user may write.
fn private_directory(purpose: &str) -> Result<PathBuf> {
    let directory = scratch::directory(purpose)?;
    give_to_server(&directory)?;
    Ok(directory)
}

fn give_to_server(path: &Path) -> Result<()> {
    if geteuid().is_root() {
        let (uid, gid) = system_user(SYSTEM_USER)?;
        chown(path, Some(uid), Some(gid)).with_context(|| format!("cannot give {} away", path.display()))?;
    }
    Ok(())
}
