//! `coracle container`: the verbs for containers, by their longer names.

mod prune;

use anyhow::Result;
use clap::Subcommand;

use super::{Context, create, inspect, kill, logs, ps, rename, restart, rm, run, start, stop, wait};

/// Manage containers
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::Arguments),
    Run(run::Arguments),
    Create(create::Arguments),
    Start(start::Arguments),
    Stop(stop::Arguments),
    Restart(restart::Arguments),
    Kill(kill::Arguments),
    #[command(visible_alias = "remove")]
    Rm(rm::Arguments),
    Prune(prune::Arguments),
    Logs(logs::Arguments),
    Inspect(inspect::OfOneKind),
    Rename(rename::Arguments),
    Wait(wait::Arguments),
}

impl Arguments {
    /// Whether a failure of ours is one of `run`, which has an exit code of its own.
    pub(super) fn is_run(&self) -> bool {
        matches!(self.verb, Verb::Run(_))
    }
}

pub(super) fn run(context: &Context, arguments: Arguments) -> Result<u8> {
    match arguments.verb {
        Verb::Ls(arguments) => ps::run(context, &arguments),
        Verb::Run(arguments) => run::run(context, arguments),
        Verb::Create(arguments) => create::run(context, arguments),
        Verb::Start(arguments) => start::run(context, &arguments),
        Verb::Stop(arguments) => stop::run(context, &arguments),
        Verb::Restart(arguments) => restart::run(context, &arguments),
        Verb::Kill(arguments) => kill::run(context, &arguments),
        Verb::Rm(arguments) => rm::run(context, &arguments),
        Verb::Prune(arguments) => prune::run(context, &arguments),
        Verb::Logs(arguments) => logs::run(context, &arguments),
        Verb::Inspect(arguments) => inspect::of_containers(context, &arguments),
        Verb::Rename(arguments) => rename::run(context, &arguments),
        Verb::Wait(arguments) => wait::run(context, &arguments),
    }
}
