//! Clock constants: `'now'::timestamp` in a view, a default or a check becomes a constant when the object is created, so
//! two creations of the same definition differ. Such a constant is recognised by its fraction of a second, which people
//! do not write, except for the end of a period (`23:59:59.999`). `'today'` leaves no mark and is compared as it stands.

/// What stands for a clock constant.
const MARK: &str = "'(clock)'";

/// Replaces time constants with a fraction of a second by a mark.
pub(super) fn without_clock_constants(definition: &str) -> String {
    let mut result = String::with_capacity(definition.len());
    let mut rest = definition;
    while let Some(start) = rest.find(['\'', '"']) {
        let (before, tail) = rest.split_at(start);
        let (token, after) = tail.split_at(quoted_length(tail));
        let is_constant = token.len() > 2 && after.starts_with("::time");
        let content = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
        result.push_str(before);
        result.push_str(if is_constant && has_clock_fraction(content) { MARK } else { token });
        rest = after;
    }
    result.push_str(rest);
    result
}

/// Returns the length in bytes of the quoted token that a text begins with; a doubled quote belongs to it.
fn quoted_length(text: &str) -> usize {
    let quote = text.chars().next().unwrap_or_default();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((index, c)) = chars.next() {
        if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return index + c.len_utf8();
        }
    }
    text.len()
}

/// Tells whether a time as the server prints it (`2026-11-20 10:11:12.345678+00`) has a fraction that a clock left.
fn has_clock_fraction(time: &str) -> bool {
    let Some((_, after)) = time.rsplit_once('.') else {
        return false;
    };
    let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let fraction = after.get(..digits).unwrap_or_default();
    digits > 0 && fraction.contains(|c: char| c != '9')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clock_constants_are_masked_and_others_are_kept() {
        let check =
            |definition: &str, expected: &str| assert_eq!(without_clock_constants(definition), expected);
        check(
            "(t.at > '2026-11-20 23:31:41.776707+00'::timestamp with time zone)",
            "(t.at > '(clock)'::timestamp with time zone)",
        );
        check(
            "DEFAULT '2026-11-20 23:31:41.7767'::timestamp without time zone",
            "DEFAULT '(clock)'::timestamp without time zone",
        );
        check("'10:11:12.5+00'::time with time zone", "'(clock)'::time with time zone");
        for kept in [
            "'2026-11-20 23:31:41+00'::timestamp with time zone",
            "'2026-12-31 23:59:59.999999'::timestamp without time zone",
            "'2026-11-20'::date",
            "'it''s 1.5'::text || '10:11:12.5'::text",
            "\"odd'name\" > 'x.1'::text",
            "'open",
            "E'a\\\\'::text",
        ] {
            check(kept, kept);
        }
        check("\"o'dd\" < '2026-01-01 00:00:00.25'::timestamp", "\"o'dd\" < '(clock)'::timestamp");
    }
}
