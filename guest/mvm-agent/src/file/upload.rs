//! Receiving a tree.
//!
//! No entry can lead out of the tree: components are checked, and every entry's directory is
//! opened from the root without following a symlink, also one that came with the tree.

use std::ffi::{CStr, CString};

use mvm_wire::{FailureKind, FileKind, TreeEntry, UploadTree, input};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{self, AtFlags, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps},
    io::Errno,
};

use super::{
    absolute, attempt, done, open_directory,
    place::{Place, Unfinished, give},
    write,
};
use crate::{
    Agent,
    accounts::Account,
    exchange::{Content, Exchange, Gone},
    failure::{Failed, Outcome},
    gate::Gate,
};

const DOING: &str = "reading a tree";

/// A directory that was made and gets its mode and time when it is filled.
struct Made {
    path: Vec<u8>,
    directory: OwnedFd,
    mode: u32,
    modified_nanoseconds: i64,
}

struct Receiver {
    owner: Option<Account>,
    place: Place,
    /// The root, once it is there and a directory.
    root: Option<OwnedFd>,
    made: Vec<Made>,
    bytes: u64,
    entries: u64,
}

pub(crate) async fn upload(
    agent: &Agent,
    exchange: &mut Exchange,
    request: UploadTree,
) -> Result<Outcome<()>, Gone> {
    let (bytes, entries) = attempt!(receive_tree(agent, exchange, &request).await?);
    done(exchange, bytes, entries).await
}

/// Makes the whole tree and gives its bytes and entries. As with a single file, nothing of it is
/// open any more when the answer is waited for.
async fn receive_tree(
    agent: &Agent,
    exchange: &mut Exchange,
    request: &UploadTree,
) -> Result<Outcome<(u64, u64)>, Gone> {
    let path = attempt!(absolute(&request.path));
    let owner = attempt!(write::owner(agent, &request.owner));
    let place = if path.to_bytes().iter().all(|byte| *byte == b'/') {
        // The guest's root itself can be filled.
        open_directory(fs::CWD, c"/", OFlags::empty())
            .and_then(|directory| {
                let found = Some(fs::fstat(&directory)?);
                let name = c".".to_owned();
                Ok(Place {
                    directory,
                    name,
                    found,
                })
            })
            .map_err(|errno| Failed::call(DOING, &request.path, errno))
    } else {
        Place::find(&path, request.make_parents, owner.as_ref())
    };
    let mut receiver = Receiver {
        owner,
        place: attempt!(place),
        root: None,
        made: Vec::new(),
        bytes: 0,
        entries: 0,
    };
    loop {
        let entry = match attempt!(exchange.content_for_disk(&agent.gate).await?) {
            Content::Message(input::Kind::TreeEntry(entry)) => entry,
            Content::Message(input::Kind::EndOfData(_)) if receiver.entries > 0 => break,
            _ => return Ok(Err(Failed::invalid(DOING, &request.path))),
        };
        attempt!(receiver.receive(&agent.gate, exchange, entry).await?);
    }
    attempt!(receiver.complete_all_but(None));
    Ok(Ok((receiver.bytes, receiver.entries)))
}

impl Receiver {
    async fn receive(
        &mut self,
        gate: &Gate,
        exchange: &mut Exchange,
        entry: TreeEntry,
    ) -> Result<Outcome<()>, Gone> {
        let is_root = entry.path.is_empty();
        if is_root != (self.entries == 0) || entry.mode > 0o7777 {
            return Ok(Err(Failed::invalid(DOING, &entry.path)));
        }
        self.entries += 1;
        let failed = |errno| Failed::call("making an entry of a tree", &entry.path, errno);
        attempt!(self.complete_all_but(Some(&entry.path)));
        let (directory, name) = if is_root {
            let directory = self.place.directory.try_clone();
            let directory = directory.map_err(|_| failed(Errno::MFILE));
            (attempt!(directory), self.place.name.clone())
        } else {
            attempt!(self.locate(&entry.path))
        };
        match entry.kind() {
            FileKind::Directory => {
                attempt!(self.make_directory(&directory, &name, &entry));
                Ok(Ok(()))
            }
            FileKind::Symlink => {
                let target = CString::new(entry.link_target.as_slice());
                let target = attempt!(target.map_err(|_| Failed::invalid(DOING, &entry.path)));
                let made = Unfinished::make(&directory, |hidden| {
                    fs::symlinkat(&target, &directory, hidden)
                })
                .and_then(|(link, ())| {
                    if let Some(owner) = &self.owner {
                        give(&directory, link.name(), owner)?;
                    }
                    let times = timestamps(entry.modified_nanoseconds);
                    let flags = AtFlags::SYMLINK_NOFOLLOW;
                    fs::utimensat(&directory, link.name(), &times, flags)?;
                    link.place(&name)
                });
                Ok(made.map_err(failed))
            }
            FileKind::Regular => {
                self.receive_file(gate, exchange, (&directory, &name), &entry)
                    .await
            }
            _ => Ok(Err(Failed::new(
                FailureKind::Unsupported,
                "making something other than a file, directory or symlink",
                &entry.path,
            ))),
        }
    }

