//! `coracle pull`: an image from a registry.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use image::pull::PullOptions;
use image::{Image, Platform, Reference, Store};

use super::ui::progress::Drawing;
use super::{Context, ui};

/// Fetch an image from a registry
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Take the image for this platform, for example linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Print only the image's name
    #[arg(short, long)]
    quiet: bool,
    /// The image
    image: String,
}

/// When `run` pulls an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum When {
    /// If it is not here
    Missing,
    /// In any case
    Always,
    /// Not at all
    Never,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let store = context.store()?;
    let image = pull(context, &store, &arguments.image, arguments.platform.clone(), arguments.quiet)?;
    if !arguments.quiet {
        ui::say(&format!("Image {} ({})", image.id.short(), config::size::human(image.size)));
    }
    let name: Reference = arguments.image.parse()?;
    ui::line(&name.full())?;
    Ok(0)
}

/// Pulls `name`, drawing how far it is.
pub(super) fn pull(
    context: &Context,
    store: &Store,
    name: &str,
    platform: Option<Platform>,
    quiet: bool,
) -> Result<Image> {
    let tried = || format!("Cannot pull the image {name}");
    let reference: Reference = name.parse().with_context(tried)?;
    let mut options = PullOptions::default();
    options.registry.registries = context.file.registries.clone();
    options.policy = Arc::new(context.policy().with_context(tried)?);
    if let Some(platform) = platform {
        options.platform = platform;
    }
    let progress = Drawing::new(quiet);
    image::pull(store, &reference, &options, &progress).with_context(tried)
}
