//! Lockstep keeps every connected system equal to one reviewed config repository.
//!
//! The modules in reading order, each layer importing only those above it (`tests/it/tidy.rs` checks it):
//!
//! 1. **Core**, pure: what documents say, what systems should have, what must change, who must agree, how a group moves together.
//! 2. **Ports**, a trait each: clock, systems, forges.
//! 3. **Shell**, effects: settings, git, the store, the gate's flow, the engine, what people say and ask for, the command line.
#![forbid(unsafe_code)]

pub mod compile;
pub mod config;
pub mod document;
pub mod finding;
pub mod ids;
pub mod plan;
pub mod policy;
pub mod protocol;
pub mod record;
pub mod resource;
pub mod state;
pub mod tlog;
pub mod view;

pub mod clock;
pub mod connector;
pub mod forge;
pub mod system_api;

pub mod app;
pub mod audit;
pub mod cli;
pub mod conformance;
pub mod engine;
pub mod gate;
pub mod ops;
pub mod reference;
pub mod repo;
pub mod serve;
pub mod settings;
pub mod sink;
pub mod store;
