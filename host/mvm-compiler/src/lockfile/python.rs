//! Lockfiles of Python packages.

use serde::Deserialize;
use toml::Spanned;

use super::{Lockfile, is_hexadecimal_hash};

/// `uv.lock`, as far as it is looked at.
#[derive(Deserialize)]
struct UvLock {
    version: u64,
    #[serde(default)]
    package: Vec<Spanned<UvPackage>>,
}

#[derive(Deserialize)]
struct UvPackage {
    name: Spanned<String>,
    #[serde(default)]
    source: UvSource,
    sdist: Option<UvFile>,
    #[serde(default)]
    wheels: Vec<UvFile>,
}

#[derive(Default, Deserialize)]
struct UvSource {
    r#virtual: Option<String>,
    editable: Option<String>,
}

#[derive(Deserialize)]
struct UvFile {
    hash: Option<String>,
}

/// `uv.lock`: every file of every package has a hash. The project itself has no files: its own
/// directory is the app's source.
pub(super) fn uv(lockfile: &mut Lockfile<'_>) {
    let lock: UvLock = match toml::from_str(lockfile.text) {
        Ok(lock) => lock,
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            return lockfile.unreadable(at, "it is not what `uv lock` writes");
        }
    };
    if lock.version != 1 {
        return lockfile.unreadable(0, &format!("it is of version {}", lock.version));
    }
    for package in lock.package {
        let package = package.into_inner();
        let at = package.name.span();
        let source = &package.source;
        let own = [&source.r#virtual, &source.editable]
            .into_iter()
            .flatten()
            .any(|path| path == ".");
        if own {
            continue;
        }
        let files = package.sdist.iter().chain(&package.wheels);
        let hashed = |file: &UvFile| file.hash.as_deref().is_some_and(is_hexadecimal_hash);
        let pinned = files.clone().next().is_some() && files.clone().all(hashed);
        if !pinned {
            let name = package.name.get_ref().clone();
            lockfile.unpinned(&name, at.start, at.len());
        }
    }
}

/// What `pip-compile --generate-hashes` and `uv pip compile --generate-hashes` write: every
/// requirement is one version (`==`) with at least one hash.
pub(super) fn requirements(lockfile: &mut Lockfile<'_>) {
    // A requirement goes on after a backslash at the end of its line.
    let mut whole: Option<(usize, usize, String)> = None;
    let lines: Vec<_> = lockfile.lines().collect();
    for (at, line) in lines {
        let text = match line.split_once(" #") {
            Some((text, _)) => text,
            None if line.trim_start().starts_with('#') => "",
            None => line,
        };
        let text = text.trim_end();
        let (text, goes_on) = match text.strip_suffix('\\') {
            Some(text) => (text, true),
            None => (text, false),
        };
        let (start, length, mut collected) =
            whole.take().unwrap_or((at, line.len(), String::new()));
        collected.push_str(text);
        collected.push(' ');
        if goes_on {
            whole = Some((start, length, collected));
        } else {
            requirement(lockfile, start, length, collected.trim());
        }
    }
    if let Some((start, length, collected)) = whole {
        requirement(lockfile, start, length, collected.trim());
    }
}

fn requirement(lockfile: &mut Lockfile<'_>, start: usize, length: usize, text: &str) {
    let mut words = text.split_ascii_whitespace();
    let Some(first) = words.next() else {
        return;
    };
    if first.starts_with('-') {
        // Where packages come from is not what they are: options that name an index pin nothing,
        // and every requirement has its own hash.
        let harmless = [
            "-i",
            "--index-url",
            "--extra-index-url",
            "--no-binary",
            "--only-binary",
        ];
        let option = first.split('=').next().unwrap_or(first);
        if !harmless.contains(&option) {
            lockfile.unpinned(first, start, length);
        }
        return;
    }
    let hashes: Vec<_> = text
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix("--hash="))
        .collect();
    let pinned = text.contains("==")
        && !hashes.is_empty()
        && hashes.iter().all(|hash| is_hexadecimal_hash(hash));
    if !pinned {
        lockfile.unpinned(first, start, length);
    }
}
