//! The file that holds a [`Snapshot`].

use serde_json::Value;

use super::{FORMAT, Snapshot};

/// Why a file is no catalog that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogError {
    /// Not JSON, or cut off.
    #[error("it is not JSON ({0}); write it with `whimbrel catalog`")]
    NotJson(String),
    /// JSON of something else.
    #[error("it is no catalog ({0}); write it with `whimbrel catalog`")]
    NotACatalog(String),
    /// Written by a newer version of this program.
    #[error(
        "it has format {found}, which is newer than {FORMAT}; use a newer whimbrel, or write it again with this one"
    )]
    Newer {
        /// The format of the file.
        found: u64,
    },
}

impl Snapshot {
    /// Reads what [`Snapshot::to_json`] wrote. What a catalog of an older format did not have is empty.
    ///
    /// # Errors
    /// [`CatalogError`], which says what is wrong with the text.
    pub fn from_json(text: &str) -> Result<Self, CatalogError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        // The format first: a newer one may have anything else in it.
        let value: Value =
            serde_json::from_str(text).map_err(|error| CatalogError::NotJson(error.to_string()))?;
        match value.get("format").map(Value::as_u64) {
            Some(Some(0)) | None => {
                return Err(CatalogError::NotACatalog("the field format is missing".to_owned()));
            }
            Some(None) => return Err(CatalogError::NotACatalog("the field format is no number".to_owned())),
            Some(Some(found)) if found > u64::from(FORMAT) => return Err(CatalogError::Newer { found }),
            Some(Some(_)) => {}
        }
        serde_json::from_value(value).map_err(|error| CatalogError::NotACatalog(error.to_string()))
    }

    /// Writes it as JSON, in a stable order and one fact a line, so that two catalogs can be compared.
    ///
    /// # Errors
    /// For a number that JSON cannot hold.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::{LiveQuery, Relation, RelationName};

    #[test]
    fn a_catalog_comes_back() {
        let catalog = Snapshot {
            complete: true,
            relations: vec![Relation {
                name: RelationName::qualified("public", "users"),
                ..Relation::default()
            }],
            queries: Some(vec![LiveQuery { text: "SELECT 'ö'".to_owned(), ..LiveQuery::default() }]),
            ..Snapshot::assumed(Some(15))
        };
        let text = catalog.to_json().unwrap();
        assert_eq!(Snapshot::from_json(&text).unwrap(), catalog);
        assert_eq!(Snapshot::from_json(&format!("\u{feff}{text}")).unwrap(), catalog);
    }

    #[test]
    fn what_is_no_catalog_is_refused_with_the_reason() {
        let check = |text: &str, expected: &str| {
            let error = Snapshot::from_json(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("", "not JSON");
        check("CREATE TABLE t ();", "not JSON");
        check("{\"format\": 1, \"relations\": [", "not JSON");
        check("[]", "format is missing");
        check("{}", "format is missing");
        check("{\"format\": \"one\"}", "format is no number");
        check("{\"format\": 2, \"anything\": 1}", "format 2, which is newer than 1");
        check("{\"format\": 1, \"relations\": 7}", "no catalog");
    }
}
