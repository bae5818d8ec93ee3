//! d
use super::{Env, Exit};
use clap::Args;
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {}
pub(crate) async fn run(_args: DemoArgs, _env: Env) -> anyhow::Result<Exit> {
    Ok(Exit::Done)
}
