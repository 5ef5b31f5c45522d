//! A request to start a process, checked and resolved against the guest.

use std::{
    ffi::{CStr, CString, c_char},
    path::Path,
    ptr,
};

use mvm_wire::{FailureKind, StartProcess};
use rustix::{
    fs::{self, AtFlags, CWD, FileType, OFlags},
    io::Errno,
};

use crate::{
    accounts::{Account, AccountFiles},
    failure::{Failed, Outcome},
    whole_file,
};

const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Open files a process may have unless the request says otherwise: the soft limit programs that
/// use `select(2)` live with, and as a hard one the agent's own.
const OPEN_FILES: u64 = 1024;
/// Resources of `setrlimit(2)` on Linux.
const RESOURCES: u32 = 16;

/// What will be executed, and as whom.
pub(super) struct Command {
    pub(super) account: Account,
    pub(super) program: CString,
    pub(super) arguments: Vec<CString>,
    pub(super) environment: Vec<CString>,
    pub(super) working_directory: CString,
    pub(super) limits: Vec<(u32, libc::rlimit64)>,
}

impl Command {
    pub(super) fn resolve(request: &StartProcess, accounts: &AccountFiles<'_>) -> Outcome<Self> {
        let Some(program) = request.arguments.first().filter(|name| !name.is_empty()) else {
            return Err(Failed::invalid("reading the program's name", []));
        };
        let arguments = request
            .arguments
            .iter()
            .map(|argument| text(argument, "reading the arguments"))
            .collect::<Outcome<Vec<_>>>()?;
        let limits = limits(request)?;
        let account = accounts.resolve(&request.user)?;
        let working_directory = working_directory(&request.working_directory, &account)?;
        let variables = environment(request, &account)?;
        let path = variables
            .iter()
            .find_map(|(name, value)| (*name == b"PATH").then_some(*value))
            .unwrap_or_default();
        let program = if program.contains(&b'/') {
            text(program, "reading the program's name")?
        } else {
            search(program, path, &working_directory)?
        };
        let environment = variables
            .iter()
            .map(|(name, value)| {
                let mut line = Vec::with_capacity(name.len() + value.len() + 1);
                line.extend_from_slice(name);
                line.push(b'=');
                line.extend_from_slice(value);
                text(&line, "reading the environment")
            })
            .collect::<Outcome<Vec<_>>>()?;
        Ok(Self {
            program,
            arguments,
            environment,
            working_directory,
            limits,
            account,
        })
    }

    /// The same command, run by the shell because the program is a script without an interpreter
    /// line. `None` when it is not text: then it is a program for something else.
    pub(super) fn through_shell(self) -> Option<Self> {
        let head = whole_file::read(Path::new(self.program.to_str().ok()?), 512).ok()?;
        if head.contains(&0) || head.is_empty() {
            return None;
        }
        let mut arguments = vec![c"sh".to_owned(), self.program];
        arguments.extend(self.arguments.into_iter().skip(1));
        Some(Self {
            program: c"/bin/sh".to_owned(),
            arguments,
            ..self
        })
    }
}

/// Pointers to `texts`, ended by null as `execve(2)` wants them.
pub(super) fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts
        .iter()
        .map(|text| text.as_ptr())
        .chain([ptr::null()])
        .collect()
}

/// A text without NUL.
fn text(bytes: &[u8], doing: &'static str) -> Outcome<CString> {
    CString::new(bytes).map_err(|_| Failed::invalid(doing, bytes))
}

fn limits(request: &StartProcess) -> Outcome<Vec<(u32, libc::rlimit64)>> {
    let own = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let hard = own.maximum.unwrap_or(u64::MAX);
    let open_files = libc::rlimit64 {
        rlim_cur: OPEN_FILES.min(hard),
        rlim_max: hard,
    };
    let mut limits = vec![(libc::RLIMIT_NOFILE, open_files)];
    for limit in &request.limits {
        if limit.resource >= RESOURCES || limit.soft > limit.hard {
            return Err(Failed::invalid(
                "reading a resource limit",
                limit.resource.to_string(),
            ));
        }
        let value = libc::rlimit64 {
            rlim_cur: limit.soft,
            rlim_max: limit.hard,
        };
        limits.push((limit.resource, value));
    }
    Ok(limits)
}

fn working_directory(wanted: &[u8], account: &Account) -> Outcome<CString> {
    const DOING: &str = "reading the working directory";
    if !wanted.is_empty() {
        if wanted[0] != b'/' {
            return Err(Failed::invalid(DOING, wanted));
        }
        return text(wanted, DOING);
    }
    let home = text(&account.home, DOING)?;
    let is_directory =
        fs::stat(home.as_c_str()).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
    Ok(if is_directory { home } else { c"/".to_owned() })
}

/// The defaults, and over them what the request says; the last of equal names counts.
fn environment<'a>(
    request: &'a StartProcess,
    account: &'a Account,
) -> Outcome<Vec<(&'a [u8], &'a [u8])>> {
    let mut variables: Vec<(&[u8], &[u8])> = vec![
        (b"PATH", DEFAULT_PATH),
        (b"HOME", &account.home),
        (b"SHELL", &account.shell),
    ];
    if !account.name.is_empty() {
        variables.push((b"USER", &account.name));
        variables.push((b"LOGNAME", &account.name));
    }
    if request.terminal.is_some() {
        variables.push((b"TERM", b"xterm-256color"));
    }
    let defaults = variables.len();
    for variable in &request.environment {
        let name = variable.name.as_slice();
        if name.is_empty() || name.contains(&b'=') || name.contains(&0) {
            return Err(Failed::invalid("reading the environment", name));
        }
        // Replacing only among the defaults keeps this linear; equal names of the request are
        // settled below.
        match variables[..defaults]
            .iter_mut()
            .find(|(known, _)| *known == name)
        {
            Some((_, value)) => *value = &variable.value,
            None => variables.push((name, &variable.value)),
        }
    }
    let mut own = variables.split_off(defaults);
    own.reverse();
    own.sort_by_key(|(name, _)| *name);
    own.dedup_by(|(later, _), (earlier, _)| later == earlier);
    variables.append(&mut own);
    Ok(variables)
}

/// Finds `program` in `path`, as `execvp(3)` does; an empty or relative part is meant from the
/// working directory.
fn search(program: &[u8], path: &[u8], working_directory: &CStr) -> Outcome<CString> {
    const DOING: &str = "looking for the program";
    let base = fs::openat(
        CWD,
        working_directory,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        fs::Mode::empty(),
    )
    .map_err(|errno| {
        Failed::call(
            "entering the working directory",
            working_directory.to_bytes(),
            errno,
        )
        .with_kind(FailureKind::WorkingDirectory)
    })?;
    let mut forbidden = None;
    for directory in path.split(|byte| *byte == b':') {
        let mut candidate = directory.to_vec();
        if directory.is_empty() {
            candidate.push(b'.');
        }
        candidate.push(b'/');
        candidate.extend_from_slice(program);
        let candidate = text(&candidate, DOING)?;
        match fs::statat(&base, candidate.as_c_str(), AtFlags::empty()) {
            Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_dir() => {}
            Ok(stat) if stat.st_mode & 0o111 != 0 => return Ok(candidate),
            Ok(_) => forbidden = Some(Errno::ACCESS),
            Err(_) => {}
        }
    }
    Err(match forbidden {
        Some(errno) => Failed::call(DOING, program, errno).with_kind(FailureKind::NotExecutable),
        None => Failed::call(DOING, program, Errno::NOENT),
    })
}
