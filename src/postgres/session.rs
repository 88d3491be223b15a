//! The work session: the one connection that runs a plan's statements, and the observer beside it.
//!
//! Invariants: the session that runs the statements holds the advisory lock, so that the lock can neither outlive nor
//! underlive the work; a session acts only under an epoch that is its own; the observer never holds a snapshot.

use std::time::Duration;

use sqlx::{Connection, PgConnection, Row};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::connect::{self, Purpose, connect};
use super::error::Error;
use super::identity::{Comparison, Pinned, ServerIdentity};
use super::ledger::{self, Side};
use super::pooler;
use super::statement::send_ours;
use super::takeover::{self, Builds};
use super::target::Target;
use crate::core::backfill::Progress;
use crate::core::observation::UnitStatus;
use crate::crash::{self, Moment, Site};

/// A pair of connections to one database, checked against its pinned identity.
#[derive(Debug)]
pub struct Session {
    work: PgConnection,
    observer: Option<PgConnection>,
    pid: i32,
    observer_pid: i32,
    application: String,
    epoch: i64,
    owned: bool,
    server: ServerIdentity,
    head: Option<ledger::Head>,
    filled: watch::Sender<Option<Progress>>,
}

/// What a ledger row says of its writer.
#[derive(Clone, Debug)]
pub(super) struct Marks {
    /// The epoch under which it acted.
    pub epoch: i64,
    /// Its backend.
    pub pid: i32,
    /// The server.
    pub server: ServerIdentity,
}

impl Session {
    /// Connects twice and checks what it reached: a server that takes writes, no transaction pooler, the server that the
    /// ledger was made on. Changes nothing.
    ///
    /// # Errors
    /// Everything of [`connect()`], `InRecovery`, `PoolerDetected`, `WrongServer`, `LedgerNewer`.
    pub async fn open(target: &Target, application: &str) -> Result<Self, Error> {
        let purpose = Purpose::new(application).stop_when_abandoned(Duration::from_millis(500));
        let (mut work, mut observer) = connect_twice(target, purpose).await?;
        let (pid, observer_pid) = pooler::ensure_direct(&target.address(), &mut work, &mut observer).await?;
        let server = ServerIdentity::read(&mut work).await?;
        if server.in_recovery {
            return Err(Error::InRecovery { target: target.address() });
        }
        let head = ledger::head(&mut work).await?;
        if let Some(head) = &head
            && head.system_identifier != server.system_identifier
            && head.side == Side::Primary.as_str()
        {
            return Err(Error::WrongServer {
                expected: head.system_identifier.clone(),
                found: server.system_identifier.clone(),
            });
        }
        Ok(Self {
            work,
            observer: Some(observer),
            pid,
            observer_pid,
            application: application.to_owned(),
            epoch: 0,
            owned: false,
            server,
            head,
            filled: watch::Sender::default(),
        })
    }

    /// Tells how far the backfill is that this session runs, for whoever waits beside it; none between two of them.
    pub fn filled(&self) -> watch::Receiver<Option<Progress>> {
        self.filled.subscribe()
    }

    /// Notes how far the backfill is that this session runs.
    pub(super) fn note_filled(&self, progress: Option<Progress>) {
        self.filled.send_replace(progress);
    }

    /// Compares the server with what was noted of it outside; a higher timeline is a failover, and no error.
    ///
    /// # Errors
    /// `NotPinned` for another server, and for an old primary that missed a promotion.
    pub fn expect(&self, pinned: &Pinned) -> Result<(), Error> {
        match self.server.against_noted(pinned) {
            Comparison::Same => Ok(()),
            Comparison::Failover { from, to } => {
                tracing::info!(from, to, "a failover: the timeline is another one");
                Ok(())
            }
            Comparison::WrongServer(mismatch) => Err(Error::NotPinned(mismatch)),
        }
    }

    /// Notes in the ledger on which timeline it was seen, once this session owns the database.
    pub async fn note_timeline(&mut self) -> Result<(), Error> {
        let timeline = self.server.timeline_number();
        if let Some(head) = self.head.as_mut().filter(|head| head.timeline < timeline) {
            ledger::record_timeline(&mut self.work, self.epoch, timeline).await?;
            head.timeline = timeline;
        }
        Ok(())
    }

