//! The files of a declaration's directory, as a layer.
//!
//! A file is its path, its bytes and whether it is executable; owners and times do not count.
//! Symbolic links stay links and must lead to something inside. What version control and
//! interpreters keep for themselves is left out.

use std::{
    fs::File,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use mvm_contract::Digest;
use mvm_contract::workload::Source;
use mvm_image::compose::{LayerContent, LayerFile, LayerTree};
use walkdir::{DirEntry, WalkDir};

/// Directories that are no part of any source.
const LEFT_OUT: [&str; 3] = [".git", "__pycache__", ".mypy_cache"];
/// The most files of a source.
pub(crate) const MOST_FILES: usize = 100_000;
/// The most bytes of a source: 4 GiB.
const MOST_BYTES: u64 = 4 << 30;

/// Why a directory cannot be a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceTreeError {
    /// It is not there, or no directory.
    #[error("source `{}` is not a directory", path.display())]
    NotADirectory {
        /// The directory.
        path: PathBuf,
    },
    /// It lies outside the declaration's directory.
    #[error("source `{}` is outside the declaration's directory", path.display())]
    Outside {
        /// The directory, as it is in truth.
        path: PathBuf,
    },
    /// A pattern is none.
    #[error("`{pattern}` is not a pattern of paths")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        #[source]
        source: globset::Error,
    },
    /// Something cannot be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A symbolic link leads out.
    #[error("symbolic link `{}` leads out of the source, to `{}`", path.display(), target.display())]
    LinkOutside {
        /// The link.
        path: PathBuf,
        /// Where it leads.
        target: PathBuf,
    },
    /// Something is neither a file nor a directory nor a link.
    #[error("`{}` is neither a file, a directory nor a symbolic link", path.display())]
    Special {
        /// What.
        path: PathBuf,
    },
    /// A name is not UTF-8.
    #[error("the name of `{}` is not UTF-8", path.display())]
    NotUtf8 {
        /// What.
        path: PathBuf,
    },
    /// It is too much.
    #[error("source `{}` has more than {limit}", path.display())]
    TooLarge {
        /// The directory.
        path: PathBuf,
        /// Of what.
        limit: &'static str,
    },
    /// No file is included.
    #[error("no file of `{}` is included", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
}

impl SourceTreeError {
    /// The way out.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotADirectory { .. } | Self::Outside { .. } => {
                "name a directory below the declaration's".to_owned()
            }
            Self::LinkOutside { .. } => "copy what it leads to, or exclude it".to_owned(),
            Self::Special { .. } | Self::NotUtf8 { .. } => "exclude it".to_owned(),
            Self::TooLarge { .. } => "exclude what is no source".to_owned(),
            Self::Empty { .. } => "look at `include` and `exclude`".to_owned(),
            Self::Pattern { .. } | Self::Read { .. } => return None,
        })
    }
}

