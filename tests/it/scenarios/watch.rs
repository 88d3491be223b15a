//! Watching, and coming back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::world::{SOON, World, condition, figure, message};
use crate::harness::proxy::{Mode, Proxy};
use crate::harness::{await_until, run};

/// Seconds that a reaction may take on top of its inverses: one is promised, and here other tests run beside it.
const PROMISED: f64 = 3.0;

fn add_tier(world: &World, window: &str) -> Value {
    json!({"up": "ALTER TABLE users ADD COLUMN tier text DEFAULT 'free'", "analysis": world.analysis(window)})
}

fn with(mut spec: Value, pointer: &str, value: Value) -> Value {
    match pointer.rsplit_once('/') {
        Some((parent, key)) if !parent.is_empty() => {
            if let Some(parent) = spec.pointer_mut(parent) {
                parent[key] = value;
            }
        }
        _ => spec[pointer.trim_start_matches('/')] = value,
    }
    spec
}

/// Samples in the ledger, as `12 Pass 3 Breach`.
async fn samples(world: &World, verdict: &str) -> Result<usize> {
    let sql = format!("SELECT count(*) FROM whimbrel.samples WHERE sample ->> 'verdict' = '{verdict}'");
    Ok(world.value(&sql).await?.parse()?)
}

async fn await_samples(world: &World, verdict: &str, count: usize) -> Result<()> {
    await_until("samples", SOON, async || {
        let found = samples(world, verdict).await?;
        ensure!(found >= count, "{found} of {verdict}");
        Ok(())
    })
    .await
}

#[test]
fn watch_that_finds_nothing_ends_ready() -> Result<()> {
    run(async {
        let world = World::new("watch_good").await?;
        world.watched(None).await?;
        let _operator = world.operator().await?;
        world.migrate("add-tier", "1", add_tier(&world, "6s")).await?;
        let object = world.reason("add-tier", "Analyzing").await?;
        assert_eq!(condition(&object, "Applied"), "True", "{object}");
        let object = world.ready("add-tier").await?;
        assert_eq!(condition(&object, "Analyzed"), "True", "{object}");
        ensure!(samples(&world, "Pass").await? >= 3, "too few samples");
        assert_eq!(samples(&world, "Breach").await?, 0);
        assert_eq!(world.columns(&world.primary).await?, "tier");
        world.finish().await
    })
}

#[test]
fn breach_brings_everything_back_in_reverse_order_and_loses_no_data() -> Result<()> {
    run(async {
        let world = World::with_copy("watch_breach").await?;
        world.watched(None).await?;
        let _operator = world.operator().await?;
        let steps = json!([
            {"sql": {"up": "ALTER TABLE users ADD COLUMN tier text DEFAULT 'free'"}},
            {"sql": {"up": "CREATE INDEX CONCURRENTLY users_tier ON users (tier)"}},
            {"sql": {"up": "ALTER TABLE users ADD CONSTRAINT tier_known CHECK (tier IN ('free', 'pro'))"}},
        ]);
        world.migrate("bad", "1", json!({"steps": steps, "analysis": world.analysis("60s")})).await?;
        world.reason("bad", "Analyzing").await?;
        let copy = world.copy.as_ref().context("a copy")?;
        world.primary.execute("UPDATE users SET tier = 'pro' WHERE paid").await?;
        await_samples(&world, "Pass", 1).await?;
        world.break_application(true);
        let object = world.stalled("bad", "RolledBack").await?;
        ensure!(message(&object).contains("error-rate 0."), "{}", message(&object));
        assert_eq!(condition(&object, "RolledBack"), "True", "{object}");

        let way = "SELECT string_agg(unit || outcome, ' ' ORDER BY at) FROM whimbrel.history WHERE direction = 'down'";
        assert_eq!(
            world.value(way).await?,
            "3done 2intent 2done 1done 1done",
            "the default goes, then the name"
        );
        let aside = world.columns(&world.primary).await?;
        ensure!(aside.starts_with("_whimbrel_"), "{aside}");
        let kept = format!("SELECT count(*) FROM users WHERE paid AND \"{aside}\" = 'pro'");
        assert_eq!(world.value(&kept).await?, world.value("SELECT count(*) FROM users WHERE paid").await?);
        assert_eq!(world.value("SELECT count(*) FROM whimbrel.trash").await?, "1");
        let left = "SELECT count(*) FROM pg_class WHERE relname = 'users_tier'";
        assert_eq!(world.value(left).await?, "0");
        ensure!(!world.columns(copy).await?.contains("tier"), "the copy still has the column");
        assert_eq!(copy.value(left).await?, "0", "the copy still has the index");

        let (reaction, inverses) = reaction(&world).await?;
        figure(&format!(
            "N-th breaching sample to last inverse: {reaction:.3} s, of which inverses {inverses:.3} s"
        ));
        ensure!(reaction <= PROMISED + inverses, "{reaction} s, of which {inverses} s were the inverses'");
        world.finish().await
    })
}

/// Seconds from the sample that made it a breach (two in a row) to the end of the last inverse, and what the inverses took.
async fn reaction(world: &World) -> Result<(f64, f64)> {
    let visible = "(SELECT at + interval '1 s' FROM whimbrel.samples WHERE sample ->> 'verdict' = 'Breach' ORDER BY at OFFSET 1 LIMIT 1)";
    let last = "(SELECT max(at) FROM whimbrel.statements WHERE direction = 'down')";
    let took =
        "SELECT coalesce(sum(milliseconds), 0) / 1000 FROM whimbrel.statements WHERE direction = 'down'";
    let reaction = world.value(&format!("SELECT extract(epoch FROM {last} - {visible})")).await?;
    Ok((reaction.parse()?, world.value(took).await?.parse()?))
}

