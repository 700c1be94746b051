//! `coracle version`: which coracle this is, and which kernel its containers get.

use anyhow::Result;

use super::{Format, ui};
use crate::embedded;

/// Print the version
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Form of the output
    #[arg(long, value_name = "FORM", default_value = "table")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let (version, kernel) = (env!("CARGO_PKG_VERSION"), embedded::KERNEL_HASH);
    match arguments.format {
        Format::Json => ui::line(&serde_json::json!({ "Version": version, "GuestKernel": kernel }).to_string())?,
        Format::Table => ui::line(&format!("coracle {version} (guest kernel {kernel})"))?,
    }
    Ok(0)
}
