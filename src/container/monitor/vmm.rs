//! The VMM as its monitor sees it: a child process with a socket.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ExitStatus};

use anyhow::{Context, Result};
use config::Folders;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::container::control::{Machine, Outcome};
use crate::container::record::Record;
use crate::container::{catalogue, packet, process};
use crate::embedded;

/// A kernel's log that is longer is begun anew when its container is started again: what the kernels of many runs said,
/// each up to 1 MiB, must not fill the disk.
const KERNEL_LOG: u64 = 1 << 20;

/// The VMM process of one container.
#[derive(Debug)]
pub(super) struct Vmm {
    child: Child,
    socket: OwnedFd,
    outcome: Option<Outcome>,
}

impl Vmm {
    /// Starts the VMM with `root` as the guest's root. Also returns the broker: the socket over which it hands over the
    /// guest's connections.
    pub(super) fn start(folders: &Folders, record: &Record, root: OwnedFd) -> Result<(Vmm, OwnedFd)> {
        let folder = catalogue::folder(folders, &record.id);
        let kernel = match &record.kernel {
            Some(path) => File::open(path).with_context(|| format!("Cannot open the kernel {}", path.display()))?,
            None => embedded::kernel(folders)?,
        };
        let console = catalogue::kernel_log(&folder);
        let console = File::options()
            .append(true)
            .create(true)
            .open(&console)
            .and_then(
                |file| if file.metadata()?.len() > KERNEL_LOG { file.set_len(0).map(|()| file) } else { Ok(file) },
            )
            .with_context(|| format!("Cannot make {}", console.display()))?;
        let (broker, broker_of_vmm) = packet::pair().context("Cannot make a socket")?;
        let mut folders_of_guest = vec![root];
        for volume in &record.volumes {
            folders_of_guest.push(open_path(&volume.source)?);
        }

        let jail = open_jail(folders)?;
        let (socket, socket_of_vmm) = packet::pair().context("Cannot make a socket")?;
        let messages = messages(folders, &record.id)?;
        let child = process::spawn(process::MICROVM, &record.name, &record.id, socket_of_vmm, messages)
            .context("Cannot start the VMM")?;
        let volumes = record.volumes.iter().enumerate();
        let machine = Machine {
            name: record.name.clone(),
            memory: record.memory,
            vcpus: record.vcpus,
            volumes: volumes.map(|(number, volume)| (entry(number), volume.read_only)).collect(),
        };
        let mut fds = vec![kernel.as_fd(), broker_of_vmm.as_fd(), console.as_fd(), jail.as_fd()];
        fds.extend(folders_of_guest.iter().map(AsFd::as_fd));
        packet::send(socket.as_fd(), &machine, &fds).context("Cannot tell the VMM what to run")?;
        Ok((Vmm { child, socket, outcome: None }, broker))
    }

    /// A VMM that is played by a test.
    #[cfg(test)]
    pub(super) fn of_test(child: Child, socket: OwnedFd) -> Vmm {
        Vmm { child, socket, outcome: None }
    }

    /// Its process id.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Becomes readable when there is something to [`hear`](Vmm::hear).
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Hears what the VMM has to say: how its guest ended; `None` once it is gone itself.
    pub(super) fn hear(&mut self) -> Option<&Outcome> {
        let packet = packet::receive(self.socket.as_fd()).ok().flatten()?;
        Some(self.outcome.insert(packet.message))
    }

    /// Ends the guest as if its power was cut, and the VMM with it.
    pub(super) fn kill(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
    }

    /// Waits until nothing of it is left; how it ended.
    pub(super) fn end(mut self) -> io::Result<(Option<Outcome>, ExitStatus)> {
        let status = self.child.wait()?;
        Ok((self.outcome.take(), status))
    }
}

/// What is said of a VMM that ended without saying why.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("The VMM was killed by signal {signal}"),
        (None, code) => format!("The VMM ended with code {}", code.unwrap_or_default()),
    }
}

/// Name of a volume's entry in the share.
pub(super) fn entry(number: usize) -> String {
    number.to_string()
}

fn open_path(path: &Path) -> Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())
        .with_context(|| format!("The source {} of a volume cannot be used", path.display()))
}

/// The empty folder that VMMs are shut into.
fn open_jail(folders: &Folders) -> Result<OwnedFd> {
    let path = folders.run().join("empty");
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let open_it = || open(&path, flags, Mode::empty());
    let opened = open_it().or_else(|_| {
        // Made by the first monitor, or by another one at this moment.
        let _ = nix::unistd::mkdir(&path, Mode::S_IRUSR | Mode::S_IXUSR);
        open_it()
    });
    opened.with_context(|| format!("Cannot make the empty folder {}", path.display()))
}

/// The file for what monitor and VMM say before they die of what must not happen; it is on the run-time tmpfs.
pub(crate) fn messages(folders: &Folders, id: &str) -> Result<File> {
    let path = catalogue::messages(folders, id);
    File::options().append(true).create(true).open(&path).with_context(|| format!("Cannot make {}", path.display()))
}
