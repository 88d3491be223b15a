//! Operators that die or freeze in the middle: every effect happens exactly once, as an observer sees it that has nothing
//! to do with our code.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use super::world::{SOON, World, figure};
use crate::harness::operator::Operator;
use crate::harness::{await_until, postgres, run};

/// How many kills, and over how many databases they are spread, to be done at the same time.
const KILLS: u32 = 20;
const LANES: u32 = 4;

fn four_units(number: u32) -> Value {
    json!({"steps": [
        {"sql": {"up": format!("ALTER TABLE users ADD COLUMN c{number} int DEFAULT 0")}},
        {"sql": {"up": format!("CREATE INDEX CONCURRENTLY users_c{number} ON users (c{number}, name)")}},
        {"sql": {"up": format!("CREATE TABLE t{number} (id int)")}},
        {"sql": {"up": format!("ALTER TABLE users ADD CONSTRAINT k{number} CHECK (c{number} >= 0)")}},
    ]})
}

/// Effects by object; repairs of a build that was cut off may drop what never became valid.
async fn effects(world: &World) -> Result<BTreeMap<String, usize>> {
    let mut count = BTreeMap::new();
    for effect in world.ddl().await? {
        if !effect.starts_with("DROP INDEX") {
            *count.entry(effect).or_default() += 1;
        }
    }
    Ok(count)
}

fn expected(runs: u32) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for number in 0..runs {
        count.insert(format!("CREATE INDEX public.users_c{number}"), 1);
        count.insert(format!("CREATE TABLE public.t{number}"), 1);
        *count.entry("ALTER TABLE public.users".to_owned()).or_default() += 2;
    }
    count
}

fn seed() -> Result<u64> {
    match std::env::var("WHIMBREL_TEST_SEED") {
        Ok(text) => text.parse().context("WHIMBREL_TEST_SEED is a number"),
        Err(_) => Ok(u64::from(rand::random::<u32>())),
    }
}

/// Every second time another operator takes over, which has to wait for the Lease.
fn pod(number: u32) -> &'static str {
    if number % 4 < 2 { "whimbrel-0" } else { "whimbrel-1" }
}

/// Kills an operator some time after now, and starts one again.
async fn kill_after(world: &World, operator: &mut Operator, after: Duration, number: u32) -> Result<()> {
    tokio::time::sleep(after).await;
    operator.process().signal(Signal::SIGKILL)?;
    *operator = Operator::start(&world.options_of(pod(number))).await?;
    Ok(())
}

/// Waits for an outcome, and starts an operator that ended by itself again, as Kubernetes does: one that cannot renew its
/// Lease for so long, because the machine is busy, ends.
async fn kept_alive<T>(
    world: &World,
    operator: &mut Operator,
    number: u32,
    outcome: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::pin!(outcome);
    let mut look = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            result = &mut outcome => return result,
            _ = look.tick() => if operator.process().exited()?.is_some() {
                *operator = Operator::spawn(&world.options_of(pod(number)))?;
            },
        }
    }
}

/// Waits until the ledger says so.
async fn await_ledger(world: &World, condition: &str) -> Result<()> {
    let sql = format!("SELECT {condition} FROM whimbrel.runs");
    await_until(condition, SOON, async || {
        ensure!(world.value(&sql).await? == "t", "not yet");
        Ok(())
    })
    .await
}

/// How long the first run took, as the ledger says: what the machine gives today.
async fn usual(world: &World) -> Result<Duration> {
    let sql = "SELECT extract(epoch FROM applied_at - started_at) FROM whimbrel.runs ORDER BY seq LIMIT 1";
    Ok(Duration::from_secs_f64(world.value(sql).await?.parse()?))
}

