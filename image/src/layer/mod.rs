//! A layer: one OCI layer blob (tar, gzip tar or zstd tar) becomes one EROFS file in a single pass.
//!
//! File data goes straight to the output as the tar streams by; only names and attributes are held in memory, and
//! are written behind the data at the end. No path of the tar ever reaches a system call.
//!
//! What hides the files of lower layers is written as the kernel's overlayfs understands it
//! (Documentation/filesystems/overlayfs.rst): see `whiteout`.

mod decompress;
mod erofs;
mod path;
mod pipeline;
mod stack;
pub(crate) mod tar;
mod tree;
mod whiteout;
mod xattr;

#[cfg(test)]
#[path = "../../tests/tar_builder/mod.rs"]
mod tar_builder;

use std::fs::File;
use std::io::{self, Read};

use self::tar::{Entry, Kind};
use self::tree::{Attributes, Data, Finished, Node, Special, Tree};
use self::whiteout::Meaning;

pub use self::decompress::decompress;
pub use self::erofs::reader::{Error as ReadError, FileKind, Inode, Named, Reader};
pub use self::erofs::verify;
pub use self::pipeline::pipelined;
pub use self::stack::{Error as StackError, Found, Stack};
pub use self::tar::Time;
pub use self::tree::Base;

/// How much is copied at once from a layer below.
const COPY_BUFFER: usize = 256 << 10;

/// How much one layer may be. A few kilobytes of gzip can stand for gigabytes, so every number has an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the uncompressed tar, and of the image made of it.
    pub bytes: u64,
    /// Files, folders and so on, those included that are only implied by a longer path.
    pub entries: u64,
    /// Bytes of names, link targets and extended attributes, which are held in memory.
    pub metadata: u64,
}

impl Default for Limits {
    /// - 256 GiB: the largest layers seen in practice hold models of some tens of gigabytes.
    /// - 2 million entries: the largest hold some hundred thousand small files; each takes about 250 bytes of memory.
    /// - 512 MiB of metadata: 2 million entries with 250 bytes each.
    fn default() -> Limits {
        Limits { bytes: 256 << 30, entries: 2 << 20, metadata: 512 << 20 }
    }
}

/// What was read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries of the tar, whiteouts included.
    pub entries: u64,
    /// Bytes of the tar, to its very end.
    pub tar_bytes: u64,
    /// Size of the EROFS file in bytes.
    pub image_bytes: u64,
    /// Whether the layer depends on those below and these are not known (`Base::Unknown`): what was written is of no
    /// use then.
    pub depends: bool,
}

