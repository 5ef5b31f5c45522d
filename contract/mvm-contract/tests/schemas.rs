//! The published schemas are those of the code. A published version is never rewritten: what
//! changes a schema is a new version, in a new file. `BLESS=1` writes them.

use std::{fs, path::Path};

#[test]
fn published_schemas_are_frozen() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema");
    let documents = mvm_contract::schema::documents().unwrap();
    if std::env::var_os("BLESS").is_some() {
        for (name, text) in &documents {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let mut published: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    published.sort();
    let mut expected: Vec<&str> = documents.iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(published, expected, "files in `schema/`");
    for (name, text) in documents {
        let published = fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(published, text, "`schema/{name}` and the code differ");
    }
}
