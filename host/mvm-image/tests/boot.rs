//! The way from Debian's archive to what a guest starts from, with the real `mmdebstrap`, the real
//! kernel package and, as the last word, a real boot.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use mvm_image::{Progress, boot, debian};

struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// Debian's kernel package, fetched once for all runs of the tests.
fn kernel_package() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let package = directory.join("kernel.tar");
    let lock = File::create(directory.join("kernel.tar.lock")).unwrap();
    lock.lock().unwrap();
    if !package.exists() {
        debian::fetch_kernel(&package, &Silent)
            .unwrap_or_else(|error| panic!("{error:?}\nhint: {:?}", error.hint()));
    }
    package
}

fn files(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn debians_kernel_becomes_boot_artifacts() {
    let package = kernel_package();
    let home = tempfile::tempdir().unwrap();
    let (one, two) = (home.path().join("one"), home.path().join("two"));
    assert!(boot::current(&one).unwrap().is_none());

    let made = boot::prepare(&package, &one).unwrap();
    assert_eq!(boot::current(&one).unwrap().as_ref(), Some(&made));
    made.verify().unwrap();
    assert!(made.kernel_version.ends_with("-cloud-amd64"));

    let again = boot::prepare(&package, &two).unwrap();
    assert_eq!(made.kernel_digest, again.kernel_digest);
    assert_eq!(made.initramfs_digest, again.initramfs_digest);
    assert_eq!(files(&one).len(), 5, "{:?}", files(&one));

    // `cpio` is the oracle for the archive; it stops at the end of the first of the two.
    let listing = Command::new("cpio")
        .args(["--list", "--quiet", "--verbose", "--numeric-uid-gid"])
        .stdin(File::open(&made.initramfs).unwrap())
        .output()
        .expect("apt-get install cpio");
    let listing = String::from_utf8(listing.stdout).unwrap();
    assert!(listing.contains("5,   1"), "{listing}");
    assert!(
        listing
            .lines()
            .any(|line| line.starts_with("-rwxr-xr-x") && line.ends_with(" init")),
        "{listing}"
    );

    let order = modules(&made.initramfs);
    for (first, then) in [
        ("virtio_ring", "virtio"),
        ("virtio", "virtio_mmio"),
        ("libcrc32c", "erofs"),
    ] {
        let place = |name: &str| {
            order
                .iter()
                .position(|file| file.ends_with(&format!("-{name}.ko")))
        };
        assert!(place(first) < place(then), "{order:?}");
    }
}

/// The lines of `/modules/order` in the second archive of an initramfs.
fn modules(initramfs: &Path) -> Vec<String> {
    let bytes = fs::read(initramfs).unwrap();
    let name = b"modules/order\0";
    let at = bytes
        .windows(name.len())
        .position(|found| found == name)
        .unwrap();
    let end = at
        + bytes[at..]
            .windows(10)
            .position(|found| found == b"TRAILER!!!")
            .unwrap();
    String::from_utf8_lossy(&bytes[at + name.len()..end])
        .lines()
        .map(|line| line.trim_start_matches('\0').to_owned())
        .filter(|line| line.ends_with(".ko"))
        .collect()
}

#[test]
fn another_agent_is_replaced_without_the_package() {
    let home = tempfile::tempdir().unwrap();
    let made = boot::prepare(&kernel_package(), home.path()).unwrap();
    let record = home.path().join("boot.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(
        &record,
        text.replace(&made.agent_digest.hex(), &"0".repeat(64)),
    )
    .unwrap();
    fs::remove_file(&made.initramfs).unwrap();
    assert_eq!(boot::current(home.path()).unwrap(), Some(made.clone()));
    made.verify().unwrap();
}

#[test]
fn damage_is_named() {
    let home = tempfile::tempdir().unwrap();
    let made = boot::prepare(&kernel_package(), home.path()).unwrap();
    fs::remove_file(&made.initramfs).unwrap();
    fs::write(&made.initramfs, b"short").unwrap();
    let error = boot::current(home.path()).unwrap_err();
    assert!(
        matches!(&error, boot::BootArtifactsError::Changed { path } if *path == made.initramfs)
    );
    assert!(error.hint().unwrap().contains("mvmctl setup"));
}

#[test]
fn writers_at_once_agree_and_leave_nothing() {
    let package = kernel_package();
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path()).unwrap();
    fs::write(home.path().join(".unfinished-of-a-dead-writer"), b"x").unwrap();
    let digests: Vec<_> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    boot::prepare(&package, home.path())
                        .unwrap()
                        .initramfs_digest
                })
            })
            .collect();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]));
    let left = files(home.path());
    assert!(
        !left.iter().any(|name| name.starts_with(".unfinished")),
        "{left:?}"
    );
}

#[test]
fn packages_that_are_none_are_refused_by_name() {
    let home = tempfile::tempdir().unwrap();
    let out = home.path().join("boot");
    let absent = boot::prepare(&home.path().join("absent.tar"), &out).unwrap_err();
    assert!(absent.to_string().contains("absent.tar"));

    let mut package = Vec::new();
    File::open(kernel_package())
        .unwrap()
        .take(1 << 20)
        .read_to_end(&mut package)
        .unwrap();
    let truncated = home.path().join("truncated.tar");
    fs::write(&truncated, &package).unwrap();
    boot::prepare(&truncated, &out).unwrap_err();
    fs::write(&truncated, vec![0xa5; 1 << 16]).unwrap();
    boot::prepare(&truncated, &out).unwrap_err();
    assert!(!out.exists());
}
