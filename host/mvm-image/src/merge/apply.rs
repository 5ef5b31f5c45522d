//! Applying one entry after another.

use super::path::{CleanPath, Missing};
use super::{Child, Content, Directory, MergeError, Metadata, Node, NodeId, NodeKind, ROOT, Tree};
use crate::limits::Limits;
use crate::tar::{EntryKind, TarEntry, printable};

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// The tree being built, and the layer being applied to it.
pub(crate) struct Merge<'a> {
    tree: Tree,
    layer: u32,
    entries: u64,
    metadata_bytes: u64,
    limits: &'a Limits,
}

impl<'a> Merge<'a> {
    /// An image that consists of an empty root directory.
    pub(crate) fn new(limits: &'a Limits) -> Self {
        let root = Node {
            kind: NodeKind::Directory(Directory::default()),
            metadata: Metadata::implied_directory(),
        };
        Self {
            tree: Tree { nodes: vec![root] },
            layer: 0,
            entries: 0,
            metadata_bytes: 0,
            limits,
        }
    }

    /// Entries from here on belong to layer `layer`, above all before.
    pub(crate) fn begin_layer(&mut self, layer: u32) {
        self.layer = layer;
    }

    pub(crate) fn finish(self) -> Tree {
        self.tree
    }

    /// The names in the directory at `path`, sorted, following symlinks inside the image; `None`
    /// when there is no directory.
    pub(crate) fn names_in(&mut self, path: &[u8]) -> Option<Vec<Vec<u8>>> {
        let parts: Vec<_> = path.split(|byte| *byte == b'/').collect();
        let found = self.directory(&parts, Missing::Stop, path).ok()??;
        Some(self.children(found).keys().cloned().collect())
    }

    /// Applies one entry of the current layer.
    pub(crate) fn apply(&mut self, entry: TarEntry) -> Result<(), MergeError> {
        let written = entry.path.clone();
        self.count(&entry)?;
        let path = CleanPath::parse(&written, &written, self.limits)?.ok_or_else(|| {
            MergeError::Escape {
                path: printable(&written),
            }
        })?;
        let Some((parents, name)) = path.split() else {
            return self.apply_root(entry);
        };
        if parents.iter().any(|parent| parent.starts_with(WHITEOUT)) {
            return Err(MergeError::Whiteout {
                path: path.printable(),
            });
        }
        if name.starts_with(WHITEOUT) {
            return self.hide(&entry, parents, name);
        }
        let node = match self.node_for(&entry)? {
            Some(node) => node,
            None => return self.link(&entry, parents, name),
        };
        let parent = self
            .directory(parents, Missing::Create, &written)?
            .expect("missing parents are created");
        self.check_depth(path.components.len(), &written)?;
        if let NodeKind::Directory(_) = node.kind
            && let Some(present) = self.child(parent, name)
            && let NodeKind::Directory(_) = self.node(present).kind
        {
            self.node_mut(present).metadata = node.metadata;
            self.set_child(parent, name.to_vec(), present);
        } else {
            let id = self.add(node, &written)?;
            self.set_child(parent, name.to_vec(), id);
        }
        Ok(())
    }

