//! The room as a whole, from text to what is foreseen.
