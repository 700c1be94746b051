//! Who to be towards a registry.

mod edit;
mod files;
mod helper;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Error;
pub use edit::Place;
pub use files::Logins;

/// What proves who we are. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// User and password.
    Password {
        /// Name of the user.
        user: String,
        /// Password, or a token that stands for one.
        password: String,
    },
    /// An identity token, which is good for nothing but getting other tokens.
    Token(String),
}

impl Login {
    /// User and password as people write them in one word: `user:password`.
    pub fn parse(text: &str) -> Option<Login> {
        let (user, password) = text.split_once(':').filter(|(user, _)| !user.is_empty())?;
        Some(Login::Password { user: user.to_owned(), password: password.to_owned() })
    }

    /// The value of an Authorization header (RFC 7617).
    pub(super) fn basic(&self) -> Option<String> {
        match self {
            Login::Password { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Login::Token(_) => None,
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Password { user, .. } => write!(formatter, "Login({user:?}, ...)"),
            Login::Token(_) => write!(formatter, "Login(...)"),
        }
    }
}

/// Finds the login for a repository.
pub trait Credentials: Send + Sync {
    /// `domain` is the registry as in an image name, `docker.io`, `host:5000`; `repository` is empty if the whole
    /// registry is meant.
    fn find(&self, domain: &str, repository: &str) -> Result<Option<Login>, Error>;
}

/// Nobody in particular.
pub struct Anonymous;

impl Credentials for Anonymous {
    fn find(&self, _: &str, _: &str) -> Result<Option<Login>, Error> {
        Ok(None)
    }
}

/// The same everywhere on one registry, as `--creds` has it, and nobody elsewhere.
pub struct Fixed {
    /// As in an image name.
    pub domain: String,
    /// What to show there.
    pub login: Login,
}

impl Credentials for Fixed {
    fn find(&self, domain: &str, _: &str) -> Result<Option<Login>, Error> {
        Ok((domain == self.domain).then(|| self.login.clone()))
    }
}

/// Makes a shell script. Another process writes it: were it open here, a child of another test might hold it open, and
/// it could not be run.
#[cfg(test)]
fn write_program(path: &std::path::Path, script: &str) {
    let command = "printf '#!/bin/sh\\n%s\\n' \"$2\" >\"$1\" && chmod 755 \"$1\"";
    let mut shell = std::process::Command::new("sh");
    assert!(shell.args(["-c", command, "sh"]).arg(path).arg(script).status().unwrap().success());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        let login = Login::parse("u:secret").unwrap();
        assert!(!format!("{login:?}{:?}", Login::Token("secret".into())).contains("secret"));
        assert_eq!(login.basic().as_deref(), Some("Basic dTpzZWNyZXQ="));
        assert!(Login::parse("nobody").is_none() && Login::parse(":x").is_none());
    }
}
