//! Whether every entry of a lockfile has a hash, so that what is installed later is what is locked
//! now. Only the bytes are looked at; nothing is installed or asked for.

mod node;
mod python;

use mvm_contract::workload::{Dependencies, NodeTool, PythonTool};

use crate::{Diagnostic, FileId, Span, limits::MAX_DIAGNOSTICS};

/// The largest lockfile that is read, in bytes.
pub const MAX_LOCKFILE_BYTES: usize = 32 * 1024 * 1024;

/// What is wrong with a lockfile: each entry without a hash (`E_UNPINNED_DEPS`) at its line, or that
/// it is not of its form (`E_UNREADABLE_LOCKFILE`). `file` is the number that places in it get.
///
/// `name` is the file's own, which tells `uv.lock` from what `uv pip compile` writes.
#[must_use]
pub fn check_lockfile(
    file: FileId,
    name: &str,
    text: &str,
    dependencies: &Dependencies,
) -> Vec<Diagnostic> {
    let mut lockfile = Lockfile {
        file,
        text,
        report: Vec::new(),
    };
    if text.len() > MAX_LOCKFILE_BYTES {
        lockfile.unreadable(0, &format!("it has more than {MAX_LOCKFILE_BYTES} bytes"));
        return lockfile.report;
    }
    match dependencies {
        Dependencies::None => {}
        Dependencies::Python { tool, .. } => {
            let toml = name.rsplit('.').next();
            match tool {
                PythonTool::Uv if toml == Some("lock") => python::uv(&mut lockfile),
                PythonTool::Uv | PythonTool::PipTools => python::requirements(&mut lockfile),
            }
        }
        Dependencies::Node { tool, .. } => match tool {
            NodeTool::Npm => node::npm(&mut lockfile),
            NodeTool::Pnpm => node::pnpm(&mut lockfile),
            NodeTool::Yarn => node::yarn(&mut lockfile),
        },
    }
    lockfile.report
}

/// A lockfile while it is looked at.
struct Lockfile<'a> {
    file: FileId,
    text: &'a str,
    report: Vec<Diagnostic>,
}

/// A line with the offset of its beginning.
type Line<'a> = (usize, &'a str);

impl<'a> Lockfile<'a> {
    fn lines(&self) -> impl Iterator<Item = Line<'a>> + use<'a> {
        let mut start = 0;
        self.text.split_inclusive('\n').map(move |line| {
            let at = start;
            start += line.len();
            (at, line.trim_end_matches(['\n', '\r']))
        })
    }

    fn span(&self, start: usize, length: usize) -> Span {
        let offset = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Span::new(self.file, offset(start), offset(start + length))
    }

    /// Says that an entry has no hash.
    fn unpinned(&mut self, entry: &str, start: usize, length: usize) {
        if self.report.len() >= MAX_DIAGNOSTICS {
            return;
        }
        let entry: String = entry.chars().take(120).collect();
        let span = self.span(start, length);
        self.report.push(
            Diagnostic::error(
                "E_UNPINNED_DEPS",
                span,
                format!("`{entry}` has no hash of SHA-256 or better"),
            )
            .hint("lock it again from a package index, with hashes"),
        );
    }

    /// Says that the file is not of its form.
    fn unreadable(&mut self, at: usize, why: &str) {
        let span = self.span(at, 0);
        self.report.push(
            Diagnostic::error(
                "E_UNREADABLE_LOCKFILE",
                span,
                format!("the lockfile cannot be read: {why}"),
            )
            .hint("let the tool write it again, or name the tool that wrote it with `tool`"),
        );
    }
}

/// Whether a text is a hash in hexadecimal: `sha256:…`, `sha384:…` or `sha512:…`.
fn is_hexadecimal_hash(text: &str) -> bool {
    let Some((algorithm, digits)) = text.split_once(':') else {
        return false;
    };
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a text is subresource integrity metadata of SHA-256 or better, as package managers of
/// Node.js write it: `sha512-…` in base64. Of several, one is enough.
fn is_integrity(text: &str) -> bool {
    use base64::{Engine, engine::general_purpose::STANDARD};
    text.split_ascii_whitespace().any(|one| {
        let Some((algorithm, digest)) = one.split_once('-') else {
            return false;
        };
        let length = match algorithm {
            "sha256" => 32,
            "sha384" => 48,
            "sha512" => 64,
            _ => return false,
        };
        STANDARD.decode(digest).is_ok_and(|it| it.len() == length)
    })
}
