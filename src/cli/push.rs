//! `coracle push`: an image to a registry.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use image::Reference;
use image::push::{Compression, PushOptions};

use super::registry::RegistryArguments;
use super::ui::progress::Drawing;
use super::{Context, ui};

/// Send an image to a registry
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print only the digest
    #[arg(short, long)]
    quiet: bool,
    /// Write the digest to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// What becomes of layers that are not compressed yet: gzip, zstd, or none
    #[arg(long, value_name = "FORMAT", default_value = "gzip")]
    compression_format: Compression,
    /// Send layers, too, that their makers do not want to be distributed by others
    #[arg(long)]
    allow_nondistributable_artifacts: bool,
    #[command(flatten)]
    registry: RegistryArguments,
    /// The image
    image: String,
    /// Where to [default: what its name says]
    destination: Option<String>,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let destination = arguments.destination.as_ref().unwrap_or(&arguments.image);
    let tried = || format!("Cannot push {} to {destination}", arguments.image);
    let to = Reference::resolve(destination, &context.file.registries.aliases).with_context(tried)?;
    let options = PushOptions {
        registry: arguments.registry.options(context, &to)?,
        compression: arguments.compression_format,
        foreign: arguments.allow_nondistributable_artifacts,
    };
    let store = context.store()?;
    let progress = Drawing::new(arguments.quiet);
    let digest = image::push(&store, &arguments.image, &to, &options, &progress).with_context(tried)?;
    drop(progress);
    if let Some(path) = &arguments.digestfile {
        let tried = || format!("Cannot write the digest to {}", path.display());
        std::fs::write(path, digest.as_str()).with_context(tried)?;
    }
    if arguments.quiet {
        ui::line(digest.as_str())?;
    } else {
        ui::line(&format!("{}: digest: {digest}", to.full()))?;
    }
    Ok(0)
}
