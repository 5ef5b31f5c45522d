use super::*;
use std::fs;

use mvm_contract::workload::{DEFAULT_NODE, DEFAULT_PYTHON};

use crate::source::ParseSourceError;

fn catalog(home: &str, project: &str) -> Result<Catalog, LoadCatalogError> {
    let scratch = tempfile::tempdir().unwrap();
    let (of_home, of_project) = (scratch.path().join("home"), scratch.path().join("project"));
    for (directory, name, text) in [
        (&of_home, OF_A_USER, home),
        (&of_project, OF_A_PROJECT, project),
    ] {
        fs::create_dir(directory).unwrap();
        if !text.is_empty() {
            fs::write(directory.join(name), text).unwrap();
        }
    }
    Catalog::load(&of_home, Some(&of_project))
}

fn python(version: &str, packages: &[&str]) -> Image {
    Image::Python {
        version: version.into(),
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn source(catalog: &Catalog, image: &Image) -> String {
    resolve(catalog, image).unwrap().to_string()
}

#[test]
fn a_host_without_a_catalog_has_what_debian_has_and_says_what_it_has_not() {
    let catalog = catalog("", "").unwrap();
    assert_eq!(source(&catalog, &python("3.11", &[])), "debian:python");
    assert_eq!(source(&catalog, &python("3", &["procps"])), "debian:python");
    let node = |version: &str| Image::Node {
        version: version.into(),
        packages: Vec::new(),
    };
    assert_eq!(source(&catalog, &node("18")), "debian:node");
    // What a declaration means that names no version.
    assert_eq!(
        source(&catalog, &python(DEFAULT_PYTHON, &[])),
        "debian:python"
    );
    assert_eq!(source(&catalog, &node(DEFAULT_NODE)), "debian:node");
    let named = Image::Source {
        reference: "oci-layout:/images/a".into(),
    };
    assert_eq!(source(&catalog, &named), "oci-layout:/images/a");

    let refused = resolve(&catalog, &python("3.12", &[])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "python 3.12 is not in the catalog; it has 3.11 from debian:python"
    );
    assert!(refused.hint().unwrap().contains("add an entry to"));
    for version in ["3.1", "3.11.2", "", "2"] {
        assert!(
            resolve(&catalog, &python(version, &[])).is_err(),
            "{version}"
        );
    }
    let refused = resolve(&catalog, &node("22")).unwrap_err().to_string();
    assert!(refused.contains("has 18 from debian:node"), "{refused}");
    let refused = resolve(&catalog, &python("3.11", &["procps", "git"])).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "python 3.11 from `debian:python` has no git"
    );
    let named = Image::Source {
        reference: "python".into(),
    };
    assert!(resolve(&catalog, &named).unwrap_err().hint().is_some());
    let packages = Image::NixPackages {
        packages: vec!["git".into()],
    };
    assert!(matches!(
        resolve(&catalog, &packages),
        Err(ResolveImageError::NoNixpkgs)
    ));
}

#[test]
fn a_project_goes_before_its_user_who_goes_before_what_is_built_in() {
    let entry = |version: &str, place: &str, packages: &str| {
        format!(
            "[[python]]\nversion = \"{version}\"\nsource = \"oci-layout:/{place}\"\n\
             packages = [{packages}]\n"
        )
    };
    let home = format!(
        "version = 1\n{}{}",
        entry("3.11", "user", "\"git\""),
        entry("3.12", "user", "")
    );
    let project = format!("version = 1\n{}", entry("3.11", "project", ""));
    let catalog = catalog(&home, &project).unwrap();
    let found = |version, packages: &[&str]| source(&catalog, &python(version, packages));
    assert_eq!(found("3.11", &[]), "oci-layout:/project");
    assert_eq!(found("3.11", &["git"]), "oci-layout:/user");
    assert_eq!(found("3.11", &["procps"]), "debian:python");
    assert_eq!(found("3.12", &[]), "oci-layout:/user");
}

#[test]
fn what_is_no_catalog_is_refused() {
    let refused = |text: &str| catalog(text, "").unwrap_err();
    for text in [
        "",
        "version = 1\nextra = 1",
        "version = 1\n[[ruby]]\nversion = \"3\"\nsource = \"debian:ruby\"",
        "version = 1\n[[python]]\nversion = \"3\"\nsource = \"debian:a\"\nextra = 1",
        "version = 1\n[[python]]\nversion = \"3\"",
        "version = 1\n[nix_packages]\nnixpkgs = \"path:/a\"\nextra = 1",
    ] {
        let text = format!("{text}\n");
        let refused = refused(&text);
        assert!(matches!(refused, LoadCatalogError::Form { .. }), "{text}");
        assert!(refused.hint().is_some());
    }
    assert!(matches!(
        refused("version = 2"),
        LoadCatalogError::Version { version: 2, .. }
    ));
    let entry = |version: &str, source: &str| {
        format!("version = 1\n[[node]]\nversion = \"{version}\"\nsource = \"{source}\"")
    };
    assert!(matches!(
        refused(&entry("latest", "debian:node")),
        LoadCatalogError::EntryVersion { .. }
    ));
    let refused_source = refused(&entry("18", "node"));
    assert!(matches!(
        &refused_source,
        LoadCatalogError::EntrySource { source, .. }
            if matches!(**source, ParseSourceError::Scheme { .. })
    ));
    for flake in ["", "a\\\"; x = \\\"", "--option", "a${b}"] {
        let text = format!("version = 1\n[nix_packages]\nnixpkgs = \"{flake}\"");
        assert!(
            matches!(refused(&text), LoadCatalogError::Nixpkgs { .. }),
            "{flake}"
        );
    }
}

#[test]
fn packages_become_a_flake_that_says_no_more_than_their_names() {
    let home = tempfile::tempdir().unwrap();
    let text = "version = 1\n[nix_packages]\nnixpkgs = \"path:/srv/nixpkgs\"";
    fs::write(home.path().join(OF_A_USER), text).unwrap();
    let catalog = Catalog::load(home.path(), None).unwrap();
    let image = |packages: &[&str]| Image::NixPackages {
        packages: packages.iter().map(|name| (*name).to_owned()).collect(),
    };
    let source = source(&catalog, &image(&["git", "nodePackages.typescript"]));
    let swapped = resolve(&catalog, &image(&["nodePackages.typescript", "git"]));
    assert_eq!(swapped.unwrap().to_string(), source);
    let directory = source.strip_prefix("nix:").unwrap();
    let directory = directory.strip_suffix("#default").unwrap();
    let flake = fs::read_to_string(format!("{directory}/flake.nix")).unwrap();
    assert!(flake.contains("inputs.nixpkgs.url = \"path:/srv/nixpkgs\";"));
    assert!(flake.contains("packages.\"nodePackages\".\"typescript\"\n"));
    assert_eq!(fs::read_dir(directory).unwrap().count(), 1);
    for package in ["", "a b", "a\"", "${x}", "-a", "a/b"] {
        assert!(
            matches!(
                resolve(&catalog, &image(&[package])),
                Err(ResolveImageError::PackageName { .. })
            ),
            "{package}"
        );
    }
}
