//! Guests of a few bytes: ELF files that QEMU starts like a Linux kernel (PVH),
//! in 32-bit protected mode.

use std::path::{Path, PathBuf};

use mvm_vmm::{KernelSpec, MachineSpec};

/// What the guest does as soon as it runs.
#[derive(Clone, Copy)]
pub(crate) enum Guest {
    PowerOff,
    Reset,
    /// Waits for ever.
    Idle,
    /// Writes `kernel ran` to the first serial port, then waits for ever.
    Print,
    /// Counts at [`COUNTER`], until something else than 0 is at [`RESET_ORDER`]: then it resets.
    Count,
}

/// Where a counting guest counts, in its memory.
pub(crate) const COUNTER: u64 = 0x20_0000;
/// Where a counting guest is told to reset.
pub(crate) const RESET_ORDER: u64 = 0x20_1000;

/// Registers of the ACPI device of QEMU's `microvm`: sleep control and reset.
const SLEEP_CONTROL: u32 = 0xfea0_0200;
const RESET: u32 = 0xfea0_0202;
const LOAD_ADDRESS: u32 = 0x10_0000;

impl Guest {
    fn code(self) -> Vec<u8> {
        let store = |address: u32, value: u8| {
            // mov byte [address], value
            let [a, b, c, d] = address.to_le_bytes();
            vec![0xc6, 0x05, a, b, c, d, value]
        };
        let mut code = match self {
            // Sleep type 5 and the enable bit.
            Guest::PowerOff => store(SLEEP_CONTROL, 5 << 2 | 1 << 5),
            Guest::Reset => store(RESET, 0x42),
            Guest::Idle => Vec::new(),
            Guest::Print => {
                // mov dx, 0x3f8; then mov al, byte; out dx, al for each
                let mut code = vec![0x66, 0xba, 0xf8, 0x03];
                for byte in b"kernel ran\n" {
                    code.extend([0xb0, *byte, 0xee]);
                }
                code
            }
            Guest::Count => {
                let [a, b, c, d] = (COUNTER as u32).to_le_bytes();
                // inc dword [COUNTER]
                let mut code = vec![0xff, 0x05, a, b, c, d];
                let [a, b, c, d] = (RESET_ORDER as u32).to_le_bytes();
                // cmp byte [RESET_ORDER], 0; je back to the start
                code.extend([0x80, 0x3d, a, b, c, d, 0, 0x74, 0xf1]);
                code.extend(store(RESET, 0x42));
                code
            }
        };
        // hlt; jmp to it
        code.extend([0xf4, 0xeb, 0xfd]);
        code
    }

    /// An ELF file with one segment of code, and the note that names its entry.
    fn elf(self) -> Vec<u8> {
        const HEADER: u32 = 52;
        const PROGRAM_HEADER: u32 = 32;
        const NOTE: u32 = 20;
        let code = self.code();
        let note_offset = HEADER + 2 * PROGRAM_HEADER;
        let code_offset = note_offset + NOTE;
        let length = code.len() as u32;
        let mut elf = vec![0x7f, b'E', b'L', b'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let half = |elf: &mut Vec<u8>, value: u16| elf.extend(value.to_le_bytes());
        let words = |elf: &mut Vec<u8>, values: &[u32]| {
            values
                .iter()
                .for_each(|value| elf.extend(value.to_le_bytes()));
        };
        half(&mut elf, 2); // executable
        half(&mut elf, 3); // 80386
        words(&mut elf, &[1, LOAD_ADDRESS, HEADER, 0, 0]);
        for value in [HEADER as u16, PROGRAM_HEADER as u16, 2, 40, 0, 0] {
            half(&mut elf, value);
        }
        let loaded = [
            1,
            code_offset,
            LOAD_ADDRESS,
            LOAD_ADDRESS,
            length,
            length,
            5,
            1,
        ];
        words(&mut elf, &loaded);
        words(&mut elf, &[4, note_offset, 0, 0, NOTE, NOTE, 4, 4]);
        // XEN_ELFNOTE_PHYS32_ENTRY
        words(&mut elf, &[4, 4, 18]);
        elf.extend(b"Xen\0");
        words(&mut elf, &[LOAD_ADDRESS]);
        elf.extend(code);
        elf
    }

    /// A machine of this guest, with its files in `directory`.
    pub(crate) fn machine(self, directory: &Path) -> (MachineSpec, KernelSpec) {
        let kernel = KernelSpec {
            kernel: file(directory, "kernel", &self.elf()),
            initramfs: file(directory, "initramfs", &[0; 512]),
            arguments: vec!["mvm.test=1".to_owned()],
            boot_console: None,
        };
        (machine(directory, "disk=1,2"), kernel)
    }
}

/// A machine with a disk of this name.
pub(crate) fn machine(directory: &Path, disk: &str) -> MachineSpec {
    MachineSpec {
        root_image: file(directory, "root, with a comma.erofs", &[0; 4096]),
        disk: Some(file(directory, disk, &[0; 1 << 20])),
        memory_mib: 64,
        vcpus: 1,
    }
}

fn file(directory: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, content).unwrap();
    path
}
