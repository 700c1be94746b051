//! What the verbs that speak to registries have in common: certificates, logins, patience.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use image::Reference;
use image::registry::{Fixed, Login, Logins, Options, Retry};

use super::{Context, login};

/// How to speak to a registry.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct RegistryArguments {
    /// Check the registry's certificate, and refuse plain HTTP; with false, do neither
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    tls_verify: Option<bool>,
    /// User and password, instead of what is known from coracle login
    #[arg(long, value_name = "USER[:PASSWORD]")]
    creds: Option<String>,
    /// The file with logins [default: $REGISTRY_AUTH_FILE, or Docker's and Podman's own]
    #[arg(long, value_name = "FILE", conflicts_with = "creds")]
    authfile: Option<PathBuf>,
    /// How often a failed request is tried again
    #[arg(long, value_name = "NUMBER")]
    retry: Option<u32>,
    /// Pause before the first of these; it doubles each time
    #[arg(long, value_name = "DURATION")]
    retry_delay: Option<humantime::Duration>,
}

impl RegistryArguments {
    /// How to speak to the registry of `reference`.
    pub(super) fn options(&self, context: &Context, reference: &Reference) -> Result<Options> {
        let mut options = Options { registries: context.file.registries.clone(), ..Options::default() };
        options.verify = self.tls_verify;
        if let Some(path) = &self.authfile {
            options.credentials = Arc::new(Logins::at(path));
        }
        if let Some(text) = &self.creds {
            let domain = reference.domain().to_owned();
            let login = match text.contains(':') {
                true => Login::parse(text).context("--creds has no user: write USER:PASSWORD")?,
                false => Login::Password { user: text.clone(), password: login::ask_password()? },
            };
            options.credentials = Arc::new(Fixed { domain, login });
        }
        let Retry { attempts, first_pause } = options.retry;
        options.retry = Retry {
            attempts: self.retry.map_or(attempts, |retry| retry.saturating_add(1)),
            first_pause: self.retry_delay.map_or(first_pause, Into::into),
        };
        Ok(options)
    }
}
