//! Pure: samples and verdicts.
