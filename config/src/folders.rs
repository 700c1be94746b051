//! Where coracle keeps things: one persistent folder and one that a reboot empties.

use std::path::{Path, PathBuf};

/// The default persistent folder.
pub const DEFAULT_ROOT: &str = "/var/lib/coracle";
/// The default run-time folder; expected to be on a tmpfs.
pub const DEFAULT_RUN: &str = "/run/coracle";

/// The two folders everything else is found in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    root: PathBuf,
    run: PathBuf,
}

impl Folders {
    /// Takes the folders as given on the command line or in the environment; `None` means the default.
    pub fn new(root: Option<PathBuf>, run: Option<PathBuf>) -> Folders {
        Folders { root: root.unwrap_or_else(|| DEFAULT_ROOT.into()), run: run.unwrap_or_else(|| DEFAULT_RUN.into()) }
    }

    /// The persistent folder: an OCI image layout with our layers, containers and volumes beside it.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The run-time folder: locks, sockets, mount points, the unpacked kernel.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// `blobs/`: content by digest, as the OCI image layout names it.
    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    /// `layers/`: one EROFS file per layer.
    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// `containers/`: one folder per container.
    pub fn containers(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// `volumes/`: the data of named volumes.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// Run-time folder of one container: its lock, its control socket, its mount points.
    pub fn container_run(&self, id: &str) -> PathBuf {
        self.run.join("containers").join(id)
    }

    /// Where read-only layers are mounted, once for all containers.
    pub fn layer_mounts(&self) -> PathBuf {
        self.run.join("layers")
    }

    /// Where the embedded kernel is unpacked to.
    pub fn cache(&self) -> PathBuf {
        self.run.join("cache")
    }
}
