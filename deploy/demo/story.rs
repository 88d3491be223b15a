//! What the demo tells: lines with the time, headings, and what other programs printed.

use std::time::{Duration, Instant};

/// The narrator.
pub struct Story {
    started: Instant,
}

impl Story {
    /// Begins now.
    pub fn begin() -> Self {
        Self { started: Instant::now() }
    }

    /// Time since the beginning.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Says one thing.
    pub fn say(&self, text: &str) {
        println!("{}  {:>6.1}s  {text}", clock(), self.elapsed().as_secs_f64());
    }

    /// Begins a part.
    pub fn heading(&self, text: &str) {
        println!("\n{}  {:>6.1}s  == {text} ==", clock(), self.elapsed().as_secs_f64());
    }
}

/// Shows a command and what it printed.
pub fn show(command: &str, output: &str) {
    println!("\n    $ {command}");
    for line in output.trim_end().lines() {
        println!("    {line}");
    }
    println!();
}

/// The local time of the day, to be compared with what other programs log.
#[expect(clippy::disallowed_methods, reason = "the clock is shown to a person and decides nothing")]
fn clock() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}
