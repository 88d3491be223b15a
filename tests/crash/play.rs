//! One run: databases from the template, a driver with a fault, whoever takes over, and what the oracle says of it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::driver::NOT_DONE;
use super::fault::{Case, Fault};
use super::fill;
use super::judge::{self, Reference};
use super::oracle::{self, Seen};
use super::orders::{Orders, Outcome, Place, Recorded, Wanted};
use super::owner::{Owner, SOON, Waiting};
use super::stage::{Pair, Stage};
use super::workload::Workload;
use super::writers::{Acknowledged, Writers};
use crate::harness::postgres::Database;
use crate::harness::proxy::{Mode, Proxy};
use crate::harness::{await_until, scratch};

/// So many points further at most a server is gone that its standby did not follow.
const FURTHER: usize = 30;
/// A run has to end so soon after its last fault.
const CONVERGES: Duration = Duration::from_secs(30);
/// So often a fresh driver is started where the last one was fenced.
const OWNERS: u32 = 6;
/// For how long a statement is held up that is to be met in the middle, in seconds.
const BRAKE: f64 = 0.02;

/// What a run showed.
#[derive(Debug, Default)]
pub struct Shown {
    /// The points that the drivers passed.
    pub points: Vec<String>,
    /// Whether a standby lacked something of the ledger when it took over.
    pub lost: bool,
    /// The points at which a fault fired.
    pub fired: Vec<String>,
    /// What should not be.
    pub violations: Vec<String>,
    /// What the databases are at the end, and the copies.
    pub seen: Vec<Seen>,
    pub copies: Vec<Seen>,
    /// What the last driver said.
    pub outcomes: Vec<Outcome>,
    /// The ends of the drivers' logs, where something is wrong.
    pub logs: String,
}

/// What a run is played with.
pub struct Play<'a> {
    pub workload: &'a Workload,
    pub case: Option<&'a Case>,
    pub reference: Option<&'a Reference>,
    pub mutant: Option<&'a str>,
    /// What is wanted of the workload.
    pub version: Version,
}

/// What is wanted of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// As it is.
    Written,
    /// The edited spec counts from the beginning.
    Edited,
    /// Nothing is watched, and nobody asks for a rollback.
    Unwatched,
}

struct Scene<'a> {
    stage: &'a mut Stage,
    play: &'a Play<'a>,
    databases: Vec<Database>,
    copies: Vec<Database>,
    subjects: Vec<Wanted>,
    directory: PathBuf,
    proxy: Option<Proxy>,
    pair: Option<Pair>,
    recorded: Option<Recorded>,
    lost: bool,
    random: StdRng,
    owners: Vec<Owner>,
    done: Option<Vec<Outcome>>,
    writers: Option<Writers>,
}

impl Play<'_> {
    /// Plays it, and judges what it led to.
    ///
    /// # Errors
    /// When the harness itself fails.
    pub async fn run(&self, stage: &mut Stage) -> Result<Shown> {
        let mut scene = Scene::set(stage, self).await?;
        let mut shown = Shown::default();
        if let Err(error) = scene.act().await {
            shown.violations.push(format!("{error:#}"));
        }
        for owner in &scene.owners {
            let (points, fired) = owner.points();
            shown.points.extend(points);
            shown.fired.extend(fired);
        }
        shown.lost = scene.lost;
        scene.look(&mut shown).await?;
        if !shown.violations.is_empty() {
            shown.logs = scene.owners.iter().map(Owner::tail).collect::<Vec<_>>().join("\n  --\n");
        }
        scene.clear().await?;
        Ok(shown)
    }
}

