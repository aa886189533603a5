//! The program `page`, and its page in a browser.
