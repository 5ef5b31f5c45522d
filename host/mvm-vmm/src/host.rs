//! What machines run on: QEMU, the accelerator, the counter, the jail.

use std::num::NonZeroU64;
use std::path::Path;
use std::sync::OnceLock;

use crate::accelerator::{AcceleratorChoice, ProbeError};
use crate::boot_cache::{BootCache, CacheError};
use crate::host_tsc::host_tsc_khz;
use crate::jail::{JailSupport, Layer};
use crate::qemu::{Qemu, QemuError};

/// Everything about this host that booting a machine depends on.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) qemu: Qemu,
    pub(crate) accelerator: AcceleratorChoice,
    pub(crate) tsc_khz: Option<NonZeroU64>,
    cache: BootCache,
    jail: OnceLock<JailSupport>,
}

/// This host cannot run machines.
#[derive(Debug, thiserror::Error)]
pub enum DetectError {
    /// No usable QEMU.
    #[error("cannot use QEMU")]
    Qemu(#[source] QemuError),
    /// The accelerator was not decided.
    #[error("cannot decide on an accelerator")]
    Accelerator(#[source] ProbeError),
    /// The frequency of the counter could not be cached.
    #[error("cannot cache the frequency of the time stamp counter")]
    Tsc(#[source] CacheError),
}

impl DetectError {
    /// A way out, when the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            DetectError::Qemu(error) => error.hint(),
            DetectError::Accelerator(_) | DetectError::Tsc(_) => None,
        }
    }
}

impl Host {
    /// Looks at the host. What takes long (0.4 s) is done once per boot of the
    /// host and kept in `cache`, a directory that is created when needed; what
    /// may change meanwhile is looked at again (a few ms).
    ///
    /// `qemu` names the program; without it `PATH` is searched.
    ///
    /// # Errors
    /// No QEMU that works, or `cache` cannot be written.
    pub fn detect(cache: &Path, qemu: Option<&Path>) -> Result<Host, DetectError> {
        let cache = BootCache::open(cache);
        let qemu = Qemu::find(qemu, &cache).map_err(DetectError::Qemu)?;
        let accelerator =
            AcceleratorChoice::make(&qemu, &cache).map_err(DetectError::Accelerator)?;
        let tsc_khz = host_tsc_khz(&cache).map_err(DetectError::Tsc)?;
        Ok(Host {
            qemu,
            accelerator,
            tsc_khz,
            cache,
            jail: OnceLock::new(),
        })
    }

    /// The QEMU in use.
    pub fn qemu(&self) -> &Qemu {
        &self.qemu
    }

    /// The accelerator in use.
    pub fn accelerator(&self) -> &AcceleratorChoice {
        &self.accelerator
    }

    /// The frequency of the host's time stamp counter in kHz.
    pub fn tsc_khz(&self) -> Option<NonZeroU64> {
        self.tsc_khz
    }

    /// Whether the memory that forks share is open for reading only in each of
    /// them; otherwise its file must be writable for its owner.
    pub fn shares_read_only(&self) -> bool {
        self.qemu.maps_read_only_files() || self.jail().report().is_applied(Layer::StandIn)
    }

    /// The layers of the jail this host has; found by trying them at the first
    /// call.
    pub fn jail(&self) -> &JailSupport {
        self.jail.get_or_init(|| JailSupport::recall(&self.cache))
    }
}
