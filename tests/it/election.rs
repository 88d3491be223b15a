//! Leader election between operators as processes, on a real API server.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::harness::SOON;
use crate::harness::operator::{Operator, Options};
use crate::harness::proxy::{Mode, Proxy};
use crate::harness::{await_until, http_client, kubernetes, run};

/// As the operators are told below.
const LEASE_DURATION: Duration = Duration::from_secs(8);

struct Election {
    server: &'static kubernetes::ApiServer,
    namespace: String,
}

impl Election {
    async fn new() -> Result<Self> {
        let server = kubernetes::shared().await?;
        let namespace = server.namespace("election").await?;
        Ok(Self { server, namespace })
    }

    /// A candidate, which reaches the API server on `port`.
    fn candidate(&self, name: &str, port: u16) -> Result<Operator> {
        let token = "harness-admin";
        let kubeconfig = self.server.write_kubeconfig(&format!("{}-{name}", self.namespace), token, port)?;
        let mut options =
            Options::new(env!("CARGO_BIN_EXE_whimbrel"), kubeconfig).in_namespace(&self.namespace);
        name.clone_into(&mut options.pod);
        let times = [("DURATION", "8s"), ("RENEW_DEADLINE", "6s"), ("RENEW_INTERVAL", "200ms")];
        options.environment =
            times.map(|(name, value)| (format!("WHIMBREL_LEASE_{name}"), value.to_owned())).to_vec();
        Operator::spawn(&options)
    }

    /// The first candidate, leading, and the second, standing by.
    async fn two(&self) -> Result<(Operator, Operator)> {
        let first = self.candidate("first", self.server.port())?;
        await_role(&first, "leader").await?;
        let second = self.candidate("second", self.server.port())?;
        await_role(&second, "standby").await?;
        Ok((first, second))
    }

    async fn leases(&self) -> Result<Api<Lease>> {
        Ok(Api::namespaced(self.server.admin().await?, &self.namespace))
    }
}

async fn role(operator: &Operator) -> Result<String> {
    let answer: Value = http_client()?.get(format!("{}/readyz", operator.url())).send().await?.json().await?;
    Ok(answer["role"].as_str().context("no role")?.to_owned())
}

async fn await_role(operator: &Operator, expected: &str) -> Result<()> {
    await_until(&format!("role {expected}"), SOON, async || {
        let role = role(operator).await?;
        ensure!(role == expected, "the role is {role}");
        Ok(())
    })
    .await
}

#[test]
fn a_successor_need_not_wait_when_the_leader_stops() -> Result<()> {
    run(async {
        let election = Election::new().await?;
        let (first, second) = election.two().await?;
        let status = first.stop().await?;
        let stopped = Instant::now();
        assert!(status.success(), "{status}");
        await_role(&second, "leader").await?;
        let waited = stopped.elapsed();
        assert!(waited < LEASE_DURATION / 2, "waited {waited:?} for a lease that was released");
        Ok(())
    })
}

#[test]
fn a_successor_takes_over_from_a_dead_leader_when_the_lease_has_expired() -> Result<()> {
    run(async {
        let election = Election::new().await?;
        let (mut first, second) = election.two().await?;
        first.process().signal(Signal::SIGKILL)?;
        let killed = Instant::now();
        await_role(&second, "leader").await?;
        let waited = killed.elapsed();
        assert!(waited > LEASE_DURATION / 2, "took over after {waited:?}, before the lease could expire");
        assert!(election.leases().await?.get("whimbrel").await?.spec.unwrap().lease_transitions == Some(1));
        Ok(())
    })
}

#[test]
fn a_frozen_leader_does_not_lead_when_it_wakes() -> Result<()> {
    run(async {
        let election = Election::new().await?;
        let (mut first, second) = election.two().await?;
        first.process().signal(Signal::SIGSTOP)?;
        await_role(&second, "leader").await?;
        first.process().signal(Signal::SIGCONT)?;
        await_role(&first, "standby").await?;
        assert_eq!(role(&second).await?, "leader");
        Ok(())
    })
}

#[test]
fn a_deleted_lease_is_created_again() -> Result<()> {
    run(async {
        let election = Election::new().await?;
        let first = election.candidate("first", election.server.port())?;
        await_role(&first, "leader").await?;
        let leases = election.leases().await?;
        leases.delete("whimbrel", &DeleteParams::default()).await?;
        let lease = await_until("a new lease", SOON, async || Ok(leases.get("whimbrel").await?)).await?;
        assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some("first"));
        assert_eq!(role(&first).await?, "leader");
        Ok(())
    })
}

#[test]
fn a_leader_whose_lease_was_taken_over_ends() -> Result<()> {
    run(async {
        let election = Election::new().await?;
        let mut first = election.candidate("first", election.server.port())?;
        await_role(&first, "leader").await?;
        let stolen = json!({"spec": {"holderIdentity": "thief", "leaseTransitions": 7}});
        let leases = election.leases().await?;
        leases.patch("whimbrel", &PatchParams::default(), &Patch::Merge(stolen)).await?;
        let status = first.process().wait(SOON).await?;
        assert_eq!(status.code(), Some(1));
        assert!(first.process().log().contains("taken over by \"thief\""), "{}", first.process().log());
        Ok(())
    })
}

#[test]
fn an_unreachable_api_server_ends_the_term_and_not_the_process() -> Result<()> {
    run(async {
        let election = Election::new().await?;
        let proxy = Proxy::start(election.server.port()).await?;
        let first = election.candidate("first", proxy.port())?;
        await_role(&first, "leader").await?;
        for away in [Mode::BlackHole, Mode::Reset] {
            proxy.set(away);
            await_role(&first, "standby").await?;
            proxy.set(Mode::Forward);
            await_role(&first, "leader").await?;
        }
        Ok(())
    })
}

#[test]
fn a_renewal_whose_answer_was_lost_keeps_the_term() -> Result<()> {
    run(async {
        let election = Election::new().await?;
        let proxy = Proxy::start(election.server.port()).await?;
        let first = election.candidate("first", proxy.port())?;
        await_role(&first, "leader").await?;
        let leases = election.leases().await?;
        let before = leases.get("whimbrel").await?.spec.unwrap();
        proxy.set(Mode::DropReply);
        await_until("a lost answer", SOON, async || {
            ensure!(proxy.dropped() > 0, "none yet");
            Ok(())
        })
        .await?;
        proxy.set(Mode::Forward);
        await_until("a later renewal", SOON, async || {
            let now = leases.get("whimbrel").await?.spec.context("no spec")?;
            ensure!(now.renew_time > before.renew_time, "not renewed");
            Ok(())
        })
        .await?;
        let after = leases.get("whimbrel").await?.spec.unwrap();
        assert_eq!(after.lease_transitions, before.lease_transitions);
        assert_eq!(role(&first).await?, "leader");
        Ok(())
    })
}
