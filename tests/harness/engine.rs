//! What the engine is given, where no API server says it: a database, a Migration, and how a runner is started.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use whimbrel::core::plan::{Guard, Reversibility};
use whimbrel::core::view::Tokens;
use whimbrel::engine::runner::Start;
use whimbrel::engine::seats::Seats;
use whimbrel::engine::subject::{Database as Served, Desired, Providers, Recorded, Subject};
use whimbrel::engine::views::Views;
use whimbrel::postgres::ledger::RunKey;
use whimbrel::postgres::{Error, Target, Tls, TlsMode};

use super::postgres::{Database, OWNER};

/// A database as the operator is told of it.
///
/// # Errors
/// When its URL is none.
pub fn target(database: &Database, role: &str) -> Result<Target, Error> {
    Target::from_url(&database.url(role), Tls { mode: TlsMode::Disable, ..Tls::default() })
}

/// A primary without anything beside it, of which nothing was seen yet.
pub fn served(name: &str, primary: Target) -> Served {
    Served {
        name: name.to_owned(),
        primary,
        copy: None,
        standbys: Vec::new(),
        owner_role: Some(OWNER.to_owned()),
        guard: Guard::default(),
        min_reversibility: Reversibility::ForwardOnly,
        out_of_order: false,
        baseline: None,
        remote_apply: false,
        recorded: Recorded::default(),
    }
}

/// The first generation of a Migration; `spec` is merged into what every one has.
///
/// # Errors
/// When the spec is none.
pub fn subject(namespace: &str, (name, uid): (&str, &str), mut spec: Value) -> Result<Subject> {
    let object = spec.as_object_mut().context("a spec is an object")?;
    object.entry("databaseRef").or_insert_with(|| serde_json::json!({"name": "shop"}));
    object.entry("version").or_insert_with(|| "1".into());
    Ok(Subject {
        key: RunKey { namespace: namespace.to_owned(), name: name.to_owned(), uid: uid.to_owned() },
        generation: 1,
        created: Timestamp::UNIX_EPOCH,
        spec: serde_json::from_value(spec).context("a spec")?,
        gone: false,
        tokens: Tokens::default(),
        providers: Providers::default(),
        recorded_run: None,
    })
}

/// A runner that may always act, and does not linger.
pub fn start(owner: &str, desired: watch::Receiver<Desired>, views: &Views) -> Start {
    Start {
        owner: owner.to_owned(),
        desired,
        views: views.clone(),
        stop: CancellationToken::new(),
        may_act: Arc::new(|| true),
        seats: Seats::new(1),
        linger: Duration::ZERO,
        patience: Duration::from_mins(1),
    }
}
