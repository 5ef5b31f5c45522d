//! Deciding where every inode and every block goes.

use std::collections::{HashMap, VecDeque};

use super::format::{BLOCK, FIRST_INODE, SLOT};
use super::{ErofsError, directory, xattr};
use crate::merge::{Content, Metadata, NodeId, NodeKind, ROOT, Tree};

/// A file's last partial block goes behind its inode when it is at most this
/// long. Longer ones would save less than the metadata block they spread over.
const INLINE_FILE_TAIL: u64 = 2048;

const UNPLACED: u32 = u32::MAX;

/// Where everything goes. Made from a tree and valid for that tree only.
pub(crate) struct Layout {
    /// In order of their place in the image, the root first.
    pub(super) inodes: Vec<Placed>,
    /// Index into `inodes` by node.
    index: Vec<u32>,
    pub(super) build_time: (i64, u32),
    pub(super) metadata_end: u64,
    pub(super) blocks: u32,
}

/// One inode and its place.
pub(super) struct Placed {
    pub node: NodeId,
    /// Of a directory, what `..` names.
    pub parent: NodeId,
    pub links: u32,
    pub extended: bool,
    pub inline: bool,
    pub xattr_bytes: usize,
    pub size: u64,
    /// Byte of the image where the inode is.
    pub at: u64,
    /// First block of the data, zero when there is none.
    pub block: u32,
}

/// The content of one regular file and where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub content: Content,
    /// Byte of the image where the first `body` bytes go.
    pub body_at: u64,
    pub body: u64,
    /// Byte of the image where the rest goes.
    pub tail_at: u64,
}

impl Placed {
    fn new(node: NodeId, parent: NodeId) -> Self {
        Self {
            node,
            parent,
            links: 0,
            extended: false,
            inline: false,
            xattr_bytes: 0,
            size: 0,
            at: 0,
            block: 0,
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.at / SLOT
    }

    fn header(&self) -> u64 {
        if self.extended { 64 } else { 32 }
    }

    fn tail(&self) -> u64 {
        if self.inline { self.size % BLOCK } else { 0 }
    }

    pub(super) fn tail_at(&self) -> u64 {
        self.at + self.header() + self.xattr_bytes as u64
    }

    fn data_blocks(&self) -> u64 {
        if self.inline {
            self.size / BLOCK
        } else {
            self.size.div_ceil(BLOCK)
        }
    }
}

impl Layout {
    pub(crate) fn plan(tree: &Tree) -> Result<Self, ErofsError> {
        let mut layout = Self::discover(tree);
        layout.build_time = most_common_time(tree, &layout.inodes);
        let mut at = FIRST_INODE;
        for placed in &mut layout.inodes {
            place(placed, tree, layout.build_time, &mut at)?;
        }
        layout.metadata_end = at.next_multiple_of(BLOCK);
        layout.assign_blocks(tree)?;
        Ok(layout)
    }

    /// Bytes of the whole image.
    pub(crate) fn bytes(&self) -> u64 {
        u64::from(self.blocks) * BLOCK
    }

    /// Every non-empty file, in the order in which the layers deliver them.
    pub(crate) fn extents(&self, tree: &Tree) -> Vec<Extent> {
        self.files(tree)
            .into_iter()
            .map(|(content, inode)| {
                let placed = &self.inodes[inode];
                Extent {
                    content,
                    body_at: u64::from(placed.block) * BLOCK,
                    body: placed.size - placed.tail(),
                    tail_at: placed.tail_at(),
                }
            })
            .collect()
    }

    pub(super) fn number(&self, node: NodeId) -> u64 {
        self.inodes[self.index[node as usize] as usize].number()
    }

    /// Every live inode in breadth-first order, with its links counted.
    fn discover(tree: &Tree) -> Self {
        let mut inodes = vec![Placed::new(ROOT, ROOT)];
        let mut index = vec![UNPLACED; tree.nodes.len()];
        index[ROOT as usize] = 0;
        inodes[0].links = 2;
        let mut directories = VecDeque::from([0_usize]);
        while let Some(here) = directories.pop_front() {
            let parent = inodes[here].node;
            let NodeKind::Directory(directory) = &tree.nodes[parent as usize].kind else {
                continue;
            };
            for child in directory.children.values() {
                let slot = &mut index[child.node as usize];
                if *slot != UNPLACED {
                    inodes[*slot as usize].links += 1;
                    continue;
                }
                *slot = inodes.len() as u32;
                let mut placed = Placed::new(child.node, parent);
                placed.links = 1;
                if let NodeKind::Directory(_) = tree.nodes[child.node as usize].kind {
                    placed.links = 2;
                    inodes[here].links += 1;
                    directories.push_back(inodes.len());
                }
                inodes.push(placed);
            }
        }
        Self {
            inodes,
            index,
            build_time: (0, 0),
            metadata_end: 0,
            blocks: 0,
        }
    }

