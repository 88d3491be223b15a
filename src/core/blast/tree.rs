//! The blast radius as a tree of lines, for a terminal.

use std::fmt::Write as _;

use super::{BlastRadius, Reached};

/// Draws the tree: plain text, one object a line, indented by where it hangs.
pub fn tree(radius: &BlastRadius) -> String {
    let mut text = String::new();
    for root in &radius.roots {
        let _ = writeln!(text, "{}", line(root));
        branches(&root.dependents, "", &mut text);
    }
    if radius.truncated {
        text.push_str("… and more than is shown\n");
    }
    text
}

fn branches(reached: &[Reached], indent: &str, text: &mut String) {
    for (index, one) in reached.iter().enumerate() {
        let last = index + 1 == reached.len();
        let _ = writeln!(text, "{indent}{} {}", if last { "└─" } else { "├─" }, line(one));
        branches(&one.dependents, &format!("{indent}{}", if last { "   " } else { "│  " }), text);
    }
}

fn line(one: &Reached) -> String {
    let shown = printable(&one.object.identity);
    let mut line = match one.by.as_str() {
        "touched" => format!("{} {shown}", one.object.kind),
        "locked" => format!("{} {shown} (locked only)", one.object.kind),
        by => format!("{by} {shown}"),
    };
    let facts: Vec<String> = one
        .rows
        .map(rows)
        .into_iter()
        .chain(one.bytes.map(bytes))
        .chain(one.likely.then(|| "likely".to_owned()))
        .collect();
    if !facts.is_empty() {
        let _ = write!(line, " ({})", facts.join(", "));
    }
    line
}

/// A name that gives the terminal no orders.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A number of rows for people: `2.1 M rows`.
pub(super) fn rows(count: f64) -> String {
    let (number, unit) = match count {
        count if count >= 1e9 => (count / 1e9, " G"),
        count if count >= 1e6 => (count / 1e6, " M"),
        count if count >= 1e4 => (count / 1e3, " k"),
        count => return format!("{count:.0} row{}", if (count - 1.0).abs() < 0.5 { "" } else { "s" }),
    };
    format!("{number:.1}{unit} rows")
}

/// A number of bytes for people: `1.3 GiB`.
#[allow(clippy::cast_precision_loss, reason = "shown with one digit")]
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut number = count as f64;
    let mut units = UNITS.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for larger in units {
        if number < 1024.0 {
            break;
        }
        number /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{count} B") } else { format!("{number:.1} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        let check = |count: f64, expected: &str| assert_eq!(rows(count), expected);
        check(0.0, "0 rows");
        check(1.0, "1 row");
        check(9999.0, "9999 rows");
        check(12_345.0, "12.3 k rows");
        check(2_100_000.0, "2.1 M rows");
        assert_eq!(
            (bytes(512), bytes(8192), bytes(1_400_000_000)),
            ("512 B".to_owned(), "8.0 KiB".to_owned(), "1.3 GiB".to_owned())
        );
    }
}
