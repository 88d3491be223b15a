//! Durations as people write them: `250ms`, `1m30s`, `72h`.

use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::problem::FieldProblem;

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
                format!(
                    "{:?} is not a duration: write it like 250ms, 1m30s or 72h",
                    self.0
                ),
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
    let units = [
        ("ms", 1000),
        ("s", 1_000_000),
        ("m", 60_000_000),
        ("h", MICROS_PER_HOUR),
    ];
    let (unit, rest) = units
        .iter()
        .find_map(|(name, unit)| Some((*unit, rest.strip_prefix(name)?)))?;
    let whole = whole.parse::<u64>().ok()?;
    Some((whole * unit + thousandths * unit / 1000, rest))
}

/// Splits off one to `most` decimal digits.
fn digits(text: &str, most: usize) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (1..=most).contains(&end).then(|| text.split_at(end))
}

impl From<&str> for DurationText {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for DurationText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

/// Writes a measured time with a precision that suits its size: `0.412ms`, `12.3s`, `1h2m3s`.
impl From<Duration> for DurationText {
    fn from(duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros())
            .unwrap_or(u64::MAX)
            .min(99_999 * MICROS_PER_HOUR);
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

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for DurationText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DurationText".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": PATTERN, "maxLength": MAX_LENGTH})
    }
}