impl<'a> Scene<'a> {
    async fn set(stage: &'a mut Stage, play: &'a Play<'a>) -> Result<Self> {
        let inside = play.case.is_some_and(|case| case.point.ends_with("/Executing"));
        let brake = inside.then_some(BRAKE);
        let (mut databases, mut copies) = (Vec::new(), Vec::new());
        let mut pair = None;
        for _ in 0..play.workload.databases {
            if play.case.is_some_and(|case| case.fault == Fault::Failover) {
                let (both, database) = stage.pair(brake).await?;
                pair = Some(both);
                databases.push(database);
            } else {
                databases.push(stage.database(brake).await?);
            }
            if play.workload.copy {
                copies.push(stage.database(brake).await?);
            }
        }
        if let Some(fill) = play.workload.fill {
            for database in databases.iter().chain(&copies) {
                fill.prepare(database).await?;
            }
        }
        let seed = play.case.map_or(0, |case| case.seed);
        let writers = play.workload.fill.map(|fill| Writers::start(fill, &databases[0], seed));
        let wanted = |one: &super::workload::Migration| {
            let edited = one.edited.clone().filter(|_| play.version == Version::Edited);
            let mut spec = edited.unwrap_or_else(|| one.spec.clone());
            if play.version == Version::Unwatched {
                spec.as_object_mut().expect("a spec").remove("analysis");
                fill::let_go(&mut spec);
            }
            let name = one.name.to_owned();
            Wanted { database: one.database, name, generation: 1, spec, gone: false, run: None }
        };
        let proxy = match play.case.map(|case| case.fault) {
            Some(Fault::Reset | Fault::LostReply | Fault::BlackHole) => {
                Some(Proxy::start(stage.port()).await?)
            }
            Some(Fault::Failover) => Some(Proxy::start(databases[0].port()).await?),
            _ => None,
        };
        Ok(Self {
            databases,
            copies,
            subjects: play.workload.migrations.iter().map(wanted).collect(),
            directory: scratch::directory("run")?,
            proxy,
            pair,
            recorded: None,
            lost: false,
            random: StdRng::seed_from_u64(seed),
            owners: Vec::new(),
            done: None,
            writers,
            stage,
            play,
        })
    }

    /// Starts a driver; the first one goes through the proxy, if there is one. Returns its number.
    fn start(&mut self, faults: Option<&str>) -> Result<usize> {
        let number = self.owners.len();
        let first = (number == 0).then_some(self.proxy.as_ref()).flatten();
        let port = first.map_or(self.databases[0].port(), Proxy::port);
        // Where there is a pair, the copies are elsewhere, and lose nothing.
        let copies_port = if self.pair.is_some() { self.stage.port() } else { port };
        let copies = self.copies.iter().map(|copy| Some((copies_port, copy.name().to_owned())));
        let copies = copies.chain(std::iter::repeat(None));
        let recorded = self.recorded.clone();
        let place = |(database, copy): (&Database, _)| {
            let (name, recorded) = (database.name().to_owned(), recorded.clone());
            Place { port, name, copy, recorded }
        };
        let orders = Orders {
            owner: format!("driver-{number}"),
            databases: self.databases.iter().zip(copies).map(place).collect(),
            subjects: self.subjects.clone(),
            rolled_back_on_request: self.play.workload.rolled_back_on_request,
            outcome: String::new(),
            control: String::new(),
        };
        self.owners.push(Owner::start(&self.directory, orders, faults, self.play.mutant)?);
        Ok(number)
    }

    /// Waits for the end of a driver. One that was fenced, or that is killed on purpose, has nothing to say.
    async fn end(&mut self, number: usize) -> Result<()> {
        let owner = &mut self.owners[number];
        let status = owner.end(CONVERGES).await?;
        match status.code() {
            Some(0) => self.done = Some(owner.outcomes().context("a driver did not say how it ended")?),
            Some(code) if code == i32::from(NOT_DONE) => {}
            _ => bail!("driver {number} ended: {status}"),
        }
        Ok(())
    }

    /// Somebody takes over until the end.
    async fn finish(&mut self) -> Result<()> {
        for _ in 0..OWNERS {
            if self.done.is_some() {
                return Ok(());
            }
            let number = self.start(None)?;
            self.end(number).await?;
        }
        ensure!(self.done.is_some(), "{OWNERS} owners after each other were fenced, and nobody is left");
        Ok(())
    }

    async fn act(&mut self) -> Result<()> {
        let Some(case) = self.play.case else {
            let number = self.start(None)?;
            self.end(number).await?;
            ensure!(self.done.is_some(), "the only driver was fenced");
            return Ok(());
        };
        let mut fault = format!("{}#{}={}", case.point, case.hit, case.fault.action());
        if case.fault == Fault::Failover {
            fault = self.and_later(case, fault);
        }
        self.start(Some(&fault))?;
        match case.fault {
            Fault::Kill | Fault::Panic => self.dies(0).await?,
            Fault::KillTwice => {
                self.dies(0).await?;
                let points = &self.play.reference.context("no reference")?.points;
                let second = points.choose(&mut self.random).context("no points")?;
                let number = self.start(Some(&format!("{second}=kill")))?;
                self.dies(number).await?;
            }
            Fault::Freeze => self.freezes().await?,
            _ => {
                if let Some(waiting) = self.owners[0].waiting().await? {
                    self.disturb(case.fault, waiting).await?;
                } else {
                    // It ended without coming to the point, or came to a later one first and died there: the run is invalid,
                    // which the points show.
                    self.dies(0).await?;
                }
            }
        }
        self.finish().await
    }

