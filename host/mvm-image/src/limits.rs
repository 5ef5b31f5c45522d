//! How much an image may ask for.

/// Ceilings on what an image may contain; every one is named in the error of
/// an image that exceeds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one JSON document (index, manifest, config).
    pub document_bytes: u64,
    /// Layers of one image.
    pub layers: usize,
    /// Entries of all layers together, whiteouts included.
    pub entries: u64,
    /// Bytes of all layers together after decompression.
    pub unpacked_bytes: u64,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all names, link targets and extended attributes together, which
    /// are held in memory.
    pub metadata_bytes: u64,
    /// Bytes of one path or link target.
    pub path_bytes: usize,
    /// Components of one path.
    pub path_depth: usize,
    /// Bytes of all extended attributes of one file, names included.
    pub xattr_bytes: usize,
    /// Bytes of one extended header (PAX or GNU long name).
    pub header_bytes: u64,
    /// Decompressed bytes per compressed byte, counted past
    /// [`Limits::ratio_free_bytes`].
    pub ratio: u64,
    /// Decompressed bytes a layer may have whatever its ratio.
    pub ratio_free_bytes: u64,
    /// Entries of one archive file (`oci-archive:`).
    pub archive_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            document_bytes: 4 << 20,
            layers: 512,
            entries: 2_000_000,
            unpacked_bytes: 64 << 30,
            file_bytes: 32 << 30,
            metadata_bytes: 256 << 20,
            path_bytes: 4096,
            path_depth: 255,
            xattr_bytes: 128 << 10,
            header_bytes: 1 << 20,
            ratio: 100,
            ratio_free_bytes: 64 << 20,
            archive_entries: 65_536,
        }
    }
}
