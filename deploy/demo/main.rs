//! `make demo`: a good migration goes all the way to Ready, and a bad one is rolled back because the application's
//! error rate rose. Everything is real, on this machine, in one private directory; nothing is left behind.

#[path = "../../tests/harness/mod.rs"]
mod harness;

mod acts;
mod story;
mod traffic;
mod world;

use std::process::ExitCode;

use acts::Row;
use anyhow::{Result, bail};
use story::Story;
use world::World;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = perform().await;
    harness::scratch::clear();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn perform() -> Result<()> {
    harness::init();
    let story = Story::begin();
    let outcome = tokio::select! {
        outcome = tell(&story) => outcome,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; everything was stopped"),
    };
    let (world, table) = outcome.inspect_err(|_| harness::scratch::report_failure("the demo failed"))?;
    if std::env::var_os("KEEP").is_some() {
        story.say("everything stays up until Ctrl-C:");
        println!("{}", world.directions()?);
        tokio::signal::ctrl_c().await?;
    }
    world.stop().await?;
    story.say("all processes are stopped");
    match table.iter().find(|row| !row.good) {
        Some(row) => bail!("not as promised: {}: {}", row.what, row.value),
        None => Ok(()),
    }
}

async fn tell(story: &Story) -> Result<(World, Vec<Row>)> {
    story.heading("A shop, and an operator that changes its database");
    let world = World::build(story).await?;
    acts::prologue(&world).await?;
    let mut table = acts::first(story, &world).await?;
    // The second version waits for the first one, for ever if need be.
    if table.iter().all(|row| row.good) {
        table.extend(acts::second(story, &world).await?);
    }
    acts::epilogue(story, &world)?;

    story.heading("What happened");
    let width = table.iter().map(|row| row.what.len()).max().unwrap_or_default();
    for row in &table {
        println!(
            "    {:width$}  {:<24}  {}",
            row.what,
            row.value,
            if row.good { "ok" } else { "NOT AS PROMISED" }
        );
    }
    println!();
    Ok((world, table))
}
