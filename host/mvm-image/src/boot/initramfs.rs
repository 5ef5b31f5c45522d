//! The first filesystem of a guest: a cpio archive in the `newc` format
//! (`Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! It is two archives in a row, which the kernel unpacks one after the other: the agent, which
//! changes with this program, and the modules, which change with the kernel. It is not compressed,
//! since unpacking costs the guest more than reading. Equal input gives equal bytes.

use std::fmt::Write as _;

use super::modules::Module;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// A file that does not fit the format's 32-bit sizes.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` has {size} bytes, more than an initramfs can hold")]
pub struct FileTooLarge {
    /// Path in the initramfs.
    pub name: String,
    /// Size, in bytes.
    pub size: usize,
}

/// The archive with `/init` and the two device nodes that must exist before anything is mounted:
/// the kernel gives `/init` its `/dev/console`, and a Rust program without open standard streams
/// reaches for `/dev/null`, and aborts when there is none.
pub(crate) fn agent_archive(agent: &[u8]) -> Result<Vec<u8>, FileTooLarge> {
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "sys"] {
        archive.add(directory, DIRECTORY, (0, 0), b"")?;
    }
    archive.add("dev/console", CHARACTER_DEVICE | 0o600, (5, 1), b"")?;
    archive.add("dev/null", CHARACTER_DEVICE | 0o666, (1, 3), b"")?;
    archive.add("init", PROGRAM, (0, 0), agent)?;
    archive.finish()
}

/// The archive with `/modules/NN-NAME.ko` and `/modules/order`, which lists those file names in
/// load order, one a line.
pub(crate) fn modules_archive(modules: &[Module]) -> Result<Vec<u8>, FileTooLarge> {
    let mut archive = Archive::default();
    let mut order = String::new();
    archive.add("modules", DIRECTORY, (0, 0), b"")?;
    for (index, module) in modules.iter().enumerate() {
        let file = format!("{index:02}-{}.ko", module.name);
        archive.add(&format!("modules/{file}"), FILE, (0, 0), &module.bytes)?;
        order.push_str(&file);
        order.push('\n');
    }
    archive.add("modules/order", FILE, (0, 0), order.as_bytes())?;
    archive.finish()
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(
        &mut self,
        name: &str,
        mode: u32,
        device: (u32, u32),
        content: &[u8],
    ) -> Result<(), FileTooLarge> {
        let size = u32::try_from(content.len()).map_err(|_| FileTooLarge {
            name: name.into(),
            size: content.len(),
        })?;
        self.entries += 1;
        let links = if mode == DIRECTORY { 2 } else { 1 };
        let (major, minor) = device;
        let fields = [
            self.entries, // inode number
            mode,
            0, // owner
            0, // group
            links,
            0, // modification time
            size,
            0, // major number of the device holding the file
            0, // minor number of it
            major,
            minor,
            name.len() as u32 + 1,
            0, // checksum, unused in this variant
        ];
        let mut header = String::from("070701");
        for field in fields {
            write!(header, "{field:08x}").expect("writing to a string cannot fail");
        }
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<u8>, FileTooLarge> {
        self.add("TRAILER!!!", 0, (0, 0), b"")?;
        Ok(self.bytes)
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_end_with_a_trailer() {
        let archive = agent_archive(b"12345").unwrap();
        assert_eq!(archive.len() % 4, 0);
        assert!(archive.windows(10).any(|bytes| bytes == b"TRAILER!!!"));
        assert!(archive.windows(5).any(|bytes| bytes == b"12345"));
    }
}
