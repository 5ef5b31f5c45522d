//! What is put above the base image: the source below `/app`, the files the document holds, the
//! document itself, and what calls functions.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mvm_contract::workload::{App, EmbeddedFile, Language, SOURCE_DIRECTORY, Workload};
use mvm_image::compose::{LayerContent, LayerFile, LayerTree};

use super::{BuildError, javascript};
use crate::{runner, source};

pub(super) fn of(
    workload: &Workload,
    app: &App,
    declared_in: &Path,
) -> Result<LayerTree, BuildError> {
    let target = SOURCE_DIRECTORY.trim_start_matches('/');
    let mut tree = match &app.source {
        Some(source) => source::collect(declared_in, source, target)?,
        None => LayerTree::new(),
    };
    if runner::speaks(app, Language::Node) {
        javascript::add(&mut tree)?;
    }
    let document = workload.write().map_err(BuildError::Canonical)?;
    let own = std::iter::once((runner::WORKLOAD_FILE.to_owned(), document))
        .chain(runner::files(app).map(|(path, text)| (path, text.into())));
    for (path, bytes) in own {
        let content = LayerContent::Bytes(bytes);
        add(
            &mut tree,
            path,
            LayerFile {
                content,
                mode: 0o644,
            },
        )?;
    }
    for file in &app.files {
        let (path, file) = embedded(file)?;
        add(&mut tree, path, file)?;
    }
    Ok(tree)
}

fn embedded(file: &EmbeddedFile) -> Result<(String, LayerFile), BuildError> {
    let decoded = STANDARD.decode(&file.content_base64);
    let bytes = decoded.map_err(|_| BuildError::Embedded {
        path: file.path.clone(),
    })?;
    let layer_file = LayerFile {
        content: LayerContent::Bytes(bytes),
        mode: file.mode,
    };
    Ok((file.path.trim_start_matches('/').to_owned(), layer_file))
}

fn add(tree: &mut LayerTree, path: String, file: LayerFile) -> Result<(), BuildError> {
    if tree.contains_key(&path) {
        return Err(BuildError::Collision { path });
    }
    tree.insert(path, file);
    Ok(())
}
