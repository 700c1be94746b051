//! Programs that keep passwords: `docker-credential-NAME`, which speak JSON over their standard streams.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::Login;
use super::files::wrong;
use crate::registry::Error;

/// How long a helper may take: it may ask its user for a password.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// Time between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(5);
/// Longest answer: tokens of cloud registries have a few thousand bytes.
const MAX_ANSWER: u64 = 64 << 10;
/// The user name under which helpers keep identity tokens.
const TOKEN_USER: &str = "<token>";
/// The name Docker's own registry has in all password stores.
const DOCKER_SERVER: &str = "https://index.docker.io/v1/";

/// The names under which a helper may know a registry.
pub(super) fn servers(domain: &str) -> Vec<&str> {
    if domain == "docker.io" { vec![DOCKER_SERVER, domain] } else { vec![domain] }
}

/// A helper program, and the login file that names it.
pub(super) struct Helper<'a> {
    pub(super) name: &'a str,
    /// Where it is, if not in `$PATH`.
    pub(super) folder: Option<&'a Path>,
    pub(super) file: &'a Path,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Helper<'_> {
    /// The login for the first of `servers` it knows.
    pub(super) fn get(&self, servers: &[&str]) -> Result<Option<Login>, Error> {
        for server in servers {
            let (success, answer) = self.run("get", server.as_bytes())?;
            let text = String::from_utf8_lossy(&answer);
            if !success {
                // The protocol has no other sign for it than these words.
                if text.contains("credentials not found") {
                    continue;
                }
                return Err(self.failed("get", &text));
            }
            let Ok(Answer { username, secret }) = serde_json::from_slice(&answer) else {
                return Err(self.failed("get", "its answer is not what the protocol says"));
            };
            if username.is_empty() && secret.is_empty() {
                continue;
            }
            return Ok(Some(match username.as_str() {
                TOKEN_USER => Login::Token(secret),
                _ => Login::Password { user: username, password: secret },
            }));
        }
        Ok(None)
    }

    /// Gives it a login to keep.
    pub(super) fn store(&self, server: &str, login: &Login) -> Result<(), Error> {
        let (user, secret) = match login {
            Login::Password { user, password } => (user.as_str(), password),
            Login::Token(token) => (TOKEN_USER, token),
        };
        let entry = serde_json::json!({ "ServerURL": server, "Username": user, "Secret": secret }).to_string();
        match self.run("store", entry.as_bytes())? {
            (true, _) => Ok(()),
            (false, answer) => Err(self.failed("store", &String::from_utf8_lossy(&answer))),
        }
    }

    /// Makes it forget a login; whether it knew one.
    pub(super) fn erase(&self, server: &str) -> Result<bool, Error> {
        match self.run("erase", server.as_bytes())? {
            (true, _) => Ok(true),
            (false, answer) => {
                let text = String::from_utf8_lossy(&answer);
                if text.contains("credentials not found") { Ok(false) } else { Err(self.failed("erase", &text)) }
            }
        }
    }

    /// Whether it succeeded, and what it said.
    fn run(&self, verb: &str, input: &[u8]) -> Result<(bool, Vec<u8>), Error> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if self.name.is_empty() || !self.name.bytes().all(plain) {
            return Err(wrong(self.file)(format!("{:?} is no name of a credential helper", self.name)));
        }
        let program = format!("docker-credential-{}", self.name);
        let path = self.folder.map_or_else(|| program.clone().into(), |folder| folder.join(&program));
        let failed = |error: std::io::Error| wrong(self.file)(format!("Cannot run {program}, which it names: {error}"));
        let mut child = Command::new(path)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(failed)?;
        let (sender, answers) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            // It ends with the program, or with the pipe that is dropped when there is too much in it.
            std::thread::spawn(move || {
                let mut answer = Vec::new();
                let read = output.take(MAX_ANSWER).read_to_end(&mut answer);
                // Nobody may be waiting any more.
                let _ = sender.send(read.map(|_| answer));
            });
        }
        if let Some(mut stdin) = child.stdin.take() {
            // A helper that needs no input may close it; its answer tells.
            let _ = stdin.write_all(input);
        }
        let deadline = Instant::now() + TIME_LIMIT;
        let success = wait(&mut child, deadline)
            .map_err(failed)?
            .ok_or_else(|| self.failed(verb, &format!("it took longer than {} seconds", TIME_LIMIT.as_secs())))?;
        let answer = answers.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        let answer = answer.map_err(|_| self.failed(verb, "its output does not end"))?.map_err(failed)?;
        Ok((success, answer))
    }

    fn failed(&self, verb: &str, why: &str) -> Error {
        let why: String = why.trim().chars().filter(|c| !c.is_control()).take(200).collect();
        wrong(self.file)(format!("docker-credential-{} {verb}, which it names, failed: {why}", self.name))
    }
}

/// Whether the program succeeded, or `None` if it had to be killed.
fn wait(child: &mut Child, deadline: Instant) -> std::io::Result<Option<bool>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.success()));
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}
