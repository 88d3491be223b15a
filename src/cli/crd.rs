//! `whimbrel crd`.

use std::path::PathBuf;

use anyhow::Context;

use crate::api::crd;

/// Prints the custom resource definitions as YAML documents, for `kubectl apply -f -`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Write one file for each kind into this directory instead.
    #[arg(long, value_name = "DIRECTORY")]
    output_directory: Option<PathBuf>,
}

pub(super) fn text(args: &Args) -> anyhow::Result<String> {
    let Some(directory) = &args.output_directory else {
        return Ok(crd::print()?);
    };
    for (name, yaml) in crd::files()? {
        let path = directory.join(name);
        std::fs::write(&path, yaml).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(String::new())
}
