//! Text as the scanner of PostgreSQL sees it.

use pg_query::protobuf::{KeywordKind, Token as Symbol};

use super::grammar;

/// A token: never a comment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    /// Byte offset of its first character.
    pub start: usize,
    /// Byte offset after its last character.
    pub end: usize,
    symbol: i32,
    keyword: bool,
}

impl Token {
    fn is(self, symbol: Symbol) -> bool {
        self.symbol == symbol as i32
    }

    /// The text of the token.
    pub fn text(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or_default()
    }

    pub fn is_semicolon(self) -> bool {
        self.is(Symbol::Ascii59)
    }

    /// Whether it is this keyword, or this operator or punctuation.
    pub fn is_word(self, text: &str, word: &str) -> bool {
        self.text(text).eq_ignore_ascii_case(word)
    }

    /// The name that the token is, folded as the server does; a keyword is one too.
    pub fn name(self, text: &str) -> Option<String> {
        let raw = self.text(text);
        if self.is(Symbol::Uident) {
            return Some(unescape(raw));
        }
        if self.is(Symbol::Ident) && raw.starts_with('"') {
            return Some(raw.trim_matches('"').replace("\"\"", "\""));
        }
        (self.is(Symbol::Ident) || self.keyword).then(|| raw.to_ascii_lowercase())
    }

    /// The text within the quotes of a string; escapes are left as they are.
    pub fn string(self, text: &str) -> Option<&str> {
        self.is(Symbol::Sconst).then(|| self.text(text).trim_start_matches(['e', 'E']).trim_matches('\''))
    }
}

/// The name in `U&"..."`, with `\XXXX` and `\+XXXXXX` decoded.
fn unescape(raw: &str) -> String {
    let inner = raw.get(2..).unwrap_or_default().trim_matches('"').replace("\"\"", "\"");
    let mut parts = inner.split('\\');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = match part.strip_prefix('+') {
            Some(long) => long.split_at_checked(6).unwrap_or((long, "")),
            None => part.split_at_checked(4).unwrap_or((part, "")),
        };
        name.extend(u32::from_str_radix(digits, 16).ok().and_then(char::from_u32));
        name.push_str(rest);
    }
    name
}

/// The tokens of a text; `None` if the scanner does not accept it.
pub(super) fn scan(text: &str) -> Option<Vec<Token>> {
    let tokens = grammar::scan(text).ok()?;
    let tokens = tokens.into_iter().filter_map(|token| {
        let comment = [Symbol::SqlComment as i32, Symbol::CComment as i32].contains(&token.token);
        let (start, end) = (usize::try_from(token.start).ok()?, usize::try_from(token.end).ok()?);
        let keyword = token.keyword_kind != KeywordKind::NoKeyword as i32;
        (!comment).then_some(Token { start, end, symbol: token.token, keyword })
    });
    Some(tokens.collect())
}

/// A statement on one line, without comments.
pub(super) fn one_line(sql: &str) -> String {
    let mut line = String::with_capacity(sql.len());
    let mut end = 0;
    for token in scan(sql).unwrap_or_default() {
        if token.start > end && !line.is_empty() {
            line.push(' ');
        }
        end = token.end;
        line.push_str(&token.text(sql).split_whitespace().collect::<Vec<_>>().join(" "));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn puts_a_statement_on_one_line() {
        let check = |sql: &str, line: &str| assert_eq!(one_line(sql), line);
        check("ALTER TABLE t\n  ADD COLUMN c int -- why\n", "ALTER TABLE t ADD COLUMN c int");
        check("SELECT /* a\n b */ f(1,  2)", "SELECT f(1, 2)");
        check("SELECT 'a\n  b'", "SELECT 'a b'");
    }

    #[test]
    fn reads_names() {
        let check = |sql: &str, name: Option<&str>| {
            assert_eq!(scan(sql).unwrap()[0].name(sql).as_deref(), name, "{sql}");
        };
        check("Whimbrel", Some("whimbrel"));
        check("\"Whim\"\"brel\"", Some("Whim\"brel"));
        check("U&\"whimbre\\006C\"", Some("whimbrel"));
        check("U&\"whimbre\\+00006C_\"", Some("whimbrel_"));
        check("schema", Some("schema"));
        check("'text'", None);
    }
}
