//! What the containers of this host need of the image store.

use config::Folders;
use image::store::InUse;

use crate::container::catalogue;

/// Asked anew whenever something is to be removed: it must not forget a container that was just made.
pub(super) fn in_use(folders: &Folders) -> Result<InUse, Box<dyn std::error::Error + Send + Sync>> {
    let mut in_use = InUse::default();
    for container in catalogue::all(folders)? {
        let user = format!("container {}", container.record.name);
        in_use.images.insert(container.record.image_id.parse()?, user.clone());
        for layer in &container.record.layers {
            in_use.layers.insert(layer.parse()?, user.clone());
        }
    }
    Ok(in_use)
}
