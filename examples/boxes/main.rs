//! One stream, to be read through proxies.

fn main() {}
