//! Logs, to standard output, one line per event. Not to standard error: the SQL parser's C library takes that away for
//! the time of a parse.

use std::io::{self, Write};

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Starts logging. `level` is a filter such as `info` or `warn,whimbrel=debug`.
///
/// # Errors
/// When the filter does not parse, or logging was started before.
pub fn init(format: LogFormat, level: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::builder().parse(level).with_context(|| {
        format!("invalid --log-level {level:?}: expected a filter such as info or warn,whimbrel=debug")
    })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false);
    let started = match format {
        LogFormat::Text => builder.with_writer(OneLine).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_writer(io::stdout).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}

/// Writes each event as one line, whatever the logged values contain: a database or an API server that puts a line
/// break into an error message cannot make up a log line.
struct OneLine;

impl<'a> MakeWriter<'a> for OneLine {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

impl Write for OneLine {
    /// Takes one whole event, as the formatter hands it over.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        io::stdout().write_all(one_line(&String::from_utf8_lossy(event)).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

fn one_line(event: &str) -> String {
    let mut line = String::with_capacity(event.len() + 1);
    for char in event.strip_suffix('\n').unwrap_or(event).chars() {
        if char.is_control() {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_on_one_line() {
        let check = |event: &str, expected: &str| assert_eq!(one_line(event), expected);
        check("INFO ready\n", "INFO ready\n");
        check("ERROR no\nINFO all is well\n", "ERROR no\\nINFO all is well\n");
        check("a\r\x1b[31mb\n", "a\\r\\u{1b}[31mb\n");
        check("größer\n", "größer\n");
    }

    #[test]
    fn a_wrong_filter_names_the_flag() {
        let error = init(LogFormat::Text, "info,,=x=").unwrap_err().to_string();
        assert!(error.contains("--log-level"), "{error}");
    }
}
