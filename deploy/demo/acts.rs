//! The two acts, what must be true after each, and what is shown.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::Api;
use kube::api::DynamicObject;
use kube::discovery::ApiResource;
use serde_json::Value;

use crate::harness::await_until;
use crate::harness::postgres::Database;
use crate::story::{Story, show};
use crate::traffic::{self, Second};
use crate::world::World;

const NAMESPACE: &str = "shop";
const SOON: Duration = Duration::from_secs(30);
const ACT: Duration = Duration::from_secs(90);

/// Detection is bounded by the plan; from the deciding sample to the last inverse it takes this long at most.
const ROLLBACK_BOUND: f64 = 1.0;

/// A line of the final table.
pub struct Row {
    /// What was measured.
    pub what: &'static str,
    /// What it was.
    pub value: String,
    /// Whether that is as promised.
    pub good: bool,
}

/// How a migration ended.
struct Ending {
    applied_after: Option<Duration>,
    after: Duration,
    ready: bool,
    reason: String,
}

/// Introduces the shop's database to the operator.
///
/// # Errors
/// When it is not accepted.
pub async fn prologue(world: &World) -> Result<()> {
    world.api.kubectl(&["create", "namespace", NAMESPACE])?;
    show("kubectl apply -f deploy/demo/database.yaml", &world.kubectl_apply("database.yaml")?);
    let databases = objects(world, "Database", "databases").await?;
    await_until("the Database being Ready", SOON, async || {
        let database = databases.get(NAMESPACE).await?;
        let ready = condition(&database, "Ready")
            .with_context(|| format!("no Ready in {:?}", database.data.get("status")))?;
        ensure!(text(ready, "status") == "True", "{}: {}", text(ready, "reason"), text(ready, "message"));
        Ok(())
    })
    .await?;
    let printed = world.api.kubectl(&["-n", NAMESPACE, "get", "databases.whimbrel.dev"])?;
    show("kubectl -n shop get databases.whimbrel.dev", &printed);
    Ok(())
}

/// A change that nobody notices.
///
/// # Errors
/// When the components fail; that it went otherwise than promised is in the rows.
pub async fn first(story: &Story, world: &World) -> Result<Vec<Row>> {
    story.heading("Act 1: a column with a default, a concurrent index, a validated check");
    let before = traffic::seconds(&world.load).len();
    let calm = felt_since(world, 0);
    let ending = run(story, world, "act-1.yaml", "add-order-channel").await?;
    let felt = felt_since(world, before);
    let (primary, standby) = (world.database(), world.standby());
    let (on_primary, on_copy) = (act_1_is_there(&primary).await?, act_1_is_there(&world.copy()).await?);
    let patience = if on_primary { SOON } else { Duration::ZERO };
    let on_standby = await_until("the change on the standby", patience, async || {
        ensure!(act_1_is_there(&standby).await?, "it is not there");
        Ok(())
    });
    let on_standby = on_standby.await.is_ok();
    Ok(vec![
        Row {
            what: "act 1: apply -> primary changed",
            value: ending.applied_after.map_or("never".to_owned(), seconds),
            good: ending.applied_after.is_some(),
        },
        Row {
            what: "act 1: apply -> Ready (10 s of it watching)",
            value: outcome(&ending),
            good: ending.ready,
        },
        Row {
            what: "act 1: column, index, check on primary, copy, standby",
            value: format!("{on_primary}, {on_copy}, {on_standby}"),
            good: on_primary && on_copy && on_standby,
        },
        Row { what: "act 1: failed requests", value: of(felt), good: felt.failed == 0 },
        // Told, not judged: it depends on what else the machine does.
        Row {
            what: "act 1: slowest request (and before)",
            value: format!("{} ms ({} ms)", felt.slowest_ms, calm.slowest_ms),
            good: true,
        },
    ])
}

/// A change that breaks the shop.
///
/// # Errors
/// When the components fail; that it went otherwise than promised is in the rows.
pub async fn second(story: &Story, world: &World) -> Result<Vec<Row>> {
    story.heading("Act 2: a column is renamed that the shop still reads");
    let before = traffic::seconds(&world.load).len();
    let ending = run(story, world, "act-2.yaml", "rename-order-status").await?;
    let rolled_back = !ending.ready && ending.reason == "RolledBack";
    story.say("waiting until the error rate is 0 again");
    let recovered = await_until("the error rate falling back to 0", SOON, async || {
        let rate = world.error_rate().await?;
        ensure!(rate == Some(0.0), "it is {rate:?}");
        Ok(())
    });
    let recovered = recovered.await.is_ok();
    let felt = felt_since(world, before);
    let (primary, copy) = (act_2_is_undone(&world.database()).await?, act_2_is_undone(&world.copy()).await?);
    let took = rollback_seconds(&world.database()).await;
    Ok(vec![
        Row { what: "act 2: apply -> rolled back", value: outcome(&ending), good: rolled_back },
        Row {
            what: "act 2: breach -> last inverse committed",
            value: took.as_ref().map_or_else(ToString::to_string, |took| format!("{took:.3} s")),
            good: took.is_ok_and(|took| took <= ROLLBACK_BOUND),
        },
        Row {
            what: "act 2: the column is back on primary, copy",
            value: format!("{primary}, {copy}"),
            good: primary && copy,
        },
        Row { what: "act 2: failed requests until then", value: of(felt), good: felt.failed > 0 },
        Row { what: "act 2: the error rate fell back to 0", value: recovered.to_string(), good: recovered },
    ])
}