    /// A driver dies at its point, or ends without coming to it.
    async fn dies(&mut self, number: usize) -> Result<()> {
        let status = self.owners[number].end(CONVERGES).await?;
        if status.success() {
            self.done = self.owners[number].outcomes();
        }
        Ok(())
    }

    async fn freezes(&mut self) -> Result<()> {
        if !self.owners[0].frozen().await? {
            return self.end(0).await;
        }
        let second = self.start(None)?;
        if self.random.random_bool(0.5) {
            tokio::time::sleep(Duration::from_millis(self.random.random_range(0..80))).await;
            self.owners[0].wake()?;
            self.end(second).await?;
        } else {
            self.end(second).await?;
            self.owners[0].wake()?;
        }
        self.end(0).await
    }

    async fn disturb(&mut self, fault: Fault, waiting: Waiting) -> Result<()> {
        match fault {
            Fault::Terminate => self.signal_sessions("pg_terminate_backend").await?,
            Fault::Cancel => self.signal_sessions("pg_cancel_backend").await?,
            Fault::Restart => self.stage.crash().await?,
            Fault::Reset => {
                let proxy = self.proxy.as_ref().context("no proxy")?;
                proxy.set(Mode::Reset);
                tokio::time::sleep(Duration::from_millis(3)).await;
                proxy.set(Mode::Forward);
            }
            Fault::LostReply => return self.lost_reply(waiting).await,
            Fault::BlackHole => return self.black_hole(waiting).await,
            Fault::Failover => return self.fail_over(waiting).await,
            Fault::SecondOwner => return self.second_owner(waiting).await,
            Fault::Delete => {
                self.subjects[0].gone = true;
                self.owners[0].wants(&self.subjects).await?;
            }
            Fault::Edit => {
                let edited = self.play.workload.migrations[0].edited.clone();
                self.subjects[0].spec = edited.context("nothing to edit")?;
                self.subjects[0].generation = 2;
                self.owners[0].wants(&self.subjects).await?;
            }
            Fault::Kill | Fault::KillTwice | Fault::Panic | Fault::Freeze => bail!("{fault:?} does not wait"),
        }
        waiting.release().await?;
        self.end(0).await
    }

    async fn signal_sessions(&self, function: &str) -> Result<()> {
        let names: Vec<String> =
            self.databases.iter().chain(&self.copies).map(|one| format!("'{}'", one.name())).collect();
        let sql = format!(
            "SELECT {function}(pid) FROM pg_stat_activity WHERE usename = 'whimbrel' AND datname IN ({})",
            names.join(", ")
        );
        self.stage.template().execute(&sql).await
    }

    /// The next answer is lost, on whichever connection, and its connection with it.
    async fn lost_reply(&mut self, waiting: Waiting) -> Result<()> {
        let proxy = self.proxy.as_ref().context("no proxy")?;
        proxy.set(Mode::DropReply);
        waiting.release().await?;
        await_until("an answer being lost", SOON, async || {
            ensure!(proxy.dropped() > 0, "none was");
            Ok(())
        })
        .await?;
        proxy.set(Mode::Forward);
        self.end(0).await
    }

