//! Whether this process could work: the API server answers, and knows our kinds.

use std::time::Duration;

use kube::Client;

use super::client::{Error, within};
use crate::server::Health;

/// Part of the readiness: the API server answers.
pub const API_SERVER: &str = "api-server";
/// Part of the readiness: the custom resource definitions are there.
pub const CUSTOM_RESOURCES: &str = "custom-resources";

const GROUP_VERSION: &str = "whimbrel.dev/v1alpha1";
const KINDS: [&str; 3] = ["databases", "metricsproviders", "migrations"];
const LIMIT: Duration = Duration::from_secs(5);
const PAUSE_UNTIL_READY: Duration = Duration::from_secs(1);
const PAUSE_WHEN_READY: Duration = Duration::from_secs(10);

/// Keeps `health` up to date until it is aborted. It only asks for discovery, which every authenticated client may.
pub async fn watch(client: Client, health: Health) {
    loop {
        check(&client, &health).await;
        let pause = if health.is_ready() { PAUSE_WHEN_READY } else { PAUSE_UNTIL_READY };
        tokio::time::sleep(pause).await;
    }
}

async fn check(client: &Client, health: &Health) {
    let kinds = client.list_api_group_resources(GROUP_VERSION);
    match within(LIMIT, &format!("look for {GROUP_VERSION}"), kinds).await {
        Ok(known) => {
            health.ready(API_SERVER);
            let known: Vec<&str> = known.resources.iter().map(|resource| resource.name.as_str()).collect();
            report_kinds(health, &missing(&known));
        }
        Err(error) if error.is_not_found() => {
            health.ready(API_SERVER);
            report_kinds(health, &KINDS);
        }
        Err(error @ Error::Call { .. }) => health.unready(API_SERVER, format!("{error:#}")),
        Err(error) => health.unready(API_SERVER, error.to_string()),
    }
}

fn report_kinds(health: &Health, missing: &[&str]) {
    if missing.is_empty() {
        health.ready(CUSTOM_RESOURCES);
    } else {
        let names = missing.join(", ");
        health.unready(
            CUSTOM_RESOURCES,
            format!("{names} of {GROUP_VERSION} missing: apply what `whimbrel crd` prints"),
        );
    }
}

fn missing(known: &[&str]) -> Vec<&'static str> {
    KINDS.into_iter().filter(|kind| !known.contains(kind)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_must_be_known() {
        let check = |known: &[&str], expected: &[&str]| assert_eq!(missing(known), expected);
        check(&["databases", "databases/status", "metricsproviders", "migrations"], &[]);
        check(&["databases/status", "migrations"], &["databases", "metricsproviders"]);
    }
}
