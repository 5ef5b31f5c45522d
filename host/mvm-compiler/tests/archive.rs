//! Archives: the same files are the same bytes, and nothing leads out of one.

use std::io::Read;

use mvm_compiler::{ArchiveEntry, ArchiveError, archive};
use mvm_contract::Digest;

fn entry(path: &str, content: &str) -> ArchiveEntry {
    ArchiveEntry {
        path: path.to_owned(),
        content: content.as_bytes().to_vec(),
        executable: path.starts_with("bin/"),
    }
}

#[test]
fn equal_files_are_equal_bytes() {
    let long = format!("a/{}/c.py", "b".repeat(200));
    let one = [
        entry("workload.json", "{}"),
        entry("bin/run", "x"),
        entry(&long, "y"),
    ];
    let mut other = one.to_vec();
    other.reverse();
    let bytes = archive(&one).unwrap();
    assert_eq!(bytes, archive(&other).unwrap());
    // Whoever builds this anywhere gets these bytes.
    assert_eq!(
        Digest::of(&bytes).to_string(),
        "sha256:bdee88c34890699681cb33fccd942f328c70529907132208075c056c858c6d03"
    );
    let mut read = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
    let mut found = Vec::new();
    for file in read.entries().unwrap() {
        let mut file = file.unwrap();
        let path = file.path().unwrap().to_string_lossy().into_owned();
        let header = file.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        assert_eq!(header.mtime().unwrap(), 0);
        let mode = header.mode().unwrap();
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        found.push((path, mode, content));
    }
    let expected = [
        (long, 0o644, "y".to_owned()),
        ("bin/run".to_owned(), 0o755, "x".to_owned()),
        ("workload.json".to_owned(), 0o644, "{}".to_owned()),
    ];
    assert_eq!(found, expected);
}

#[test]
fn nothing_leads_out() {
    for path in [
        "",
        "/etc/passwd",
        "../x",
        "a/../b",
        "./a",
        "a//b",
        "a\\b",
        "a\0b",
    ] {
        let refused = archive(&[entry(path, "")]);
        assert!(
            matches!(refused, Err(ArchiveError::Path { .. })),
            "{path:?}"
        );
    }
    let twice = archive(&[entry("a", "1"), entry("a", "2")]);
    assert!(matches!(twice, Err(ArchiveError::Duplicate { .. })));
}
