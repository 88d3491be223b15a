//! The `whimbrel` binary: arguments, telemetry, exit code.

use std::process::ExitCode;

use clap::Parser;
use whimbrel::cli::Cli;

fn main() -> ExitCode {
    // One provider for all three TLS clients; an error only means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
