//! `coracle volume create`: makes a volume.

use anyhow::{Result, ensure};

use crate::cli::{Context, run, ui};
use crate::container::volumes;

/// Make a volume, and print its name
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A note on the volume
    #[arg(long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Who keeps the data: only `local` is known
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,
    /// Its name; without one, it gets a random one
    name: Option<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    ensure!(arguments.driver == "local", "There is no volume driver {:?}: only local is known", arguments.driver);
    let _hold = volumes::Hold::take(&context.folders)?;
    let labels = run::labels(&arguments.label)?;
    ui::line(&volumes::create(&context.folders, arguments.name.as_deref(), labels)?.name)?;
    Ok(0)
}
