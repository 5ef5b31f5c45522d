//! What this host can do and what it lacks.

use mvm_contract::spec::DEFAULT_IMAGE;
use mvm_image::boot;
use mvm_vmm::accelerator::Isolation;
pub use mvm_vmm::doctor::{Check, Status};

use crate::{Runtime, causes};

impl Runtime {
    /// Examines this host: each fact with its cause and its remedy.
    #[must_use]
    pub fn examine(&self) -> Vec<Check> {
        let home = &self.home;
        let mut checks = mvm_vmm::doctor::examine(&home.cache(), None, home.root());
        checks.push(self.examine_kernel());
        checks.push(self.examine_image());
        checks.push(examine_mke2fs());
        checks
    }

    /// Why guests are emulated on this host; `None` when they are not, or when that cannot be told.
    #[must_use]
    pub fn emulation_reason(&self) -> Option<String> {
        let host = mvm_vmm::Host::detect(&self.home.cache(), None).ok()?;
        let choice = host.accelerator();
        (choice.isolation == Isolation::Emulated).then(|| choice.reason.clone())
    }

    fn examine_kernel(&self) -> Check {
        let verified = boot::current(&self.home.boot()).and_then(|artifacts| match artifacts {
            Some(artifacts) => artifacts.verify().map(|()| Some(artifacts)),
            None => Ok(None),
        });
        match verified {
            Ok(Some(artifacts)) => Check::ok(
                "kernel",
                format!("Linux {}, as it was made", artifacts.kernel_version),
            ),
            Ok(None) => fail(
                "kernel",
                "none",
                "this host was not prepared",
                "run `mvmctl setup`",
            ),
            Err(error) => {
                let cause = causes(&error).join(": ");
                fail("kernel", "unusable", cause, "run `mvmctl setup --force`")
            }
        }
    }

    fn examine_image(&self) -> Check {
        let layout = self.home.layouts().join("python");
        if layout.is_dir() {
            Check::ok(
                "image",
                format!("`{DEFAULT_IMAGE}` at `{}`", layout.display()),
            )
        } else {
            fail(
                "image",
                "none",
                "this host was not prepared",
                "run `mvmctl setup`",
            )
        }
    }
}

fn examine_mke2fs() -> Check {
    match crate::disk::find_mke2fs() {
        Some(path) => Check::ok("mke2fs", format!("`{}`", path.display())),
        None => fail(
            "mke2fs",
            "none",
            "sandbox disks are made with it",
            "install it: `apt-get install e2fsprogs`",
        ),
    }
}

fn fail(code: &str, found: &str, cause: impl Into<String>, remedy: &str) -> Check {
    Check::problem(code, Status::Fail, found, cause, Some(remedy.to_owned()))
}
