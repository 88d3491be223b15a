//! Status as the operator writes it: nothing of it is pruned or refused.

use std::fmt::Debug;

use anyhow::Result;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use whimbrel::api::{
    AnalysisStatus, BackfillProgress, Blocker, DatabaseStatus, EstimateStatus, FIELD_MANAGER, Finding,
    HistoryEntry, LockStatus, MetricStatus, MetricsProviderStatus, MigrationStatus, Outcome, Phase,
    PlanStatus, PlannedStep, Progress, Reason, RehearsalStatus, RehearsedBackfill, RehearsedStep,
    Reversibility, Risk, RoundTrip, SampleStatus, ServerStatus, Severity, Verdict, VerdictCounts, condition,
};

use super::{DATABASE, METRICS_PROVIDER, MIGRATION, api, object, server, table};
use crate::harness::run;

fn time() -> Time {
    Time(Timestamp::from_second(1_795_000_000).unwrap())
}

fn ready() -> Condition {
    Condition {
        type_: condition::READY.into(),
        status: "Unknown".into(),
        reason: Reason::Applying.as_str().into(),
        message: "x".repeat(1024),
        observed_generation: Some(3),
        last_transition_time: time(),
    }
}

fn text(length: usize) -> String {
    "x".repeat(length)
}

// No `..Default::default()` below: a new field has to be tried here.

fn plan() -> PlanStatus {
    let finding = Finding {
        code: text(64),
        severity: Severity::Medium,
        message: text(1024),
        safe_form: Some(text(1024)),
        step: Some(text(63)),
        line: Some(u32::MAX),
        column: Some(1),
    };
    let lock = LockStatus { relation: text(130), mode: "ACCESS EXCLUSIVE".into() };
    let estimate = EstimateStatus {
        held: "40ms".into(),
        duration: "1m30s".into(),
        low: "30ms".into(),
        high: "3m".into(),
        basis: "Catalog".into(),
    };
    let step = PlannedStep {
        name: text(63),
        summary: text(256),
        transactional: true,
        statements: 2,
        lock: Some("ACCESS EXCLUSIVE".into()),
        locks: vec![lock; 16],
        rewrite: Some(true),
        scan: Some(false),
        estimate: Some(estimate),
        reversible: true,
        reversible_reason: Some(text(256)),
        inverse: Some(text(2048)),
    };
    PlanStatus {
        risk: Some(Risk::High),
        summary: Some(text(256)),
        reversibility: Reversibility::ReversibleWithArchive,
        reversibility_reason: Some(text(512)),
        findings: vec![finding; 50],
        findings_omitted: Some(3),
        steps: vec![step; 64],
    }
}

fn rehearsal() -> RehearsalStatus {
    let lock = LockStatus { relation: "public.users".into(), mode: "AccessExclusiveLock".into() };
    let step = RehearsedStep {
        name: "step-1".into(),
        duration: "1m30s".into(),
        held: "0.412ms".into(),
        locks: vec![lock; 32],
        backfill: Some(RehearsedBackfill {
            rows: 2_300_000,
            rows_per_second: Some(61_000),
            wal_bytes_per_row: Some(212),
            predicted_rows: Some(50_000_000),
            predicted: Some("8m-14m".into()),
            predicted_wal_bytes: Some(10_600_000_000),
        }),
    };
    RehearsalStatus {
        replica: "existing".into(),
        fidelity: "Full".into(),
        started_at: Some(time()),
        finished_at: Some(time()),
        round_trip: Some(RoundTrip::Passed),
        steps: vec![step; 2],
    }
}

