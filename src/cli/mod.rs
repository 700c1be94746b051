//! The words of the command line: one verb, one file.

mod container;
mod create;
mod doctor;
mod filter;
mod glob;
mod history;
mod image;
mod images;
mod in_use;
mod inspect;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod mounts;
mod ps;
mod pull;
mod push;
mod registry;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod start;
mod stop;
mod system;
mod tag;
pub(crate) mod ui;
mod version;
mod volume;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use ::image::Store;
use ::image::trust::Policy;
use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use config::{File, Folders, stages};

/// Exit code of our own failures, as Docker has it.
pub(crate) const FAILED: u8 = 125;
/// Exit code of verbs that did not do all they were asked to.
const PARTLY: u8 = 1;

/// Runs every container in a microVM of its own
#[derive(Debug, Parser)]
#[command(name = "coracle", version, disable_help_subcommand = true, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Args)]
struct Global {
    /// Persistent folder: images, containers, volumes [default: $CORACLE_ROOT or /var/lib/coracle]
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Run-time folder, emptied by a reboot [default: $CORACLE_RUN or /run/coracle]
    #[arg(long, global = true, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Configuration file [default: /etc/coracle/coracle.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Signature policy: which images may come in [default: [trust] policy in the configuration file, or
    /// /etc/containers/policy.json, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Run(run::Arguments),
    Create(create::Arguments),
    Start(start::Arguments),
    Restart(restart::Arguments),
    Rename(rename::Arguments),
    Container(container::Arguments),
    Ps(ps::Arguments),
    Logs(logs::Arguments),
    Stop(stop::Arguments),
    Kill(kill::Arguments),
    Rm(rm::Arguments),
    Wait(wait::Arguments),
    Images(images::Arguments),
    Inspect(inspect::Arguments),
    History(history::Arguments),
    Tag(tag::Arguments),
    Rmi(rmi::Arguments),
    Save(save::Arguments),
    Load(load::Arguments),
    Image(image::Arguments),
    System(system::Arguments),
    Pull(pull::Arguments),
    Push(push::Arguments),
    Login(login::Arguments),
    Logout(logout::Arguments),
    Doctor(doctor::Arguments),
    Volume(volume::Arguments),
    Version(version::Arguments),
}

/// What every verb works with.
pub(crate) struct Context {
    /// Where things are.
    pub(crate) folders: Folders,
    /// `coracle.toml`.
    pub(crate) file: File,
    /// `--signature-policy`
    signature_policy: Option<PathBuf>,
}

impl Context {
    fn new(global: Global) -> Result<Context> {
        let file = File::read(global.config.as_deref())?;
        let root = global.root.or_else(|| variable("CORACLE_ROOT")).or_else(|| file.root.clone());
        let run = global.run.or_else(|| variable("CORACLE_RUN")).or_else(|| file.run.clone());
        // Monitors work in another folder than we do.
        let absolute = |path: Option<PathBuf>| path.map(std::path::absolute).transpose();
        let tried = "Cannot tell the current folder";
        let folders = Folders::new(absolute(root).context(tried)?, absolute(run).context(tried)?);
        Ok(Context { folders, file, signature_policy: global.signature_policy })
    }

    fn store(&self) -> Result<Store> {
        let store = Store::open(&self.folders).context("Cannot open the image store")?;
        Ok(store.with_aliases(self.file.registries.aliases.clone()))
    }

    /// Which images may come in.
    fn policy(&self) -> Result<Policy, ::image::trust::Error> {
        Policy::read(self.signature_policy.as_deref().or(self.file.trust.policy.as_deref()))
    }
}

/// The whole command line.
pub(crate) fn main(arguments: Vec<OsString>) -> ExitCode {
    stages::mark("cli-start");
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout, complaints to stderr; there is no one left to tell if that fails.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { FAILED } else { 0 });
        }
    };
    let failed = match &cli.verb {
        Verb::Run(_) => FAILED,
        Verb::Container(arguments) if arguments.is_run() => FAILED,
        _ => PARTLY,
    };
    let code = Context::new(cli.global).and_then(|context| match cli.verb {
        Verb::Run(arguments) => run::run(&context, arguments),
        Verb::Create(arguments) => create::run(&context, arguments),
        Verb::Start(arguments) => start::run(&context, &arguments),
        Verb::Restart(arguments) => restart::run(&context, &arguments),
        Verb::Rename(arguments) => rename::run(&context, &arguments),
        Verb::Container(arguments) => container::run(&context, arguments),
        Verb::Ps(arguments) => ps::run(&context, &arguments),
        Verb::Logs(arguments) => logs::run(&context, &arguments),
        Verb::Stop(arguments) => stop::run(&context, &arguments),
        Verb::Kill(arguments) => kill::run(&context, &arguments),
        Verb::Rm(arguments) => rm::run(&context, &arguments),
        Verb::Wait(arguments) => wait::run(&context, &arguments),
        Verb::Images(arguments) => images::run(&context, &arguments),
        Verb::Inspect(arguments) => inspect::run(&context, &arguments),
        Verb::History(arguments) => history::run(&context, &arguments),
        Verb::Tag(arguments) => tag::run(&context, &arguments),
        Verb::Rmi(arguments) => rmi::run(&context, &arguments),
        Verb::Save(arguments) => save::run(&context, &arguments),
        Verb::Load(arguments) => load::run(&context, &arguments),
        Verb::Image(arguments) => image::run(&context, &arguments),
        Verb::System(arguments) => system::run(&context, &arguments),
        Verb::Pull(arguments) => pull::run(&context, &arguments),
        Verb::Push(arguments) => push::run(&context, &arguments),
        Verb::Login(arguments) => login::run(&context, &arguments),
        Verb::Logout(arguments) => logout::run(&arguments),
        Verb::Doctor(arguments) => doctor::run(&context, &arguments),
        Verb::Volume(arguments) => volume::run(&context, &arguments),
        Verb::Version(arguments) => version::run(&arguments),
    });
    let code = code.unwrap_or_else(|error| {
        ui::error(&error);
        failed
    });
    stages::mark("cli-exit");
    ExitCode::from(code)
}

/// Does `action` to each of `names` and prints what it returns. One that fails does not keep the others from their
/// turn.
fn each(names: &[String], mut action: impl FnMut(&str) -> Result<String>) -> Result<u8> {
    let mut code = 0;
    for name in names {
        match action(name) {
            Ok(line) => ui::line(&line)?,
            Err(error) => {
                ui::error(&error);
                code = PARTLY;
            }
        }
    }
    Ok(code)
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// `--format` of verbs that print a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people
    Table,
    /// One JSON object a line
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
