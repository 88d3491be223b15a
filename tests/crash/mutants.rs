//! The tests are tested: with each planted bug, runs are played until one shows it.

use anyhow::{Context as _, Result};
use whimbrel::crash::Mutant;

use super::Options;
use super::fault::Case;
use super::matrix::{Known, every, play, sample};

/// So many runs have to be enough.
const RUNS: usize = 300;

/// Where a bug shows: the first part of what cases look like. Others are played after these.
fn shows(mutant: Mutant) -> Option<&'static str> {
    let _ = mutant;
    None
}

/// Plays the matrix with each bug, and returns whether all were caught.
///
/// # Errors
/// When the harness itself fails.
pub async fn all(known: &Known, options: &Options) -> Result<bool> {
    let mut survived = Vec::new();
    for mutant in Mutant::ALL {
        let name = format!("{mutant:?}");
        if options.only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        match caught(known, *mutant, options).await? {
            Some((run, case, why)) => {
                println!("{name:<22} caught in run {run}: {case}\n{:22} {why}", "");
            }
            None => survived.push(name),
        }
    }
    println!("\nmutants     {} planted, {} survived {survived:?}", Mutant::ALL.len(), survived.len());
    Ok(survived.is_empty())
}

async fn caught(known: &Known, mutant: Mutant, options: &Options) -> Result<Option<(usize, Case, String)>> {
    let seed = options.seed.unwrap_or(1);
    let mut cases = every(known, seed);
    if let Some(place) = shows(mutant) {
        cases.retain(|case| case.to_string().contains(place));
    }
    let cases = sample(cases, options.runs.unwrap_or(RUNS), seed);
    let mut runs = 0;
    let mut found = None;
    let name = format!("{mutant:?}");
    play(known, cases, options.workers, Some(&name), |played| {
        runs += 1;
        let Some(first) = played.shown.violations.first() else { return true };
        found = Some((runs, played.case.clone(), first.clone()));
        false
    })
    .await
    .context("with a planted bug")?;
    Ok(found)
}
