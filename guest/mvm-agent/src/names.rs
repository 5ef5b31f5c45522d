//! The files that carry the guest's names. They lie in memory and are mounted over the image's, so
//! that a fork changes them with one write each, its disk still standing still.

use std::path::Path;

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags},
    io::Errno,
};

use crate::whole_file;

/// Where they lie, on the tmpfs `/run`.
const FOLDER: &str = "/run/mvm";
const LOCALHOST: &str = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n";

/// The files, open for writing. One that is absent is the image's own, or could not be mounted.
#[derive(Debug, Default)]
pub struct NameFiles {
    /// `/etc/machine-id` (see machine-id(5)).
    machine_id: Option<OwnedFd>,
    /// `/etc/hosts`, unless the image has one with content.
    hosts: Option<OwnedFd>,
}

impl NameFiles {
    /// Puts the files in place; what cannot be is noted.
    pub(crate) fn mount(notes: &mut Vec<String>) -> Self {
        let mut attempt = |name: &str, path: &str, mode, content: &str| {
            let mounted = mount_over(name, path, Mode::from_raw_mode(mode), content);
            mounted
                .inspect_err(|errno| notes.push(format!("`{path}` not in memory: {errno}")))
                .ok()
        };
        // What fails here fails again below, where it is noted.
        let _ = fs::mkdir(FOLDER, Mode::from_raw_mode(0o755));
        let machine_id = attempt("machine-id", "/etc/machine-id", 0o444, "");
        let images_own =
            whole_file::read(Path::new("/etc/hosts"), 1).is_ok_and(|text| !text.is_empty());
        let hosts = if images_own {
            None
        } else {
            attempt("hosts", "/etc/hosts", 0o644, LOCALHOST)
        };
        Self { machine_id, hosts }
    }

    /// Writes the machine-id, 32 hexadecimal digits.
    pub(crate) fn write_machine_id(&self, id: &str) -> Result<(), Errno> {
        let file = self.machine_id.as_ref().ok_or(Errno::NOENT)?;
        write(file, &format!("{id}\n"))
    }

    /// Writes the hosts file with the guest's own name; nothing where it is the image's.
    pub(crate) fn write_hosts(&self, hostname: &str) -> Result<(), Errno> {
        match &self.hosts {
            Some(file) => write(file, &format!("{LOCALHOST}127.0.1.1 {hostname}\n")),
            None => Ok(()),
        }
    }
}

/// Makes a file in memory and mounts it over `path`.
fn mount_over(name: &str, path: &str, mode: Mode, content: &str) -> Result<OwnedFd, Errno> {
    match fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => {}
        found => {
            // A symlink would lead the mount elsewhere.
            if found.is_ok() {
                fs::unlink(path)?;
            }
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            fs::open(path, flags, mode)?;
        }
    }
    let place = Path::new(FOLDER).join(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = fs::open(&place, flags, mode)?;
    fs::fchmod(&file, mode)?;
    write(&file, content)?;
    rustix::mount::mount_bind(&place, path)?;
    Ok(file)
}

/// Makes `text` the whole content of a file in memory.
fn write(file: impl AsFd, text: &str) -> Result<(), Errno> {
    match rustix::io::pwrite(&file, text.as_bytes(), 0)? {
        count if count == text.len() => fs::ftruncate(&file, text.len() as u64),
        _ => Err(Errno::IO),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_shorter_name_leaves_nothing_of_a_longer_one() {
        let path = std::env::temp_dir().join(format!("mvm-names-{}", std::process::id()));
        let files = NameFiles {
            machine_id: None,
            hosts: Some(OwnedFd::from(std::fs::File::create(&path).unwrap())),
        };
        files.write_hosts("a-name-that-is-long").unwrap();
        files.write_hosts("short").unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, format!("{LOCALHOST}127.0.1.1 short\n"));
        assert_eq!(files.write_machine_id("0"), Err(Errno::NOENT));
        assert_eq!(NameFiles::default().write_hosts("any"), Ok(()));
    }
}