    /// Waits until a synchronous standby has applied all that was committed so far.
    ///
    /// # Errors
    /// `NoStandby`, `StandbyBehind`; the session is as good as before.
    pub async fn await_standby(&mut self, within: Duration) -> Result<(), Error> {
        let names: String = sqlx::raw_sql("SELECT current_setting('synchronous_standby_names')")
            .fetch_one(&mut self.work)
            .await?
            .try_get(0)?;
        if names.trim().is_empty() {
            return Err(Error::NoStandby);
        }
        // A commit waits for all WAL before it, too; this one holds no lock that anybody needs.
        let something = "BEGIN; SET LOCAL synchronous_commit TO remote_apply; \
             SELECT pg_logical_emit_message(true, 'whimbrel', 'applied')";
        send_ours(&mut self.work, something.to_owned()).await?;
        let commit = send_ours(&mut self.work, "COMMIT".to_owned());
        tokio::pin!(commit);
        if let Ok(done) = tokio::time::timeout(within, &mut commit).await {
            return done;
        }
        // The server's own timeouts do not end this wait.
        if let Some(observer) = self.observer.as_mut() {
            sqlx::query("SELECT pg_cancel_backend($1)").bind(self.pid).execute(observer).await?;
        }
        connect::within("cancel the wait for a standby", within, commit).await?;
        Err(Error::StandbyBehind(within))
    }

    /// Returns the ledger's head, as it was when the session was opened.
    pub fn head(&self) -> Option<&ledger::Head> {
        self.head.as_ref()
    }

    /// Returns the server that was reached.
    pub fn server(&self) -> &ServerIdentity {
        &self.server
    }

    /// Returns the epoch under which this session acts; 0 before [`Session::own`].
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// Returns the backend that runs the statements.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Returns the connection that runs the statements.
    pub fn conn(&mut self) -> &mut PgConnection {
        &mut self.work
    }

    /// Returns the connection that runs the statements, and the observer, unless it was taken out.
    pub(super) fn both(&mut self) -> (&mut PgConnection, &mut Option<PgConnection>) {
        (&mut self.work, &mut self.observer)
    }

    /// Returns what a ledger row says of its writer.
    pub(super) fn marks(&self) -> Marks {
        Marks { epoch: self.epoch, pid: self.pid, server: self.server.clone() }
    }

    /// Makes the ledger where there is none; on a copy, adopts the one that was copied.
    pub async fn ensure_ledger(&mut self, side: Side) -> Result<(), Error> {
        match &self.head {
            None => ledger::create(&mut self.work, side, &self.server).await?,
            Some(head) if head.side == side.as_str() && head.version == ledger::VERSION => return Ok(()),
            Some(head) if head.side == side.as_str() => ledger::upgrade(&mut self.work, head.version).await?,
            Some(head) if side == Side::Copy => {
                let version = head.version;
                ledger::adopt_copied(&mut self.work, &self.server).await?;
                if version < ledger::VERSION {
                    ledger::upgrade(&mut self.work, version).await?;
                }
            }
            Some(_) => return Err(Error::IsACopy),
        }
        self.head = ledger::head(&mut self.work).await?;
        Ok(())
    }

    /// Tells whether this session owns the database: [`Session::own`] went through.
    pub fn owned(&self) -> bool {
        self.owned
    }

    /// Becomes the owner: bumps the epoch (or keeps `last`, where we owned it before and nobody took over since), ends
    /// what a predecessor left running, and takes the advisory lock. May be called again after `OwnerAlive`.
    ///
    /// # Errors
    /// `Fenced` when somebody else took over since `last`; `OwnerAlive` while a predecessor's concurrent build runs or its
    /// session is not gone yet: try again later.
    pub async fn own(&mut self, owner: &str, last: Option<i64>, builds: Builds) -> Result<i64, Error> {
        let ours = [self.pid, self.observer_pid];
        match last {
            Some(last) if self.epoch == 0 => self.epoch = last,
            None if self.epoch == 0 => self.epoch = takeover::bump(&mut self.work, owner, &ours).await?,
            _ => {}
        }
        if !self.owned {
            if last.is_some() {
                self.same_epoch().await?;
            }
            takeover::clear(&mut self.work, &ours, builds).await?;
            crash::at(Site::LockTaken, Moment::BeforeIntent).await;
            takeover::lock(&mut self.work).await?;
            crash::at(Site::LockTaken, Moment::Recorded).await;
            self.owned = true;
        }
        Ok(self.epoch)
    }

