//! Durations as people write them: `250ms`, `1m30s`, `72h`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::problem::FieldProblem;
use super::text::text_type;

/// What a duration looks like. Short enough that every match is valid for CEL's `duration()`, too.
const PATTERN: &str = r"^([0-9]{1,5}(\.[0-9]{1,3})?(ms|s|m|h)){1,4}$";
const MAX_LENGTH: usize = 48;
const MAX_PARTS: usize = 4;
const MICROS_PER_HOUR: u64 = 3_600_000_000;

/// A duration as it was written: numbers with the units `h`, `m`, `s` and `ms`, as in `1m30s`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DurationText(String);

impl DurationText {
    /// Returns the text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the duration, to the microsecond.
    ///
    /// # Errors
    /// A problem that names `field` when the text does not follow the pattern.
    pub fn parse(&self, field: &str) -> Result<Duration, FieldProblem> {
        parse(&self.0).ok_or_else(|| {
            FieldProblem::new(
                field,
                format!("{:?} is not a duration: write it like 250ms, 1m30s or 72h", self.0),
            )
        })
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut micros: u64 = 0;
    for _ in 0..MAX_PARTS {
        let (part, tail) = part(rest)?;
        micros = micros.checked_add(part)?;
        if tail.is_empty() {
            return Some(Duration::from_micros(micros));
        }
        rest = tail;
    }
    None
}

/// Reads one number with its unit, in microseconds, and returns what follows.
fn part(text: &str) -> Option<(u64, &str)> {
    let (whole, rest) = digits(text, 5)?;
    let (thousandths, rest) = match rest.strip_prefix('.') {
        Some(rest) => {
            let (fraction, rest) = digits(rest, 3)?;
            (format!("{fraction:0<3}").parse::<u64>().ok()?, rest)
        }
        None => (0, rest),
    };
    let units = [("ms", 1000), ("s", 1_000_000), ("m", 60_000_000), ("h", MICROS_PER_HOUR)];
    let (unit, rest) = units.iter().find_map(|(name, unit)| Some((*unit, rest.strip_prefix(name)?)))?;
    let whole = whole.parse::<u64>().ok()?;
    Some((whole * unit + thousandths * unit / 1000, rest))
}

/// Splits off one to `most` decimal digits.
fn digits(text: &str, most: usize) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (1..=most).contains(&end).then(|| text.split_at(end))
}

impl From<String> for DurationText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Writes a measured time with a precision that suits its size: `0.412ms`, `12.3s`, `1h2m3s`.
impl From<Duration> for DurationText {
    fn from(duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(99_999 * MICROS_PER_HOUR);
        let (hours, minutes) = (micros / MICROS_PER_HOUR, micros / 60_000_000 % 60);
        let (seconds, millis) = (micros / 1_000_000 % 60, micros / 1000 % 1000);
        let text = match micros {
            0..1_000_000 => fraction(millis, micros % 1000, "ms"),
            1_000_000..60_000_000 => fraction(seconds, millis, "s"),
            60_000_000..MICROS_PER_HOUR => format!("{minutes}m{seconds}s"),
            _ => format!("{hours}h{minutes}m{seconds}s"),
        };
        Self(text)
    }
}

fn fraction(whole: u64, thousandths: u64, unit: &str) -> String {
    let text = format!("{whole}.{thousandths:03}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

text_type!(DurationText, PATTERN, MAX_LENGTH);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Option<u64>) {
        let parsed = DurationText::from(text).parse("spec.f");
        assert_eq!(parsed.clone().ok(), expected.map(Duration::from_micros), "{text:?}");
        if let Err(problem) = parsed {
            assert!(problem.to_string().starts_with("spec.f: "), "{problem}");
        }
    }

    #[test]
    fn durations_are_read() {
        check("250ms", Some(250_000));
        check("0s", Some(0));
        check("1m30s", Some(90_000_000));
        check("72h", Some(72 * MICROS_PER_HOUR));
        check("1.5s", Some(1_500_000));
        check("0.412ms", Some(412));
        check("1h2m3s4ms", Some(3_723_004_000));
        check("99999h99999h99999h99999h", Some(4 * 99_999 * MICROS_PER_HOUR));
    }

    #[test]
    fn other_texts_are_refused() {
        let other =
            ["", "5", "s", "-1s", "+1s", "1S", "1 s", "1d", "1us", "1x", "1.s", ".5s", "1.2345s", "100000s"];
        for text in other.into_iter().chain(["1s ", "1ss", "1s1s1s1s1s", "1m 30s", "\u{661}s", "1e3s"]) {
            check(text, None);
        }
    }

    #[test]
    fn measured_times_are_short() {
        let check = |micros, expected: &str| {
            assert_eq!(DurationText::from(Duration::from_micros(micros)).as_str(), expected);
        };
        check(0, "0ms");
        check(412, "0.412ms");
        check(250_000, "250ms");
        check(999_999, "999.999ms");
        check(1_000_000, "1s");
        check(12_345_678, "12.345s");
        check(90_000_000, "1m30s");
        check(3_723_000_000, "1h2m3s");
        check(u64::MAX, "99999h0m0s");
    }

    proptest! {
        #[test]
        fn what_is_written_can_be_read(micros in 0..99_999 * MICROS_PER_HOUR) {
            let written = DurationText::from(Duration::from_micros(micros));
            let read = written.parse("f").unwrap();
            let lost = u128::from(micros) - read.as_micros();
            let precision = if micros < 1_000_000 { 1 } else if micros < 60_000_000 { 1000 } else { 1_000_000 };
            prop_assert!(lost < precision, "{written} lost {lost} us");
        }
    }
}
