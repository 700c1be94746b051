//! Finding out whether a registry takes a login.

use std::sync::Arc;

use super::auth::Access;
use super::http::Http;
use super::source::{Ask, Source, Target};
use super::{Error, Fixed, Login, Options};

/// Asks the registry `domain`, as in an image name, whether it takes this login.
pub fn check_login(domain: &str, login: &Login, options: &Options) -> Result<(), Error> {
    let http = Http::new(options);
    let credentials = Arc::new(Fixed { domain: domain.to_owned(), login: login.clone() });
    let registry = Source::registry(domain, crate::name::endpoint(domain), "", &http, credentials)?;
    let ask = Ask { target: Target::Root(""), access: Access::None, ..Ask::get("", &[]) };
    let answer = match registry.send(&http, &ask) {
        Err(Error::Denied { name }) => return Err(Error::Login { name }),
        result => result?,
    };
    match registry.expect(answer, &[200], &format!("registry at {}", registry.host())) {
        Ok(_) => Ok(()),
        Err(Error::Denied { name }) => Err(Error::Login { name }),
        Err(error) => Err(error),
    }
}
