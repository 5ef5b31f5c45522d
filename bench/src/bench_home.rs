//! A state directory for one run: what `mvmctl setup` made is copied into it, and no sandbox, spare
//! or template of the user's is in it. It is removed at the end.

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mvm_runtime::{Home, MVM_HOME};

/// What `mvmctl setup` makes, without the template: a template belongs to its state directory.
const PREPARED: [&str; 5] = ["store", "layouts", "boot", "disks", "cache"];

#[derive(Debug)]
pub(crate) struct BenchHome {
    root: PathBuf,
    mvmctl: PathBuf,
}

impl BenchHome {
    /// Fills a directory that is ours from the user's state directory, which it then prepares.
    pub(crate) fn fill(root: &Path, mvmctl: &Path) -> Result<Self, Box<dyn Error>> {
        let prepared = Home::locate()?;
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        if prepared.canonicalize().is_ok_and(|path| path == root) {
            return Err("the bench's own state directory must not be `MVM_HOME`".into());
        }
        let home = Self {
            root,
            mvmctl: mvmctl.to_owned(),
        };
        // What a run that was killed left.
        home.clear();
        fs::create_dir_all(&home.root)?;
        for name in PREPARED {
            let copied = Command::new("cp")
                .args(["--recursive", "--sparse=always", "--reflink=auto"])
                .arg(prepared.join(name))
                .arg(&home.root)
                .status()?;
            if !copied.success() {
                let place = prepared.display();
                return Err(format!("`{place}` is not prepared: `mvmctl setup`").into());
            }
        }
        let status = home.mvmctl(&["setup", "--quiet"]).status()?;
        if !status.success() {
            return Err("`mvmctl setup` failed in the bench's own state directory".into());
        }
        Ok(home)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.root
    }

    pub(crate) fn mvmctl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.mvmctl);
        command.args(arguments).env(MVM_HOME, &self.root);
        command.stdin(Stdio::null());
        command
    }

    /// Ends what still lives in it, and removes it.
    fn clear(&self) {
        for arguments in [&["destroy", "--all"][..], &["pool", "drain"]] {
            let mut command = self.mvmctl(arguments);
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("failed to remove `{}`: {error}", self.root.display());
        }
    }
}

impl Drop for BenchHome {
    fn drop(&mut self) {
        self.clear();
    }
}
