//! A phone's network, a page that is kept for a way back, a frozen tab.
