//! The blast radius as a tree, and as a picture.

use std::fmt::Write as _;

use crate::core::blast::{BlastRadius, Reached};
use crate::core::preview::{amount, size};

/// Objects that are shown; a picture with more says nothing.
const MOST: usize = 200;

/// A tree in lines, drawn with box characters.
pub(super) fn lines(radius: &BlastRadius) -> Vec<String> {
    let mut drawing = Drawing { lines: Vec::new(), omitted: 0 };
    for root in &radius.roots {
        drawing.put(format!("{}{}", title(root), measures(root)));
        drawing.below(&root.dependents, "");
    }
    if drawing.omitted > 0 {
        drawing.lines.push(format!("... and {} more", drawing.omitted));
    }
    drawing.lines
}

struct Drawing {
    lines: Vec<String>,
    omitted: usize,
}

impl Drawing {
    fn put(&mut self, line: String) {
        if self.lines.len() < MOST { self.lines.push(line) } else { self.omitted += 1 }
    }

    fn below(&mut self, reached: &[Reached], margin: &str) {
        for (index, one) in reached.iter().enumerate() {
            let last = index + 1 == reached.len();
            let (branch, rest) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let likely = if one.likely { " (likely: found in its source)" } else { "" };
            let name = &one.object.identity;
            self.put(format!("{margin}{branch}{} {name}{}{likely}", one.by, measures(one)));
            self.below(&one.dependents, &format!("{margin}{rest}"));
        }
    }
}

fn title(reached: &Reached) -> String {
    format!("{} {}", reached.object.kind, reached.object.identity)
}

fn measures(reached: &Reached) -> String {
    let rows = reached.rows.map(|rows| format!("{} rows", amount(rows)));
    let bytes = reached.bytes.filter(|bytes| *bytes > 0).map(|bytes| {
        #[allow(clippy::cast_precision_loss, reason = "shown with two digits")]
        let bytes = bytes as f64;
        size(bytes)
    });
    let known: Vec<String> = rows.into_iter().chain(bytes).collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

/// The same as a Mermaid flowchart.
pub(super) fn mermaid(radius: &BlastRadius) -> String {
    let mut chart = Chart { text: "flowchart LR\n".to_owned(), nodes: 0 };
    for root in &radius.roots {
        let node = chart.node(root);
        let _ = writeln!(chart.text, "  class {node} touched");
        chart.below(&node, &root.dependents);
    }
    chart.text.push_str("  classDef touched stroke-width:3px\n");
    chart.text
}

struct Chart {
    text: String,
    nodes: usize,
}

impl Chart {
    fn node(&mut self, reached: &Reached) -> String {
        let name = format!("n{}", self.nodes);
        self.nodes += 1;
        let label = format!("{}{}", title(reached), measures(reached));
        let _ = writeln!(self.text, "  {name}[\"{}\"]", quoted(&label));
        name
    }

    fn below(&mut self, above: &str, reached: &[Reached]) {
        for one in reached {
            if self.nodes >= MOST {
                return;
            }
            let node = self.node(one);
            let arrow = if one.likely { "-.->" } else { "-->" };
            let _ = writeln!(self.text, "  {above} {arrow}|\"{}\"| {node}", quoted(&one.by));
            self.below(&node, &one.dependents);
        }
    }
}

/// Text within quotes of Mermaid, which knows entities only.
fn quoted(text: &str) -> String {
    let entity = |c: char| match c {
        '"' => "#quot;".to_owned(),
        '#' => "#35;".to_owned(),
        '<' => "#lt;".to_owned(),
        '>' => "#gt;".to_owned(),
        c if c.is_control() => " ".to_owned(),
        c => c.to_string(),
    };
    text.chars().map(entity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::ObjectRef;

    fn reached(by: &str, kind: &str, identity: &str, dependents: Vec<Reached>) -> Reached {
        let object = ObjectRef { kind: kind.into(), identity: identity.into(), ..ObjectRef::default() };
        Reached { object, by: by.into(), dependents, ..Reached::default() }
    }

    fn radius() -> BlastRadius {
        let function = Reached { likely: true, ..reached("used by", "function", "f()", vec![]) };
        let view = reached("view", "view", "public.\"V\"", vec![function]);
        let index = reached("index on", "index", "i", vec![]);
        let table = reached("touched", "table", "public.users", vec![view, index]);
        BlastRadius { roots: vec![Reached { rows: Some(2e6), bytes: Some(1 << 30), ..table }] }
    }

    #[test]
    fn a_tree_is_drawn() {
        assert_eq!(
            lines(&radius()),
            [
                "table public.users (2 M rows, 1 GiB)",
                "├─ view public.\"V\"",
                "│  └─ used by f() (likely: found in its source)",
                "└─ index on i",
            ]
        );
    }

    #[test]
    fn a_picture_has_quoted_labels() {
        let text = mermaid(&radius());
        assert!(text.starts_with("flowchart LR\n  n0[\"table public.users (2 M rows, 1 GiB)\"]\n"), "{text}");
        assert!(text.contains("  n1[\"view public.#quot;V#quot;\"]\n  n0 -->|\"view\"| n1\n"), "{text}");
        assert!(text.contains("  n1 -.->|\"used by\"| n2\n"), "{text}");
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let many = (0..300).map(|n| reached("view", "view", &format!("v{n}"), vec![])).collect();
        let radius = BlastRadius { roots: vec![reached("touched", "table", "t", many)] };
        let lines = lines(&radius);
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (201, Some("... and 101 more")));
    }
}
