//! The parser of `stream.js` reads the table of cases.
