use std::{collections::BTreeSet, fs};

use super::*;
use crate::load;

fn example(template: Template) -> PathBuf {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    examples.join(template.example())
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        // What interpreters and editors keep beside an example is none of it.
        .filter(|name| !["__pycache__", "node_modules"].contains(&name.as_str()))
        .collect()
}

#[test]
fn a_project_is_its_example_byte_for_byte_when_it_has_its_name() {
    for template in Template::ALL {
        let folder = tempfile::tempdir().unwrap();
        let project = folder.path().join(template.example());
        let made = init(&project, template, None).unwrap();
        assert_eq!(made.workload, template.example());
        assert_eq!(names(&project), names(&example(template)), "{template:?}");
        assert_eq!(names(&project), made.files.iter().cloned().collect());
        for name in &made.files {
            let written = fs::read(project.join(name)).unwrap();
            let expected = fs::read(example(template).join(name)).unwrap();
            assert!(written == expected, "{template:?}: {name}");
        }
    }
}

#[test]
fn a_project_declares_the_workload_that_is_named() {
    for template in Template::ALL {
        let folder = tempfile::tempdir().unwrap();
        init(folder.path(), template, Some("of-mine")).unwrap();
        assert_eq!(load(folder.path()).unwrap().workload.id, "of-mine");
        for name in names(folder.path()) {
            let text = fs::read_to_string(folder.path().join(&name)).unwrap();
            assert!(!text.contains(template.example()), "{template:?}: {name}");
        }
    }
}

#[test]
fn a_workload_is_named_after_its_directory() {
    let folder = tempfile::tempdir().unwrap();
    let made = |directory: &str| {
        let project = folder.path().join(directory);
        init(&project, Template::Python, None).map(|made| made.workload)
    };
    assert_eq!(made("My_Project.v2").unwrap(), "my-project-v2");
    assert_eq!(made("outer/./inner/").unwrap(), "inner");
    assert!(matches!(made("9lives"), Err(InitError::Nameless { .. })));
    assert!(!folder.path().join("9lives").exists());
    for name in ["", "Mine", "a_b", "-a", &"a".repeat(64)] {
        let refused = init(folder.path(), Template::Python, Some(name)).unwrap_err();
        assert!(matches!(refused, InitError::Name { .. }), "{name}");
        assert!(refused.hint().unwrap().contains("63 lowercase letters"));
    }
}

#[test]
fn what_is_there_is_named_and_nothing_is_written() {
    let refused = |name: &str, template| {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join(name)).unwrap();
        let refused = init(folder.path(), template, Some("a")).unwrap_err();
        assert!(refused.to_string().contains(name), "{refused}");
        assert!(refused.hint().unwrap().contains("nothing was written"));
        assert_eq!(names(folder.path()).len(), 1);
        refused
    };
    for name in ["app.py", "README.md"] {
        let refused = refused(name, Template::Worker);
        assert!(matches!(refused, InitError::Exists { .. }), "{name}");
    }
    // Which of the two would be meant, nobody could say.
    let refused = refused("workload.json", Template::Node);
    assert!(matches!(refused, InitError::Declared { .. }));
}
