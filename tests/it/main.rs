//! The tests that run the built binary, and the house rules that a machine can check.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "what a test does not expect ends it"
)]

mod adopt;
mod audit;
#[cfg(test)]
mod ci;
mod comments;
#[cfg(test)]
mod connectors;
mod crash;
mod dating;
mod disk;
mod drift;
mod engine;
mod flaky;
mod foresight;
#[cfg(test)]
mod github;
mod holding;
#[cfg(test)]
mod hook;
#[cfg(test)]
mod hub;
#[cfg(test)]
mod left;
mod outbox;
mod ownership;
mod promises;
#[cfg(test)]
mod replicas;
mod secrets;
mod simulate;
mod stopping;
mod tidy;
mod urgent;
mod world;
