//! Files that hold a way forward and a way back, divided by comments: those of goose (`-- +goose Up`) and of dbmate
//! (`-- migrate:up`).

/// Where a line belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Up,
    Down,
}

/// Divides a text, if it is of that kind, into the way forward and the way back. What does not belong to a part is blank in
/// it, so that places in it are those in the file. A way back without SQL is none.
pub(super) fn divide(text: &str) -> Option<(String, Option<String>)> {
    let marks: Vec<Option<Section>> = text.lines().map(mark).collect();
    // A file whose every line is the way forward is one like any other.
    if !marks.contains(&Some(Section::Down)) {
        return None;
    }
    let (mut up, mut down) = (String::with_capacity(text.len()), String::with_capacity(text.len()));
    let mut section = Section::Up;
    for (line, mark) in text.split_inclusive('\n').zip(marks) {
        section = mark.unwrap_or(section);
        let blank = || line.chars().map(|c| if matches!(c, '\n' | '\r') { c } else { ' ' });
        match section {
            Section::Up => {
                up.push_str(line);
                down.extend(blank());
            }
            Section::Down => {
                down.push_str(line);
                up.extend(blank());
            }
        }
    }
    let says_nothing = |line: &str| line.trim().is_empty() || line.trim_start().starts_with("--");
    let down = Some(down).filter(|down| !down.lines().all(says_nothing));
    Some((up, down))
}

/// The section that begins with a line.
fn mark(line: &str) -> Option<Section> {
    let comment = line.trim().strip_prefix("--")?.trim().to_ascii_lowercase();
    let word = match comment.strip_prefix("+goose") {
        Some(rest) => rest.split_whitespace().next().unwrap_or_default().to_owned(),
        None => comment.strip_prefix("migrate:")?.split_whitespace().next().unwrap_or_default().to_owned(),
    };
    match word.as_str() {
        "up" => Some(Section::Up),
        "down" => Some(Section::Down),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_keep_their_places() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            let found = divide(text);
            let found = found.as_ref().map(|(up, down)| (up.as_str(), down.as_deref()));
            assert_eq!(found, expected, "{text:?}");
        };
        check("CREATE TABLE a ();", None);
        check("-- migrate:up\nCREATE TABLE a ();", None);
        check("-- the way down\nDROP TABLE a;", None);
        let (up, down) =
            ("-- +goose Up\nA 'ö';\r\n              \n  ", "            \n      \r\n-- +goose Down\nB;");
        check("-- +goose Up\nA 'ö';\r\n-- +goose Down\nB;", Some((up, Some(down))));
        let (up, down) =
            ("              \n  \n-- MIGRATE:UP\nA;\n", "--migrate:down\nB;\n             \n  \n");
        check("--migrate:down\nB;\n-- MIGRATE:UP\nA;\n", Some((up, Some(down))));
        let up = "-- migrate:up transaction:false\nA;\n               \n          \n";
        check("-- migrate:up transaction:false\nA;\n-- migrate:down\n-- nothing\n", Some((up, None)));
        check("-- +goose StatementBegin\nA;\n-- +goose Up\n", None);
    }
}
