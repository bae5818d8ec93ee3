//! Lockstep keeps every connected system equal to one reviewed config repository.
//!
//! The modules in reading order, each layer importing only those above it (`tests/it/tidy.rs` checks it):
//!
//! 1. **Core**, pure: what documents say, what systems should have, what must change, who must agree.
//! 2. **Ports**, a trait each: systems, forges, clocks.
//! 3. **Shell**, effects: git, the store, the gate's flow, the engine, the command line.
#![forbid(unsafe_code)]

pub mod config;
pub mod document;
pub mod finding;
pub mod ids;
pub mod plan;
pub mod resource;
pub mod state;

pub mod clock;
pub mod connector;
pub mod forge;

pub mod settings;
pub mod store;

pub mod cli;
