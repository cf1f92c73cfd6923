//! Selectors: which backend gets the next request.
