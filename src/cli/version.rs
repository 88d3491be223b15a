//! `whimbrel version`.

/// Prints the version of this binary.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print it.
    #[arg(long, short, value_enum, default_value = "text")]
    output: Output,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    Text,
    Json,
}

pub(super) fn text(args: &Args) -> anyhow::Result<String> {
    let version = env!("CARGO_PKG_VERSION");
    Ok(match args.output {
        Output::Text => format!("whimbrel {version}\n"),
        Output::Json => {
            let value = serde_json::json!({
                "version": version,
                "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
            });
            format!("{}\n", serde_json::to_string_pretty(&value)?)
        }
    })
}