    /// Files with content and the index of their inode, in the order of layers.
    fn files(&self, tree: &Tree) -> Vec<(Content, usize)> {
        let mut files: Vec<_> = self
            .inodes
            .iter()
            .enumerate()
            .filter_map(
                |(inode, placed)| match tree.nodes[placed.node as usize].kind {
                    NodeKind::Regular(content) if content.size > 0 => Some((content, inode)),
                    _ => None,
                },
            )
            .collect();
        files.sort_by_key(|(content, _)| (content.layer, content.offset));
        files
    }

    fn assign_blocks(&mut self, tree: &Tree) -> Result<(), ErofsError> {
        let is_file =
            |placed: &Placed| matches!(tree.nodes[placed.node as usize].kind, NodeKind::Regular(_));
        let others = (0..self.inodes.len()).filter(|inode| !is_file(&self.inodes[*inode]));
        let files = self.files(tree);
        let order: Vec<usize> = others
            .chain(files.into_iter().map(|(_, inode)| inode))
            .collect();
        let mut block = self.metadata_end / BLOCK;
        for inode in order {
            let placed = &mut self.inodes[inode];
            let count = placed.data_blocks();
            if count > 0 {
                placed.block = block_number(block)?;
                block += count;
            }
        }
        self.blocks = block_number(block)?;
        Ok(())
    }
}

fn block_number(block: u64) -> Result<u32, ErofsError> {
    u32::try_from(block).map_err(|_| ErofsError::TooLarge { blocks: block })
}

/// Gives one inode its form and its place at or after `at`.
fn place(
    placed: &mut Placed,
    tree: &Tree,
    build_time: (i64, u32),
    at: &mut u64,
) -> Result<(), ErofsError> {
    let node = &tree.nodes[placed.node as usize];
    placed.size = match &node.kind {
        NodeKind::Directory(children) => {
            directory::size(&directory::names(children, placed.node, placed.parent))
        }
        NodeKind::Regular(content) => content.size,
        NodeKind::Symlink(target) => target.len() as u64,
        NodeKind::CharacterDevice { .. } | NodeKind::Fifo => 0,
    };
    placed.extended = !fits_compact(&node.metadata, placed, build_time);
    placed.xattr_bytes = xattr::encoded_size(&node.metadata.xattrs);
    xattr::count(placed.xattr_bytes)?;
    let head = placed.header() + placed.xattr_bytes as u64;
    let tail = placed.size % BLOCK;
    // An inline tail must lie in one block, and a symlink's together with its
    // inode; so inode, attributes and tail are kept in one block.
    placed.inline = tail > 0
        && head + tail <= BLOCK
        && (tail <= INLINE_FILE_TAIL || !matches!(node.kind, NodeKind::Regular(_)));
    let whole = head + placed.tail();
    if *at % BLOCK + whole > BLOCK {
        *at = at.next_multiple_of(BLOCK);
    }
    placed.at = *at;
    *at = (*at + whole).next_multiple_of(SLOT);
    Ok(())
}

fn fits_compact(metadata: &Metadata, placed: &Placed, build_time: (i64, u32)) -> bool {
    metadata.modified == build_time
        && u16::try_from(metadata.user).is_ok()
        && u16::try_from(metadata.group).is_ok()
        && u16::try_from(placed.links).is_ok()
        && u32::try_from(placed.size).is_ok()
}

/// The time most inodes share; of several, the earliest.
fn most_common_time(tree: &Tree, inodes: &[Placed]) -> (i64, u32) {
    let mut counts: HashMap<(i64, u32), u64> = HashMap::new();
    for placed in inodes {
        *counts
            .entry(tree.nodes[placed.node as usize].metadata.modified)
            .or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(time, count)| (*count, std::cmp::Reverse(*time)))
        .map_or((0, 0), |(time, _)| time)
}
