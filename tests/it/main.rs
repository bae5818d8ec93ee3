//! The tests that run the built binary, and the house rules that a machine can check.

mod tidy;
mod world;
