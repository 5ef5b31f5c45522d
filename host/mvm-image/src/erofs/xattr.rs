//! Extended attributes, stored behind their inode.

use super::ErofsError;

const HEADER: usize = 12;

/// The attribute area of an inode with these (full) names and values, empty
/// when there are none.
pub(super) fn encode(xattrs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    if xattrs.is_empty() {
        return Vec::new();
    }
    let mut area = vec![0; HEADER];
    for (name, value) in xattrs {
        let (index, name) = split(name);
        // Lengths were bounded when the layer was read.
        area.extend([name.len() as u8, index]);
        area.extend((value.len() as u16).to_le_bytes());
        area.extend(name);
        area.extend(value);
        area.resize(area.len().next_multiple_of(4), 0);
    }
    area
}

/// Bytes that [`encode`] will give.
pub(super) fn encoded_size(xattrs: &[(Vec<u8>, Vec<u8>)]) -> usize {
    if xattrs.is_empty() {
        return 0;
    }
    let entries = xattrs
        .iter()
        .map(|(name, value)| (4 + split(name).1.len() + value.len()).next_multiple_of(4));
    HEADER + entries.sum::<usize>()
}

/// The count an inode gives for an area of `size` bytes.
pub(super) fn count(size: usize) -> Result<u16, ErofsError> {
    if size == 0 {
        return Ok(0);
    }
    u16::try_from((size - HEADER) / 4 + 1).map_err(|_| ErofsError::Xattrs { size })
}

/// The number of a name's prefix and what remains of the name.
fn split(name: &[u8]) -> (u8, &[u8]) {
    let prefixes: [(u8, &[u8]); 5] = [
        (1, b"user."),
        (2, b"system.posix_acl_access"),
        (3, b"system.posix_acl_default"),
        (4, b"trusted."),
        (6, b"security."),
    ];
    prefixes
        .into_iter()
        .find_map(|(index, prefix)| Some((index, name.strip_prefix(prefix)?)))
        .unwrap_or((0, name))
}
