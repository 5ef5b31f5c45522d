//! Lines and columns of byte offsets.

use crate::{FileId, SourceFile};

/// Where the lines of files begin.
pub(super) struct Positions(Vec<Vec<usize>>);

impl Positions {
    /// Finds the lines. A line ends with LF, CRLF or CR.
    pub(super) fn of(files: &[SourceFile]) -> Self {
        Self(files.iter().map(|file| lines(&file.text)).collect())
    }

    /// The line and the column of an offset, both from 1; columns count characters.
    pub(super) fn find(&self, files: &[SourceFile], file: FileId, offset: u32) -> (usize, usize) {
        let (line, start) = self.line(file, offset);
        let text = files.get(file.0 as usize).map_or("", |file| &file.text);
        let end = text.floor_char_boundary(offset as usize);
        let before = text.get(start..end).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// The line of an offset, from 1, and the offset of its beginning.
    pub(super) fn line(&self, file: FileId, offset: u32) -> (usize, usize) {
        let lines = self.0.get(file.0 as usize).map_or(&[0][..], Vec::as_slice);
        let line = lines.partition_point(|start| *start <= offset as usize);
        let start = lines.get(line.saturating_sub(1)).copied();
        (line.max(1), start.unwrap_or_default())
    }

    /// The offset of the beginning of a line that counts from 1, or where the text ends.
    pub(super) fn start(&self, file: FileId, line: usize) -> Option<usize> {
        self.0
            .get(file.0 as usize)?
            .get(line.checked_sub(1)?)
            .copied()
    }
}

fn lines(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let mut starts = vec![0];
    for (index, byte) in bytes.iter().enumerate() {
        let ends = match byte {
            b'\n' => true,
            b'\r' => bytes.get(index + 1) != Some(&b'\n'),
            _ => false,
        };
        if ends {
            starts.push(index + 1);
        }
    }
    starts
}
