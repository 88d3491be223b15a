//! The tests are tested: with each planted bug, runs are played until one shows it.

use anyhow::{Context as _, Result, ensure};
use whimbrel::crash::Mutant;

use super::Options;
use super::direct;
use super::fault::Case;
use super::matrix::{Known, every, play, sample};
use super::stage::Stage;

/// So many runs have to be enough.
const RUNS: usize = 60;

/// Where a bug shows, so that it does not take hundreds of runs: a part of what cases look like.
fn shows(mutant: Mutant) -> &'static [&'static str] {
    match mutant {
        Mutant::LedgerAfterCommit => &["transactional:"],
        Mutant::LedgerBeforeEffect | Mutant::IntentCountsAsDone | Mutant::BlindRetry => {
            &["concurrent:AloneUp/"]
        }
        Mutant::InvalidIndexAccepted | Mutant::NoRepair => &["concurrent:AloneUp/Executing"],
        Mutant::StaleAfterLostCommit => {
            &["transactional:UnitUp/Sent#1:LostReply", "transactional:UnitUp/Sent#2:LostReply"]
        }
        Mutant::StaleAfterTakeover => &["UnitUp/Sent#1:SecondOwner:", "UnitUp/IntentDurable#1:SecondOwner:"],
        Mutant::BeginsTwice => &["RunStored/BeforeIntent#1:Freeze", "RunStored/BeforeIntent#1:SecondOwner"],
        Mutant::DeletionForgotten => &["wishes:", ":Delete:"],
        Mutant::RehearsalStays => &["refused:"],
        Mutant::TrashKept => &["rehearsed:Purged/", "rehearsed:CopyDown/"],
        Mutant::CursorApart => &["fill:BatchUp/", "fill_undone:BatchUp/"],
        Mutant::BoundNotFrozen => &["fill:"],
        Mutant::BreachPasses => &["breach:"],
        Mutant::NanIsZero => &["unknown:"],
        Mutant::NoFence | Mutant::KeyShareFence | Mutant::EpochNotBumped | Mutant::LockResultIgnored => &[],
    }
}

/// Plays the matrix with each bug, or those that were chosen, and returns whether all were caught.
///
/// # Errors
/// When the harness itself fails.
pub async fn all(known: &Known, options: &Options) -> Result<bool> {
    let mut asked = 0;
    let mut survived = Vec::new();
    let held = ask_directly(None).await?;
    ensure!(held.is_none(), "without a planted bug: {}", held.unwrap_or_default());
    for mutant in Mutant::ALL {
        let name = format!("{mutant:?}");
        if options.choice.only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        asked += 1;
        if direct::SHOWS.contains(mutant) {
            match ask_directly(Some(&name)).await? {
                Some(why) => println!("{name:<22} caught by asking the defence alone: {why}"),
                None => survived.push(name),
            }
            continue;
        }
        match caught(known, *mutant, options).await? {
            Some((run, case, why)) => {
                println!("{name:<22} caught in run {run}: {case}\n{:22} {why}", "");
                println!("{:22} again: make crash MUTANT={name} RUN='{case}'", "");
            }
            None => survived.push(name),
        }
    }
    println!(
        "\nmutants     {asked} of {} planted, {} survived {survived:?}",
        Mutant::ALL.len(),
        survived.len()
    );
    Ok(survived.is_empty() && asked > 0)
}

/// Asks fence, epoch and lock in a process of its own; returns what does not hold.
async fn ask_directly(mutant: Option<&str>) -> Result<Option<String>> {
    let mut stage = Stage::start().await?;
    let database = stage.database(None).await?;
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command.arg("direct").arg(stage.port().to_string()).arg(database.name()).kill_on_drop(true);
    command.env("RUST_BACKTRACE", "0");
    if let Some(mutant) = mutant {
        command.env("WHIMBREL_MUTANT", mutant);
    }
    let output = command.output().await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Ok((!output.status.success()).then_some(said))
}

async fn caught(known: &Known, mutant: Mutant, options: &Options) -> Result<Option<(usize, Case, String)>> {
    let seed = options.choice.seed.unwrap_or(1);
    let mut cases = every(known, seed);
    let places = shows(mutant);
    cases.retain(|case| places.iter().any(|place| case.to_string().contains(place)));
    let cases = sample(&cases, options.choice.runs.unwrap_or(RUNS), seed);
    let mut runs = 0;
    let mut found = None;
    let name = format!("{mutant:?}");
    play(known, cases, options.choice.workers, Some(&name), |played| {
        runs += 1;
        let Some(first) = played.shown.violations.first() else { return true };
        found = Some((runs, played.case.clone(), first.clone()));
        false
    })
    .await
    .context("with a planted bug")?;
    Ok(found)
}
