//! What can be typed about images.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use mvm_contract::plan::Profile;
use mvm_runtime::{ExportFormat, PullPolicy};

use super::profile;

#[derive(Debug, Subcommand)]
pub(crate) enum Images {
    /// Make an image ready beforehand; one in a registry is pulled.
    Pull(PullImage),
    /// List the images, where they came from and who uses them.
    #[command(visible_alias = "ls")]
    List,
    /// Show what is said of an image, as JSON.
    Inspect(OneImage),
    /// Read all of an image again and compare it with its digest; all images where none is named.
    Verify(MaybeImages),
    /// Remove images that nothing uses.
    #[command(visible_alias = "rm")]
    Remove(SomeImages),
    /// Remove every image that nothing uses, and what pulls left that failed.
    Prune,
    /// Write an image to a file.
    Export(ExportImage),
}

#[derive(Debug, Args)]
pub(crate) struct PullImage {
    /// Image: oci:HOST[:PORT]/PATH[:TAG][@sha256:HEX], or any other.
    pub(crate) image: String,
    /// When its registry is asked.
    #[arg(long, value_enum, value_name = "WHEN", default_value = "always")]
    pub(crate) pull: Pull,
    /// The built-in policy it is pulled under.
    #[arg(long, value_name = "PROFILE", default_value = "standard", value_parser = profile)]
    pub(crate) profile: Profile,
}

/// When a registry is asked about an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Pull {
    /// When the image, or what its tag means, is not known here.
    #[default]
    Missing,
    /// Whenever the image is named by a tag.
    Always,
    /// Never.
    Never,
}

impl From<Pull> for PullPolicy {
    fn from(pull: Pull) -> Self {
        match pull {
            Pull::Missing => Self::Missing,
            Pull::Always => Self::Always,
            Pull::Never => Self::Never,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct OneImage {
    /// Its source, or its digest or that of its manifest (8 digits do).
    pub(crate) image: String,
}

#[derive(Debug, Args)]
pub(crate) struct MaybeImages {
    /// Their sources or digests.
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SomeImages {
    /// Their sources or digests.
    #[arg(required = true)]
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportImage {
    /// Its source or digest.
    pub(crate) image: String,
    /// The file, which must not exist.
    pub(crate) file: PathBuf,
    /// The root filesystem as sandboxes mount it, or the layers as they were pulled.
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// What is written of an image.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// One EROFS file.
    #[default]
    Erofs,
    /// A tar of an OCI layout, of images from registries.
    OciArchive,
}

impl From<Format> for ExportFormat {
    fn from(format: Format) -> Self {
        match format {
            Format::Erofs => Self::Erofs,
            Format::OciArchive => Self::OciArchive,
        }
    }
}