/// One run after the other, each with one kill at a moment of its own. Two operators are there in turn.
async fn lane(lane: u32, seed: u64) -> Result<Vec<String>> {
    let world = World::new(&format!("killed_{lane}")).await?.with_short_lease();
    let more = "INSERT INTO users SELECT g, 'more ' || g, true FROM generate_series(10001, 60000) g";
    world.primary.execute(more).await?;
    let mut random = StdRng::seed_from_u64(seed + u64::from(lane));
    let mut operator = world.operator().await?;
    world.migrate("m0", "1", four_units(0)).await?;
    kept_alive(&world, &mut operator, 0, world.ready("m0")).await?;
    let usual = usual(&world).await?;
    let mut moments = Vec::new();
    for number in 1..=KILLS / LANES {
        let after = usual.mul_f64(random.random_range(0.0..1.1));
        let name = format!("m{number}");
        world.migrate(&name, &(number + 1).to_string(), four_units(number)).await?;
        // Every fifth one also while the run is being made.
        if number % 5 != 0 {
            await_ledger(&world, &format!("count(*) > {number}")).await?;
        }
        let units = "SELECT coalesce(string_agg(u.status #>> '{}', ' ' ORDER BY unit), 'nothing') FROM whimbrel.units u \
                     JOIN whimbrel.runs r ON r.id = run WHERE r.name = ";
        kill_after(&world, &mut operator, after, number).await?;
        kept_alive(&world, &mut operator, number, world.ready(&name))
            .await
            .with_context(|| format!("killed {after:?} into {name}, usual is {usual:?}"))?;
        let epochs =
            world.value(&format!("{}'{name}'", units.replace("u.status #>> '{}'", "u.epoch::text"))).await?;
        moments.push(format!("{after:.0?} (epochs {epochs})"));
    }
    assert_eq!(effects(&world).await?, expected(KILLS / LANES + 1), "killed after {moments:?}");
    let open = "SELECT count(*) FROM whimbrel.units WHERE status <> '\"Done\"'";
    assert_eq!(world.value(open).await?, "0");
    let done = "SELECT count(*) FROM (SELECT run, unit FROM whimbrel.statements WHERE outcome IN ('done', 'found') \
                GROUP BY run, unit HAVING count(*) <> 1) twice";
    assert_eq!(world.value(done).await?, "0", "recorded other than once");
    world.finish().await?;
    Ok(moments)
}

#[test]
fn killed_operator_leaves_every_effect_exactly_once() -> Result<()> {
    run(async {
        let seed = seed()?;
        println!("WHIMBREL_TEST_SEED={seed}");
        let lanes = (0..LANES).map(|number| lane(number, seed));
        let moments = futures::future::try_join_all(lanes).await;
        let moments = moments.with_context(|| format!("WHIMBREL_TEST_SEED={seed}"))?.concat();
        ensure!(u32::try_from(moments.len())? == KILLS, "{moments:?}");
        figure(&format!("SIGKILL at {KILLS} moments, seed {seed}: {}", moments.join(", ")));
        Ok(())
    })
}

/// What is left of a plan of four units.
async fn left(world: &World) -> Result<String> {
    world
        .value(
            "SELECT coalesce(string_agg(name, ' '), '') FROM (\
             SELECT relname::text FROM pg_class WHERE relname ~ '^(t|users_c)[0-9]+$' UNION ALL \
             SELECT conname::text FROM pg_constraint WHERE conname ~ '^k[0-9]+$' UNION ALL \
             SELECT attname::text FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname ~ '^c[0-9]+$') AS l (name)",
        )
        .await
}

/// One way back after the other, each with one kill.
async fn way_back(lane: u32, seed: u64) -> Result<()> {
    let world = World::new(&format!("killed_back_{lane}")).await?.with_short_lease();
    let mut random = StdRng::seed_from_u64(seed + u64::from(lane));
    let mut operator = world.operator().await?;
    for number in 0..4 {
        let name = format!("m{number}");
        world.migrate(&name, &(number + 1).to_string(), four_units(number)).await?;
        kept_alive(&world, &mut operator, number, world.ready(&name)).await?;
        let after = usual(&world).await?.mul_f64(random.random_range(0.0..0.8));
        world.request(&name, "rollback", "now").await?;
        if number % 2 == 0 {
            await_ledger(&world, "count(*) FILTER (WHERE phase = 'Succeeded') = 0").await?;
        }
        kill_after(&world, &mut operator, after, number + 1).await?;
        kept_alive(&world, &mut operator, number + 1, world.stalled(&name, "RolledBack"))
            .await
            .with_context(|| format!("killed {after:?} into the way back of {name}"))?;
        assert_eq!(left(&world).await?, "", "after the way back of {name}, killed {after:?} into it");
        assert_eq!(world.value("SELECT count(*) FROM whimbrel.trash").await?, (2 * (number + 1)).to_string());
        // What was rolled back holds up the later versions while it is there.
        world.delete(&name).await?;
    }
    let twice = "SELECT count(*) FROM (SELECT FROM whimbrel.statements WHERE outcome IN ('done', 'found') \
                 GROUP BY run, unit, direction, block, ordinal HAVING count(*) <> 1) twice";
    assert_eq!(world.value(twice).await?, "0", "recorded other than once");
    world.finish().await
}

