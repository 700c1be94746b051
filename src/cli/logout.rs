//! `coracle logout`: forget who to be towards a registry.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{login, ui};

/// Log out from a registry
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file the login is kept in [default: $REGISTRY_AUTH_FILE, or Docker's own]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// The registry
    #[arg(default_value = login::DEFAULT_REGISTRY)]
    registry: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<u8> {
    let tried = || format!("Cannot log out from {}", arguments.registry);
    let domain = image::name::registry(&arguments.registry).with_context(tried)?;
    match login::logins(arguments.authfile.as_ref()).erase(&domain).with_context(tried)? {
        Some(place) => ui::line(&format!("Removed the login for {domain} from {place}"))?,
        None => ui::line(&format!("Not logged in to {domain}"))?,
    }
    Ok(0)
}
