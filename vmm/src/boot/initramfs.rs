//! The initial file system: a cpio archive with our init and nothing else.

/// Block that each header, name and file is padded to in the "newc" format.
const ALIGNMENT: usize = 4;
/// Regular file, readable and executable by root alone.
const EXECUTABLE: u32 = 0o100_700;
/// Directory.
const DIRECTORY: u32 = 0o040_755;
/// Character device.
const CHARACTER: u32 = 0o020_600;

/// Makes an uncompressed cpio archive (Linux Documentation/driver-api/early-userspace/buffer-format.rst) that holds
/// `init` as `/init`, and the `/dev/console` that the kernel opens for it.
pub fn initramfs(init: &[u8]) -> Vec<u8> {
    let mut archive = Vec::with_capacity(init.len() + 1024);
    entry(&mut archive, 1, "dev", DIRECTORY, (0, 0), &[]);
    entry(&mut archive, 2, "dev/console", CHARACTER, (5, 1), &[]);
    entry(&mut archive, 3, "init", EXECUTABLE, (0, 0), init);
    entry(&mut archive, 0, "TRAILER!!!", 0, (0, 0), &[]);
    archive
}

/// Appends one entry; `device` is the major and minor number of a device node.
fn entry(archive: &mut Vec<u8>, inode: u32, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
    // Magic, then 13 fields: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check.
    let fields = [inode, mode, 0, 0, 1, 0, data.len() as u32, 0, 0, device.0, device.1, name.len() as u32 + 1, 0];
    archive.extend_from_slice(b"070701");
    for field in fields {
        archive.extend_from_slice(format!("{field:08x}").as_bytes());
    }
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(data);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(ALIGNMENT), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_finds_init_in_it() {
        let archive = initramfs(b"#!init");
        let text = String::from_utf8_lossy(&archive);
        assert!(text.starts_with("070701"));
        assert!(text.contains("init\0"));
        assert!(text.contains("TRAILER!!!\0"));
        let data = archive.windows(6).position(|window| window == b"#!init").unwrap();
        assert_eq!(data % ALIGNMENT, 0, "file data must be aligned");
        assert_eq!(archive.len() % ALIGNMENT, 0);
    }
}
