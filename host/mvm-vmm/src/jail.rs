//! The jail around QEMU.
//!
//! The guest is hostile, and QEMU stands between it and the host; what QEMU may
//! do is therefore limited from outside, by the kernel, in layers that do not
//! depend on each other. [`JailSupport`] finds once per host which layers it
//! has; a layer the host has either applies or the boot fails, and one it does
//! not have is named in the [`JailReport`] with the reason.
//!
//! The supervisor keeps its access to `/proc/PID/{maps,pagemap,mem}` of the
//! jailed process: it has the same user, is its parent, owns its user
//! namespace and is outside its Landlock domain. Snapshots depend on that.

mod cgroup;
mod child;
mod grant;
mod private_root;
mod stand_in;
mod step;

use std::collections::BTreeMap;
use std::ffi::{CString, NulError};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::boot_cache::BootCache;
use crate::doctor::chain;

/// Under which it is remembered that all layers that are found by trying work.
const LAYERS_WORK: &str = "jail-layers";

pub(crate) use cgroup::Cgroup;
pub use cgroup::CgroupError;
pub(crate) use child::Child;
pub use grant::GrantError;
pub(crate) use grant::{Access, Grant};
pub(crate) use stand_in::StandIn;
pub use step::{ChildError, JailStep};

/// One independent limit on the jailed process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Layer {
    /// QEMU's own system call filter (`-sandbox on,...`).
    Seccomp,
    /// `no_new_privs`: executing a program never gains privileges.
    NoNewPrivileges,
    /// An empty capability bounding set.
    Capabilities,
    /// Rights on files, TCP, signals and abstract sockets.
    Landlock,
    /// A user namespace; the ground of the namespaces below.
    UserNamespace,
    /// A root directory with the granted paths and nothing else.
    PrivateRoot,
    /// No other process is visible or can be signalled.
    PidNamespace,
    /// No network interface that is up.
    NetworkNamespace,
    /// Own System V IPC and POSIX message queues.
    IpcNamespace,
    /// Own host name.
    UtsNamespace,
    /// No core dump, few open files.
    ResourceLimits,
    /// First to go when the host's memory runs out.
    OomScore,
    /// Bounds on memory and on the number of threads.
    Cgroup,
    /// The memory that forks share is given to it for reading only, whatever it
    /// asks for.
    StandIn,
}

impl Layer {
    /// The name it has in reports, such as `landlock`.
    pub fn name(self) -> &'static str {
        match self {
            Layer::Seccomp => "seccomp",
            Layer::NoNewPrivileges => "no_new_privileges",
            Layer::Capabilities => "capabilities",
            Layer::Landlock => "landlock",
            Layer::UserNamespace => "user_namespace",
            Layer::PrivateRoot => "private_root",
            Layer::PidNamespace => "pid_namespace",
            Layer::NetworkNamespace => "network_namespace",
            Layer::IpcNamespace => "ipc_namespace",
            Layer::UtsNamespace => "uts_namespace",
            Layer::ResourceLimits => "resource_limits",
            Layer::OomScore => "oom_score",
            Layer::Cgroup => "cgroup",
            Layer::StandIn => "stand_in",
        }
    }
}

/// What became of one layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LayerState {
    /// In force.
    Applied,
    /// The host does not have it.
    Unavailable {
        /// Why, in words for the user.
        reason: String,
    },
}

/// What stands between a running QEMU and the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JailReport {
    /// Every layer, applied or not.
    pub layers: BTreeMap<Layer, LayerState>,
    /// Version of the Landlock rules in force; 0 without Landlock.
    pub landlock_abi: i32,
}

impl JailReport {
    /// True when the layer is in force.
    pub fn is_applied(&self, layer: Layer) -> bool {
        self.layers.get(&layer) == Some(&LayerState::Applied)
    }
}

/// What the caller grants beyond what the machine specification names.
#[derive(Debug, Clone, Default)]
pub struct JailOptions {
    /// The sandbox's own directory (mode 0700 is the caller's duty). Used to
    /// make the agent's socket; QEMU itself gets no access to it.
    pub directory: PathBuf,
    /// Further files or directories QEMU may read.
    pub read_only: Vec<PathBuf>,
    /// Further files or directories QEMU may read and write.
    pub read_write: Vec<PathBuf>,
    /// The largest file QEMU may write, in bytes; its log counts as one.
    /// Without it: the size of the disk or of the guest's memory, whichever is
    /// larger.
    pub file_size_limit: Option<u64>,
}

/// Which layers this host has, found by trying them on a process that exits at
/// once (about 3 ms).
#[derive(Debug, Clone)]
pub struct JailSupport {
    report: JailReport,
    cgroup_parent: Option<PathBuf>,
}

