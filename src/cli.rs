//! The command line: one file a command.

pub mod init;
pub mod policies;
pub mod system;