/// Why a layer cannot be turned into an EROFS file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The first bytes could not be read.
    #[error("Cannot read the start of the layer")]
    Start(#[source] io::Error),
    /// The decompressor could not be set up.
    #[error("Cannot start to decompress the layer")]
    Decompressor(#[source] io::Error),
    /// Compressed in a way that the OCI image specification does not have.
    #[error("The layer is compressed with {0}: only gzip and zstd are layer formats, push the image with one of them")]
    Compression(&'static str),
    /// The tar is damaged, or beyond a limit.
    #[error("Cannot read tar entry {entry}")]
    Tar {
        /// Name of the entry, or where it would begin.
        entry: String,
        /// Why.
        source: tar::Error,
    },
    /// The entry makes no sense in a layer.
    #[error("Cannot take tar entry {entry} into the layer")]
    Entry {
        /// Name of the entry.
        entry: String,
        /// Why.
        source: tree::Error,
    },
    /// The file data of an entry could not be written.
    #[error("Cannot write the data of tar entry {entry}")]
    Data {
        /// Name of the entry.
        entry: String,
        /// Why.
        source: erofs::Error,
    },
    /// The file that a hard link leads to could not be copied from a layer below.
    #[error("Cannot copy what a hard link leads to from the layers below")]
    Below(#[source] stack::Error),
    /// The image could not be completed.
    #[error("Cannot write the layer's EROFS image")]
    Image(#[source] erofs::Error),
}

/// Reads one uncompressed tar layer to its very end and writes it to `output` as an EROFS image.
///
/// `output` is a fresh, empty, seekable file. It is not synced. The same tar over the same layers gives the same bytes.
/// After an error the file holds nothing of use.
///
/// What a layer is can depend on `base`: a folder that the tar does not list though it has something in it is as the
/// folder below is, symbolic links below are followed on the way to an entry, and a hard link may lead to a file below,
/// which is then copied. Most layers depend on nothing.
pub fn write(tar: &mut dyn Read, output: &File, limits: &Limits, base: Base<'_>) -> Result<Summary, Error> {
    let mut reader = tar::Reader::new(tar, limits.bytes);
    let mut tree = Tree::new(base, limits.entries, limits.metadata);
    let mut image = erofs::Writer::new(output, limits.bytes);
    let mut entries = 0u64;
    while let Some(entry) = reader.next().map_err(|source| Error::Tar { entry: reader.place(), source })? {
        entries = entries.saturating_add(1);
        // Once it depends, what is right and what is wrong does so too: nothing is made of the rest.
        if !tree.depends() {
            take(&mut reader, &mut tree, &mut image, entry)?;
        }
    }
    let tar_bytes = reader.drain().map_err(|source| Error::Tar { entry: reader.place(), source })?;
    let mut tree = tree.finish().map_err(|(entry, source)| Error::Entry { entry: path::printable(&entry), source })?;
    if tree.depends {
        return Ok(Summary { entries, tar_bytes, image_bytes: 0, depends: true });
    }
    if let Base::Layers(stack) = base {
        copy_below(stack, &mut tree, &mut image)?;
    }
    let image_bytes = image.finish(&tree).map_err(Error::Image)?;
    Ok(Summary { entries, tar_bytes, image_bytes, depends: false })
}

/// Copies the data of files that hard links took from the layers below.
fn copy_below(stack: &Stack, tree: &mut Finished, image: &mut erofs::Writer<'_>) -> Result<(), Error> {
    let mut buffer = Vec::new();
    for inode in tree.inodes_mut() {
        let Node::File(Data::Below(found)) = &inode.node else { continue };
        buffer.resize(COPY_BUFFER, 0);
        let mut file = image.file(found.inode.size, &inode.attributes.xattrs).map_err(Error::Image)?;
        let mut offset = 0;
        while offset < found.inode.size {
            let read = stack.read_at(found, &mut buffer, offset).map_err(Error::Below)?;
            file.write(buffer.get(..read).unwrap_or_default()).map_err(Error::Image)?;
            offset += read as u64;
        }
        inode.node = Node::File(file.finish().map_err(Error::Image)?);
    }
    Ok(())
}

/// Takes one entry of the tar, with its data, into the tree and the image.
fn take(
    reader: &mut tar::Reader<'_>,
    tree: &mut Tree<'_>,
    image: &mut erofs::Writer<'_>,
    entry: Entry,
) -> Result<(), Error> {
    let fail = |source: tree::Error| Error::Entry { entry: path::printable(&entry.name), source };
    let path = path::clean(&entry.name).map_err(|source| fail(source.into()))?;
    match whiteout::meaning(&path).map_err(|source| fail(source.into()))? {
        Meaning::Ignored => return Ok(()),
        Meaning::Opaque(folder) => return tree.opaque(folder).map_err(fail),
        Meaning::Whiteout(folder, name) => return tree.whiteout(folder, name).map_err(fail),
        Meaning::Entry => {}
    }
    let xattrs = xattr::import(entry.xattrs).map_err(|source| fail(source.into()))?;
    let attributes = Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime, xattrs };
    let node = match entry.kind {
        Kind::Link => return tree.link(&path, &entry.link, &entry.name).map_err(fail),
        Kind::Directory => return tree.directory(&path, attributes).map_err(fail),
        Kind::File => Node::File(data(reader, image, &entry.name, entry.size, entry.sparse.as_deref(), &attributes)?),
        Kind::Symlink => Node::symlink(&entry.link).map_err(fail)?,
        Kind::Character => Node::Special(Special::character(entry.device).map_err(fail)?),
        Kind::Block => Node::Special(Special::block(entry.device).map_err(fail)?),
        Kind::Fifo => Node::Special(Special::Fifo),
    };
    tree.insert(&path, attributes, node).map_err(fail)
}

/// Copies the data of one file from the tar to the image.
fn data(
    reader: &mut tar::Reader<'_>,
    image: &mut erofs::Writer<'_>,
    name: &[u8],
    size: u64,
    sparse: Option<&[tar::Region]>,
    attributes: &Attributes,
) -> Result<Data, Error> {
    let fail = |source| Error::Data { entry: path::printable(name), source };
    let mut file = image.file(size, &attributes.xattrs).map_err(fail)?;
    let whole = [tar::Region { offset: 0, length: size }];
    let mut piece: &[u8] = &[];
    for region in sparse.unwrap_or(&whole) {
        file.hole_until(region.offset).map_err(fail)?;
        let mut left = region.length;
        while left > 0 {
            if piece.is_empty() {
                piece = reader.data().map_err(|source| Error::Tar { entry: path::printable(name), source })?;
            }
            let (now, later) = piece.split_at(piece.len().min(usize::try_from(left).unwrap_or(usize::MAX)));
            file.write(now).map_err(fail)?;
            left -= now.len() as u64;
            piece = later;
        }
    }
    file.finish().map_err(fail)
}
