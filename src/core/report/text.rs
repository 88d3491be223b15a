//! Texts for people: one line, bounded, and the same for the same facts.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::DurationText;

/// What stands where something was cut off.
const ELLIPSIS: &str = "...";

/// Significant digits of a measured value.
const DIGITS: usize = 6;

/// Cuts `text` to at most `max` bytes on a character boundary, and says so by an ellipsis.
pub(super) fn cut(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut end = max.saturating_sub(ELLIPSIS.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{ELLIPSIS}", text.get(..end).unwrap_or_default())
}

/// Makes one line of at most `max` bytes: control characters and runs of white space become one space.
pub(super) fn line(text: &str, max: usize) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word.get(..word.len().min(max + 1)).unwrap_or(word));
        if line.len() > max {
            break;
        }
    }
    cut(&line, max)
}

/// Makes one line of `head` and `tail`, where only `head` is cut, so that what to do next is never lost.
pub(super) fn line_with(head: &str, tail: &str, max: usize) -> String {
    if tail.is_empty() {
        return line(head, max);
    }
    let head = line(head, max.saturating_sub(tail.len() + 2));
    line(&format!("{head}; {tail}"), max)
}

/// Writes a time to the second, in UTC.
pub(super) fn moment(at: Timestamp) -> String {
    whole_seconds(at).to_string()
}

/// Leaves out what a Kubernetes time cannot hold.
pub(super) fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Writes a measured time, as in `12ms`.
pub(super) fn duration(duration: Duration) -> DurationText {
    let whole = match duration.as_millis() {
        0..10 => return DurationText::from(duration),
        10..10_000 => duration.as_millis(),
        millis => millis / 1000 * 1000,
    };
    DurationText::from(Duration::from_millis(u64::try_from(whole).unwrap_or(u64::MAX)))
}

/// Writes what is left until `end`, to the minute, so that the text changes seldom.
pub(super) fn left(now: Timestamp, end: Timestamp) -> String {
    let minutes = end.duration_since(now).as_secs().max(0).saturating_add(59) / 60;
    match minutes {
        ..=1 => "1m left".to_owned(),
        2..=119 => format!("{minutes}m left"),
        _ => format!("{}h left", minutes.saturating_add(59) / 60),
    }
}

/// A span in one number and one unit, as in `12m`.
pub(super) fn rough(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..=99 => format!("{seconds}s"),
        seconds @ 100..=5_999 => format!("{}m", seconds.div_ceil(60)),
        seconds => format!("{}h", seconds.div_ceil(3600)),
    }
}

/// Writes a measured value with six significant digits.
pub(super) fn number(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    let rounded: f64 = format!("{value:.*e}", DIGITS - 1).parse().unwrap_or(value);
    let plain = rounded.to_string();
    if plain.len() <= 20 { plain } else { format!("{rounded:e}") }
}

/// Writes a count with its noun, as in `1 unit`, `2 units`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_become_one_line() {
        let check = |text: &str, expected: &str| assert_eq!(line(text, 16), expected, "{text:?}");
        check("", "");
        check("short", "short");
        check("two\nlines\r\n\tand", "two lines and");
        check("nul\0byte", "nul byte");
        check("exactly sixteen.", "exactly sixteen.");
        check("more than sixteen", "more than six...");
        check("ééééééééééééééééé", "éééééé...");
    }

    #[test]
    fn what_comes_next_is_never_cut() {
        assert_eq!(line_with("a long story", "act", 12), "a lo...; act");
        assert_eq!(line_with("story", "", 12), "story");
        assert_eq!(line_with("story", "act", 12), "story; act");
    }

    #[test]
    fn measured_times_are_short() {
        let check = |micros: u64, expected: &str| {
            assert_eq!(duration(Duration::from_micros(micros)).as_str(), expected);
        };
        check(412, "0.412ms");
        check(12_345, "12ms");
        check(1_234_567, "1.234s");
        check(12_345_678, "12s");
        check(62_000_000, "1m2s");
    }

    #[test]
    fn what_is_left_is_rounded_up_to_minutes() {
        let now = Timestamp::UNIX_EPOCH;
        let check = |seconds: i64, expected: &str| {
            assert_eq!(left(now, Timestamp::from_second(seconds).unwrap()), expected, "{seconds}");
        };
        check(-5, "1m left");
        check(1, "1m left");
        check(61, "2m left");
        check(119 * 60, "119m left");
        check(119 * 60 + 1, "2h left");
    }

    #[test]
    fn values_are_readable() {
        let check = |value: f64, expected: &str| assert_eq!(number(value), expected);
        check(0.0, "0");
        check(0.041_234_567_8, "0.0412346");
        check(3.0, "3");
        check(1_234_567.0, "1234570");
        check(1e300, "1e300");
        check(f64::NEG_INFINITY, "-Inf");
        check(f64::NAN, "NaN");
    }

    proptest! {
        #[test]
        fn lines_keep_their_bound(text in "(?s).{0,200}", max in 3_usize..100) {
            let line = line(&text, max);
            prop_assert!(line.len() <= max);
            prop_assert!(!line.contains(char::is_control));
        }

        #[test]
        fn values_fit(value in any::<f64>()) {
            prop_assert!(number(value).len() <= 32);
        }
    }
}
