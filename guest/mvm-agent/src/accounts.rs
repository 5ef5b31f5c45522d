//! Users and groups of the image: `/etc/passwd` and `/etc/group`, which are hostile bytes.

use std::path::Path;

use mvm_wire::FailureKind;
use rustix::{fs::Mode, io::Errno};

use crate::{
    failure::{Failed, Outcome},
    whole_file,
};

/// The most of either file that is read.
const MAX_FILE_BYTES: usize = 1024 * 1024;
/// The kernel's `NGROUPS_MAX`.
const MAX_GROUPS: usize = 65536;

/// Where the accounts are.
#[derive(Debug, Clone)]
pub(crate) struct AccountFiles<'a> {
    pub(crate) passwd: &'a Path,
    pub(crate) group: &'a Path,
}

/// A user as a process runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user_id: u32,
    pub(crate) group_id: u32,
    /// Supplementary groups, the primary one included.
    pub(crate) groups: Vec<u32>,
    /// Empty when the user has no entry.
    pub(crate) name: Vec<u8>,
    pub(crate) home: Vec<u8>,
    pub(crate) shell: Vec<u8>,
}

struct PasswdEntry<'a> {
    name: &'a [u8],
    user_id: u32,
    group_id: u32,
    home: &'a [u8],
    shell: &'a [u8],
}

impl AccountFiles<'_> {
    /// Resolves `name`, `uid`, `name:group` or `uid:gid`; empty is root.
    ///
    /// A number needs no entry: its group is then 0 unless given. A named group replaces the
    /// user's primary group and its supplementary ones.
    pub(crate) fn resolve(&self, user: &str) -> Outcome<Account> {
        let (user, group) = match user.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (user, None),
        };
        let user = if user.is_empty() { "0" } else { user };
        let passwd = self.read(self.passwd)?;
        let number = id(user.as_bytes());
        let entry = entries(&passwd)
            .filter_map(passwd_entry)
            .find(|entry| entry.name == user.as_bytes() || number == Some(entry.user_id));
        let mut account = match (entry, number) {
            (Some(entry), _) => Account {
                user_id: entry.user_id,
                group_id: entry.group_id,
                groups: vec![entry.group_id],
                name: entry.name.to_vec(),
                home: absolute_or(entry.home, b"/"),
                shell: absolute_or(entry.shell, b"/bin/sh"),
            },
            (None, Some(user_id)) => Account {
                user_id,
                group_id: 0,
                groups: vec![0],
                name: if user_id == 0 {
                    b"root".to_vec()
                } else {
                    Vec::new()
                },
                home: if user_id == 0 {
                    b"/root".to_vec()
                } else {
                    b"/".to_vec()
                },
                shell: b"/bin/sh".to_vec(),
            },
            (None, None) => {
                return Err(Failed::new(
                    FailureKind::UnknownUser,
                    "looking up a user",
                    user,
                ));
            }
        };
        let groups = self.read(self.group)?;
        match group {
            Some(group) => {
                let number = id(group.as_bytes());
                let found = entries(&groups)
                    .filter_map(group_entry)
                    .find(|(name, ..)| *name == group.as_bytes())
                    .map(|(_, group_id, _)| group_id);
                account.group_id = found.or(number).ok_or_else(|| {
                    Failed::new(FailureKind::UnknownUser, "looking up a group", group)
                })?;
                account.groups = vec![account.group_id];
            }
            None if !account.name.is_empty() => {
                for (_, group_id, members) in entries(&groups).filter_map(group_entry) {
                    let member = members
                        .split(|byte| *byte == b',')
                        .any(|member| member == account.name);
                    if member
                        && !account.groups.contains(&group_id)
                        && account.groups.len() < MAX_GROUPS
                    {
                        account.groups.push(group_id);
                    }
                }
            }
            None => {}
        }
        Ok(account)
    }

    /// A missing file has no entries.
    fn read(&self, path: &Path) -> Outcome<Vec<u8>> {
        match whole_file::read(path, MAX_FILE_BYTES) {
            Ok(bytes) => Ok(bytes),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(Vec::new()),
            Err(errno) => Err(Failed::call(
                "reading the guest's accounts",
                path.as_os_str().as_encoded_bytes(),
                errno,
            )),
        }
    }
}