    /// Bounds what the tree can grow to before anything is added to it.
    fn count(&mut self, entry: &TarEntry) -> Result<(), MergeError> {
        let path = || printable(&entry.path);
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(MergeError::Entries {
                path: path(),
                limit: self.limits.entries,
            });
        }
        let target = match &entry.kind {
            EntryKind::Symlink { target } | EntryKind::HardLink { target } => target.len(),
            _ => 0,
        };
        let xattrs: usize = entry
            .xattrs
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.metadata_bytes += (entry.path.len() + target + xattrs) as u64;
        if self.metadata_bytes > self.limits.metadata_bytes {
            return Err(MergeError::MetadataBytes {
                path: path(),
                limit: self.limits.metadata_bytes,
            });
        }
        Ok(())
    }

    fn apply_root(&mut self, entry: TarEntry) -> Result<(), MergeError> {
        if entry.kind != EntryKind::Directory {
            return Err(MergeError::RootReplaced {
                path: printable(&entry.path),
            });
        }
        self.node_mut(ROOT).metadata = metadata(&entry)?;
        Ok(())
    }

    /// The inode `entry` makes, or `None` for a hard link.
    fn node_for(&self, entry: &TarEntry) -> Result<Option<Node>, MergeError> {
        let kind = match &entry.kind {
            EntryKind::HardLink { .. } => return Ok(None),
            EntryKind::Directory => NodeKind::Directory(Directory::default()),
            EntryKind::Regular => NodeKind::Regular(Content {
                layer: self.layer,
                offset: entry.offset,
                size: entry.size,
            }),
            EntryKind::Symlink { target } => {
                // The kernel reads at most a page, its end included.
                let limit = self.limits.path_bytes.min(4095);
                if target.len() > limit {
                    let path = printable(&entry.path);
                    return Err(MergeError::PathLength {
                        path,
                        size: target.len(),
                        limit,
                    });
                }
                NodeKind::Symlink(target.clone())
            }
            EntryKind::CharacterDevice { major, minor } => NodeKind::CharacterDevice {
                major: *major,
                minor: *minor,
            },
            EntryKind::BlockDevice { major, minor } => {
                let path = printable(&entry.path);
                return Err(MergeError::BlockDevice {
                    path,
                    major: *major,
                    minor: *minor,
                });
            }
            EntryKind::Fifo => NodeKind::Fifo,
        };
        Ok(Some(Node {
            kind,
            metadata: metadata(entry)?,
        }))
    }

    fn link(&mut self, entry: &TarEntry, parents: &[&[u8]], name: &[u8]) -> Result<(), MergeError> {
        let EntryKind::HardLink { target: written } = &entry.kind else {
            return Ok(());
        };
        let path = || printable(&entry.path);
        let missing = || MergeError::HardLinkMissing {
            path: path(),
            target: printable(written),
        };
        let target = CleanPath::parse(written, &entry.path, self.limits)?.ok_or_else(|| {
            MergeError::HardLinkEscape {
                path: path(),
                target: printable(written),
            }
        })?;
        let (target_parents, target_name) =
            target
                .split()
                .ok_or_else(|| MergeError::HardLinkDirectory {
                    path: path(),
                    target: printable(written),
                })?;
        let node = self
            .directory(target_parents, Missing::Stop, &entry.path)?
            .and_then(|directory| self.child(directory, target_name))
            .ok_or_else(missing)?;
        if let NodeKind::Directory(_) = self.node(node).kind {
            let target = printable(written);
            return Err(MergeError::HardLinkDirectory {
                path: path(),
                target,
            });
        }
        let parent = self
            .directory(parents, Missing::Create, &entry.path)?
            .expect("missing parents are created");
        self.set_child(parent, name.to_vec(), node);
        Ok(())
    }

    fn hide(&mut self, entry: &TarEntry, parents: &[&[u8]], name: &[u8]) -> Result<(), MergeError> {
        let hidden = &name[WHITEOUT.len()..];
        let opaque = name == OPAQUE;
        // `.wh..wh.*` are the bookkeeping files of AUFS.
        let valid = opaque
            || !(hidden.is_empty()
                || hidden == b"."
                || hidden == b".."
                || hidden.starts_with(WHITEOUT));
        if entry.kind != EntryKind::Regular || !valid {
            return Err(MergeError::Whiteout {
                path: printable(&entry.path),
            });
        }
        let Some(directory) = self.directory(parents, Missing::Stop, &entry.path)? else {
            return Ok(());
        };
        if opaque {
            self.prune(directory);
            return Ok(());
        }
        let layer = self.layer;
        let Some(child) = self.children(directory).get(hidden).copied() else {
            return Ok(());
        };
        let below =
            matches!(self.node(child.node).kind, NodeKind::Directory(_)) && self.prune(child.node);
        if !below && child.layer != layer {
            self.children_mut(directory).remove(hidden);
        }
        Ok(())
    }

    /// Removes everything below `directory` that lower layers put there; true
    /// when something remains.
    ///
    /// A directory pruned once in a layer needs no second look: all that was
    /// added since is of this layer. So the cost stays linear however many
    /// whiteouts a layer has. Depth is bounded by `Limits::path_depth`.
    fn prune(&mut self, directory: NodeId) -> bool {
        let layer = self.layer;
        let NodeKind::Directory(pruned) = &mut self.node_mut(directory).kind else {
            return false;
        };
        if pruned.opaque_since == Some(layer) {
            return !pruned.children.is_empty();
        }
        let mut children = std::mem::take(&mut pruned.children);
        children.retain(|_, child| {
            let below = matches!(self.node(child.node).kind, NodeKind::Directory(_))
                && self.prune(child.node);
            below || child.layer == layer
        });
        let remains = !children.is_empty();
        let kept = Directory {
            children,
            opaque_since: Some(layer),
        };
        self.node_mut(directory).kind = NodeKind::Directory(kept);
        remains
    }

    pub(super) fn check_depth(&self, depth: usize, entry: &[u8]) -> Result<(), MergeError> {
        let limit = self.limits.path_depth;
        if depth > limit {
            return Err(MergeError::PathDepth {
                path: printable(entry),
                limit,
            });
        }
        Ok(())
    }

    pub(super) fn child(&self, directory: NodeId, name: &[u8]) -> Option<NodeId> {
        self.children(directory).get(name).map(|child| child.node)
    }

    pub(super) fn add_implied_directory(
        &mut self,
        parent: NodeId,
        name: Vec<u8>,
        entry: &[u8],
    ) -> Result<NodeId, MergeError> {
        let directory = Node {
            kind: NodeKind::Directory(Directory::default()),
            metadata: Metadata::implied_directory(),
        };
        let id = self.add(directory, entry)?;
        self.set_child(parent, name, id);
        Ok(id)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.tree.nodes[id as usize]
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.tree.nodes[id as usize]
    }

    /// Directories that entries only imply count as entries.
    fn add(&mut self, node: Node, entry: &[u8]) -> Result<NodeId, MergeError> {
        let limit = self.limits.entries.min(u64::from(NodeId::MAX));
        let id = NodeId::try_from(self.tree.nodes.len())
            .ok()
            .filter(|id| u64::from(*id) <= limit)
            .ok_or_else(|| MergeError::Entries {
                path: printable(entry),
                limit,
            })?;
        self.tree.nodes.push(node);
        Ok(id)
    }

    fn set_child(&mut self, parent: NodeId, name: Vec<u8>, node: NodeId) {
        let child = Child {
            node,
            layer: self.layer,
        };
        self.children_mut(parent).insert(name, child);
    }

    fn children(&self, directory: NodeId) -> &std::collections::BTreeMap<Vec<u8>, Child> {
        match &self.node(directory).kind {
            NodeKind::Directory(directory) => &directory.children,
            _ => unreachable!("only directories are walked into"),
        }
    }

    fn children_mut(
        &mut self,
        directory: NodeId,
    ) -> &mut std::collections::BTreeMap<Vec<u8>, Child> {
        match &mut self.node_mut(directory).kind {
            NodeKind::Directory(directory) => &mut directory.children,
            _ => unreachable!("only directories are walked into"),
        }
    }
}

fn metadata(entry: &TarEntry) -> Result<Metadata, MergeError> {
    for (name, value) in &entry.xattrs {
        if value.len() > usize::from(u16::MAX) {
            let (path, name) = (printable(&entry.path), printable(name));
            return Err(MergeError::XattrValue {
                path,
                name,
                size: value.len(),
            });
        }
        let stored = [&b"user."[..], b"trusted.", b"security."]
            .iter()
            .any(|prefix| name.len() > prefix.len() && name.starts_with(prefix));
        let acl = name == b"system.posix_acl_access" || name == b"system.posix_acl_default";
        // The image is mounted below an overlay, which acts on these.
        let overlay = name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.");
        if overlay || !(stored || acl) {
            let path = printable(&entry.path);
            return Err(MergeError::Xattr {
                path,
                name: printable(name),
            });
        }
    }
    Ok(Metadata {
        mode: entry.mode,
        user: entry.user,
        group: entry.group,
        modified: entry.modified,
        xattrs: entry.xattrs.clone(),
    })
}
