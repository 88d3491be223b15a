//! Inputs that cannot be used, with the line and a caret.

use std::fmt::Write as _;

use super::{ERROR, FRAME, Surface, printable};
use crate::cli::input::InputProblem;

/// Characters of a source line that are shown around the place.
const EXCERPT: usize = 160;

/// All problems, one after the other.
pub(in crate::cli) fn problems(problems: &[InputProblem], surface: Surface) -> String {
    let shown: Vec<String> = problems.iter().map(|problem| one(problem, surface)).collect();
    shown.join("\n")
}

fn one(problem: &InputProblem, surface: Surface) -> String {
    let mut text = format!(
        "{} {}: {}\n",
        surface.paint(ERROR, "error:"),
        printable(&problem.location()),
        printable(&problem.message)
    );
    let mut margin = String::new();
    if let (Some((line, column)), Some(source)) = (problem.place, &problem.source) {
        let number = line.to_string();
        margin = " ".repeat(number.len());
        let bar = surface.paint(FRAME, "|");
        let (source, blank) = excerpt(source, column);
        let _ = write!(
            text,
            "{margin} {bar}\n{} {bar} {}\n{margin} {bar} {blank}{}\n",
            surface.paint(FRAME, &number),
            printable(&source),
            surface.paint(ERROR, "^"),
        );
    }
    if !problem.hint.is_empty() {
        let sign = surface.paint(FRAME, "=");
        let _ = writeln!(text, "{margin} {sign} help: {}", printable(&problem.hint));
    }
    text
}

/// The part of a line around a column, and the blanks that lead a caret below it to the column.
fn excerpt(source: &str, column: u32) -> (String, String) {
    let at = usize::try_from(column).unwrap_or(usize::MAX).saturating_sub(1);
    let skipped = if at < EXCERPT { 0 } else { at - EXCERPT / 2 };
    let shown: String = source.chars().skip(skipped).take(EXCERPT).collect();
    let mut blank: String =
        shown.chars().take(at - skipped).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
    let missing = (at - skipped).saturating_sub(blank.chars().count()).min(EXCERPT);
    blank.push_str(&" ".repeat(missing));
    (shown, blank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_below_the_place() {
        let problem = InputProblem {
            source: Some("\tSELECT FROM WHERE x".into()),
            ..InputProblem::new("a.sql", "syntax error").at((12, 14)).hint("write SQL")
        };
        assert_eq!(
            problems(&[problem], Surface::PLAIN),
            "error: a.sql:12:14: syntax error\n   |\n12 | \tSELECT FROM WHERE x\n   | \t            ^\n   = help: write SQL\n"
        );
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let (shown, blank) = excerpt(&format!("{}X{}", "a".repeat(5000), "b".repeat(5000)), 5001);
        assert_eq!(shown.chars().count(), EXCERPT);
        assert_eq!(shown.chars().nth(blank.len()), Some('X'));
    }

    #[test]
    fn a_problem_without_a_place_is_one_line() {
        assert_eq!(
            problems(&[InputProblem::new("a", "is missing")], Surface::PLAIN),
            "error: a: is missing\n"
        );
    }
}
