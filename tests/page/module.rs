//! `stream.js` in a page: it comes back, gives up and ends as its contract says.
