//! The scheduler of timed callbacks.