/// The jailed process could not be created.
#[derive(Debug, thiserror::Error)]
pub enum JailError {
    /// A granted path cannot be used.
    #[error("cannot grant a path to the jail")]
    Grant(#[source] GrantError),
    /// The Landlock rules were refused.
    #[error("cannot make the Landlock rules")]
    Landlock(#[source] landlock::RulesetError),
    /// No cgroup could be made although the host delegates them.
    #[error("cannot make a cgroup")]
    Cgroup(#[source] CgroupError),
    /// An argument contains a zero byte.
    #[error("an argument contains a zero byte")]
    Argument(#[source] NulError),
    /// `/dev/null` cannot be opened.
    #[error("cannot open `/dev/null`")]
    NullDevice(#[source] io::Error),
    /// A descriptor could not be duplicated.
    #[error("cannot duplicate a file descriptor")]
    Descriptor(#[source] io::Error),
    /// A step of the new process failed.
    #[error("the jailed process did not start")]
    Child(#[source] ChildError),
}

impl JailError {
    /// A way out, when the user has one.
    pub fn hint(&self) -> Option<String> {
        match self {
            JailError::Child(error) if error.step == JailStep::Execute => {
                Some("check that the QEMU program exists and may be executed".to_owned())
            }
            JailError::Child(_) => {
                Some("`mvmctl doctor` tells which layers of the jail this host has".to_owned())
            }
            _ => None,
        }
    }
}

/// A command to run in the jail.
pub(crate) struct Confined<'a> {
    pub(crate) program: &'a Path,
    pub(crate) arguments: &'a [String],
    pub(crate) grants: &'a [Grant],
    /// Lends its place to the private root; any existing directory.
    pub(crate) base: &'a Path,
    pub(crate) inherited: &'a [BorrowedFd<'a>],
    pub(crate) output: BorrowedFd<'a>,
    pub(crate) file_size_limit: Option<u64>,
    pub(crate) cgroup: Option<&'a Cgroup>,
    /// Whether the child's listener will be served by a [`StandIn`].
    pub(crate) filter_opens: bool,
}

impl JailSupport {
    /// Tries every layer.
    pub fn detect() -> JailSupport {
        let mut support = JailSupport::without_namespaces();
        support.try_namespaces();
        support
    }

    /// As [`detect`](JailSupport::detect), but layers that worked since the host
    /// started are not tried again. Should they have been taken away since,
    /// the machine does not start: no layer is left out for that.
    pub(crate) fn recall(cache: &BootCache) -> JailSupport {
        let mut support = JailSupport::without_namespaces();
        let user = rustix::process::geteuid().as_raw().to_string();
        if cache.read(LAYERS_WORK, &user) == Some(true) {
            support.set_namespaces(&LayerState::Applied, LayerState::Applied);
            let layers = &mut support.report.layers;
            layers.insert(Layer::StandIn, LayerState::Applied);
            return support;
        }
        support.try_namespaces();
        let report = &support.report;
        if report.is_applied(Layer::PrivateRoot) && report.is_applied(Layer::StandIn) {
            // Without the memory they are tried again next time.
            let _ = cache.write(LAYERS_WORK, &user, &true);
        }
        support
    }

    /// What is known without a process.
    fn without_namespaces() -> JailSupport {
        let abi = child::landlock_abi();
        let mut layers = BTreeMap::new();
        for layer in [
            Layer::Seccomp,
            Layer::NoNewPrivileges,
            Layer::Capabilities,
            Layer::ResourceLimits,
            Layer::OomScore,
        ] {
            layers.insert(layer, LayerState::Applied);
        }
        let landlock = match &abi {
            Ok(_) => LayerState::Applied,
            Err(error) => unavailable(format!("the kernel has no Landlock: {error}")),
        };
        layers.insert(Layer::Landlock, landlock);
        let (cgroup, cgroup_parent) = match Cgroup::find_parent() {
            Ok(parent) => (LayerState::Applied, Some(parent)),
            Err(reason) => (unavailable(reason), None),
        };
        layers.insert(Layer::Cgroup, cgroup);
        JailSupport {
            report: JailReport {
                layers,
                landlock_abi: abi.unwrap_or(0),
            },
            cgroup_parent,
        }
    }

    fn try_namespaces(&mut self) {
        self.set_namespaces(&LayerState::Applied, LayerState::Applied);
        if let Some(reason) = self.what_is_lacking() {
            let reason = unavailable(reason);
            self.set_namespaces(&LayerState::Applied, reason.clone());
            if self.what_is_lacking().is_some() {
                self.set_namespaces(&reason, reason.clone());
            }
        }
        self.report
            .layers
            .insert(Layer::StandIn, LayerState::Applied);
        if let Some(reason) = self.what_is_lacking() {
            let reason = unavailable(reason);
            self.report.layers.insert(Layer::StandIn, reason);
        }
    }

    /// What a process jailed now would report.
    pub fn report(&self) -> &JailReport {
        &self.report
    }

    /// A cgroup for one process with limits on memory (bytes) and threads, or
    /// nothing where the host delegates none.
    pub(crate) fn make_cgroup(
        &self,
        memory: u64,
        threads: u32,
    ) -> Result<Option<Cgroup>, JailError> {
        let Some(parent) = &self.cgroup_parent else {
            return Ok(None);
        };
        Cgroup::create(parent, memory, threads)
            .map(Some)
            .map_err(JailError::Cgroup)
    }

    fn set_namespaces(&mut self, namespaces: &LayerState, private_root: LayerState) {
        for layer in [
            Layer::UserNamespace,
            Layer::PidNamespace,
            Layer::NetworkNamespace,
            Layer::IpcNamespace,
            Layer::UtsNamespace,
        ] {
            self.report.layers.insert(layer, namespaces.clone());
        }
        self.report.layers.insert(Layer::PrivateRoot, private_root);
    }

    /// Why a process cannot be confined on this host. A failure that may pass,
    /// such as a lack of memory, takes no layer away: then the boot fails.
    fn what_is_lacking(&self) -> Option<String> {
        let filter_opens = self.report.is_applied(Layer::StandIn);
        let Err(JailError::Child(error)) = self.try_on_nothing(filter_opens) else {
            return None;
        };
        let lasting = [
            libc::EPERM,
            libc::EACCES,
            libc::ENOSPC,
            libc::EINVAL,
            libc::ENOSYS,
        ];
        let errno = error.source.raw_os_error()?;
        lasting.contains(&errno).then(|| chain(&error))
    }

    /// Confines a process that has nothing to do.
    fn try_on_nothing(&self, filter_opens: bool) -> Result<(), JailError> {
        let null = null_device()?;
        let grants = [Grant::new(Path::new("/usr"), Access::Execute)];
        let mut launch = self.launch(&grants, Path::new("/usr"), null.as_fd(), null.as_fd())?;
        launch.filter_opens = filter_opens;
        let child = child::spawn(&launch).map_err(JailError::Child)?;
        let _ = rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty());
        Ok(())
    }

    /// Runs a command in the jail. Returns when the program was executed.
    ///
    /// The process gets `SIGKILL` when the *thread* that calls this ends.
    pub(crate) fn spawn(&self, confined: &Confined<'_>) -> Result<Child, JailError> {
        let program = c_string(confined.program.as_os_str().as_bytes())?;
        let mut arguments = vec![program.clone()];
        for argument in confined.arguments {
            arguments.push(c_string(argument.as_bytes())?);
        }
        // Numbers below 3 would be overwritten by the standard streams.
        let null = null_device()?;
        let mut launch = self.launch(
            confined.grants,
            confined.base,
            confined.output,
            null.as_fd(),
        )?;
        launch.program = Some((&program, &arguments));
        launch.inherited = confined.inherited;
        launch.file_size_limit = confined.file_size_limit;
        launch.cgroup = confined.cgroup.map(Cgroup::directory);
        launch.filter_opens = confined.filter_opens;
        child::spawn(&launch).map_err(JailError::Child)
    }

    fn launch<'a>(
        &self,
        grants: &[Grant],
        base: &Path,
        output: BorrowedFd<'a>,
        input: BorrowedFd<'a>,
    ) -> Result<child::Launch<'a>, JailError> {
        let mut root = None;
        if self.report.is_applied(Layer::PrivateRoot) {
            root = Some(private_root::PrivateRoot {
                base: c_string(base.as_os_str().as_bytes())?,
                binds: grant::binds(grants).map_err(JailError::Grant)?,
            });
        }
        let mut landlock = None;
        if self.report.is_applied(Layer::Landlock) {
            landlock = grant::landlock_rules(grants, self.report.landlock_abi)?;
        }
        let namespaces = self.report.is_applied(Layer::UserNamespace);
        Ok(child::Launch {
            program: None,
            user_map: namespaces.then(user_map),
            own_namespaces: namespaces,
            root,
            landlock,
            cgroup: None,
            filter_opens: false,
            file_size_limit: None,
            oom_score: oom_score(),
            output,
            input,
            inherited: &[],
        })
    }
}

fn unavailable(reason: String) -> LayerState {
    LayerState::Unavailable { reason }
}

fn c_string(bytes: &[u8]) -> Result<CString, JailError> {
    CString::new(bytes).map_err(JailError::Argument)
}

/// `/dev/null`, on a descriptor above the standard streams.
fn null_device() -> Result<std::os::fd::OwnedFd, JailError> {
    let file = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(JailError::NullDevice)?;
    above_standard_streams(file).map_err(JailError::NullDevice)
}

/// A close-on-exec copy of a descriptor, numbered 3 or higher. An original
/// that is given away is closed.
pub(crate) fn above_standard_streams(fd: impl AsFd) -> io::Result<std::os::fd::OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}

/// Inside, the user has an id that is not 0, so that executing a program gives
/// it no capability in its own namespace either.
fn user_map() -> child::UserMap {
    const NOBODY: u32 = 65534;
    let line = |id: u32| {
        let inside = if id == 0 { NOBODY } else { id };
        format!("{inside} {id} 1\n").into_bytes()
    };
    child::UserMap {
        uid_map: line(rustix::process::geteuid().as_raw()),
        gid_map: line(rustix::process::getegid().as_raw()),
    }
}

/// Raised to 500, or left where it is when it is higher: only a privileged
/// process may lower it.
fn oom_score() -> Vec<u8> {
    let present = std::fs::read_to_string("/proc/self/oom_score_adj")
        .ok()
        .and_then(|text| text.trim().parse::<i32>().ok())
        .unwrap_or(0);
    present.max(500).to_string().into_bytes()
}

#[cfg(test)]
mod tests;
