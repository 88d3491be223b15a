//! Carries out what [`super::lease`] decides, against the API server.
//!
//! Every call has a deadline that is shorter than the time that is left to a leader, and every write carries the
//! resource version that it was based on.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::client::{self, Error};
use super::lease::{Act, LeaseConfig, Loss, View, next, time_left};
use crate::engine::clock;

/// Whether this process leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leadership {
    /// Another process leads, or nobody yet.
    Standby {
        /// Who leads, as far as it is known.
        holder: Option<String>,
    },
    /// This process leads, until that moment unless it renews; `None`: there is no election.
    Leader {
        /// End of the term on the monotonic clock of this process.
        until: Option<Instant>,
    },
    /// This process led and must not act any more.
    Lost(Loss),
}

impl Leadership {
    /// Whether this process may act at `now`. A process that was frozen sees `false` here before it is told.
    pub fn holds(&self, now: Instant) -> bool {
        match self {
            Self::Leader { until: None } => true,
            Self::Leader { until: Some(until) } => now < *until,
            Self::Standby { .. } | Self::Lost(_) => false,
        }
    }
}

/// Runs for leader until the term is lost or `stop` is cancelled; then a held Lease is released, so that a successor
/// takes over at once. Cancel `stop` only after this process ceased to act.
///
/// Unreachable API servers are waited for; news goes to `tell`.
pub async fn run(client: Client, cfg: LeaseConfig, tell: watch::Sender<Leadership>, stop: CancellationToken) {
    let api: Api<Lease> = Api::namespaced(client, &cfg.namespace);
    let mut view = View::new(Instant::now());
    while !stop.is_cancelled() {
        let act = next(&view, &cfg, Instant::now());
        match act {
            Act::Lost(loss) => {
                tell.send_replace(Leadership::Lost(loss));
                return;
            }
            Act::Wait(pause) => {
                // Standbys spread out, so that they do not all reach for a free Lease in the same moment.
                let pause = if view.leads_until(&cfg).is_some() { pause } else { jittered(pause) };
                let _ = tokio::time::timeout(pause, stop.cancelled()).await;
                view.waited();
            }
            act => carry_out(&act, &api, &cfg, &mut view).await,
        }
        tell_news(&view, &cfg, &tell);
    }
    release(&api, &cfg, &view).await;
}

async fn carry_out(act: &Act, api: &Api<Lease>, cfg: &LeaseConfig, view: &mut View) {
    let sent_at = Instant::now();
    let limit = (cfg.renew_deadline / 2).min(time_left(view, cfg, sent_at));
    let what = format!("{} the Lease {}/{}", verb(act), cfg.namespace, cfg.name);
    let params = PostParams::default();
    let answer = match act {
        Act::Look => client::within(limit, &what, api.get_opt(&cfg.name)).await.map(|record| (record, false)),
        Act::Create => {
            let claim = view.claim(cfg, clock::now());
            client::within(limit, &what, api.create(&params, &claim)).await.map(|record| (Some(record), true))
        }
        _ => {
            let claim = view.claim(cfg, clock::now());
            let write = api.replace(&cfg.name, &params, &claim);
            client::within(limit, &what, write).await.map(|record| (Some(record), true))
        }
    };
    let now = Instant::now();
    match answer {
        Ok((Some(record), true)) => view.confirmed(record, sent_at, now),
        Ok((record, _)) => view.observe(record, now),
        Err(error) if error.is_conflict() => {
            debug!(%error, "the lease has moved on");
            view.failed(now, cfg.renew_interval / 8);
        }
        Err(error) => {
            warn!(%error, "leader election is held up");
            view.failed(now, cfg.renew_interval);
        }
    }
}

fn verb(act: &Act) -> &'static str {
    match act {
        Act::Create => "create",
        Act::TakeOver => "take over",
        Act::Renew => "renew",
        Act::Look | Act::Wait(_) | Act::Lost(_) => "read",
    }
}

fn tell_news(view: &View, cfg: &LeaseConfig, tell: &watch::Sender<Leadership>) {
    let news = match view.leads_until(cfg) {
        Some(until) => Leadership::Leader { until: Some(until) },
        None => Leadership::Standby { holder: view.holder().map(str::to_owned) },
    };
    tell.send_if_modified(|old| {
        let new_role = match (&*old, &news) {
            (Leadership::Leader { .. }, Leadership::Leader { .. }) => false,
            (old, news) => old != news,
        };
        if new_role {
            if let Leadership::Standby { holder } = &news {
                info!(holder = holder.as_deref().unwrap_or("nobody"), "standing by");
            } else {
                info!(identity = cfg.identity, "leading");
            }
        }
        let modified = *old != news;
        *old = news;
        modified
    });
}

/// Frees the Lease with one bounded try; it expires by itself otherwise.
async fn release(api: &Api<Lease>, cfg: &LeaseConfig, view: &View) {
    let Some(lease) = view.release(cfg, clock::now()) else {
        return;
    };
    let limit = (cfg.renew_deadline / 2).min(time_left(view, cfg, Instant::now()));
    let released: Result<Lease, Error> =
        client::within(limit, "release the Lease", api.replace(&cfg.name, &PostParams::default(), &lease))
            .await;
    match released {
        Ok(_) => info!("the lease is released"),
        Err(error) => warn!(%error, "the lease is left to expire"),
    }
}

fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(1.0..1.2))
}
