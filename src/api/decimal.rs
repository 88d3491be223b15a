//! Decimal numbers as strings, because floating point has no place in a Kubernetes object.

use serde::{Deserialize, Serialize};

use super::problem::FieldProblem;
use super::text::text_type;

/// What a decimal looks like: no exponent, no `NaN`, no infinity, so that every match is finite.
const PATTERN: &str = r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$";
const MAX_LENGTH: usize = 26;

/// A decimal number as it was written, as in `0.05`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DecimalText(String);

impl DecimalText {
    /// Returns the text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the number; it is always finite.
    ///
    /// # Errors
    /// A problem that names `field` when the text does not follow the pattern.
    pub fn parse(&self, field: &str) -> Result<f64, FieldProblem> {
        parse(&self.0).ok_or_else(|| {
            FieldProblem::new(field, format!("{:?} is not a decimal number: write it like 0.05", self.0))
        })
    }
}

fn parse(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    let digits = |text: &str, most: usize| {
        (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let valid = digits(whole, 15) && fraction.is_none_or(|fraction| digits(fraction, 9));
    if valid { text.parse().ok() } else { None }
}

impl From<String> for DecimalText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

text_type!(DecimalText, PATTERN, MAX_LENGTH);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read() {
        for (text, expected) in [("0.05", 0.05), ("20", 20.0), ("-1.5", -1.5), ("0", 0.0), ("007", 7.0)] {
            let parsed = DecimalText::from(text).parse("f").unwrap();
            assert!((parsed - expected).abs() < f64::EPSILON, "{text}: {parsed}");
        }
        assert!(DecimalText::from("999999999999999.999999999").parse("f").unwrap().is_finite());
    }

    #[test]
    fn other_texts_are_refused() {
        let texts =
            ["", "-", "+1", ".5", "5.", "1e309", "NaN", "inf", "1,5", " 1", "0x1", "1_000", "--1", "1.-5"];
        for text in texts.into_iter().chain(["1234567890123456", "0.1234567890"]) {
            let problem = DecimalText::from(text).parse("spec.max").unwrap_err();
            assert_eq!(problem.field, "spec.max", "{text:?}");
        }
    }
}
