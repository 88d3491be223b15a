//! Which changes of a column's type lead back without loss.

use crate::sql::foresight::types::Type;

const INTEGERS: &[&str] = &["smallint", "integer", "bigint"];
const STRINGS: &[&str] = &["character varying", "text"];

/// The condition under which a column gets its old type back with every value as it is; `Ok(None)` if there is none.
///
/// An assignment to the old type fails on a value that does not fit, so what may not be lost is not lost: left out is
/// everything that would be rounded, cut off, or read differently.
pub fn way_back(old: &str, new: Option<&str>) -> Result<Option<String>, String> {
    let Some(new) = new else {
        return Err(format!("values are computed anew, and what they were as {old} is not kept"));
    };
    let (was, now) = (Type::parse(old), Type::parse(new));
    if was == now {
        return Ok(None);
    }
    let both = |family: &[&str]| family.contains(&was.base.as_str()) && family.contains(&now.base.as_str());
    let same_scale = was.base == "numeric"
        && now.base == "numeric"
        && matches!((was.modifiers.as_slice(), now.modifiers.as_slice()), ([_, old], [_, new]) if old == new);
    let bits = both(&["bit varying"]);
    if was.array == now.array && (both(INTEGERS) || both(STRINGS) || same_scale || bits) {
        return Ok(Some(format!("every value that was written since fits {old}")));
    }
    Err(format!("a value that is written as {new} may not come back whole as {old}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_fails_rather_than_loses_leads_back() {
        let check = |old: &str, new: &str, leads_back: bool| {
            assert_eq!(way_back(old, Some(new)).is_ok(), leads_back, "{old} to {new}");
        };
        check("integer", "bigint", true);
        check("bigint", "integer", true);
        check("character varying(10)", "text", true);
        check("character varying(10)", "character varying(20)", true);
        check("text", "character varying(20)", true);
        check("character varying(10)[]", "text[]", true);
        check("numeric(10,2)", "numeric(12,2)", true);
        check("numeric(10,2)", "numeric(12,4)", false);
        check("numeric(10,2)", "numeric", false);
        check("integer", "numeric", false);
        check("integer", "integer[]", false);
        check("real", "double precision", false);
        check("timestamp(0) without time zone", "timestamp without time zone", false);
        check("date", "timestamp without time zone", false);
        check("character(3)", "text", false);
        check("text", "mood", false);
        check("text", "text", true);
        assert!(way_back("text", None).is_err());
    }
}
