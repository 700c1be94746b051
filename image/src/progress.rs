//! How a pull or a load says how far it is; drawing is the caller's.

use crate::Digest;

/// Told what happens to the layers of an image, from several threads at once.
pub trait Progress: Sync {
    /// The layers there are, lowest first, with their sizes in bytes as they come in; said once, before all else.
    fn plan(&self, layers: &[(Digest, u64)]) {
        let _ = layers;
    }
    /// Work on a layer begins; `total` is its size in bytes as it comes in (compressed, if it is).
    fn start(&self, layer: &Digest, total: u64);
    /// That many further bytes have come in.
    fn advance(&self, layer: &Digest, bytes: u64);
    /// The layer is complete.
    fn done(&self, layer: &Digest);
    /// The layer was there already; none of the others is called for it.
    fn present(&self, layer: &Digest);
}

/// Says nothing.
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: &Digest, _: u64) {}
    fn advance(&self, _: &Digest, _: u64) {}
    fn done(&self, _: &Digest) {}
    fn present(&self, _: &Digest) {}
}
