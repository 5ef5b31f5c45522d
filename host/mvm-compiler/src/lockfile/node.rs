//! Lockfiles of Node.js packages.

use serde_json::Value as Json;

use super::{Line, Lockfile, is_integrity};

/// `package-lock.json` of version 2 or 3: every package but the project's own has an integrity. One
/// that is bundled is in the archive of another one.
pub(super) fn npm(lockfile: &mut Lockfile<'_>) {
    let lock: Json = match serde_json::from_str(lockfile.text) {
        Ok(lock) => lock,
        Err(_) => return lockfile.unreadable(0, "it is not JSON"),
    };
    let version = lock.get("lockfileVersion").and_then(Json::as_u64);
    if !matches!(version, Some(2 | 3)) {
        return lockfile.unreadable(0, "it is not of version 2 or 3");
    }
    let Some(packages) = lock.get("packages").and_then(Json::as_object) else {
        return lockfile.unreadable(0, "it has no `packages`");
    };
    for (path, package) in packages {
        let says = |field: &str| package.get(field).and_then(Json::as_bool) == Some(true);
        // Directories of the project are its source; links lead to them.
        let own = !path.starts_with("node_modules/") && !path.contains("/node_modules/");
        if own || says("link") || says("inBundle") {
            continue;
        }
        let integrity = package.get("integrity").and_then(Json::as_str);
        if !integrity.is_some_and(is_integrity) {
            // The reader keeps no places: the entry is where its key stands.
            let key = Json::from(path.as_str()).to_string();
            let at = lockfile.text.find(&format!("{key}:")).unwrap_or(0);
            lockfile.unpinned(path, at, key.len());
        }
    }
}

/// `pnpm-lock.yaml`: every entry of `packages` has a resolution with an integrity. Only the form
/// that pnpm writes is read: two spaces a level.
pub(super) fn pnpm(lockfile: &mut Lockfile<'_>) {
    let lines: Vec<_> = lockfile.lines().collect();
    let is_lock = |(_, line): &Line<'_>| line.starts_with("lockfileVersion:");
    if !lines.iter().any(is_lock) {
        return lockfile.unreadable(0, "it is not what `pnpm` writes");
    }
    let mut inside = false;
    let mut entry: Option<(Line<'_>, bool)> = None;
    for (at, line) in lines {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let indentation = line.len() - line.trim_start_matches(' ').len();
        if line.contains('\t') {
            return lockfile.unreadable(at, "a line has a tab");
        }
        if indentation <= 2 {
            finish(lockfile, entry.take());
        }
        match indentation {
            0 => inside = line.trim_end() == "packages:",
            2 if inside => {
                if !line.ends_with(':') {
                    return lockfile.unreadable(at, "an entry of `packages` is of another form");
                }
                entry = Some(((at, line), false));
            }
            _ => {
                let resolution = line.trim_start();
                let integrity = resolution
                    .strip_prefix("resolution:")
                    .map(|rest| rest.trim().trim_start_matches('{').trim_end_matches('}'))
                    .into_iter()
                    .chain(std::iter::once(resolution))
                    .flat_map(|fields| fields.split(','))
                    .find_map(|field| field.trim().strip_prefix("integrity:"));
                if let (Some((_, pinned)), Some(integrity)) = (&mut entry, integrity) {
                    *pinned |= is_integrity(integrity.trim().trim_matches(['\'', '"']));
                }
            }
        }
    }
    finish(lockfile, entry);
}

/// `yarn.lock` of version 1 (`integrity`) or later (`checksum`): every entry but the project's own
/// workspaces has one.
pub(super) fn yarn(lockfile: &mut Lockfile<'_>) {
    let lines: Vec<_> = lockfile.lines().collect();
    let is_first = lockfile.text.contains("# yarn lockfile v1");
    let is_later = lines.iter().any(|(_, line)| *line == "__metadata:");
    if !is_first && !is_later {
        return lockfile.unreadable(0, "it is not what `yarn` writes");
    }
    let mut entry: Option<(Line<'_>, bool)> = None;
    for (at, line) in lines {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        if !line.starts_with(' ') {
            finish(lockfile, entry.take());
            if line == "__metadata:" {
                continue;
            }
            if !line.ends_with(':') {
                return lockfile.unreadable(at, "an entry is of another form");
            }
            entry = Some(((at, line), false));
            continue;
        }
        let Some((_, pinned)) = &mut entry else {
            continue;
        };
        let field = line.trim_start();
        let value = |name: &str| {
            let rest = field.strip_prefix(name)?;
            Some(rest.trim_start_matches(':').trim().trim_matches('"'))
        };
        if is_first {
            *pinned |= value("integrity ").is_some_and(is_integrity);
        } else {
            let checksum = value("checksum:").map(|it| it.rsplit('/').next().unwrap_or(it));
            let hashed = checksum.is_some_and(|it| {
                it.len() == 128 && it.bytes().all(|byte| byte.is_ascii_hexdigit())
            });
            let own = value("resolution:").is_some_and(|it| it.contains("@workspace:"));
            *pinned |= hashed || own;
        }
    }
    finish(lockfile, entry);
}

fn finish(lockfile: &mut Lockfile<'_>, entry: Option<(Line<'_>, bool)>) {
    if let Some(((at, line), false)) = entry {
        let name = line.trim().trim_end_matches(':').trim_matches(['\'', '"']);
        let start = at + (line.len() - line.trim_start().len());
        lockfile.unpinned(name, start, name.len());
    }
}
