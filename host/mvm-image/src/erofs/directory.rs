//! Directory blocks: sorted entries, their names behind them.

use super::format::BLOCK;
use crate::merge::{Directory, Node, NodeId, NodeKind};

const ENTRY: usize = 12;

/// The names of a directory in the order the kernel searches them.
pub(super) fn names(directory: &Directory, itself: NodeId, parent: NodeId) -> Vec<(&[u8], NodeId)> {
    let mut names: Vec<(&[u8], NodeId)> = directory
        .children
        .iter()
        .map(|(name, child)| (name.as_slice(), child.node))
        .collect();
    for (name, node) in [(&b"."[..], itself), (b"..", parent)] {
        let at = names.partition_point(|(present, _)| *present < name);
        names.insert(at, (name, node));
    }
    names
}

/// Splits sorted names into the runs that each fill one block.
fn blocks<'a, 'n>(
    names: &'a [(&'n [u8], NodeId)],
) -> impl Iterator<Item = (&'a [(&'n [u8], NodeId)], usize)> {
    let mut rest = names;
    std::iter::from_fn(move || {
        let mut used = 0;
        let fitting = rest
            .iter()
            .take_while(|(name, _)| {
                used += ENTRY + name.len();
                used <= BLOCK as usize
            })
            .count();
        let (block, after) = rest.split_at(fitting);
        rest = after;
        let used = block.iter().map(|(name, _)| ENTRY + name.len()).sum();
        (!block.is_empty()).then_some((block, used))
    })
}

/// Bytes of the directory: whole blocks, and what the last one uses.
pub(super) fn size(names: &[(&[u8], NodeId)]) -> u64 {
    let (mut count, mut last) = (0_u64, 0);
    for (_, used) in blocks(names) {
        count += 1;
        last = used as u64;
    }
    count.saturating_sub(1) * BLOCK + last
}

/// The bytes [`size`] counts, `number` giving the inode number of a node.
pub(super) fn encode(
    names: &[(&[u8], NodeId)],
    nodes: &[Node],
    number: impl Fn(NodeId) -> u64,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (block, _) in blocks(names) {
        bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
        let mut name_at = block.len() * ENTRY;
        for (name, node) in block {
            bytes.extend(number(*node).to_le_bytes());
            bytes.extend((name_at as u16).to_le_bytes());
            bytes.extend([file_type(&nodes[*node as usize].kind), 0]);
            name_at += name.len();
        }
        for (name, _) in block {
            bytes.extend(*name);
        }
    }
    bytes
}

fn file_type(kind: &NodeKind) -> u8 {
    match kind {
        NodeKind::Regular(_) => 1,
        NodeKind::Directory(_) => 2,
        NodeKind::CharacterDevice { .. } => 3,
        NodeKind::Fifo => 5,
        NodeKind::Symlink(_) => 7,
    }
}
