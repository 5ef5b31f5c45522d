//! Paths of archive entries, and finding their place in the tree.

use super::apply::Merge;
use super::{MergeError, NodeId, NodeKind, ROOT};
use crate::limits::Limits;
use crate::tar::printable;

/// Symlinks followed for one path; as many as Linux follows.
const FOLLOWED: usize = 40;

/// Components walked for one path, those of symlinks included: what keeps long
/// chains of long targets from costing more than reading the layer.
const WALKED: usize = 1024;

/// A clean path: its components, without empty ones and `.`.
pub(super) struct CleanPath<'a> {
    written: &'a [u8],
    pub components: Vec<&'a [u8]>,
}

impl<'a> CleanPath<'a> {
    /// Cleans `written`; `..` is `None` and left to the caller to refuse.
    pub(super) fn parse(
        written: &'a [u8],
        entry: &[u8],
        limits: &Limits,
    ) -> Result<Option<Self>, MergeError> {
        let path = || printable(entry);
        if written.is_empty() || written.contains(&0) {
            return Err(MergeError::MalformedPath { path: path() });
        }
        if written.len() > limits.path_bytes {
            let limit = limits.path_bytes;
            return Err(MergeError::PathLength {
                path: path(),
                size: written.len(),
                limit,
            });
        }
        let components: Vec<_> = written
            .split(|byte| *byte == b'/')
            .filter(|part| !part.is_empty() && *part != b".")
            .collect();
        if components.contains(&&b".."[..]) {
            return Ok(None);
        }
        if components.iter().any(|part| part.len() > 255) {
            return Err(MergeError::NameLength { path: path() });
        }
        Ok(Some(Self {
            written,
            components,
        }))
    }

    /// Parent components and file name; `None` for the root itself.
    pub(super) fn split(&self) -> Option<(&[&'a [u8]], &'a [u8])> {
        let (name, parents) = self.components.split_last()?;
        Some((parents, name))
    }

    pub(super) fn printable(&self) -> String {
        printable(self.written)
    }
}

/// What to do about a parent directory that no entry has made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// Make it (0755, root).
    Create,
    /// Stop: there is nothing at this path.
    Stop,
}

/// A component still to walk.
struct Step {
    name: Vec<u8>,
    /// The symlink target this came from; such a step never creates anything.
    target: Option<std::rc::Rc<[u8]>>,
}

impl Merge<'_> {
    /// The directory at `components`, following symlinks inside the image.
    pub(super) fn directory(
        &mut self,
        components: &[&[u8]],
        missing: Missing,
        entry: &[u8],
    ) -> Result<Option<NodeId>, MergeError> {
        let path = || printable(entry);
        let escape = |target: &[u8]| MergeError::ParentEscape {
            path: printable(entry),
            target: printable(target),
        };
        let mut steps: Vec<Step> = components
            .iter()
            .rev()
            .map(|name| Step {
                name: name.to_vec(),
                target: None,
            })
            .collect();
        // The directories from the root to where we are.
        let mut trail = vec![ROOT];
        let (mut followed, mut walked) = (0, 0);
        while let Some(step) = steps.pop() {
            walked += 1;
            if walked > WALKED {
                return Err(MergeError::SymlinkLoop { path: path() });
            }
            if let Some(target) = &step.target
                && step.name == b".."
            {
                trail.pop();
                if trail.is_empty() {
                    return Err(escape(target));
                }
                continue;
            }
            let here = trail.last().copied().unwrap_or(ROOT);
            let Some(node) = self.child(here, &step.name) else {
                if let Some(target) = &step.target {
                    return Err(escape(target));
                }
                if missing == Missing::Stop {
                    return Ok(None);
                }
                trail.push(self.add_implied_directory(here, step.name, entry)?);
                self.check_depth(trail.len(), entry)?;
                continue;
            };
            match &self.node(node).kind {
                NodeKind::Directory(_) => {
                    trail.push(node);
                    self.check_depth(trail.len(), entry)?;
                }
                NodeKind::Symlink(target) => {
                    followed += 1;
                    if followed > FOLLOWED {
                        return Err(MergeError::SymlinkLoop { path: path() });
                    }
                    let target: std::rc::Rc<[u8]> = target.as_slice().into();
                    if target.starts_with(b"/") {
                        trail.truncate(1);
                    }
                    steps.extend(
                        target
                            .split(|byte| *byte == b'/')
                            .rev()
                            .filter(|part| !part.is_empty() && *part != b".")
                            .map(|part| Step {
                                name: part.to_vec(),
                                target: Some(target.clone()),
                            }),
                    );
                }
                _ => {
                    let parent = printable(&step.name);
                    return Err(MergeError::ParentNotDirectory {
                        path: path(),
                        parent,
                    });
                }
            }
        }
        Ok(trail.last().copied())
    }
}