fn progress() -> Progress {
    let blocker = Blocker {
        pid: 4711,
        age: Some("12.345s".into()),
        application: Some("psql".into()),
        query: Some(text(256)),
    };
    Progress {
        summary: Some("1/2".into()),
        step: Some("step-1".into()),
        unit: 1,
        of: 2,
        attempt: Some(7),
        backfill: Some(BackfillProgress {
            rows_done: i64::MAX,
            rows_total: i64::MAX,
            rows_per_second: Some(i64::MAX),
            eta: Some(text(48)),
            batches: i64::MAX,
            rows_locked: Some(i64::MAX),
            throttled_for: Some("99999h".into()),
            throttled_by: Some(text(256)),
        }),
        blockers: vec![blocker; 10],
    }
}

fn analysis() -> AnalysisStatus {
    let sample = SampleStatus { at: time(), value: Some("0.07".into()), verdict: Verdict::Breach };
    let metric = |index: usize| MetricStatus {
        name: format!("m{index}"),
        last: Some("0.07".into()),
        limit: Some("<= 0.05".into()),
        counts: VerdictCounts { pass: 1, breach: 2, no_data: 3, low_traffic: 4, error: 5 },
        recent: vec![sample.clone(); 10],
        message: Some(text(1024)),
    };
    AnalysisStatus {
        verdict: Some(Verdict::LowTraffic),
        until: Some(time()),
        metrics: (0..16).map(metric).collect(),
    }
}

fn migration() -> MigrationStatus {
    let earlier = HistoryEntry {
        plan_hash: text(80),
        outcome: Outcome::RolledBack,
        started_at: Some(time()),
        finished_at: Some(time()),
        message: Some(text(1024)),
    };
    MigrationStatus {
        observed_generation: Some(3),
        phase: Some(Phase::RollingBack),
        stream: Some("default".into()),
        run_id: Some(text(64)),
        plan_hash: Some(text(80)),
        analysis_hash: Some(text(80)),
        from_version: Some("1".into()),
        to_version: Some("2".into()),
        applied: Some(true),
        conditions: vec![ready()],
        plan: Some(plan()),
        rehearsal: Some(rehearsal()),
        progress: Some(progress()),
        analysis: Some(analysis()),
        history: vec![earlier; 5],
        last_handled_reconcile_at: Some(text(256)),
        last_handled_retry_at: Some(text(256)),
        last_handled_abort_at: Some(text(256)),
        last_handled_rollback_at: Some(text(256)),
    }
}

fn database() -> DatabaseStatus {
    let server = ServerStatus {
        version: "15.14".into(),
        system_identifier: u64::MAX.to_string(),
        timeline: 2,
        in_recovery: false,
    };
    DatabaseStatus {
        observed_generation: Some(3),
        conditions: vec![ready()],
        server: Some(server),
        current_versions: [("default".to_owned(), "2".to_owned())].into(),
        ledger_version: Some(1),
        active_migration: Some("example".into()),
    }
}

fn metrics_provider() -> MetricsProviderStatus {
    MetricsProviderStatus { observed_generation: Some(3), conditions: vec![ready()] }
}

/// Writes a status as the operator does, and expects it back as it was.
fn check<S>(rules: &str, status: &S) -> Result<()>
where
    S: Serialize + DeserializeOwned + PartialEq + Debug,
{
    run(async {
        let table = table(rules);
        let server = server().await?;
        let namespace = server.namespace("status").await?;
        let api = api(server.admin().await?, &table.kind, &namespace);
        let example = object(&table.kind, "example", &table.spec);
        api.create(&PostParams::default(), &example).await?;
        let patch = json!({"apiVersion": "whimbrel.dev/v1alpha1", "kind": table.kind, "status": status});
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        api.patch_status("example", &parameters, &Patch::Apply(patch)).await?;
        let stored = api.get("example").await?;
        assert_eq!(&serde_json::from_value::<S>(stored.data["status"].clone())?, status);
        Ok(())
    })
}

#[test]
fn a_full_status_is_stored_whole() -> Result<()> {
    check(MIGRATION, &migration())?;
    check(DATABASE, &database())?;
    check(METRICS_PROVIDER, &metrics_provider())
}
