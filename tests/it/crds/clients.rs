//! What clients see: defaults, columns, explanations.

use anyhow::{Context as _, Result};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::{ANALYSIS, DATABASE, METRICS_PROVIDER, MIGRATION, api, object, server, table};
use crate::harness::run;

#[test]
fn defaults_are_filled_in_but_not_below_lists() -> Result<()> {
    run(async {
        let server = server().await?;
        let namespace = server.namespace("crds").await?;
        for table in [ANALYSIS, DATABASE, METRICS_PROVIDER].map(table) {
            let api = api(server.admin().await?, &table.kind, &namespace);
            api.create(&PostParams::default(), &object(&table.kind, "example", &table.spec)).await?;
            let stored = api.get("example").await?;
            assert_eq!(stored.data["status"], json!({"observedGeneration": -1}), "{}", &table.kind);
        }
        let mut spec = table(ANALYSIS).spec;
        spec["stream"] = Value::Null;
        let api = api(server.admin().await?, "Migration", &namespace);
        let stored = api.create(&PostParams::default(), &object("Migration", "null", &spec)).await?;
        let stored = &stored.data["spec"];
        assert_eq!(stored["stream"], "default", "null is the same as absent");
        assert_eq!(stored["analysis"]["metrics"], spec["analysis"]["metrics"]);
        assert_eq!(stored["analysis"]["breach"], json!({"samples": 3, "of": 5}));
        assert_eq!(stored["rollback"], json!({"onBreach": "Rollback", "preserveData": true}));
        // What the API server fills in is what our own reading fills in.
        let read: whimbrel::api::MigrationSpec = serde_json::from_value(table(ANALYSIS).spec)?;
        assert_eq!(serde_json::from_value::<whimbrel::api::MigrationSpec>(stored.clone())?, read);
        Ok(())
    })
}

/// A status in the middle of a run.
fn applying() -> Value {
    json!({"status": {
        "phase": "Applying", "planHash": "sha256:0123", "progress": {"summary": "1/2", "unit": 1, "of": 2},
        "conditions": [{
            "type": "Ready", "status": "Unknown", "reason": "Applying", "message": "unit 1 of 2 runs",
            "lastTransitionTime": "2026-11-20T09:30:00Z",
        }],
    }})
}

#[test]
fn kubectl_shows_the_columns_and_explains() -> Result<()> {
    run(async {
        let server = server().await?;
        let namespace = server.namespace("crds").await?;
        let client = server.admin().await?;
        for table in [MIGRATION, DATABASE, METRICS_PROVIDER].map(table) {
            let api = api(client.clone(), &table.kind, &namespace);
            api.create(&PostParams::default(), &object(&table.kind, "example", &table.spec)).await?;
        }
        let migrations = api(client, "Migration", &namespace);
        migrations.patch_status("example", &PatchParams::default(), &Patch::Merge(applying())).await?;
        let rows = |arguments: &[&str]| -> Result<Vec<Vec<String>>> {
            let text = server.kubectl(&[&["-n", &namespace, "get"], arguments].concat())?;
            Ok(text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect())
        };
        let migrations = rows(&["mig"])?;
        assert_eq!(migrations[0], ["NAME", "READY", "PHASE", "DATABASE", "VERSION", "PROGRESS", "AGE"]);
        assert_eq!(migrations[1][..6], ["example", "Unknown", "Applying", "shop", "1", "1/2"]);
        let wide = rows(&["mig", "-o", "wide"])?;
        assert_eq!(wide[0][7..], ["RISK", "GRADE", "PLAN", "MESSAGE"]);
        assert_eq!(wide[1][7..], ["sha256:0123", "unit", "1", "of", "2", "runs"]);
        assert_eq!(rows(&["wdb"])?[0], ["NAME", "READY", "MODE", "SERVER", "ACTIVE", "AGE"]);
        assert_eq!(rows(&["mprov"])?[0], ["NAME", "READY", "URL", "AGE"]);
        assert_eq!(rows(&["whimbrel", "--no-headers"])?.iter().filter(|row| !row.is_empty()).count(), 3);
        let explained =
            server.kubectl(&["explain", "migrations.whimbrel.dev.spec.analysis.metrics.threshold"])?;
        assert!(explained.contains("The largest good value."), "{explained}");
        Ok(())
    })
}

/// The annotation that a client-side apply writes has room for 256 KiB.
#[test]
fn definitions_can_be_applied_from_the_client() -> Result<()> {
    run(async {
        let server = server().await?;
        let crds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        let crds = crds.to_str().context("the path of the checkout is not UTF-8")?;
        let applied = server.kubectl(&["apply", "--server-side=false", "--dry-run=server", "-f", crds])?;
        assert_eq!(applied.lines().count(), 3, "{applied}");
        Ok(())
    })
}
