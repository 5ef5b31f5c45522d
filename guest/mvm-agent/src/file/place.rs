//! Where something will be made: its directory, its name, and what is there already.

use std::ffi::{CStr, CString};

use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{self, AtFlags, CWD, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{open_directory, split};
use crate::{
    accounts::{Account, PARENT_MODE},
    failure::{Failed, Outcome},
};

/// As many symlinks as the kernel follows.
const MAX_SYMLINKS: usize = 40;

/// A name in a directory.
pub(super) struct Place {
    pub(super) directory: OwnedFd,
    pub(super) name: CString,
    /// What has the name now; never a symlink.
    pub(super) found: Option<Stat>,
}

impl Place {
    /// Finds the place a path means, following symlinks also where the last one leads to nothing
    /// yet.
    pub(super) fn find(path: &CStr, make_parents: bool, owner: Option<&Account>) -> Outcome<Self> {
        const DOING: &str = "finding where to write";
        let mut path = path.to_owned();
        for _ in 0..MAX_SYMLINKS {
            let (parent, name) = split(&path)?;
            let directory = match open_directory(CWD, &parent, OFlags::empty()) {
                Err(Errno::NOENT) if make_parents => {
                    make_directories(&parent, PARENT_MODE, owner)?;
                    open_directory(CWD, &parent, OFlags::empty())
                }
                opened => opened,
            }
            .map_err(|errno| Failed::call(DOING, parent.to_bytes(), errno))?;
            let found = match fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => {
                    return Ok(Self {
                        directory,
                        name,
                        found: None,
                    });
                }
                Err(errno) => return Err(Failed::call(DOING, path.to_bytes(), errno)),
            };
            if !FileType::from_raw_mode(found.st_mode).is_symlink() {
                return Ok(Self {
                    directory,
                    name,
                    found: Some(found),
                });
            }
            let target = fs::readlinkat(directory.as_fd(), &name, Vec::new())
                .map_err(|errno| Failed::call(DOING, path.to_bytes(), errno))?
                .into_bytes();
            let mut next = if target.first() == Some(&b'/') {
                Vec::new()
            } else {
                parent.into_bytes()
            };
            next.extend_from_slice(&target);
            path = CString::new(next).map_err(|_| Failed::invalid(DOING, []))?;
        }
        Err(Failed::call(DOING, path.to_bytes(), Errno::LOOP))
    }
}

/// Makes a directory and what is missing above it; one that is there is kept as it is.
pub(super) fn make_directories(path: &CStr, mode: Mode, owner: Option<&Account>) -> Outcome<()> {
    let bytes = path.to_bytes();
    let ends = bytes
        .iter()
        .enumerate()
        .filter(|(at, byte)| **byte == b'/' && *at > 0)
        .map(|(at, _)| at)
        .chain([bytes.len()]);
    for end in ends {
        let part = &bytes[..end];
        if part.ends_with(b"/") {
            continue;
        }
        let failed = |errno| Failed::call("making a directory", part, errno);
        let is_last = bytes[end..].iter().all(|byte| *byte == b'/');
        let mode = if is_last { mode } else { PARENT_MODE };
        match fs::mkdir(part, mode & PARENT_MODE) {
            Ok(()) => {
                if let Some(owner) = owner {
                    give(CWD, part, owner).map_err(failed)?;
                }
                fs::chmod(part, mode).map_err(failed)?;
            }
            Err(Errno::EXIST) => {
                let stat = fs::stat(part).map_err(failed)?;
                if !FileType::from_raw_mode(stat.st_mode).is_dir() {
                    return Err(failed(Errno::NOTDIR));
                }
            }
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(())
}

/// Makes `owner` own a path; a symlink itself.
pub(super) fn give(
    directory: impl rustix::fd::AsFd,
    path: impl rustix::path::Arg,
    owner: &Account,
) -> Result<(), Errno> {
    fs::chownat(
        directory,
        path,
        Some(fs::Uid::from_raw(owner.user_id)),
        Some(fs::Gid::from_raw(owner.group_id)),
        AtFlags::SYMLINK_NOFOLLOW,
    )
}

/// Something that has a hidden name until it is complete; removed when it never is.
pub(super) struct Unfinished<'a> {
    directory: &'a OwnedFd,
    name: CString,
    placed: bool,
}

impl<'a> Unfinished<'a> {
    /// Makes something under a hidden name by `make`, which must refuse a name that is taken.
    pub(super) fn make<T>(
        directory: &'a OwnedFd,
        mut make: impl FnMut(&CStr) -> Result<T, Errno>,
    ) -> Result<(Self, T), Errno> {
        thread_local! {
            static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
        }
        loop {
            let number = COUNT.get();
            COUNT.set(number.wrapping_add(1));
            let name =
                CString::new(format!(".mvm-unfinished-{number:x}")).map_err(|_| Errno::INVAL)?;
            match make(&name) {
                Ok(made) => {
                    let unfinished = Self {
                        directory,
                        name,
                        placed: false,
                    };
                    return Ok((unfinished, made));
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    pub(super) fn name(&self) -> &CStr {
        &self.name
    }

    /// Gives it its name, replacing what has it.
    pub(super) fn place(mut self, name: &CStr) -> Result<(), Errno> {
        fs::renameat(self.directory, &self.name, self.directory, name)?;
        self.placed = true;
        Ok(())
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.placed {
            let _ = fs::unlinkat(self.directory, &self.name, AtFlags::empty());
        }
    }
}