fn entries(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n')
}

fn passwd_entry(line: &[u8]) -> Option<PasswdEntry<'_>> {
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let _password = fields.next()?;
    let user_id = id(fields.next()?)?;
    let group_id = id(fields.next()?)?;
    let _comment = fields.next()?;
    Some(PasswdEntry {
        name,
        user_id,
        group_id,
        home: fields.next().unwrap_or_default(),
        shell: fields.next().unwrap_or_default(),
    })
}

/// Name, number and members.
fn group_entry(line: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let mut fields = line.split(|byte| *byte == b':');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let _password = fields.next()?;
    let group_id = id(fields.next()?)?;
    Some((name, group_id, fields.next().unwrap_or_default()))
}

/// A user or group number; -1 means "leave it" to the kernel and is none.
fn id(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u32 = std::str::from_utf8(text).ok()?.parse().ok()?;
    (number != u32::MAX).then_some(number)
}

fn absolute_or(path: &[u8], fallback: &[u8]) -> Vec<u8> {
    if path.first() == Some(&b'/') && !path.contains(&0) {
        path.to_vec()
    } else {
        fallback.to_vec()
    }
}

/// The mode of a directory made on the way to something else.
pub(crate) const PARENT_MODE: Mode = Mode::from_raw_mode(0o755);

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(user: &str, passwd: &[u8], group: &[u8]) -> Outcome<Account> {
        let directory = tempfile::tempdir().unwrap();
        let (passwd_path, group_path) = (
            directory.path().join("passwd"),
            directory.path().join("group"),
        );
        std::fs::write(&passwd_path, passwd).unwrap();
        std::fs::write(&group_path, group).unwrap();
        AccountFiles {
            passwd: &passwd_path,
            group: &group_path,
        }
        .resolve(user)
    }

    const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/bash\n\
        garbage\n:x:1:1::/:/x\nbad:x:-1:4294967296::/:\n\
        ann:x:1000:100:Ann,,,:/home/ann:/bin/zsh\n";
    const GROUP: &[u8] = b"root:x:0:\nusers:x:100:\nwheel:x:10:root,ann\nx\nvideo:x:44:ann\n";

    #[test]
    fn a_name_brings_its_groups() {
        let ann = resolve("ann", PASSWD, GROUP).unwrap();
        assert_eq!((ann.user_id, ann.group_id), (1000, 100));
        assert_eq!(ann.groups, [100, 10, 44]);
        assert_eq!(ann.home, b"/home/ann");
        assert_eq!(resolve("1000", PASSWD, GROUP).unwrap(), ann);
        let in_wheel = resolve("ann:wheel", PASSWD, GROUP).unwrap();
        assert_eq!((in_wheel.group_id, in_wheel.groups), (10, vec![10]));
    }

    #[test]
    fn numbers_need_no_entry() {
        let account = resolve("4242:77", PASSWD, GROUP).unwrap();
        assert_eq!((account.user_id, account.group_id), (4242, 77));
        assert_eq!(account.home, b"/");
        assert_eq!(resolve("", b"", b"").unwrap().name, b"root");
    }

    #[test]
    fn what_is_unknown_is_named() {
        for user in [
            "nobody-here",
            "ann:nogroup",
            "4294967295",
            "-1",
            "99999999999",
        ] {
            let failure: mvm_wire::Failure = resolve(user, PASSWD, GROUP).unwrap_err().into();
            assert_eq!(failure.kind(), FailureKind::UnknownUser, "{user}");
        }
    }
}
