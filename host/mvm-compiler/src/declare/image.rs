//! What an app runs on: source, image, dependencies.

use mvm_contract::workload::{
    DEFAULT_NODE, DEFAULT_PYTHON, Dependencies, Image, NodeTool, PythonTool, Source,
};

use super::Arguments;
use crate::{
    Diagnostic,
    value::{Piece, Placed, Value, ValueKind},
};

/// `./src/` and `src` are one path.
fn plain_path(path: &str) -> String {
    let mut path = path;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    match path.trim_end_matches('/') {
        "" if path.is_empty() => ".".to_owned(),
        "" => path.to_owned(),
        path => path.to_owned(),
    }
}

pub(super) fn local_path(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let path = arguments.require_text("path");
    let include = arguments.texts("include");
    let exclude = arguments.texts("exclude");
    let source = Source::Local {
        path: plain_path(&path?.text),
        include: include.unwrap_or_else(|| vec!["**".to_owned()]),
        exclude: exclude.unwrap_or_default(),
    };
    Some(Placed::new(Piece::Source(source), arguments.places()))
}

fn source_image(reference: String, arguments: &Arguments) -> Placed<Piece> {
    let image = Image::Source { reference };
    Placed::new(Piece::Image(image), arguments.places())
}

pub(super) fn image(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let reference = arguments.require_text("reference")?.text;
    Some(source_image(reference, arguments))
}

pub(super) fn debian(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let name = arguments.require_text("name")?.text;
    Some(source_image(format!("debian:{name}"), arguments))
}

pub(super) fn oci_image(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let reference = arguments.require_text("reference");
    let digest = arguments.text("digest");
    let reference = reference?;
    let mut text = match reference.text.strip_prefix("oci:") {
        Some(rest) => rest.to_owned(),
        None => reference.text,
    };
    if let Some(digest) = digest {
        if text.contains('@') {
            arguments.refuse(
                Diagnostic::error("E_ARGUMENT_TWICE", digest.span, "the digest is given twice")
                    .label(reference.span, "it stands in the reference, too")
                    .hint("leave one of them out"),
            );
            return None;
        }
        let digest = digest.text;
        text = if digest.contains(':') {
            format!("{text}@{digest}")
        } else {
            format!("{text}@sha256:{digest}")
        };
    }
    Some(source_image(format!("oci:{text}"), arguments))
}

pub(super) fn python_image(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let version = arguments.text("python");
    let packages = arguments.texts("packages").unwrap_or_default();
    let mut places = arguments.places();
    let version = version.map_or_else(
        || DEFAULT_PYTHON.to_owned(),
        |version| {
            places.set("/version", version.span);
            version.text
        },
    );
    let image = Image::Python { version, packages };
    Some(Placed::new(Piece::Image(image), places))
}

pub(super) fn node_image(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let version = arguments.text("node");
    let packages = arguments.texts("packages").unwrap_or_default();
    let mut places = arguments.places();
    let version = version.map_or_else(
        || DEFAULT_NODE.to_owned(),
        |version| {
            places.set("/version", version.span);
            version.text
        },
    );
    let image = Image::Node { version, packages };
    Some(Placed::new(Piece::Image(image), places))
}

pub(super) fn nix_packages(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let packages = arguments.require_texts("packages")?;
    let image = Image::NixPackages { packages };
    Some(Placed::new(Piece::Image(image), arguments.places()))
}

/// An image, or the text of a source of one.
pub(crate) fn image_of(arguments: &mut Arguments, value: Value) -> Option<Placed<Image>> {
    if let ValueKind::Text(reference) = value.kind {
        let reference = Image::Source { reference };
        return Some(Placed::new(
            reference,
            crate::value::Places::NONE.with("", value.span),
        ));
    }
    arguments.piece_of("image", value, "an image", |piece| match piece {
        Piece::Image(image) => Some(image),
        _ => None,
    })
}

/// A word of a closed list.
pub(super) fn choice<T: Copy>(
    arguments: &mut Arguments,
    name: &str,
    choices: &[(&'static str, T)],
    default: T,
) -> Option<T> {
    let Some(value) = arguments.take(name) else {
        return Some(default);
    };
    let word = arguments.text_of(name, value)?;
    let found = choices.iter().find(|(it, _)| *it == word.text);
    if found.is_none() {
        let all: Vec<_> = choices.iter().map(|(it, _)| format!("`{it}`")).collect();
        let message = format!(
            "`{name}` of `{}` cannot be `{}`",
            arguments.helper, word.text
        );
        arguments.refuse(
            Diagnostic::error("E_ARGUMENT_CHOICE", word.span, message)
                .hint(format!("use {}", all.join(" or "))),
        );
    }
    found.map(|(_, choice)| *choice)
}

pub(super) fn python_deps(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let lockfile = arguments.require_text("lockfile");
    let tools = [
        ("uv", PythonTool::Uv),
        ("pip-tools", PythonTool::PipTools),
        ("pip_tools", PythonTool::PipTools),
    ];
    let tool = choice(arguments, "tool", &tools, PythonTool::Uv)?;
    let dependencies = Dependencies::Python {
        lockfile: plain_path(&lockfile?.text),
        tool,
    };
    let piece = Piece::Dependencies(dependencies);
    Some(Placed::new(piece, arguments.places()))
}

pub(super) fn node_deps(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let lockfile = arguments.require_text("lockfile");
    let tools = [
        ("pnpm", NodeTool::Pnpm),
        ("npm", NodeTool::Npm),
        ("yarn", NodeTool::Yarn),
    ];
    let tool = choice(arguments, "tool", &tools, NodeTool::Pnpm)?;
    let dependencies = Dependencies::Node {
        lockfile: plain_path(&lockfile?.text),
        tool,
    };
    let piece = Piece::Dependencies(dependencies);
    Some(Placed::new(piece, arguments.places()))
}

pub(super) fn no_deps(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let piece = Piece::Dependencies(Dependencies::None);
    Some(Placed::new(piece, arguments.places()))
}