/// Collects a source's files below a directory of the guest (without its leading `/`).
///
/// # Errors
///
/// [`SourceTreeError`] names the file or the pattern.
pub(crate) fn collect(
    declared_in: &Path,
    source: &Source,
    target: &str,
) -> Result<LayerTree, SourceTreeError> {
    let Source::Local {
        path,
        include,
        exclude,
    } = source;
    let root = inside(declared_in, path)?;
    let (include, exclude) = (patterns(include)?, patterns(exclude)?);
    let mut tree = LayerTree::new();
    let mut bytes = 0_u64;
    let walk = WalkDir::new(&root).sort_by_file_name().into_iter();
    for entry in walk.filter_entry(|entry| entry.depth() == 0 || !is_left_out(entry)) {
        let entry = entry.map_err(|error| SourceTreeError::Read {
            path: error.path().unwrap_or(&root).to_owned(),
            source: error.into(),
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        let below = entry.path().strip_prefix(&root).unwrap_or(entry.path());
        if !include.is_match(below) || exclude.is_match(below) {
            continue;
        }
        let name = below.to_str().ok_or_else(|| SourceTreeError::NotUtf8 {
            path: entry.path().to_owned(),
        })?;
        let file = layer_file(&root, &entry)?;
        if let LayerContent::Host { size, .. } = &file.content {
            bytes += size;
        }
        tree.insert(format!("{target}/{name}"), file);
        let limit = match () {
            () if tree.len() > MOST_FILES => Some("100,000 files"),
            () if bytes > MOST_BYTES => Some("4 GiB"),
            () => None,
        };
        if let Some(limit) = limit {
            return Err(SourceTreeError::TooLarge { path: root, limit });
        }
    }
    if tree.is_empty() {
        return Err(SourceTreeError::Empty { path: root });
    }
    Ok(tree)
}

/// The directory that is meant; links on the way may not lead out.
fn inside(declared_in: &Path, path: &str) -> Result<PathBuf, SourceTreeError> {
    let given = declared_in.join(path);
    let canonical = |path: &Path| {
        path.canonicalize().map_err(|source| SourceTreeError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let (base, root) = (canonical(declared_in)?, canonical(&given)?);
    if !root.starts_with(&base) {
        return Err(SourceTreeError::Outside { path: root });
    }
    if root.is_dir() {
        Ok(root)
    } else {
        Err(SourceTreeError::NotADirectory { path: root })
    }
}

/// `*` stays within a directory and `**` does not, as shells have it.
fn patterns(globs: &[String]) -> Result<GlobSet, SourceTreeError> {
    let mut set = GlobSetBuilder::new();
    let failed = |pattern: &str, source| SourceTreeError::Pattern {
        pattern: pattern.to_owned(),
        source,
    };
    for pattern in globs {
        let glob = GlobBuilder::new(pattern).literal_separator(true).build();
        set.add(glob.map_err(|source| failed(pattern, source))?);
    }
    set.build().map_err(|source| failed("", source))
}

fn is_left_out(entry: &DirEntry) -> bool {
    entry.file_type().is_dir() && LEFT_OUT.iter().any(|name| entry.file_name() == *name)
}

fn layer_file(root: &Path, entry: &DirEntry) -> Result<LayerFile, SourceTreeError> {
    let path = entry.path();
    let failed = |source| SourceTreeError::Read {
        path: path.to_owned(),
        source,
    };
    let kind = entry.file_type();
    if kind.is_symlink() {
        let target = std::fs::read_link(path).map_err(failed)?;
        if !leads_inside(root, path, &target) {
            return Err(SourceTreeError::LinkOutside {
                path: path.to_owned(),
                target,
            });
        }
        let target = target.to_str().ok_or_else(|| SourceTreeError::NotUtf8 {
            path: path.to_owned(),
        })?;
        let content = LayerContent::Symlink(target.to_owned());
        return Ok(LayerFile {
            content,
            mode: 0o777,
        });
    }
    if !kind.is_file() {
        return Err(SourceTreeError::Special {
            path: path.to_owned(),
        });
    }
    let mut file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    let (digest, size) = Digest::of_reader(&mut file).map_err(failed)?;
    Ok(LayerFile {
        content: LayerContent::Host {
            path: path.to_owned(),
            size,
            digest,
        },
        mode: if mode & 0o111 == 0 { 0o644 } else { 0o755 },
    })
}

/// Whether a link is relative and, followed by its text, stays below the root.
fn leads_inside(root: &Path, link: &Path, target: &Path) -> bool {
    let Some(parent) = link
        .parent()
        .and_then(|parent| parent.strip_prefix(root).ok())
    else {
        return false;
    };
    let mut depth = parent.components().count();
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    fn local(path: &str, include: &[&str], exclude: &[&str]) -> Source {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Source::Local {
            path: path.to_owned(),
            include: texts(include),
            exclude: texts(exclude),
        }
    }

    fn names(folder: &Path, source: &Source) -> Vec<String> {
        let tree = collect(folder, source, "app").unwrap();
        tree.into_keys().collect()
    }

    #[test]
    fn what_is_included_and_not_excluded_is_the_source() {
        let folder = tempfile::tempdir().unwrap();
        for path in [
            "main.py",
            "lib/a.py",
            "lib/deep/b.py",
            "lib/a.txt",
            ".git/config",
            "lib/__pycache__/a.pyc",
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        symlink("a.py", folder.path().join("lib/link")).unwrap();
        assert_eq!(
            names(folder.path(), &local(".", &["**"], &[])),
            [
                "app/lib/a.py",
                "app/lib/a.txt",
                "app/lib/deep/b.py",
                "app/lib/link",
                "app/main.py"
            ]
        );
        assert_eq!(
            names(
                folder.path(),
                &local(".", &["*.py", "lib/**"], &["**/*.txt", "lib/link"])
            ),
            ["app/lib/a.py", "app/lib/deep/b.py", "app/main.py"]
        );
        assert_eq!(
            names(folder.path(), &local("lib", &["*.py"], &[])),
            ["app/a.py"]
        );
    }

    #[test]
    fn what_leads_out_of_the_source_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        for (target, is_inside) in [
            ("../outside", false),
            ("/etc/passwd", false),
            ("a/../../..", false),
            ("a/../b", true),
        ] {
            let link = inner.join("link");
            let _ = fs::remove_file(&link);
            symlink(target, &link).unwrap();
            match collect(folder.path(), &local("inner", &["**"], &[]), "app") {
                Ok(_) => assert!(is_inside, "{target}"),
                Err(SourceTreeError::LinkOutside { .. }) => assert!(!is_inside, "{target}"),
                Err(error) => panic!("{error:?}"),
            }
        }
        symlink("/etc", folder.path().join("etc")).unwrap();
        let outside = collect(folder.path(), &local("etc", &["**"], &[]), "app").unwrap_err();
        assert!(matches!(outside, SourceTreeError::Outside { .. }));
        let empty = collect(folder.path(), &local("inner", &["*.rs"], &[]), "app").unwrap_err();
        assert!(matches!(empty, SourceTreeError::Empty { .. }));
    }
}