#[test]
fn killed_operator_finishes_the_way_back() -> Result<()> {
    run(async {
        let seed = seed()?;
        println!("WHIMBREL_TEST_SEED={seed}");
        let lanes = (0..2).map(|number| way_back(number, seed));
        futures::future::try_join_all(lanes).await.with_context(|| format!("WHIMBREL_TEST_SEED={seed}"))?;
        Ok(())
    })
}

/// The frozen operator goes on. It either ends or stands by, and the next migration shows that one leads, and only one.
async fn thaw(world: &World, first: &mut Operator, effects: usize) -> Result<()> {
    first.process().signal(Signal::SIGCONT)?;
    world.migrate("next", "2", json!({"up": "ALTER TABLE users ADD COLUMN later text"})).await?;
    world.ready("next").await?;
    await_until("the first one having noticed", SOON, async || {
        let ended = first.process().exited()?.is_some();
        ensure!(ended || first.process().log().contains("standing by"), "it says nothing");
        Ok(())
    })
    .await?;
    let started = Instant::now();
    await_until("a while in which nothing happens", SOON, async || {
        let now = world.ddl().await?;
        assert_eq!(now.len(), effects + 1, "{now:?}");
        ensure!(started.elapsed() > Duration::from_secs(2), "not long enough");
        Ok(())
    })
    .await?;
    let done =
        "SELECT string_agg(unit || outcome, ' ' ORDER BY at) FROM whimbrel.history WHERE migration = 'three'";
    assert_eq!(world.value(done).await?, "1done 2done 3intent 3done");
    Ok(())
}

#[test]
fn frozen_leader_is_replaced_and_does_no_harm_when_it_thaws() -> Result<()> {
    run(async {
        let world = World::new("frozen").await?.with_short_lease();
        world.primary.execute("SET ROLE app_owner; CREATE TABLE busy (id int)").await?;
        let mut reader = world.primary.connect().await?;
        postgres::execute(&mut reader, "BEGIN; SELECT count(*) FROM busy").await?;
        let mut first = world.operator().await?;
        let second = Operator::start(&world.options_of("whimbrel-1")).await?;
        let steps = json!({"steps": [
            {"sql": {"up": "ALTER TABLE users ADD COLUMN tier text"}},
            {"sql": {"up": "ALTER TABLE busy ADD COLUMN note text"}},
            {"sql": {"up": "CREATE INDEX CONCURRENTLY users_tier ON users (tier)"}},
        ]});
        world.migrate("three", "1", steps).await?;
        world.reason("three", "WaitingForLock").await?;
        first.process().signal(Signal::SIGSTOP)?;
        let frozen = Instant::now();
        await_until("another owner of the ledger", SOON, async || {
            let owner = world.value("SELECT owner FROM whimbrel.epoch").await?;
            ensure!(owner == "whimbrel-1", "{owner} owns it");
            Ok(())
        })
        .await?;
        figure(&format!("frozen leader replaced after {:?}", frozen.elapsed()));
        postgres::execute(&mut reader, "COMMIT").await?;
        world.ready("three").await?;
        let before = world.ddl().await?;
        assert_eq!(before.len(), 4, "{before:?}");
        thaw(&world, &mut first, before.len()).await?;
        drop(second);
        world.finish().await
    })
}
