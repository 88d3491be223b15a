//! Locks: who is in the way is named, and the application does not feel that we wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;

use super::world::{World, condition, figure, message};
use crate::harness::postgres::{self, APPLICATION, Database};
use crate::harness::{await_until, run};

/// The longest that the application may be held up.
const STALL: Duration = Duration::from_millis(50);
/// How long the reader stays on the table.
const READING: Duration = Duration::from_millis(2500);

/// Two hundred statements a second, on connections of their own.
struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<tokio::task::JoinHandle<Result<(u32, Duration)>>>,
}

impl Load {
    /// The statement is told its number.
    async fn start(database: &Database, statement: fn(u32) -> String) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for client in 0..4 {
            let mut session = database.connect_as(APPLICATION).await?;
            let stop = Arc::clone(&stop);
            clients.push(tokio::spawn(async move {
                let (mut done, mut worst) = (0, Duration::ZERO);
                let mut clock = tokio::time::interval(Duration::from_millis(20));
                while !stop.load(Ordering::Relaxed) {
                    clock.tick().await;
                    let sent = Instant::now();
                    postgres::execute(&mut session, &statement(done * 4 + client)).await?;
                    worst = worst.max(sent.elapsed());
                    done += 1;
                }
                Ok((done, worst))
            }));
        }
        Ok(Self { stop, clients })
    }

    /// How many statements were answered, and the longest that one took; an error of one is an error.
    async fn end(self) -> Result<(u32, Duration)> {
        self.stop.store(true, Ordering::Relaxed);
        let (mut done, mut worst) = (0, Duration::ZERO);
        for client in self.clients {
            let (count, longest) = client.await??;
            done += count;
            worst = worst.max(longest);
        }
        Ok((done, worst))
    }
}

async fn reader(world: &World) -> Result<(PgConnection, i64)> {
    let mut reader = world.primary.connect().await?;
    postgres::execute(
        &mut reader,
        "SET application_name TO 'monthly-report'; BEGIN; SELECT count(*) FROM users",
    )
    .await?;
    let pid = postgres::text(&mut reader, "SELECT pg_backend_pid()").await?;
    let pid = pid.into_iter().flatten().flatten().next().context("a pid")?.parse()?;
    Ok((reader, pid))
}

#[test]
fn blocker_is_named_and_the_application_is_not_held_up() -> Result<()> {
    run(async {
        let world = World::new("blocked").await?;
        let _operator = world.operator().await?;
        let (mut reader, pid) = reader(&world).await?;
        let load = Load::start(&world.primary, |number| {
            format!("UPDATE users SET name = 'user' WHERE id = {}", number % 10_000 + 1)
        })
        .await?;
        // The same load on a table that nobody alters: what the machine itself takes.
        let beside = format!(
            "CREATE TABLE beside AS SELECT g AS id, '' AS name FROM generate_series(1, 10000) g; \
             CREATE INDEX ON beside (id); GRANT SELECT, UPDATE ON beside TO {APPLICATION}"
        );
        world.primary.execute(&beside).await?;
        let before = world.ddl().await?.len();
        let control = Load::start(&world.primary, |number| {
            format!("UPDATE beside SET name = 'user' WHERE id = {}", number % 10_000 + 1)
        })
        .await?;
        let began = Instant::now();
        world
            .migrate("add-tier", "1", json!({"up": "ALTER TABLE users ADD COLUMN tier text DEFAULT 'free'"}))
            .await?;
        // An attempt that is under way says so, and still names who was in the way of the last one.
        let names = |object: &Value| {
            object["status"]["progress"]["blockers"][0]["pid"] == pid
                && super::world::reason_of(object, "Ready") == "WaitingForLock"
        };
        let object = world.until("add-tier", "waiting and naming its blocker", names).await?;
        assert_eq!(condition(&object, "Stalled"), "", "{object}");
        assert_eq!(object["status"]["progress"]["blockers"][0]["application"], "monthly-report", "{object}");
        ensure!(message(&object).contains(&pid.to_string()), "{}", message(&object));
        await_until("the reader having read", READING * 4, async || {
            ensure!(began.elapsed() >= READING, "{:?}", began.elapsed());
            Ok(())
        })
        .await?;
        postgres::execute(&mut reader, "COMMIT").await?;
        let read = Instant::now();
        world.ready("add-tier").await?;
        let after = read.elapsed();
        let ((done, worst), (_, noise)) = (load.end().await?, control.end().await?);
        figure(&format!(
            "reader of {READING:?}: {done} statements, worst {worst:?} (worst of the same beside them: {noise:?}); \
             Ready {after:?} after the reader ended"
        ));
        ensure!(done > 50, "the load was {done} statements only");
        ensure!(
            worst <= STALL + noise * 4,
            "the application was held up for {worst:?}; the machine's own noise is {noise:?}"
        );
        assert_eq!(world.ddl().await?.get(before..), Some(&["ALTER TABLE public.users".to_owned()][..]));
        world.finish().await
    })
}
