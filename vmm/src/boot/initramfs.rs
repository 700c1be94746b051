//! The initial file system: a cpio archive with our init and nothing else.

/// Block that each header, name and file is padded to in the "newc" format.
const ALIGNMENT: usize = 4;
/// Regular file, readable and executable by root alone.
const EXECUTABLE: u32 = 0o100_700;
/// Directory.
const DIRECTORY: u32 = 0o040_755;
/// Character device.
const CHARACTER: u32 = 0o020_600;

/// An uncompressed cpio archive (Linux Documentation/driver-api/early-userspace/buffer-format.rst) that holds `init` as
/// `/init`, and the `/dev/console` that the kernel opens for it: what stands before the program, and what behind it.
/// The program itself is not copied on its way to guest memory.
pub(crate) fn around(init: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut before = Vec::new();
    header(&mut before, 1, "dev", DIRECTORY, (0, 0), 0);
    header(&mut before, 2, "dev/console", CHARACTER, (5, 1), 0);
    header(&mut before, 3, "init", EXECUTABLE, (0, 0), init.len());
    let mut behind = vec![0; init.len().next_multiple_of(ALIGNMENT) - init.len()];
    let mut trailer = Vec::new();
    header(&mut trailer, 0, "TRAILER!!!", 0, (0, 0), 0);
    behind.append(&mut trailer);
    (before, behind)
}

/// Appends the header of one entry whose data is `length` bytes; `device` is the major and minor number of a device node.
fn header(archive: &mut Vec<u8>, inode: u32, name: &str, mode: u32, device: (u32, u32), length: usize) {
    // Magic, then 13 fields: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check.
    let fields = [inode, mode, 0, 0, 1, 0, length as u32, 0, 0, device.0, device.1, name.len() as u32 + 1, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(ALIGNMENT), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_finds_init_in_it() {
        let init = b"#!init";
        let (before, behind) = around(init);
        let archive = [before.as_slice(), init, &behind].concat();
        let text = String::from_utf8_lossy(&archive);
        assert!(text.starts_with("070701"));
        assert!(text.contains("init\0"));
        assert!(text.contains("TRAILER!!!\0"));
        assert_eq!(before.len() % ALIGNMENT, 0, "file data must be aligned");
        assert_eq!(archive.len() % ALIGNMENT, 0);
        let trailer = archive.windows(6).rposition(|window| window == b"070701").unwrap();
        assert_eq!(trailer % ALIGNMENT, 0, "headers must be aligned");
    }
}
