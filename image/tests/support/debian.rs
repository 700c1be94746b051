//! Debian's own `docker-registry` on 127.0.0.1, with everything below a temporary folder.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

/// `secret`, as `htpasswd -B` writes it.
const HASHED: &str = "$2b$04$PXFzoq8E8fPcHEBRLrnyoe9sr3/yxhqlCxk11njEGI5z74gXRmzh.";

/// A running registry; it ends when this is dropped.
pub struct Debian {
    pub port: u16,
    child: Child,
    _folder: TempDir,
}

impl Debian {
    /// One that lets everybody in.
    pub fn start() -> Debian {
        Debian::with("")
    }

    /// One that wants the login `user:secret`.
    pub fn with_login() -> Debian {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("htpasswd");
        fs::write(&path, format!("user:{HASHED}\n")).unwrap();
        Debian::begin(folder, &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path.display()))
    }

    fn with(more: &str) -> Debian {
        Debian::begin(tempfile::tempdir().unwrap(), more)
    }

    fn begin(folder: TempDir, more: &str) -> Debian {
        let config = folder.path().join("config.yml");
        let storage = folder.path().join("storage");
        let text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    \
             enabled: true\nhttp:\n  addr: 127.0.0.1:0\n{more}",
            storage.display()
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        let spawned = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("docker-registry cannot be run: scripts/setup installs it");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let told = lines.find_map(|line| {
            let (_, rest) = line.split_once("listening on 127.0.0.1:")?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        });
        // It must not wait for somebody to read what it says.
        thread::spawn(move || lines.for_each(drop));
        Debian { port: told.expect("docker-registry did not say where it listens"), child, _folder: folder }
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
