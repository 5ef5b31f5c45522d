//! A packed closure as a layer, for what is put above it.

use std::io::{self, BufWriter, Read, Write};
use std::sync::Arc;

use tar::{Builder, EntryType, Header};

use super::{NixError, Packed};
use crate::hashing::Hashing;
use crate::layer::{Blob, Compression};
use crate::merge::{Content, Metadata, NodeId, NodeKind, ROOT, Tree};
use crate::oci::Layer;
use crate::store::Store;

/// Writes the closure as a tar archive: the same closure gives the same bytes.
///
/// The archive goes to a staging file of the image store, which the returned layer reads.
pub(super) fn layer(packed: &Packed, store: &Store) -> Result<Layer, NixError> {
    let staging = store.begin().map_err(NixError::Store)?;
    let file = staging.file().try_clone().map_err(NixError::Keep)?;
    let file_writer = BufWriter::with_capacity(1 << 20, staging.file());
    let mut archive = Builder::new(Hashing::new(file_writer));
    append_below(&mut archive, packed, ROOT, &[]).map_err(NixError::Keep)?;
    let (mut written, digest, size) = archive.into_inner().map_err(NixError::Keep)?.finish();
    written.flush().map_err(NixError::Keep)?;
    Ok(Layer {
        name: packed.layer.name.clone(),
        blob: Blob {
            file: Arc::new(file),
            offset: 0,
            size,
        },
        compression: Compression::None,
        stored: Some(digest),
        unpacked: digest,
    })
}

/// Appends what is in a directory. As deep as trees may be: the limits of images bound that.
fn append_below(
    archive: &mut Builder<impl Write>,
    packed: &Packed,
    directory: NodeId,
    path: &[u8],
) -> io::Result<()> {
    let Tree { nodes } = &packed.tree;
    let NodeKind::Directory(directory) = &nodes[directory as usize].kind else {
        return Ok(());
    };
    for (name, child) in &directory.children {
        let node = &nodes[child.node as usize];
        let path = match path {
            [] => name.clone(),
            path => [path, b"/", name].concat(),
        };
        let mut header = header(&node.metadata);
        match &node.kind {
            NodeKind::Directory(_) => {
                header.set_entry_type(EntryType::Directory);
                archive.append_data(&mut header, as_path(&path), io::empty())?;
                append_below(archive, packed, child.node, &path)?;
            }
            NodeKind::Regular(content) => {
                header.set_entry_type(EntryType::Regular);
                header.set_size(content.size);
                let bytes = bytes(&packed.layer.blob, content);
                archive.append_data(&mut header, as_path(&path), bytes)?;
            }
            NodeKind::Symlink(target) => {
                header.set_entry_type(EntryType::Symlink);
                archive.append_link(&mut header, as_path(&path), as_path(target))?;
            }
            // A closure has none.
            NodeKind::CharacterDevice { .. } | NodeKind::Fifo => {}
        }
    }
    Ok(())
}

fn header(metadata: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(metadata.mode.into());
    header.set_uid(metadata.user.into());
    header.set_gid(metadata.group.into());
    header.set_mtime(u64::try_from(metadata.modified.0).unwrap_or(0));
    header.set_size(0);
    header
}

fn as_path(bytes: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt as _;
    std::ffi::OsStr::from_bytes(bytes).as_ref()
}

/// The content of a file, in that of all files.
fn bytes(blob: &Blob, content: &Content) -> impl Read + use<> {
    let blob = Blob {
        file: Arc::clone(&blob.file),
        offset: blob.offset + content.offset,
        size: content.size,
    };
    blob.reader()
}
