//! How things are shown to a person: colour, width, places in a text.

mod problem;

use std::io::{self, IsTerminal};

use anstyle::{AnsiColor, Style};

use crate::api::Severity;

pub(super) use problem::problems;

/// Width of lines where there is no terminal to ask.
const WIDTH: usize = 100;
/// Lines are not wrapped narrower than this: a path or a table name has to fit.
const NARROWEST: usize = 40;

/// Errors.
pub(super) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Places, and what frames a text.
pub(super) const FRAME: Style = AnsiColor::Blue.on_default();
/// What goes well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
/// What is less important than the rest.
pub(super) const FAINT: Style = Style::new().dimmed();
/// What is more important than the rest.
pub(super) const STRONG: Style = Style::new().bold();

/// The colour of a severity.
pub(super) fn style_of(severity: Severity) -> Style {
    match severity {
        Severity::High => ERROR,
        Severity::Medium => AnsiColor::Yellow.on_default().bold(),
        Severity::Low => AnsiColor::Cyan.on_default(),
        Severity::Info => FAINT,
    }
}

/// What is written on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surface {
    /// Colours are understood and wished for.
    pub colour: bool,
    /// Characters in a line.
    pub width: usize,
}

impl Surface {
    /// No colour, and a width that does not depend on who looks.
    #[cfg(test)]
    pub const PLAIN: Self = Self { colour: false, width: WIDTH };

    /// Standard output: plain where it is not a terminal.
    pub fn stdout() -> Self {
        Self::of(io::stdout().is_terminal(), terminal_size::terminal_size_of(io::stdout()))
    }

    /// Standard error.
    pub fn stderr() -> Self {
        Self::of(io::stderr().is_terminal(), terminal_size::terminal_size_of(io::stderr()))
    }

    /// `NO_COLOR` and `TERM=dumb` are honoured (no-color.org).
    fn of(terminal: bool, size: Option<(terminal_size::Width, terminal_size::Height)>) -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let width = size.filter(|_| terminal).map_or(WIDTH, |(width, _)| usize::from(width.0).max(NARROWEST));
        Self { colour: terminal && !set("NO_COLOR") && !dumb, width }
    }

    /// A text in a style.
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A text broken into lines at blanks; each begins with `indent` blanks.
    pub fn wrap(self, text: &str, indent: usize) -> String {
        let room = self.width.saturating_sub(indent).max(NARROWEST / 2);
        let margin = " ".repeat(indent);
        let mut wrapped = String::new();
        let mut length = 0;
        for word in text.split_whitespace() {
            let size = word.chars().count();
            if length == 0 {
                wrapped.push_str(&margin);
            } else if length + 1 + size > room {
                wrapped.push('\n');
                wrapped.push_str(&margin);
                length = 0;
            } else {
                wrapped.push(' ');
                length += 1;
            }
            wrapped.push_str(word);
            length += size;
        }
        wrapped
    }
}

/// A text that came from outside, without characters that a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_width() {
        let check = |text: &str, width: usize, indent: usize, expected: &str| {
            assert_eq!(Surface { colour: false, width }.wrap(text, indent), expected);
        };
        check("", 40, 2, "");
        check("one two", 40, 2, "  one two");
        check(
            "aaaaaaaaaa bbbbbbbbbb cccccccccc dddddddddd",
            40,
            4,
            "    aaaaaaaaaa bbbbbbbbbb cccccccccc\n    dddddddddd",
        );
        check(&"x".repeat(60), 40, 1, &format!(" {}", "x".repeat(60)));
    }

    #[test]
    fn colours_are_for_terminals() {
        assert_eq!(Surface::PLAIN.paint(ERROR, "a"), "a");
        assert_eq!(Surface { colour: true, width: 80 }.paint(ERROR, "a"), "\u{1b}[1m\u{1b}[31ma\u{1b}[0m");
    }

    #[test]
    fn a_terminal_is_not_given_orders() {
        assert_eq!(printable("a\u{1b}[31mb\tc"), "a\u{fffd}[31mb\tc");
    }
}
