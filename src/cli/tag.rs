//! `coracle tag`: one more name for an image.

use anyhow::{Context as _, Result};
use image::Reference;

use super::Context;

/// Give an image one more name
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The image
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Its further name
    #[arg(value_name = "NAME[:TAG]")]
    name: Reference,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let tried = || format!("Cannot tag {} as {}", arguments.image, arguments.name);
    context.store()?.tag(&arguments.image, &arguments.name).with_context(tried)?;
    Ok(0)
}
