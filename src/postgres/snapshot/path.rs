//! Search paths, as settings spell them.

/// What the setting `search_path` is where nobody changed it.
pub(super) const DEFAULT: &str = "\"$user\", public";

/// Splits a search path as the server does: names between commas, folded to lower case unless quoted. `"$user"` stands for
/// the name of the role.
pub(super) fn split(setting: &str, role: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = setting.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                name.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            c if quoted => name.push(c),
            c if c.is_whitespace() => {}
            c => name.push(c.to_ascii_lowercase()),
        }
    }
    names.push(name);
    names.retain(|name| !name.is_empty());
    names.into_iter().map(|name| if name == "$user" { role.to_owned() } else { name }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_the_server_does() {
        let check =
            |setting: &str, expected: &[&str]| assert_eq!(split(setting, "ann"), expected, "{setting}");
        check(DEFAULT, &["ann", "public"]);
        check("App, \"App\", \"a,b\", \"a\"\"b\"", &["app", "App", "a,b", "a\"b"]);
        check("", &[]);
        check("\"\"", &[]);
    }
}