    /// Another owner begins, and the first one goes on at some moment of that: soon, or when the other has looked at the
    /// ledger and waits for what the first one holds.
    async fn second_owner(&mut self, waiting: Waiting) -> Result<()> {
        let second = self.start(None)?;
        let soon = Duration::from_millis(self.random.random_range(0..60));
        if self.random.random_bool(0.5) {
            let name = self.databases[0].name();
            let sql = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND wait_event_type = 'Lock'"
            );
            let template = self.stage.template();
            let blocked = async || {
                ensure!(template.value(&sql).await? != "0", "nobody waits");
                Ok(())
            };
            // Where the first one holds nothing, nobody waits.
            let _ = await_until("the second owner waiting", Duration::from_secs(1), blocked).await;
        } else {
            tokio::time::sleep(soon).await;
        }
        waiting.release().await?;
        self.end(0).await?;
        self.end(second).await
    }

    /// The first owner hears nothing any more; another one takes over, and then the network comes back.
    async fn black_hole(&mut self, waiting: Waiting) -> Result<()> {
        self.proxy.as_ref().context("no proxy")?.set(Mode::BlackHole);
        waiting.release().await?;
        let second = self.start(None)?;
        self.end(second).await?;
        let back = if self.random.random_bool(0.5) { Mode::Forward } else { Mode::Reset };
        let proxy = self.proxy.as_ref().context("no proxy")?;
        proxy.set(back);
        tokio::time::sleep(Duration::from_millis(3)).await;
        proxy.set(Mode::Forward);
        self.end(0).await
    }

    /// Adds what happens at a later point, if it does not just go on to the end.
    fn and_later(&mut self, case: &Case, fault: String) -> String {
        let place = format!("{}#{}", case.point, case.hit);
        let points = self.play.reference.map_or(&[][..], |reference| &reference.points);
        let rest = points.iter().skip_while(|point| **point != place).skip(1).take(FURTHER);
        let rest: Vec<&String> = rest.collect();
        let action = if self.random.random_bool(0.5) { "kill" } else { "wait" };
        match rest.choose(&mut self.random) {
            Some(later) if self.random.random_bool(0.8) => format!("{fault},{later}={action}"),
            _ => fault,
        }
    }

    /// The standby stays behind at the first point. At the second one the server is gone, and perhaps the owner with it;
    /// else it finds the standby where the server was.
    async fn fail_over(&mut self, waiting: Waiting) -> Result<()> {
        let mut pair = self.pair.take().context("no pair")?;
        pair.standby.fall_behind().await?;
        waiting.release().await?;
        let second = self.owners[0].waiting().await?;
        self.note().await?;
        let ledger = "SELECT md5(string_agg(line, '' ORDER BY line)) FROM (SELECT u::text FROM whimbrel.units u \
                      UNION ALL SELECT r::text FROM whimbrel.runs r) l (line)";
        let before = self.databases[0].value(ledger).await?;
        pair.fail_over().await?;
        self.databases[0] = self.databases[0].through(pair.standby.port());
        if let Some(proxy) = &self.proxy {
            proxy.retarget(pair.standby.port());
        }
        if let Some(writers) = &self.writers {
            writers.follow(&self.databases[0]);
        }
        self.lost = self.databases[0].value(ledger).await? != before;
        self.pair = Some(pair);
        // Whoever ended before knew of what is lost.
        self.done = None;
        if let Some(second) = second {
            second.release().await?;
            self.end(0).await?;
        }
        Ok(())
    }

    /// Notes what the statuses tell of the database and of the run.
    async fn note(&mut self) -> Result<()> {
        let database = &self.databases[0];
        let identifier = "SELECT system_identifier::text FROM pg_control_system()";
        let applied = "SELECT coalesce(max(version), '') FROM whimbrel.runs WHERE phase = 'Succeeded'";
        let version = Some(database.value(applied).await?).filter(|version| !version.is_empty());
        self.recorded = Some(Recorded { server: (database.value(identifier).await?, 1), version });
        let run = "SELECT id FROM whimbrel.runs ORDER BY seq DESC LIMIT 1";
        self.subjects[0].run = Some(database.value(run).await?);
        Ok(())
    }

    /// Asks the oracle.
    async fn look(&mut self, shown: &mut Shown) -> Result<()> {
        let ended = Instant::now();
        let written = match self.writers.take() {
            Some(writers) => writers.stop().await?,
            None => Acknowledged::default(),
        };
        for database in self.databases.iter().chain(&self.copies) {
            for line in oracle::staying(database).await? {
                let after = ended.elapsed();
                shown.violations.push(format!("{line} is there {after:.1?} after the end"));
            }
        }
        for database in &self.databases {
            shown.seen.push(oracle::look(database, false).await?);
        }
        if let Some(fill) = self.play.workload.fill {
            shown.violations.extend(fill.wrong(&self.databases[0], written).await?);
            for copy in &self.copies {
                shown.violations.extend(fill.wrong_copy(copy).await?);
            }
        }
        for copy in &self.copies {
            shown.copies.push(oracle::look(copy, true).await?);
        }
        shown.outcomes = self.done.take().unwrap_or_default();
        shown.violations.extend(judge::judge(self.play, shown));
        Ok(())
    }

    async fn clear(self) -> Result<()> {
        drop(self.owners);
        let gone = self.pair.is_some();
        if let Some(pair) = self.pair {
            pair.discard().await?;
        }
        for database in self.databases.iter().filter(|_| !gone).chain(&self.copies) {
            self.stage.remove(database).await?;
        }
        // What a run leaves behind is small; thousands of them are not.
        let _ = std::fs::remove_dir_all(&self.directory);
        Ok(())
    }
}
