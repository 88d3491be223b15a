//! Numbers that people write and read: decimals of a spec, values in messages, durations in PromQL.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A finite decimal together with the text that it was written as.
///
/// Custom resources carry decimals as strings; messages quote the text, so that a limit of `0.050` is
/// reported as it was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal {
    text: String,
    value: f64,
}

/// A text is not a finite decimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a finite decimal such as \"0.05\" or \"1e-3\"")]
pub struct DecimalError(String);

impl Decimal {
    /// Makes a decimal of a text that was read already.
    pub(super) fn of(text: &str, value: f64) -> Self {
        Self { text: text.to_owned(), value }
    }

    /// Returns the value.
    pub fn value(&self) -> f64 {
        self.value
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        // `f64` also reads "inf", "NaN" and rounds "1e999" to infinity: none of them is a limit.
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Self { text: text.to_owned(), value }),
            _ => Err(DecimalError(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for Decimal {
    type Error = DecimalError;

    fn try_from(text: String) -> Result<Self, DecimalError> {
        text.parse()
    }
}

impl From<Decimal> for String {
    fn from(decimal: Decimal) -> Self {
        decimal.text
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Writes a measured value with at most four significant digits, or in full where rounding would make it
/// look equal to `limit`: `0.41`, `1234.6`, `+Inf`, `0.0500001` against a limit of `0.05`.
pub(super) fn format_value(value: f64, limit: Option<f64>) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    // Scientific notation rounds to significant digits; parsing it again gives the shortest plain form.
    let rounded = format!("{value:.3e}").parse::<f64>().unwrap_or(value);
    let hides_the_difference = limit.is_some_and(|limit| rounded.total_cmp(&limit).is_eq());
    let integral = value.abs() >= 1000.0;
    match (hides_the_difference, integral) {
        (true, _) => value.to_string(),
        (false, true) => format!("{value:.1}").trim_end_matches(".0").to_owned(),
        (false, false) => rounded.to_string(),
    }
}

/// Writes a duration in PromQL's notation, in whole seconds and never less than one: `15s`, `90s`, `2m`.
pub(super) fn format_duration(duration: Duration) -> String {
    match duration.as_secs().max(1) {
        hours if hours.is_multiple_of(3600) => format!("{}h", hours / 3600),
        minutes if minutes.is_multiple_of(60) => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    }
}

/// Values as JSON, where infinities are legal samples: finite ones are numbers, the others `"+Inf"`, `"-Inf"`.
pub(super) mod maybe_infinite {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Wire {
        Finite(f64),
        Named(String),
    }

    /// Serializes an optional value.
    // Serde's `with` prescribes the reference.
    #[allow(clippy::ref_option)]
    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = value.map(|value| match value {
            f64::INFINITY => Wire::Named("+Inf".to_owned()),
            f64::NEG_INFINITY => Wire::Named("-Inf".to_owned()),
            finite => Wire::Finite(finite),
        });
        wire.serialize(serializer)
    }

    /// Deserializes an optional value.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        match Option::<Wire>::deserialize(deserializer)? {
            None => Ok(None),
            Some(Wire::Finite(value)) => Ok(Some(value)),
            Some(Wire::Named(name)) if name == "+Inf" => Ok(Some(f64::INFINITY)),
            Some(Wire::Named(name)) if name == "-Inf" => Ok(Some(f64::NEG_INFINITY)),
            Some(Wire::Named(name)) => Err(D::Error::custom(format!("{name:?} is not a sample value"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_finite() {
        for good in ["0.05", "-0.1", "5", "1e-3", "+2"] {
            let decimal: Decimal = good.parse().unwrap();
            assert_eq!(decimal.to_string(), good);
            assert_eq!(serde_json::to_value(&decimal).unwrap(), good);
        }
        for bad in ["", " 1", "NaN", "nan", "inf", "-Infinity", "1e999", "0,05", "5%", "0x10"] {
            assert!(bad.parse::<Decimal>().is_err(), "{bad:?}");
            assert!(serde_json::from_value::<Decimal>(bad.into()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn values_are_short_but_never_hide_a_difference() {
        let check = |value: f64, limit: Option<f64>, expected: &str| {
            assert_eq!(format_value(value, limit), expected, "{value} against {limit:?}");
        };
        check(0.41, Some(0.05), "0.41");
        check(0.412_345_678, None, "0.4123");
        check(0.050_000_1, Some(0.05), "0.0500001");
        check(0.0, Some(0.9), "0");
        check(1_234.56, None, "1234.6");
        check(123_456_789.0, Some(5.0), "123456789");
        check(f64::INFINITY, Some(1.0), "+Inf");
        check(f64::NEG_INFINITY, None, "-Inf");
        check(1e-9, None, "0.000000001");
    }

    #[test]
    fn durations_are_promql_and_never_zero() {
        let check = |millis: u64, expected: &str| {
            assert_eq!(format_duration(Duration::from_millis(millis)), expected, "{millis} ms");
        };
        check(0, "1s");
        check(999, "1s");
        check(15_900, "15s");
        check(60_000, "1m");
        check(90_000, "90s");
        check(7_200_000, "2h");
    }
}
