//! The faults, and cases: a workload, a point, and what happens there.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context as _, Error, Result, bail};

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL, and somebody else takes over.
    Kill,
    /// A panic, and somebody else takes over.
    Panic,
    /// SIGKILL twice: the one who takes over dies too, at a point of its own.
    KillTwice,
    /// SIGSTOP; somebody else takes over, and the frozen owner wakes up meanwhile or afterwards.
    Freeze,
    /// The server ends our sessions.
    Terminate,
    /// The server cancels our statements.
    Cancel,
    /// The network resets our connections.
    Reset,
    /// What is sent next arrives, and its answer is lost with the connection.
    LostReply,
    /// The network swallows everything; somebody else takes over, then it comes back.
    BlackHole,
    /// The server crashes and comes back.
    Restart,
    /// The server is gone for good, and a standby that lacks its last commits takes its place.
    Failover,
    /// A second owner begins, while the first goes on.
    SecondOwner,
    /// The object is deleted.
    Delete,
    /// The object's SQL is edited.
    Edit,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Kill,
        Self::Panic,
        Self::KillTwice,
        Self::Freeze,
        Self::Terminate,
        Self::Cancel,
        Self::Reset,
        Self::LostReply,
        Self::BlackHole,
        Self::Restart,
        Self::Failover,
        Self::SecondOwner,
        Self::Delete,
        Self::Edit,
    ];

    /// What the driver itself does at the point.
    pub fn action(self) -> &'static str {
        match self {
            Self::Kill | Self::KillTwice => "kill",
            Self::Panic => "panic",
            Self::Freeze => "stop",
            Self::Terminate
            | Self::Cancel
            | Self::Reset
            | Self::LostReply
            | Self::BlackHole
            | Self::Restart
            | Self::Failover
            | Self::SecondOwner
            | Self::Delete
            | Self::Edit => "wait",
        }
    }

    /// How often it is drawn among all, for a sample: those that take seconds are rare.
    pub fn weight(self) -> u32 {
        match self {
            Self::Kill | Self::Terminate | Self::Reset | Self::LostReply => 10,
            Self::KillTwice | Self::Panic | Self::SecondOwner | Self::Cancel | Self::Delete | Self::Edit => 4,
            Self::Restart => 3,
            Self::Freeze | Self::BlackHole => 2,
            Self::Failover => 1,
        }
    }
}

/// One run of the matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// Name of the workload.
    pub workload: String,
    /// `Site/Moment`.
    pub point: String,
    /// At which time that the point is passed.
    pub hit: u32,
    /// What happens there.
    pub fault: Fault,
    /// For everything that is drawn.
    pub seed: u64,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}#{}:{:?}:{}", self.workload, self.point, self.hit, self.fault, self.seed)
    }
}

impl FromStr for Case {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let [workload, place, fault, seed] = parts[..] else {
            bail!("{text} is not WORKLOAD:SITE/MOMENT#HIT:FAULT:SEED");
        };
        let (point, hit) = place.split_once('#').context("no hit")?;
        let named = Fault::ALL.into_iter().find(|one| format!("{one:?}") == fault);
        Ok(Self {
            workload: workload.to_owned(),
            point: point.to_owned(),
            hit: hit.parse().context("the hit")?,
            fault: named.with_context(|| format!("there is no fault {fault}"))?,
            seed: seed.parse().context("the seed")?,
        })
    }
}
