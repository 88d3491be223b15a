//! `whimbrel crd`.

/// Prints the custom resource definitions as YAML documents, for `kubectl apply -f -`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn text(_: &Args) -> anyhow::Result<String> {
    Ok(String::new())
}
