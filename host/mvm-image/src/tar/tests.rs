use proptest::prelude::*;

use super::*;
use crate::erofs::Layout;
use crate::merge::Merge;

fn header(path: &str, flag: u8, size: usize) -> Vec<u8> {
    let mut block = vec![0; BLOCK];
    block[..path.len()].copy_from_slice(path.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[156] = flag;
    block[257..265].copy_from_slice(b"ustar\x0000");
    with_checksum(block)
}

fn with_checksum(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn member(path: &str, flag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(path, flag, content.len());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

fn read_all(bytes: &[u8]) -> Result<Vec<TarEntry>, TarError> {
    let limits = Limits::default();
    let mut reader = TarReader::new(bytes, &limits);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        entries.push(entry);
    }
    Ok(entries)
}

fn with_pax(records: &[u8]) -> Result<TarEntry, TarError> {
    let bytes = archive(&[member("pax", b'x', records), member("f", b'0', b"")]);
    Ok(read_all(&bytes)?.remove(0))
}

#[test]
fn content_is_found_at_its_offset() {
    let bytes = archive(&[member("a", b'0', &[1; 700]), member("b", b'0', b"two")]);
    let entries = read_all(&bytes).unwrap();
    let content =
        |entry: &TarEntry| &bytes[entry.offset as usize..(entry.offset + entry.size) as usize];
    assert_eq!(content(&entries[0]), [1; 700]);
    assert_eq!(content(&entries[1]), b"two");
}

#[test]
fn seeking_over_content_finds_the_same_entries() {
    let bytes = archive(&[member("a", b'0', &[1; 700]), member("b", b'0', b"two")]);
    let limits = Limits::default();
    let mut reader = TarReader::new(io::Cursor::new(&bytes), &limits);
    let mut found = Vec::new();
    while let Some(entry) = reader.next_seeking().unwrap() {
        found.push(entry);
    }
    assert_eq!(found, read_all(&bytes).unwrap());
}

#[test]
fn times_keep_their_nanoseconds_on_both_sides_of_1970() {
    for (text, expected) in [
        ("17 mtime=12.5000\n", (12, 500_000_000)),
        ("12 mtime=12\n", (12, 0)),
        ("14 mtime=-1.5\n", (-2, 500_000_000)),
        ("12 mtime=-3\n", (-3, 0)),
        ("25 mtime=1.1234567899999\n", (1, 123_456_789)),
    ] {
        assert_eq!(
            with_pax(text.as_bytes()).unwrap().modified,
            expected,
            "{text}"
        );
    }
    for text in [
        "11 mtime=\n",
        "13 mtime=1.x\n",
        "13 mtime=--1\n",
        "29 mtime=99999999999999999999\n",
    ] {
        assert!(
            matches!(with_pax(text.as_bytes()), Err(TarError::PaxRecord { .. })),
            "{text}"
        );
    }
}

#[test]
fn binary_numbers_are_read_and_bounded() {
    let mut large = header("f", b'0', 0);
    large[108..116].copy_from_slice(&(0x8000_0000_0000_0000_u64 | 3_000_000_000).to_be_bytes());
    let entries = read_all(&archive(&[with_checksum(large)])).unwrap();
    assert_eq!(entries[0].user, 3_000_000_000);

    let mut negative = header("f", b'0', 0);
    negative[136..148].fill(0xff);
    let entries = read_all(&archive(&[with_checksum(negative)])).unwrap();
    assert_eq!(entries[0].modified, (-1, 0));

    for at in [108, 124] {
        let mut negative = header("f", b'0', 0);
        negative[at..at + 8].fill(0xff);
        let read = read_all(&archive(&[with_checksum(negative)]));
        assert!(matches!(read, Err(TarError::Number { .. })), "{read:?}");
    }
}

#[test]
fn a_claimed_size_is_not_allocated() {
    let mut huge = header("f", b'x', 0);
    huge[124..136].copy_from_slice(b"00003777777\0");
    let read = read_all(&archive(&[with_checksum(huge)]));
    assert!(matches!(read, Err(TarError::Truncated { .. })), "{read:?}");
}

#[test]
fn text_for_terminals_has_no_control_characters() {
    assert_eq!(printable(b"a\x1b[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
    assert!(printable(&[b'x'; 10_000]).len() < 1000);
}

fn sample() -> Vec<u8> {
    archive(&[
        member("d/", b'5', b""),
        member("d/f", b'0', b"content"),
        member("././@LongLink", b'L', b"long/name\0"),
        member("x", b'2', b""),
        member("pax", b'x', b"17 path=some/name\n20 SCHILY.xattr.u=v\n"),
        member("y", b'0', b"more"),
        member("d/.wh..wh..opq", b'0', b""),
        member("n", b'3', b""),
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever an archive says, reading, merging and laying it out ends in a
    /// result. Damage to a header is given a right checksum, to get further.
    #[test]
    fn damaged_archives_never_panic(
        damage in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..12),
        cut in any::<u16>(),
    ) {
        let mut bytes = sample();
        let size = bytes.len();
        for (at, value) in damage {
            let at = usize::from(at) % size;
            bytes[at] = value;
            let start = at - at % BLOCK;
            let block = with_checksum(bytes[start..start + BLOCK].to_vec());
            if bytes[start + 257..start + 262] == *b"ustar" {
                bytes[start..start + BLOCK].copy_from_slice(&block);
            }
        }
        if cut % 4 == 0 {
            bytes.truncate(usize::from(cut) % size);
        }
        let limits = Limits::default();
        let mut reader = TarReader::new(&bytes[..], &limits);
        let mut merge = Merge::new(&limits);
        for layer in 0..2 {
            merge.begin_layer(layer);
            while let Ok(Some(entry)) = reader.next() {
                let _ = merge.apply(entry);
            }
            reader = TarReader::new(&bytes[..], &limits);
        }
        Layout::plan(&merge.finish()).unwrap();
    }

    #[test]
    fn random_extended_headers_never_panic(records in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = with_pax(&records);
    }
}