#[test]
fn breach_pauses_where_that_is_asked_for() -> Result<()> {
    run(async {
        let world = World::new("watch_pause").await?;
        world.watched(None).await?;
        let _operator = world.operator().await?;
        let spec = with(add_tier(&world, "60s"), "/rollback", json!({"onBreach": "Pause"}));
        world.migrate("add-tier", "1", spec).await?;
        world.reason("add-tier", "Analyzing").await?;
        world.break_application(true);
        let object = world.stalled("add-tier", "MetricBreached").await?;
        ensure!(
            message(&object).contains("rollback-requested-at"),
            "it does not say what to do: {}",
            message(&object)
        );
        assert_eq!(object["status"]["applied"], true);
        assert_eq!(world.columns(&world.primary).await?, "tier");
        world.request("add-tier", "rollback", "now").await?;
        world.stalled("add-tier", "RolledBack").await?;
        ensure!(world.columns(&world.primary).await?.starts_with("_whimbrel_"));
        world.finish().await
    })
}

#[test]
fn breach_is_only_told_where_that_is_asked_for() -> Result<()> {
    run(async {
        let world = World::new("watch_notify").await?;
        world.watched(None).await?;
        let _operator = world.operator().await?;
        let spec = with(add_tier(&world, "8s"), "/rollback", json!({"onBreach": "Notify"}));
        world.migrate("add-tier", "1", spec).await?;
        world.reason("add-tier", "Analyzing").await?;
        world.break_application(true);
        let object = world.ready("add-tier").await?;
        ensure!(samples(&world, "Breach").await? >= 2, "no breach");
        ensure!(message(&object).contains("error-rate"), "{}", message(&object));
        assert_eq!(world.columns(&world.primary).await?, "tier");
        world.finish().await
    })
}

#[test]
fn silence_of_the_provider_pauses_and_a_later_breach_still_rolls_back() -> Result<()> {
    run(async {
        let world = World::new("watch_unknown").await?;
        let proxy = Proxy::start(world.prometheus_port().await?).await?;
        world.watched(Some(proxy.port())).await?;
        let _operator = world.operator().await?;
        let spec =
            with(add_tier(&world, "90s"), "/analysis/onUnknown", json!({"action": "Pause", "after": "3s"}));
        world.migrate("add-tier", "1", spec).await?;
        await_samples_exist(&world).await?;
        proxy.set(Mode::Reset);
        let object = world.stalled("add-tier", "MetricUnknown").await?;
        assert_eq!(object["status"]["applied"], true);
        let unknown = samples(&world, "Error").await?;
        await_samples(&world, "Error", unknown + 3).await?;
        assert_eq!(world.phases().await?, "Watching", "silence moved the run on");
        proxy.set(Mode::Forward);
        world.reason("add-tier", "Analyzing").await?;
        world.break_application(true);
        world.stalled("add-tier", "RolledBack").await?;
        ensure!(world.columns(&world.primary).await?.starts_with("_whimbrel_"));
        world.finish().await
    })
}

async fn await_samples_exist(world: &World) -> Result<()> {
    world.reason("add-tier", "Analyzing").await?;
    await_samples(world, "Pass", 1).await
}

#[test]
fn application_that_fails_already_is_left_alone() -> Result<()> {
    run(async {
        let world = World::new("watch_unhealthy").await?;
        world.watched(None).await?;
        world.break_application(true);
        world.failing().await?;
        let _operator = world.operator().await?;
        world.migrate("add-tier", "1", add_tier(&world, "6s")).await?;
        let object = world.stalled("add-tier", "BaselineUnhealthy").await?;
        ensure!(message(&object).contains("error-rate"), "{}", message(&object));
        assert_eq!(world.ddl().await?, [""; 0]);
        world.finish().await
    })
}

#[test]
fn watch_goes_on_after_a_restart_and_fills_the_gap() -> Result<()> {
    run(async {
        let world = World::new("watch_restart").await?.with_short_lease();
        world.watched(None).await?;
        let mut operator = world.operator().await?;
        world.migrate("add-tier", "1", add_tier(&world, "14s")).await?;
        await_samples_exist(&world).await?;
        operator.process().signal(Signal::SIGKILL)?;
        operator.process().wait(SOON).await?;
        let taken = "SELECT count(*) FROM whimbrel.samples";
        let before: usize = world.value(taken).await?.parse()?;
        let down = Instant::now();
        await_until("four samples being missed", SOON, async || {
            ensure!(down.elapsed() > Duration::from_secs(4), "{:?}", down.elapsed());
            Ok(())
        })
        .await?;
        assert_eq!(world.value(taken).await?.parse::<usize>()?, before, "somebody samples");
        let _operator = world.operator().await?;
        let back = world.value("SELECT clock_timestamp()").await?;
        world.ready("add-tier").await?;
        let gaps = "SELECT count(*) FROM (SELECT at - lag(at) OVER (ORDER BY at) AS gap FROM whimbrel.samples) g \
                    WHERE gap <> interval '1 s'";
        assert_eq!(world.value(gaps).await?, "0", "samples are missing");
        ensure!(world.value(taken).await?.parse::<usize>()? >= 14, "too few samples");
        let span = "SELECT extract(epoch FROM finished_at - applied_at) FROM whimbrel.runs";
        let span: f64 = world.value(span).await?.parse()?;
        ensure!(span >= 14.0, "the window took {span} s");
        let anew = format!("SELECT finished_at - interval '14 s' > '{back}' FROM whimbrel.runs");
        assert_eq!(
            world.value(&anew).await?,
            "f",
            "the window began anew with the operator: it took {span} s"
        );
        assert_eq!(world.ddl().await?, ["ALTER TABLE public.users"]);
        world.finish().await
    })
}
