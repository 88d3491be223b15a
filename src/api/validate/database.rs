//! Rules of a Database.

use std::collections::BTreeSet;

use super::Problems;
use crate::api::{Connection, DatabaseSpec, FieldProblem, Replica, ReplicaMode, SecretSource, Tls, TlsMode};

/// Longest identifier of PostgreSQL, in bytes (NAMEDATALEN - 1).
const MAX_IDENTIFIER: usize = 63;

/// Finds everything that is wrong with a Database, but for what its Secrets hold.
pub fn database(spec: &DatabaseSpec) -> Vec<FieldProblem> {
    let mut problems = Problems::default();
    let primary = &spec.primary;
    endpoint(
        "spec.primary",
        primary.url_from.as_ref(),
        primary.connection.as_ref(),
        primary.tls.as_ref(),
        &mut problems,
    );
    if let Some(role) = &spec.owner_role {
        identifier(role, "spec.ownerRole", &mut problems);
    }
    replica(&spec.replica, &mut problems);
    let mut names = BTreeSet::new();
    for (index, standby) in spec.standbys.iter().enumerate() {
        let field = format!("spec.standbys[{index}]");
        let unique = names.insert(&standby.name);
        problems.require(unique, &format!("{field}.name"), "names of standbys must be unique");
        problems.secret_key(&standby.url_from.secret_key_ref, &format!("{field}.urlFrom"));
    }
    problems.positive_duration(&spec.guard.max_stall, "spec.guard.maxStall");
    problems.duration(&spec.guard.lock_retry_for, "spec.guard.lockRetryFor");
    problems.positive_duration(&spec.guard.max_replication_lag, "spec.guard.maxReplicationLag");
    if let Some(timeout) = &spec.guard.statement_timeout {
        problems.positive_duration(timeout, "spec.guard.statementTimeout");
    }
    if let Some(baseline) = &spec.baseline {
        problems.version(&baseline.version, "spec.baseline.version");
    }
    problems.0
}

fn replica(replica: &Replica, problems: &mut Problems) {
    problems.require(
        replica.existing.is_some() == (replica.mode == ReplicaMode::Existing),
        "spec.replica",
        "existing is required with mode Existing, and not allowed otherwise",
    );
    if let Some(existing) = &replica.existing {
        endpoint(
            "spec.replica.existing",
            existing.url_from.as_ref(),
            existing.connection.as_ref(),
            existing.tls.as_ref(),
            problems,
        );
    }
}

fn endpoint(
    field: &str,
    url: Option<&SecretSource>,
    parts: Option<&Connection>,
    encryption: Option<&Tls>,
    problems: &mut Problems,
) {
    problems.exactly_one(field, ("urlFrom", url.is_some()), ("connection", parts.is_some()));
    if let Some(source) = url {
        problems.secret_key(&source.secret_key_ref, &format!("{field}.urlFrom"));
    }
    if let Some(parts) = parts {
        connection(parts, &format!("{field}.connection"), problems);
    }
    if let Some(encryption) = encryption {
        tls(encryption, &format!("{field}.tls"), problems);
    }
}

fn connection(parts: &Connection, field: &str, problems: &mut Problems) {
    let valid = (1..=super::MAX_NAME).contains(&parts.host.len())
        && !parts.host.contains(|c: char| c.is_whitespace() || "/@?#,".contains(c));
    problems.require(valid, &format!("{field}.host"), "must be one host name or IP address");
    problems.require(parts.port > 0, &format!("{field}.port"), "must be 1 to 65535");
    identifier(&parts.database, &format!("{field}.database"), problems);
    problems.secret_key(&parts.username_from.secret_key_ref, &format!("{field}.usernameFrom"));
    problems.secret_key(&parts.password_from.secret_key_ref, &format!("{field}.passwordFrom"));
}

fn tls(tls: &Tls, field: &str, problems: &mut Problems) {
    if let Some(source) = &tls.ca_from {
        problems.require(
            tls.mode >= TlsMode::VerifyCA,
            field,
            "caFrom has an effect only with mode VerifyCA or VerifyFull",
        );
        source.validate(&format!("{field}.caFrom"), problems);
    }
    if let Some(secret) = &tls.client_certificate_secret_ref {
        problems.require(
            tls.mode != TlsMode::Disable,
            field,
            "clientCertificateSecretRef has no effect with mode Disable",
        );
        problems.local_ref(secret, &format!("{field}.clientCertificateSecretRef"));
    }
}

fn identifier(name: &str, field: &str, problems: &mut Problems) {
    problems.require(
        (1..=MAX_IDENTIFIER).contains(&name.len()),
        field,
        "must have 1 to 63 bytes, as every identifier of PostgreSQL",
    );
}
