//! The tests that run the built binary, and the house rules that a machine can check.

mod crash;
mod drift;
mod engine;
mod promises;
mod tidy;
mod world;
