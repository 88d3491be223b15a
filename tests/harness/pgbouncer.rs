//! A `PgBouncer` in front of a PostgreSQL server, which must be recognised where it pools transactions.

use std::time::Duration;

use anyhow::Result;

use super::postgres::{Database, PASSWORD};
use super::process::{self, Process, Spec, system_user};
use super::{ports, scratch};

/// A running pooler.
pub struct PgBouncer {
    port: u16,
    _process: Process,
}

impl PgBouncer {
    /// Starts it in front of a database's server; `mode` is `transaction` or `session`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start(database: &Database, mode: &str, users: &[&str]) -> Result<Self> {
        let directory = scratch::directory("pgbouncer")?;
        let port = ports::free()?;
        let line = |user: &&str| format!("\"{user}\" \"{PASSWORD}\"");
        let list = users.iter().map(line).collect::<Vec<_>>().join("\n");
        std::fs::write(directory.join("users.txt"), list)?;
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             auth_type = scram-sha-256\nauth_file = users.txt\npool_mode = {mode}\nunix_socket_dir =\n\
             default_pool_size = 2\nignore_startup_parameters = extra_float_digits\n",
            database.port()
        );
        std::fs::write(directory.join("pgbouncer.ini"), configuration)?;
        if nix::unistd::geteuid().is_root() {
            let (uid, gid) = system_user("postgres")?;
            std::os::unix::fs::chown(&directory, Some(uid), Some(gid))?;
        }
        let program = process::find("pgbouncer", &[], "tests/setup/packages.sh servers")?;
        let spec = Spec::new("pgbouncer", program, &directory).user("postgres").args(["pgbouncer.ini"]);
        let mut process = Process::start(&spec)?;
        let (through, user) =
            (database.through(port), users.first().copied().unwrap_or(super::postgres::SUPERUSER));
        process.ready(Duration::from_secs(10), async || through.connect_as(user).await.map(drop)).await?;
        Ok(Self { port, _process: process })
    }

    /// Where it listens, on `127.0.0.1`.
    pub fn port(&self) -> u16 {
        self.port
    }
}
