//! What projects are made of.

/// A kind of project to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// A function in Python, with a test that calls it without a microVM.
    Python,
    /// A function in TypeScript, with a test that calls it without a microVM.
    Node,
    /// A command that is kept up, in Python.
    Worker,
}

/// The files of an example, by their names in its directory.
type Files = &'static [(&'static str, &'static str)];

macro_rules! example {
    ($example:literal: $($name:literal),* $(,)?) => {
        ($example, &[$((
            $name,
            include_str!(concat!("../../../../examples/", $example, "/", $name)),
        )),*])
    };
}

const PYTHON: (&str, Files) = example!("python-function": "app.py", "test_app.py", "README.md");
const NODE: (&str, Files) = example!(
    "typescript-function": "app.ts", "app.test.ts", "package.json", "README.md",
);
const WORKER: (&str, Files) = example!("command-worker": "app.py", "worker.py", "README.md");

impl Template {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Python, Self::Node, Self::Worker];

    /// The example that it is.
    #[must_use]
    pub const fn example(self) -> &'static str {
        self.parts().0
    }

    const fn parts(self) -> (&'static str, Files) {
        match self {
            Self::Python => PYTHON,
            Self::Node => NODE,
            Self::Worker => WORKER,
        }
    }

    /// Its files for a workload of this name. An example's own name is its directory's, and means
    /// nothing else in its files.
    pub(super) fn files(self, workload: &str) -> Vec<(&'static str, String)> {
        let (example, files) = self.parts();
        let named = |text: &str| text.replace(example, workload);
        files
            .iter()
            .map(|(name, text)| (*name, named(text)))
            .collect()
    }
}
