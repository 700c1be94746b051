//! `coracle save`: images to an archive.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use image::Platform;
use image::save::{Format, Target, save, save_folder};

use super::Context;

/// Write images to an archive that `load` reads, here or elsewhere
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file to write instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Form of the archive
    #[arg(long, value_name = "FORM", default_value = "docker-archive")]
    format: Form,
    /// Of each image that for this platform
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Say nothing, as always
    #[arg(short, long)]
    quiet: bool,
    /// Several images in one archive, as always
    #[arg(short, long)]
    multi_image_archive: bool,
    /// The images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Forms of archives, by podman's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Form {
    /// What `docker save` writes
    DockerArchive,
    /// An OCI layout as a tar file
    OciArchive,
    /// An OCI layout as a folder
    OciDir,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let store = context.store()?;
    let platform = arguments.platform.as_ref();
    let format = match (arguments.format, &arguments.output) {
        (Form::OciDir, Some(path)) => {
            save_folder(&store, &arguments.images, platform, path)?;
            return Ok(0);
        }
        (Form::OciDir, None) => bail!("A folder cannot be written to standard output: name it with -o"),
        (Form::DockerArchive, _) => Format::Docker,
        (Form::OciArchive, _) => Format::Oci,
    };
    let write = |target: Target<'_>| save(&store, &arguments.images, platform, format, target);
    match &arguments.output {
        Some(path) => to_file(path, &write)?,
        None => {
            let stdout = io::stdout();
            ensure!(!stdout.is_terminal(), "Standard output is a terminal: name a file with -o, or write to a pipe");
            let mut stdout = io::BufWriter::with_capacity(256 << 10, stdout.lock());
            write(Target::Stream(&mut stdout))?;
            stdout.flush().context("Cannot write the archive")?;
        }
    }
    Ok(0)
}

/// Writes beside and renames: whoever sees the file sees all of it.
fn to_file(path: &Path, write: &dyn Fn(Target<'_>) -> Result<(), image::save::Error>) -> Result<()> {
    let tried = || format!("Cannot write {}", path.display());
    // A pipe or a device that is there is written to, not replaced.
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let mut file = File::options().write(true).open(path).with_context(tried)?;
        return write(Target::Stream(&mut file)).with_context(tried);
    }
    let name = path.file_name().with_context(|| format!("{} is not a file name", path.display()))?;
    let beside = path.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
    let file = File::create(&beside).with_context(tried)?;
    let written = write(Target::File(&file)).with_context(tried);
    let placed = written.and_then(|()| file.sync_all().and_then(|()| fs::rename(&beside, path)).with_context(tried));
    placed.inspect_err(|_| drop(fs::remove_file(&beside)))
}
