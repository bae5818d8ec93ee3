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
mod custom_kind;
mod dating;
mod disk;
mod drift;
mod engine;
mod field_modes;
mod flaky;
mod foresight;
#[cfg(test)]
mod github;
mod holding;
#[cfg(test)]
mod hook;
#[cfg(test)]
mod hub;
mod ladder;
#[cfg(test)]
mod left;
mod limits;
#[cfg(test)]
mod mixed;
mod outbox;
mod ownership;
mod passed;
mod promises;
mod pull;
#[cfg(test)]
mod replicas;
mod secrets;
mod simulate;
mod stopping;
mod taking_in;
mod tidy;
mod urgent;
mod world;
