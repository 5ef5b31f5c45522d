//! Making a template: a guest boots, is used a little, stands still, and is saved.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    time::Duration,
};

use mvm_contract::{Coded, ErrorCode};
use mvm_vmm::{ControlError, DetectError, GuestMemory, Host, SaveError};

use super::{
    guest::{GreetError, GuestIdentity},
    start::{DISK_NAME, GUEST_LOG, GuestStartError, MACHINE_LOG, Place, Started, greeted_channel},
    warm_up::warm_up,
};
use crate::{
    fault,
    folder::{FolderError, LockedFolder},
    home::{Home, HomeError},
    lease::{Stopwatch, TemplateRequest},
    random,
    record::now_ms,
    template::{self, DISK, MEMORY, STATE, TemplateError, TemplateManifest},
};

/// How long a guest is left alone before it is saved.
const SETTLING: Duration = Duration::from_millis(300);

/// Why a template could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum MakeTemplateError {
    #[error(transparent)]
    Home(#[from] HomeError),
    #[error("this host cannot run a microVM")]
    Detect(#[from] DetectError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Start(#[from] GuestStartError),
    #[error("the guest could not be made to stand still")]
    Freeze(#[from] GreetError),
    #[error("the microVM could not be stopped")]
    Pause(#[from] ControlError),
    #[error("the microVM could not be saved")]
    Save(#[from] SaveError),
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl Coded for MakeTemplateError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Home(error) => error.code(),
            Self::Detect(_) => ErrorCode::BackendUnsupported,
            Self::Start(error) => error.code(),
            Self::Template(error) => error.code(),
            _ => ErrorCode::SandboxUnavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Home(error) => error.hint(),
            Self::Detect(error) => error.hint(),
            Self::Start(error) => error.hint(),
            Self::Template(error) => error.hint(),
            _ => None,
        }
    }
}

/// Makes the template of a shape. Whoever orders it holds the lock of its key.
pub(super) async fn make(
    request: TemplateRequest,
    lock: &template::TemplateLock,
) -> Result<(), MakeTemplateError> {
    let home = Home::open(&request.home)?;
    let host = Host::detect(&home.cache(), None)?;
    let bits = random::bits().map_err(GreetError::Random)?;
    let folder = LockedFolder::create(&home.staging(), &format!("template-{bits:032x}"))?;
    let resources = request.shape.resources;
    let place = Place {
        home: &home,
        host: &host,
        folder: folder.path(),
        image: &request.shape.image_path,
        resources: &resources,
    };
    let memory = folder.path().join(MEMORY);
    create(&memory)
        .and_then(|file| file.set_len(u64::from(resources.memory_mib) << 20))
        .map_err(TemplateError::io("create", &memory))?;
    let mut unmeasured = Stopwatch::start();
    let booted = place.boot(
        &request.kernel,
        false,
        GuestMemory::Shared(&memory),
        GuestIdentity::default(),
        &mut unmeasured,
    );
    let Started {
        mut machine,
        mut guest,
        port,
        ..
    } = booted.await?;
    fault::point("template.booted");
    warm_up(&guest).await;
    // A fork goes on with this connection: its agent has greeted, and waits.
    let waiting = port.other();
    let _channel = greeted_channel(&mut machine, waiting).await?;
    // Synced, and going on: in a template no process of a user waits for an identity.
    let frozen = guest.freeze().await?;
    guest.introduce(false, GuestIdentity::default()).await?;
    drop(frozen);
    // The end of this connection, like all that the guest still has to do, would otherwise come to
    // every fork, before it hears its host.
    let key = guest.key();
    drop(guest);
    tokio::time::sleep(SETTLING).await;
    machine.pause().await?;
    let path = folder.path().join(STATE);
    let state = create(&path).map_err(TemplateError::io("create", &path))?;
    machine.save_devices(&state).await?;
    // What it wrote is in its files once it has ended.
    machine.kill().await?;
    drop(machine);
    fault::point("template.saved");
    debug_assert_eq!(DISK, DISK_NAME);
    for log in [MACHINE_LOG, GUEST_LOG] {
        let _ = fs::remove_file(folder.path().join(log));
    }
    if host.shares_read_only() {
        let read_only = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        fs::set_permissions(&memory, read_only).map_err(TemplateError::io("seal", &memory))?;
    }
    TemplateManifest::seal(
        folder.path(),
        request.image,
        request.shape,
        now_ms(),
        waiting,
        hex::encode(key),
    )?;
    fault::point("template.sealed");
    template::publish(&home, folder, lock)?;
    Ok(())
}

fn create(path: &std::path::Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(0o600);
    options.open(path)
}