/// Shows what is left to see.
///
/// # Errors
/// When a program fails.
pub fn epilogue(story: &Story, world: &World) -> Result<()> {
    story.heading("What Kubernetes and the database say");
    let get = |arguments: &[&str]| world.api.kubectl(&[&["-n", NAMESPACE, "get"], arguments].concat());
    show("kubectl -n shop get migrations -o wide", &get(&["migrations", "-o", "wide"])?);
    let columns =
        "custom-columns=TIME:.eventTime,TYPE:.type,REASON:.reason,OBJECT:.regarding.name,NOTE:.note";
    let events = ["events.v1.events.k8s.io", "--sort-by=.eventTime", "-o", columns];
    show("kubectl -n shop get events", &get(&events)?);
    let history = "SELECT to_char(at, 'HH24:MI:SS.MS') AS at, version, unit, direction, outcome, ms, sql FROM whimbrel.history";
    show(&format!("psql -c \"{history}\""), &world.database().psql(history)?);
    Ok(())
}

/// Applies a manifest and tells every change of the migration until it ends.
async fn run(story: &Story, world: &World, manifest: &str, name: &str) -> Result<Ending> {
    let migrations = objects(world, "Migration", "migrations").await?;
    let started = Instant::now();
    let printed = world.kubectl_apply(manifest)?;
    show(&format!("kubectl apply -f deploy/demo/{manifest}"), &printed);
    let (mut told, mut traffic_told, mut applied_after) = (String::new(), Instant::now(), None);
    await_until(&format!("the end of {name}"), ACT, async || {
        let migration = migrations.get(name).await?;
        let now = describe(&migration);
        if now != told && migration.data.get("status").is_some() {
            story.say(&now);
            told.clone_from(&now);
        }
        if traffic_told.elapsed() >= Duration::from_secs(2) {
            story.say(&format!("    {}", weather(world).await?));
            traffic_told = Instant::now();
        }
        if applied_after.is_none() && is_true(&migration, "Applied") {
            applied_after = Some(started.elapsed());
        }
        ensure!(is_true(&migration, "Ready") || is_true(&migration, "Stalled"), "{now}");
        let reason = condition(&migration, "Ready").map(|ready| text(ready, "reason").to_owned());
        Ok(Ending {
            applied_after,
            after: started.elapsed(),
            ready: is_true(&migration, "Ready"),
            reason: reason.unwrap_or_default(),
        })
    })
    .await
}

async fn weather(world: &World) -> Result<String> {
    let last = traffic::seconds(&world.load).last().copied().unwrap_or_default();
    let rate =
        world.error_rate().await?.map_or("unknown".to_owned(), |rate| format!("{:.0} %", rate * 100.0));
    let Second { requests, failed, slowest_ms } = last;
    Ok(format!("shop: {requests} requests/s, {failed} failed, slowest {slowest_ms} ms; error rate {rate}"))
}

/// What the load's report says since a second; it is up to a second late.
fn felt_since(world: &World, second: usize) -> Second {
    traffic::total(traffic::seconds(&world.load).get(second..).unwrap_or_default())
}

async fn act_1_is_there(database: &Database) -> Result<bool> {
    let sql =
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'orders'::regclass AND attname = 'channel'
                              AND attnotnull AND NOT attisdropped)
           AND EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('orders_channel') AND indisvalid)
           AND EXISTS (SELECT FROM pg_constraint WHERE conname = 'orders_channel_known' AND convalidated)";
    Ok(database.value(sql).await? == "t")
}

async fn act_2_is_undone(database: &Database) -> Result<bool> {
    let sql = "SELECT string_agg(attname, ',') FROM pg_attribute
               WHERE attrelid = 'orders'::regclass AND attname IN ('status', 'state') AND NOT attisdropped";
    Ok(database.value(sql).await? == "status")
}

/// Seconds from the deciding sample to the last inverse, by the ledger. A sample's time is that which it is about, and
/// it is taken `ingestDelay` later: one second, in act-2.yaml.
async fn rollback_seconds(database: &Database) -> Result<f64> {
    let sql = "WITH back AS (
                   SELECT s.run, min(s.at) AS first, max(s.at) AS last FROM whimbrel.statements s
                   JOIN whimbrel.runs r ON r.id = s.run
                   WHERE r.name = 'rename-order-status' AND s.direction = 'down' AND s.outcome = 'done' GROUP BY s.run)
               SELECT extract(epoch FROM back.last - (
                   SELECT max(at) + interval '1 second' FROM whimbrel.samples WHERE run = back.run AND at <= back.first)) FROM back";
    Ok(database.value(sql).await?.parse()?)
}

async fn objects(world: &World, kind: &str, plural: &str) -> Result<Api<DynamicObject>> {
    let resource = ApiResource {
        group: "whimbrel.dev".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "whimbrel.dev/v1alpha1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    };
    Ok(Api::namespaced_with(world.api.admin().await?, NAMESPACE, &resource))
}

fn describe(migration: &DynamicObject) -> String {
    let field = |pointer: &str| migration.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (phase, progress) = (field("/status/phase"), field("/status/progress/summary"));
    let message = condition(migration, "Ready").map(|ready| text(ready, "message")).unwrap_or_default();
    let shown: Vec<&str> = [phase, progress, message].into_iter().filter(|part| !part.is_empty()).collect();
    format!("{}: {}", migration.metadata.name.as_deref().unwrap_or_default(), shown.join(" | "))
}

fn condition<'a>(object: &'a DynamicObject, kind: &str) -> Option<&'a Value> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| text(condition, "type") == kind)
}

fn is_true(object: &DynamicObject, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "status") == "True")
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn outcome(ending: &Ending) -> String {
    format!("{} ({})", seconds(ending.after), ending.reason)
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}

fn of(second: Second) -> String {
    format!("{} of {}", second.failed, second.requests)
}
