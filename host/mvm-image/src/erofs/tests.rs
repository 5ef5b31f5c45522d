use super::directory;
use super::format::{BLOCK, device_number, set_checksum};
use super::layout::Layout;
use super::xattr;
use crate::limits::Limits;
use crate::merge::{Merge, NodeKind, ROOT, Tree};
use crate::tar::{EntryKind, TarEntry};

fn tree(entries: impl IntoIterator<Item = (String, EntryKind, u64)>) -> Tree {
    let limits = Limits::default();
    let mut merge = Merge::new(&limits);
    let mut offset = 512;
    for (path, kind, size) in entries {
        let entry = TarEntry {
            path: path.into_bytes(),
            kind,
            mode: 0o644,
            user: 0,
            group: 0,
            modified: (0, 0),
            xattrs: Vec::new(),
            offset,
            size,
        };
        offset += size.next_multiple_of(512) + 512;
        merge.apply(entry).unwrap();
    }
    merge.finish()
}

#[test]
fn nothing_overlaps_and_nothing_inline_crosses_a_block() {
    let tree = tree((0..500).map(|number: u64| {
        (
            format!("d{}/f{number}", number % 7),
            EntryKind::Regular,
            number * number % 20_000,
        )
    }));
    let layout = Layout::plan(&tree).unwrap();
    let mut used = vec![(0, 1152)];
    for placed in &layout.inodes {
        assert_eq!(placed.at % 32, 0);
        assert!(placed.at / BLOCK == (placed.tail_at() - 1) / BLOCK);
        used.push((placed.at, placed.tail_at()));
    }
    for extent in layout.extents(&tree) {
        let tail = extent.content.size - extent.body;
        if extent.body > 0 {
            assert_eq!(extent.body_at % BLOCK, 0);
            used.push((extent.body_at, extent.body_at + extent.body));
        }
        if tail > 0 {
            assert_eq!(extent.tail_at / BLOCK, (extent.tail_at + tail - 1) / BLOCK);
            used.push((extent.tail_at, extent.tail_at + tail));
        }
    }
    used.sort_unstable();
    assert!(used.windows(2).all(|pair| pair[0].1 <= pair[1].0));
    assert!(used.last().unwrap().1 <= layout.bytes());
}

#[test]
fn files_beyond_four_gibibytes_are_laid_out() {
    let size = (5 << 30) + 100;
    let tree = tree([("f".into(), EntryKind::Regular, size)]);
    let layout = Layout::plan(&tree).unwrap();
    let extent = layout.extents(&tree)[0];
    assert_eq!((extent.content.size, extent.body), (size, 5 << 30));
    assert!(layout.inodes[1].extended);
    assert!(layout.bytes() > size - 100);
}

#[test]
fn an_image_the_format_cannot_count_is_refused() {
    let tree = tree((0..2_u64).map(|number| (number.to_string(), EntryKind::Regular, 10 << 40)));
    assert!(matches!(
        Layout::plan(&tree),
        Err(super::ErofsError::TooLarge { .. })
    ));
}

#[test]
fn names_are_sorted_by_bytes_with_the_dots_among_them() {
    let names = ["!", "-", ".-", ".a", "A", "a", "\u{e9}"];
    let tree = tree(names.map(|name| (name.to_owned(), EntryKind::Fifo, 0)));
    let NodeKind::Directory(root) = &tree.nodes[ROOT as usize].kind else {
        unreachable!()
    };
    let sorted = directory::names(root, ROOT, ROOT);
    assert!(sorted.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(sorted.len(), names.len() + 2);
    let encoded = directory::encode(&sorted, &tree.nodes, u64::from);
    assert_eq!(encoded.len() as u64, directory::size(&sorted));
}

#[test]
fn attribute_areas_have_the_size_they_were_planned_with() {
    let xattrs: Vec<_> = [
        ("user.a", &b"1"[..]),
        ("security.capability", &[0; 20]),
        ("system.posix_acl_access", b"12345"),
        ("trusted.x", b""),
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value.to_vec()))
    .collect();
    let area = xattr::encode(&xattrs);
    assert_eq!(area.len(), xattr::encoded_size(&xattrs));
    assert_eq!(
        usize::from(xattr::count(area.len()).unwrap()),
        (area.len() - 12) / 4 + 1
    );
    assert_eq!((xattr::encode(&[]).len(), xattr::count(0).unwrap()), (0, 0));
}

#[test]
fn device_numbers_and_checksums_follow_linux() {
    assert_eq!(device_number(1, 3), 0x103);
    assert_eq!(device_number(0xabc, 0x12345), 0x123a_bc45);
    // CRC-32C of 3072 zero bytes from an all-ones register, not inverted.
    let mut block = vec![0; 4096];
    set_checksum(&mut block);
    let mut register = u32::MAX;
    for _ in 0..3072 * 8 {
        register = (register >> 1) ^ if register & 1 == 1 { 0x82f6_3b78 } else { 0 };
    }
    assert_eq!(block[1028..1032], register.to_le_bytes());
}
