//! Thousands of faults between a page and a program: nothing is lost, nothing comes twice.
