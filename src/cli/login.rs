//! `coracle login`: who to be towards a registry.

use std::io::{self, BufRead, Read};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use image::registry::{Login, Logins, Options, Place, check_login};

use super::{Context, ui};
use crate::container::terminal;

/// The registry if none is named.
pub(super) const DEFAULT_REGISTRY: &str = "docker.io";
/// Longest password read; tokens of cloud registries have a few thousand bytes.
const MAX_PASSWORD: u64 = 64 << 10;

/// Log in to a registry
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Name of the user
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Password, or a token that stands for one; others can see it in the list of processes
    #[arg(short, long, conflicts_with = "password_stdin")]
    password: Option<String>,
    /// Take the password from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    /// Check the registry's certificate, and refuse plain HTTP; with false, do neither
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
    /// Keep the login in this file [default: $REGISTRY_AUTH_FILE, or Docker's own]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// The registry
    #[arg(default_value = DEFAULT_REGISTRY)]
    registry: String,
}

pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<u8> {
    let tried = || format!("Cannot log in to {}", arguments.registry);
    let domain = image::name::registry(&arguments.registry).with_context(tried)?;
    let user = match &arguments.username {
        Some(user) => user.clone(),
        None => ask_user()?,
    };
    ensure!(!user.is_empty() && !user.contains(':'), "{user:?} is not a user name: it is empty, or has a colon");
    let password = match &arguments.password {
        Some(password) => password.clone(),
        None if arguments.password_stdin => read_password()?,
        None => ask_password()?,
    };
    let login = Login::Password { user, password };
    let options =
        Options { registries: context.file.registries.clone(), verify: arguments.tls_verify, ..Options::default() };
    check_login(&domain, &login, &options).with_context(tried)?;
    let place = logins(arguments.authfile.as_ref()).store(&domain, &login).with_context(tried)?;
    let note = match place {
        Place::File(_) => ", readable by its owner only, but not encrypted",
        Place::Helper(_) => "",
    };
    ui::say(&format!("The login is kept in {place}{note}"));
    ui::line("Login Succeeded")?;
    Ok(0)
}

/// Where logins are.
pub(super) fn logins(file: Option<&PathBuf>) -> Logins {
    file.map_or_else(Logins::of_user, |path| Logins::at(path))
}

fn ask_user() -> Result<String> {
    ensure!(terminal::is_on_stdin(), "There is no terminal to ask for the user: give -u and --password-stdin");
    ui::prompt("Username: ");
    let mut line = String::new();
    io::stdin().read_line(&mut line).context("Cannot read the name of the user")?;
    Ok(line.trim().to_owned())
}

/// The password from a pipe, without the end of its line.
fn read_password() -> Result<String> {
    let mut text = String::new();
    io::stdin().take(MAX_PASSWORD).read_to_string(&mut text).context("Cannot read the password")?;
    let password = text.trim_end_matches(['\r', '\n']);
    ensure!(!password.is_empty(), "Standard input has no password");
    Ok(password.to_owned())
}

/// Asks for the password on the terminal, which does not show it.
pub(super) fn ask_password() -> Result<String> {
    ensure!(terminal::is_on_stdin(), "There is no terminal to ask for the password: use --password-stdin");
    ui::prompt("Password: ");
    let raw = terminal::Raw::enter().context("Cannot keep the terminal from showing the password")?;
    let typed = typed(&mut io::stdin().lock());
    drop(raw);
    ui::prompt("\n");
    let password = typed?;
    ensure!(!password.is_empty(), "No password was given");
    Ok(password)
}

/// A line as it is typed on a raw terminal, where the keys that end or mend it are ours to understand.
fn typed(input: &mut impl BufRead) -> Result<String> {
    let mut line = Vec::new();
    for byte in input.bytes() {
        match byte.context("Cannot read the password")? {
            b'\r' | b'\n' | 0x04 => break,
            0x03 => bail!("Interrupted"),
            0x08 | 0x7f => {
                // A character may have several bytes.
                while line.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
            }
            0x15 => line.clear(),
            byte => line.push(byte),
        }
        ensure!(line.len() as u64 <= MAX_PASSWORD, "The password is too long");
    }
    String::from_utf8(line).context("The password is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_are_mended() {
        let typed = |text: &str| typed(&mut text.as_bytes()).unwrap();
        assert_eq!(typed("secret\rmore"), "secret");
        assert_eq!(typed("secx\u{7f}ret\n"), "secret");
        assert_eq!(typed("ü\u{8}\u{8}x\u{15}yü\u{7f}z\u{4}"), "yz");
        assert!(super::typed(&mut "sec\u{3}ret\r".as_bytes()).is_err());
    }
}
