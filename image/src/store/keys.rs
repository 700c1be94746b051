//! By which digest the EROFS file of a layer is kept.
//!
//! Most layers are the same whatever lies below them, and are kept by their diff id. A layer with a hard link into a lower
//! one, or with something in a folder that it does not list itself, depends on what is below. Such a one is written for
//! its place and kept by the chain id of that place (OCI image specification, config.md, "Layer ChainID"); the lowest,
//! of which chain id and diff id are the same, by a digest of its own.

use super::{Store, layer_file};
use crate::Digest;

impl Store {
    /// The keys of the EROFS files of an image with these diff ids, lowest first: of what is there, or would be if the
    /// layer depended on nothing.
    pub(crate) fn layer_keys(&self, diff_ids: &[Digest]) -> Vec<Digest> {
        let placed = place_keys(diff_ids);
        let key = |(diff_id, placed): (&Digest, Digest)| {
            if layer_file(&self.folders, &placed).exists() { placed } else { diff_id.clone() }
        };
        diff_ids.iter().zip(placed).map(key).collect()
    }
}

/// The keys that the layers of an image have if each depends on what is below it, lowest first.
pub(crate) fn place_keys(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Option<Digest> = None;
    let place = |diff_id: &Digest| {
        let (key, next) = match &chain {
            None => (Digest::of(format!("lowest {diff_id}").as_bytes()), diff_id.clone()),
            Some(below) => {
                let next = Digest::of(format!("{below} {diff_id}").as_bytes());
                (next.clone(), next)
            }
        };
        chain = Some(next);
        key
    };
    diff_ids.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_by_all_that_is_below_it() {
        let [a, b, c] = ["a", "b", "c"].map(|text| Digest::of(text.as_bytes()));
        let keys = place_keys(&[a.clone(), b.clone(), c.clone()]);
        let second = Digest::of(format!("{a} {b}").as_bytes());
        assert_eq!(keys[1], second);
        assert_eq!(keys[2], Digest::of(format!("{second} {c}").as_bytes()));
        assert_ne!(keys[0], a);
        assert_ne!(place_keys(&[b, c])[1], keys[2]);
    }
}
