//! What people do besides proposing: releasing a held plan, and what they say in comments.
//!
//! The command line and the forge's comments ask for the same things, so both come here.

pub mod outbox;
pub mod release;
pub mod remarks;
