//! What containers need of the store.

use std::collections::HashMap;

use super::{Error, Image};
use crate::Digest;

/// What containers need, and who needs it.
#[derive(Clone, Debug, Default)]
pub struct InUse {
    /// Images by their ids.
    pub images: HashMap<Digest, String>,
    /// Layers by their keys (see [`Image::layers`]).
    pub layers: HashMap<Digest, String>,
}

impl InUse {
    /// Who needs `image`.
    pub fn user_of(&self, image: &Image) -> Option<&str> {
        self.images.get(&image.id).map(String::as_str)
    }
}

/// Asked while no image can come or go: an answer from before would not know the container that was just made.
pub type Ask<'a> = &'a dyn Fn() -> Result<InUse, BoxError>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(super) fn ask(ask: Ask<'_>) -> Result<InUse, Error> {
    ask().map_err(Error::InUseUnknown)
}
