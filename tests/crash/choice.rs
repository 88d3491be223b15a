//! Which runs are played, and whether one that is not as it should be may be the machine's fault.

use std::fmt::Display;
use std::str::FromStr;

use anyhow::{Error, Result};

/// Which runs.
#[derive(clap::Args, Clone)]
pub struct Choice {
    /// So many runs: fewer than there are mean a sample. Default: each once.
    #[arg(long)]
    pub runs: Option<usize>,
    /// So many at the same time, each with servers of its own.
    #[arg(long, default_value_t = 4)]
    pub workers: usize,
    /// For everything that is drawn.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Plays one run again, as a violation names it.
    #[arg(long)]
    run: Option<String>,
    /// Plays what contains this text.
    #[arg(long)]
    pub only: Option<String>,
}

impl Choice {
    /// What is drawn begins here.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()))
    }

    /// The one run that is played again.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn one<C: FromStr<Err = Error>>(&self) -> Result<Option<C>> {
        self.run.as_deref().map(str::parse).transpose()
    }

    /// Keeps what is to be played.
    pub fn narrow<C: Display>(&self, cases: &mut Vec<C>) {
        if let Some(only) = &self.only {
            cases.retain(|case| case.to_string().contains(only));
        }
    }
}

/// Whether something did not come in time, which a slow machine may be the reason of: such a run is played once more.
pub fn out_of_time(violations: &[String]) -> bool {
    let words = ["deadline has elapsed", "not within", "it hangs"];
    violations.iter().any(|violation| words.iter().any(|word| violation.contains(word)))
}

/// Says which runs were in time only when they were played again. So many of them say that the machine is too slow, or that
/// something hangs now and then: returns whether they are few.
pub fn tell_slow(slow: &[String], planned: usize) -> bool {
    println!(
        "slow        {} (not in time, and all was well when played again: no violation) {slow:?}",
        slow.len()
    );
    slow.len() * 100 <= planned.max(100)
}

/// Says what is not as it has to be, and returns whether all is well.
pub fn tell_verdict(needs: &[(bool, &str)]) -> bool {
    for (_, need) in needs.iter().filter(|(holds, _)| !holds) {
        println!("FAILED      {need}");
    }
    needs.iter().all(|(holds, _)| *holds)
}