    async fn receive_file(
        &mut self,
        gate: &Gate,
        exchange: &mut Exchange,
        (directory, name): (&OwnedFd, &CStr),
        entry: &TreeEntry,
    ) -> Result<Outcome<()>, Gone> {
        let failed = |errno| Failed::call("writing a file of a tree", &entry.path, errno);
        let (unfinished, file) = attempt!(write::create(directory).map_err(failed));
        loop {
            match attempt!(exchange.content_for_disk(gate).await?) {
                Content::Data(data) => {
                    attempt!(write::write_all(gate, &file, data).await.map_err(failed));
                    self.bytes += data.len() as u64;
                }
                Content::Message(input::Kind::EndOfFile(_)) => break,
                Content::Message(_) => return Ok(Err(Failed::invalid(DOING, &entry.path))),
            }
        }
        let (user, group) = self
            .owner
            .as_ref()
            .map_or((0, 0), |owner| (owner.user_id, owner.group_id));
        let placed = write::own(&file, user, group)
            .and_then(|()| fs::fchmod(&file, Mode::from_raw_mode(entry.mode)))
            .and_then(|()| fs::futimens(&file, &timestamps(entry.modified_nanoseconds)))
            .and_then(|()| unfinished.place(name));
        Ok(placed.map_err(failed))
    }

    /// The directory and the name of an entry.
    fn locate(&self, path: &[u8]) -> Outcome<(OwnedFd, CString)> {
        let invalid = || Failed::invalid("reading an entry's path", path);
        let bad = |part: &[u8]| matches!(part, b"" | b"." | b"..") || part.contains(&0);
        if path.split(|byte| *byte == b'/').any(bad) {
            return Err(invalid());
        }
        let (parent, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&b"."[..], path),
        };
        let name = CString::new(name).map_err(|_| invalid())?;
        let root = self.root.as_ref().ok_or_else(invalid)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let directory = fs::openat2(root, parent, flags, Mode::empty(), resolve)
            .map_err(|errno| Failed::call("entering a directory of a tree", path, errno))?;
        Ok((directory, name))
    }

    fn make_directory(
        &mut self,
        directory: &OwnedFd,
        name: &CStr,
        entry: &TreeEntry,
    ) -> Outcome<()> {
        let failed = |errno| Failed::call("making a directory of a tree", &entry.path, errno);
        let is_new = match fs::mkdirat(directory, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => {
                let stat = fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
                let stat = stat.map_err(failed)?;
                if !FileType::from_raw_mode(stat.st_mode).is_dir() {
                    return Err(failed(Errno::NOTDIR));
                }
                false
            }
            Err(errno) => return Err(failed(errno)),
        };
        let made = open_directory(directory.as_fd(), name, OFlags::NOFOLLOW).map_err(failed)?;
        if entry.path.is_empty() {
            self.root = Some(made.try_clone().map_err(|_| failed(Errno::MFILE))?);
        }
        if is_new {
            if let Some(owner) = &self.owner {
                write::own(&made, owner.user_id, owner.group_id).map_err(failed)?;
            }
            self.made.push(Made {
                path: entry.path.clone(),
                directory: made,
                mode: entry.mode,
                modified_nanoseconds: entry.modified_nanoseconds,
            });
        }
        Ok(())
    }

    /// Completes the directories that do not hold `path`: nothing more comes into them.
    fn complete_all_but(&mut self, path: Option<&[u8]>) -> Outcome<()> {
        while let Some(made) = self.made.last() {
            let holds = path.is_some_and(|path| {
                made.path.is_empty()
                    || path
                        .strip_prefix(made.path.as_slice())
                        .is_some_and(|rest| rest.first() == Some(&b'/'))
            });
            if holds {
                break;
            }
            fs::fchmod(&made.directory, Mode::from_raw_mode(made.mode))
                .and_then(|()| {
                    fs::futimens(&made.directory, &timestamps(made.modified_nanoseconds))
                })
                .map_err(|errno| Failed::call("completing a directory", &made.path, errno))?;
            self.made.pop();
        }
        Ok(())
    }
}

fn timestamps(nanoseconds: i64) -> Timestamps {
    let time = Timespec {
        tv_sec: nanoseconds.div_euclid(1_000_000_000),
        tv_nsec: nanoseconds.rem_euclid(1_000_000_000),
    };
    Timestamps {
        last_access: time,
        last_modification: time,
    }
}
