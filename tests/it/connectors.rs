//! Systems behind connectors of their own kinds, on their real servers, through the built binary.

mod postgres;
mod redis;
