//! The VMM process: gets told what to run, runs it, says how it ended.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail, ensure};
use config::stages;
use config::wire::{ROOT_TAG, SHARES_TAG};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use vmm::fs::{Cache, Export, Tree};
use vmm::{Exit, Share, Spec};

use super::control::{Machine, Outcome};
use super::packet;
use crate::embedded;

/// Everything the VMM process does.
pub(crate) fn main() -> Result<()> {
    stages::mark("vmm-start");
    // Dies with its monitor, whatever ends that.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    prctl::set_name(c"coracle-vm")?;
    let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
    let packet = packet::receive::<Machine>(socket.as_fd()).context("Cannot hear the monitor")?;
    // A monitor that died before the line above took effect has closed its end.
    let Some(packet::Packet { message, fds }) = packet else { bail!("The monitor is gone") };
    let ended = spec(message, fds).and_then(|spec| Ok(vmm::run(spec)?));
    let outcome = match &ended {
        Ok(ended) => describe(&ended.exit),
        Err(error) => Outcome::Failed(format!("{error:#}")),
    };
    packet::send(socket.as_fd(), &outcome, &[]).context("Cannot tell the monitor how the guest ended")?;
    // What the guest wrote last may still be on its way through its devices. The monitor ends us once it has it all.
    packet::receive::<()>(socket.as_fd()).context("Cannot hear the monitor")?;
    Ok(())
}

fn spec(machine: Machine, fds: Vec<OwnedFd>) -> Result<Spec> {
    let Machine { name, memory, vcpus, volumes } = machine;
    let mut fds = fds.into_iter();
    let mut next = |what: &str| fds.next().with_context(|| format!("The monitor sent no {what}"));
    let (kernel, broker, console) = (next("kernel")?, next("broker")?, next("console")?);
    let (jail, root) = (next("jail")?, next("root")?);
    let tree = Tree::One(Export { root, read_only: false, cache: Cache::Exclusive });
    let mut shares = vec![Share { tag: ROOT_TAG.to_owned(), tree }];
    let exports = volumes.into_iter().zip(fds.by_ref());
    let export = |root, read_only| Export { root, read_only, cache: Cache::Shared };
    let folder: Vec<_> = exports.map(|((entry, read_only), root)| (entry, export(root, read_only))).collect();
    if !folder.is_empty() {
        shares.push(Share { tag: SHARES_TAG.to_owned(), tree: Tree::Folder(folder) });
    }
    ensure!(fds.next().is_none(), "The monitor sent more than it named");
    Ok(Spec {
        name,
        kernel: File::from(kernel),
        init: embedded::GUEST_INIT.into(),
        memory,
        vcpus,
        command_line: String::new(),
        shares,
        vsock: Some(broker),
        jail: Some(jail),
        console: Some(File::from(console)),
    })
}

fn describe(exit: &Exit) -> Outcome {
    match exit {
        Exit::Shutdown => Outcome::Shutdown,
        Exit::Reset => Outcome::Broken("The guest reset its machine".to_owned()),
        Exit::TripleFault => Outcome::Broken("The guest's processor gave up (triple fault)".to_owned()),
        Exit::Panic(words) => Outcome::Broken(format!("The guest's kernel panicked: {words}")),
        Exit::Dead(why) => Outcome::Broken(format!("The guest cannot go on: {why}")),
    }
}
