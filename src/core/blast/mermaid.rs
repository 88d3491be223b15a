//! The blast radius as a Mermaid flowchart, for pull requests.

use std::fmt::Write as _;

use super::tree::{bytes, rows};
use super::{BlastRadius, Reached};

/// Draws a `flowchart`: an arrow goes from what is touched to what depends on it, a dotted one where that is only likely.
pub fn mermaid(radius: &BlastRadius) -> String {
    let mut text = "flowchart LR\n".to_owned();
    let mut count = 0;
    for root in &radius.roots {
        let id = node(root, &mut count, &mut text);
        let _ = writeln!(text, "  style n{id} stroke-width:3px");
        arrows(root, id, &mut count, &mut text);
    }
    if radius.truncated {
        text.push_str("  more[\"… and more than is shown\"]\n");
    }
    text
}

fn arrows(from: &Reached, id: usize, count: &mut usize, text: &mut String) {
    for one in &from.dependents {
        let to = node(one, count, text);
        let arrow = if one.likely { "-.->" } else { "-->" };
        let _ = writeln!(text, "  n{id} {arrow}|\"{}\"| n{to}", escaped(&one.by));
        arrows(one, to, count, text);
    }
}

fn node(one: &Reached, count: &mut usize, text: &mut String) -> usize {
    let id = *count;
    *count += 1;
    let mut label = escaped(&one.object.identity);
    let facts: Vec<String> = one.rows.map(rows).into_iter().chain(one.bytes.map(bytes)).collect();
    if !facts.is_empty() {
        let _ = write!(label, "<br/>{}", facts.join(", "));
    }
    let _ = writeln!(text, "  n{id}[\"{label}\"]");
    id
}

/// Text within a quoted label: entities for whatever could end it or be taken for markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_alphanumeric() || " ._-(),:/".contains(c) {
            escaped.push(c);
        } else {
            let _ = write!(escaped, "#{};", u32::from(c));
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_break_the_picture() {
        let check = |name: &str, expected: &str| assert_eq!(escaped(name), expected);
        check("public.users", "public.users");
        check("public.\"a\"]\n", "public.#34;a#34;#93;#10;");
        check("<b>`x`;#", "#60;b#62;#96;x#96;#59;#35;");
        check("größe", "größe");
    }
}
