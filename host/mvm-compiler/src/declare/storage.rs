//! Volumes, mounts and files.

use base64::{Engine, engine::general_purpose::STANDARD};
use mvm_contract::workload::{EmbeddedFile, Mount, MountSource, Volume};

use super::Arguments;
use crate::{
    Diagnostic,
    value::{Piece, Placed, Places, Value, ValueKind},
};

/// With a size the volume is declared here; without one it is declared elsewhere.
pub(super) fn volume(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let name = arguments.require_text("name");
    let size = arguments.is_given("size_mib");
    let size_mib = arguments.integer("size_mib");
    let persistent_at = arguments.is_given("persistent");
    let persistent = arguments.boolean("persistent").unwrap_or(false);
    let name = name?.text;
    let places = arguments.places();
    let piece = match (size, size_mib) {
        (Some(_), Some(size_mib)) => Piece::Volume(Volume {
            name,
            size_mib,
            persistent,
        }),
        (Some(_), None) => return None,
        (None, _) => {
            if let Some(at) = persistent_at {
                arguments.refuse(
                    Diagnostic::error(
                        "E_ARGUMENT_MISSING",
                        at,
                        "a volume that is declared needs `size_mib`",
                    )
                    .hint("give its size, or its name alone where it is declared elsewhere"),
                );
                return None;
            }
            Piece::MountSource(MountSource::Volume { name })
        }
    };
    Some(Placed::new(piece, places))
}

pub(super) fn host_path(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let path = arguments.require_text("path")?.text;
    let piece = Piece::MountSource(MountSource::HostPath { path });
    Some(Placed::new(piece, arguments.places()))
}

pub(super) fn tmpfs(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let size_mib = arguments.require_integer("size_mib")?;
    let piece = Piece::MountSource(MountSource::Tmpfs { size_mib });
    Some(Placed::new(piece, arguments.places()))
}

pub(super) fn mount(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let source = arguments.require("source");
    let target = arguments.require_text("target");
    let source = source_of(arguments, source?);
    let mode = super::image::choice(
        arguments,
        "mode",
        &[("ro", Some(true)), ("rw", Some(false))],
        None,
    )?;
    let mode_at = arguments.places().find("/mode");
    let read_only = match (arguments.boolean("read_only"), mode) {
        (Some(one), Some(other)) if one != other => {
            let at = mode_at.unwrap_or(arguments.span);
            arguments.refuse(
                Diagnostic::error("E_ARGUMENT_TWICE", at, "`read_only` and `mode` disagree")
                    .hint("leave one of them out"),
            );
            return None;
        }
        (said, mode) => said.or(mode).unwrap_or(false),
    };
    let (source, target) = (source?, target?);
    let mut places = arguments.places();
    places.graft("/source", source.places);
    let (source, volume) = source.part;
    let mount = Mount {
        source,
        target: target.text,
        read_only,
    };
    Some(Placed::new(Piece::Mount(mount, volume), places))
}

/// A source, with the volume it declares.
type Mounted = (MountSource, Option<Volume>);

/// A mount, with the volume it declares.
pub(crate) type DeclaredMount = (Mount, Option<Volume>);

/// What is mounted: a volume, by itself or by its name, or another source.
fn source_of(arguments: &mut Arguments, value: Value) -> Option<Placed<Mounted>> {
    let span = value.span;
    if let ValueKind::Text(name) = value.kind {
        let source = MountSource::Volume { name };
        return Some(Placed::new((source, None), Places::NONE.with("", span)));
    }
    let expected = "a volume, `host_path(…)` or `tmpfs(…)`";
    arguments.piece_of("source", value, expected, |piece| match piece {
        Piece::MountSource(source) => Some((source, None)),
        Piece::Volume(volume) => {
            let name = volume.name.clone();
            Some((MountSource::Volume { name }, Some(volume)))
        }
        _ => None,
    })
}

/// The mounts of an argument: a list of `mount(…)`, or a map from targets to sources. With the
/// volumes they declare and the places of those.
pub(crate) fn mounts_of(arguments: &mut Arguments) -> Placed<Vec<DeclaredMount>> {
    let mut mounts = Placed::<Vec<DeclaredMount>>::default();
    let Some(value) = arguments.take("mounts") else {
        return mounts;
    };
    mounts.places = Places::NONE.with("", value.span);
    let span = value.span;
    let found: Vec<Option<Placed<DeclaredMount>>> = match value.kind {
        ValueKind::List(values) => values
            .into_iter()
            .map(|value| {
                arguments.piece_of("mounts", value, "`mount(…)`", |piece| match piece {
                    Piece::Mount(mount, volume) => Some((mount, volume)),
                    _ => None,
                })
            })
            .collect(),
        ValueKind::Map(entries) => entries
            .into_iter()
            .map(|(target, value)| {
                let source = source_of(arguments, value)?;
                let mut places = Places::NONE.with("", target.span);
                places.set("/target", target.span);
                places.graft("/source", source.places);
                let (source, volume) = source.part;
                let mount = Mount {
                    source,
                    target: target.text,
                    read_only: false,
                };
                Some(Placed::new((mount, volume), places))
            })
            .collect(),
        kind => {
            arguments.mistyped("mounts", &Value { kind, span }, "a list of mounts");
            Vec::new()
        }
    };
    for mount in found.into_iter().flatten() {
        let at = format!("/{}", mounts.part.len());
        mounts.places.graft(&at, mount.places);
        mounts.part.push(mount.part);
    }
    mounts
}

/// A volume that is declared in a list of them.
pub(crate) fn volume_of(arguments: &mut Arguments, value: Value) -> Option<Placed<Volume>> {
    arguments.piece_of(
        "volumes",
        value,
        "a volume with its size",
        |piece| match piece {
            Piece::Volume(volume) => Some(volume),
            _ => None,
        },
    )
}

pub(super) fn file(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let path = arguments.require_text("path");
    let text = arguments.text("content");
    let encoded = arguments.text("content_base64");
    let mode = arguments.integer("mode");
    let content_base64 = match (text, encoded) {
        (Some(text), None) => STANDARD.encode(text.text),
        (None, Some(encoded)) => encoded.text,
        (Some(_), Some(encoded)) => {
            arguments.refuse(
                Diagnostic::error("E_ARGUMENT_TWICE", encoded.span, "a file has one content")
                    .hint("leave `content` or `content_base64` out"),
            );
            return None;
        }
        (None, None) => {
            arguments.require("content")?;
            return None;
        }
    };
    let file = EmbeddedFile {
        path: path?.text,
        content_base64,
        mode: mode.unwrap_or(EmbeddedFile::DEFAULT_MODE),
    };
    Some(Placed::new(Piece::File(file), arguments.places()))
}
