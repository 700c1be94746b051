//! `coracle load`: images from an archive.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use image::load::{LoadOptions, Source, load_with};
use image::{Platform, Reference};

use super::ui::progress::Drawing;
use super::{Context, ui};

/// Take images from an archive, as `docker save` writes it, or from an OCI layout
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The archive, or the folder of an OCI layout, instead of standard input
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Of each image that for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Print only the images' names
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let mut stdin = io::stdin();
    let source = match &arguments.input {
        Some(path) => Source::Path(path),
        None if crate::container::terminal::is_on_stdin() => {
            bail!("Standard input is a terminal: give an archive with -i, or through a pipe")
        }
        None => Source::Stream(&mut stdin),
    };
    let platform = arguments.platform.clone().unwrap_or_else(Platform::host);
    let options = LoadOptions { platform, policy: Arc::new(context.policy()?) };
    let store = context.store()?;
    let progress = Drawing::new(arguments.quiet);
    let loaded = load_with(&store, source, &options, &progress)?;
    drop(progress);
    for loaded in loaded {
        for name in &loaded.names {
            let familiar = name.parse::<Reference>().map_or_else(|_| name.clone(), |name| name.familiar());
            ui::line(&format!("Loaded image: {familiar}"))?;
        }
        if loaded.names.is_empty() {
            ui::line(&format!("Loaded image ID: {}", loaded.image.id))?;
        }
    }
    Ok(0)
}
