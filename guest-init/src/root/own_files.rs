//! `/etc/hostname` and `/etc/hosts`: the container's own, not the image's, so the image's are only covered.

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use super::volumes::{self, Volume};

/// Names every machine knows.
const HOSTS: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// What can go wrong with these files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The initramfs did not take the file.
    #[error("Write {0}")]
    Write(&'static str, #[source] Errno),
    /// The file cannot be handed on.
    #[error("Take {0}")]
    Take(&'static str, #[source] volumes::Error),
}

/// Writes the files into the initramfs, and takes them as mounts for the container.
///
/// The initramfs is memory like any tmpfs, is there already, and is gone with the guest.
pub fn write(hostname: &str) -> Result<Vec<Volume>, Error> {
    let mut files = Vec::with_capacity(2);
    if !hostname.is_empty() {
        files.push(file("/hostname", "/etc/hostname", &format!("{hostname}\n"))?);
    }
    files.push(file("/hosts", "/etc/hosts", &hosts(hostname))?);
    Ok(files)
}

/// The text of `/etc/hosts`: a program that looks up its own host's name finds an address.
fn hosts(hostname: &str) -> String {
    if hostname.is_empty() { HOSTS.to_owned() } else { format!("{HOSTS}127.0.1.1\t{hostname}\n") }
}

fn file(path: &'static str, target: &str, text: &str) -> Result<Volume, Error> {
    let flags = OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = open(path, flags, Mode::from_bits_truncate(0o644)).map_err(|error| Error::Write(path, error))?;
    match nix::unistd::write(&file, text.as_bytes()) {
        Ok(length) if length == text.len() => {}
        Ok(_) => return Err(Error::Write(path, Errno::ENOSPC)),
        Err(error) => return Err(Error::Write(path, error)),
    }
    Volume::take(path, target, false).map_err(|error| Error::Take(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn localhost_has_both_its_addresses() {
        assert!(HOSTS.contains("127.0.0.1\tlocalhost\n"));
        assert!(HOSTS.contains("::1\tlocalhost "));
    }

    #[test]
    fn the_hosts_own_name_has_an_address() {
        assert!(hosts("boat").ends_with("127.0.1.1\tboat\n"));
    }

    #[test]
    fn a_host_without_a_name_gets_no_line_without_one() {
        assert_eq!(hosts(""), HOSTS);
    }
}
