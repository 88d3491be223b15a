//! Pure: parses, classifies and inverts SQL; the only user of the SQL parser.