    /// Re-reads the epoch outside a transaction.
    async fn same_epoch(&mut self) -> Result<(), Error> {
        let row = sqlx::raw_sql("SELECT epoch FROM whimbrel.epoch").fetch_one(&mut self.work).await?;
        let epoch: i64 = row.try_get(0)?;
        if epoch == self.epoch { Ok(()) } else { Err(Error::Fenced) }
    }

    /// Makes sure, before and after a statement that cannot run in a transaction, that nobody took over, and that this
    /// session holds the advisory lock, which SQL of a user can release.
    pub(super) async fn still_owner(&mut self) -> Result<(), Error> {
        takeover::lock(&mut self.work).await?;
        self.same_epoch().await
    }

    /// Makes sure, after a statement that cannot run in a transaction, that it left the ledger of its own unit alone.
    ///
    /// # Errors
    /// `LedgerTouched`.
    pub(super) async fn unchanged(
        &mut self,
        run: Uuid,
        unit: usize,
        expected: UnitStatus,
    ) -> Result<(), Error> {
        let found = ledger::units::status(&mut self.work, run, unit).await?;
        if found == expected {
            return Ok(());
        }
        Err(Error::LedgerTouched(format!(
            "whimbrel.units: unit {} is {found:?}, and was {expected:?}",
            unit + 1
        )))
    }

    /// The name of the session while it works on a unit.
    pub(super) fn name(&self, unit: usize) -> String {
        format!("{}/{}/{}", self.application, unit + 1, self.epoch)
    }

    /// Names what the session is doing, for whoever looks at `pg_stat_activity`.
    pub(super) async fn label(&mut self, unit: usize) -> Result<(), Error> {
        let name = self.name(unit);
        sqlx::query("SELECT set_config('application_name', $1, false)")
            .bind(name)
            .execute(&mut self.work)
            .await?;
        Ok(())
    }

    /// Takes back what a statement outside a transaction needed.
    pub(super) async fn restore_settings(&mut self) -> Result<(), Error> {
        send_ours(
            &mut self.work,
            "RESET ROLE; RESET search_path; RESET lock_timeout; RESET statement_timeout; RESET client_connection_check_interval"
                .to_owned(),
        )
        .await
    }

    /// Takes the observer out, to look at this session while it works; [`Session::give_back`] returns it.
    pub fn take_observer(&mut self) -> Option<PgConnection> {
        self.observer.take()
    }

    /// Gives the observer back.
    pub fn give_back(&mut self, observer: Option<PgConnection>) {
        self.observer = observer;
    }

    /// Closes both connections, and with them the advisory lock.
    pub async fn close(self) {
        // A connection that cannot be closed politely is dropped; the server ends it by its own timeouts.
        let closing = async {
            {
                let observer = async {
                    match self.observer {
                        Some(observer) => observer.close().await,
                        None => Ok(()),
                    }
                };
                tokio::join!(self.work.close(), observer)
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), closing).await;
    }
}

/// Opens two connections at once, on tasks of their own, because a login computes (SCRAM) for longer than it waits.
async fn connect_twice(target: &Target, purpose: Purpose) -> Result<(PgConnection, PgConnection), Error> {
    let (away, for_observer) = (target.clone(), purpose.clone());
    let observer = AbortOnDropHandle::new(tokio::spawn(async move { connect(&away, &for_observer).await }));
    let work = connect(target, &purpose).await?;
    let observer = observer.await.map_err(|error| Error::Unexpected(format!("connecting: {error}")))??;
    Ok((work, observer))
}
