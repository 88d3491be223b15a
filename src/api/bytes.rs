//! Numbers of bytes as strings, in the spelling of Kubernetes quantities.

use serde::{Deserialize, Serialize};

use super::problem::FieldProblem;
use super::text::text_type;

const PATTERN: &str = "^[1-9][0-9]{0,8}(Ki|Mi|Gi)?$";
const MAX_LENGTH: usize = 11;

/// A number of bytes as it was written, as in `32Mi`; never zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BytesText(String);

impl BytesText {
    /// Reads the number.
    ///
    /// # Errors
    /// A problem that names `field` when the text does not follow the pattern.
    pub fn parse(&self, field: &str) -> Result<u64, FieldProblem> {
        parse(&self.0).ok_or_else(|| {
            FieldProblem::new(field, format!("{:?} is not a number of bytes: write it like 32Mi", self.0))
        })
    }
}

fn parse(text: &str) -> Option<u64> {
    let units = [("Ki", 1 << 10), ("Mi", 1 << 20), ("Gi", 1 << 30)];
    let unit = units.into_iter().find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)));
    let (digits, unit): (&str, u64) = unit.unwrap_or((text, 1));
    let valid = (1..=9).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    if valid { digits.parse::<u64>().ok()?.checked_mul(unit) } else { None }
}

text_type!(BytesText, PATTERN, MAX_LENGTH);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_and_nothing_else() {
        for (text, expected) in
            [("1", 1), ("64Ki", 65_536), ("32Mi", 33_554_432), ("999999999Gi", 999_999_999 << 30)]
        {
            assert_eq!(BytesText::from(text).parse("f").unwrap(), expected, "{text}");
        }
        for text in
            ["", "0", "0Mi", "01", "Mi", "1M", "1.5Mi", "-1", "+1", " 1", "1234567890", "1MiMi", "1ki"]
        {
            assert!(BytesText::from(text).parse("f").is_err(), "{text:?}");
        }
    }
}
