//! Who may speak to the agent, and what a connection makes of the guest: its randomness, clock and
//! names, which a restored or forked guest must not share with another.

use std::cell::Cell;

use mvm_wire::{FailureKind, Hello, HelloReply, PROTOCOL_GENERATION};
use rustix::{
    fs::{self, Mode, OFlags},
    rand::{GetRandomFlags, getrandom},
    time::{ClockId, Timespec, clock_settime},
};

use crate::{
    Agent,
    failure::{Failed, Outcome},
    kernel_calls,
};

const KEY_BYTES: usize = 32;
/// As much as the host must give to credit the guest's random source.
const MIN_ENTROPY_BYTES: usize = 32;
/// `HOST_NAME_MAX` of Linux.
const MAX_HOSTNAME_BYTES: usize = 64;
const MACHINE_ID_DIGITS: usize = 32;
const SAMPLE_BYTES: usize = 16;

/// The agent's key, given by its first connection.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    key: Cell<Option<[u8; KEY_BYTES]>>,
    renewals: Cell<u64>,
}

impl Identity {
    /// How often a hello ended a freeze: the guest has perhaps been another one since.
    pub(crate) fn renewals(&self) -> u64 {
        self.renewals.get()
    }

    /// Accepts a connection, or says why not. The whole request is checked before anything of it
    /// takes effect, and processes that were frozen run when all of it has.
    pub(crate) fn accept(&self, agent: &Agent, hello: &Hello) -> Outcome<HelloReply> {
        if hello.generation != PROTOCOL_GENERATION {
            let doing = "agreeing on the protocol's generation";
            let subject = hello.generation.to_string();
            return Err(Failed::new(FailureKind::Unsupported, doing, subject));
        }
        let Ok(key) = <[u8; KEY_BYTES]>::try_from(hello.key.as_slice()) else {
            return Err(Failed::invalid("reading the connection's key", []));
        };
        if let Some(known) = self.key.get()
            && !equal(&known, &key)
        {
            let doing = "checking the connection's key";
            return Err(Failed::new(FailureKind::Unauthenticated, doing, []));
        }
        let next_key = match hello.new_key.as_slice() {
            [] => key,
            new => <[u8; KEY_BYTES]>::try_from(new)
                .map_err(|_| Failed::invalid("reading the new key", []))?,
        };
        if hello.entropy.len() < MIN_ENTROPY_BYTES {
            return Err(Failed::invalid("reading the host's entropy", []));
        }
        check_hostname(&hello.hostname)?;
        check_machine_id(&hello.machine_id)?;
        if agent.settings.owns_machine {
            take_effect(agent, hello)?;
        }
        let random_sample = random_sample()?;
        if agent.freezer.thaw_processes()? {
            self.renewals.set(self.renewals.get() + 1);
        }
        self.key.set(Some(next_key));
        Ok(HelloReply {
            generation: PROTOCOL_GENERATION,
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel_release: rustix::system::uname()
                .release()
                .to_string_lossy()
                .into_owned(),
            boot_steps: agent.settings.boot_steps.clone(),
            random_sample,
        })
    }
}

/// What the guest's random source gives now.
fn random_sample() -> Outcome<Vec<u8>> {
    const DOING: &str = "reading the random source";
    let mut sample = [0; SAMPLE_BYTES];
    match getrandom(&mut sample[..], GetRandomFlags::NONBLOCK) {
        Ok(SAMPLE_BYTES) => Ok(sample.to_vec()),
        Ok(_) => Err(Failed::new(FailureKind::Io, DOING, [])),
        Err(errno) => Err(Failed::call(DOING, [], errno)),
    }
}

/// Compares in a time that does not depend on where the keys differ.
fn equal(one: &[u8; KEY_BYTES], other: &[u8; KEY_BYTES]) -> bool {
    let difference = one
        .iter()
        .zip(other)
        .fold(0, |difference, (one, other)| difference | (one ^ other));
    std::hint::black_box(difference) == 0
}

fn check_hostname(name: &str) -> Outcome<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if name.len() > MAX_HOSTNAME_BYTES || !name.bytes().all(allowed) {
        return Err(Failed::invalid("reading the hostname", name));
    }
    Ok(())
}

fn check_machine_id(id: &str) -> Outcome<()> {
    let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !id.is_empty() && (id.len() != MACHINE_ID_DIGITS || !id.bytes().all(digit)) {
        return Err(Failed::invalid("reading the machine-id", id));
    }
    Ok(())
}

fn take_effect(agent: &Agent, hello: &Hello) -> Outcome<()> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    let entropy = &hello.entropy;
    fs::open(c"/dev/urandom", flags, Mode::empty())
        .and_then(|random| kernel_calls::add_entropy(random, entropy))
        .map_err(|errno| Failed::call("seeding the random source", [], errno))?;
    let nanoseconds = hello.wall_clock_nanoseconds;
    let time = Timespec {
        tv_sec: i64::try_from(nanoseconds / 1_000_000_000).unwrap_or(0),
        tv_nsec: i64::try_from(nanoseconds % 1_000_000_000).unwrap_or(0),
    };
    clock_settime(ClockId::Realtime, time)
        .map_err(|errno| Failed::call("setting the clock", [], errno))?;
    // The names are written to it.
    agent.freezer.thaw_disk()?;
    if !hello.hostname.is_empty() {
        rustix::system::sethostname(hello.hostname.as_bytes())
            .map_err(|errno| Failed::call("setting the hostname", &hello.hostname, errno))?;
        // A convenience: not to know one's own name is no reason to refuse a connection.
        if let Err(errno) = agent.settings.names.write_hosts(&hello.hostname) {
            agent.log.line(&format!("/etc/hosts not written: {errno}"));
        }
    }
    if !hello.machine_id.is_empty() {
        let written = agent.settings.names.write_machine_id(&hello.machine_id);
        written.map_err(|errno| Failed::call("setting the machine-id", [], errno))?;
    }
    Ok(())
}
