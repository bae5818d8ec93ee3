//! The command: parse arguments, run, map the result to an exit code.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = lockstep::cli::Cli::parse();
    lockstep::cli::run(cli).into()
}
