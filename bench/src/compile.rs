//! Compiling a long file, beside what only parses it (`python3 -c 'import ast; …'`) or checks its types
//! (`tsc --noEmit`).

mod sources;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use mvm_compiler::{SourceFile, compile};

use crate::{
    bench::{Bench, Outcome, run},
    samples::Samples,
};

/// How long the files are.
const LINES: usize = 2000;
/// The TypeScript that `npm ci` installs.
const TSC: &str = "sdk/typescript/node_modules/.bin/tsc";
/// The types of the SDK, as `npm run build` writes them.
const SDK_TYPES: &str = "sdk/typescript/dist/index.d.ts";

pub(crate) fn measure(bench: &mut Bench) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let python = folder.path().join("long.py");
    fs::write(&python, sources::python(LINES))?;
    let parse = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
    let peer = |file: &Path| {
        let mut command = Command::new("python3");
        command.args(["-c", parse]).arg(file);
        Ok(Some(command))
    };
    beside(bench, &python, "python3: ast.parse", peer)?;

    let typescript = folder.path().join("long.ts");
    fs::write(&typescript, sources::typescript(LINES))?;
    beside(bench, &typescript, "tsc --noEmit", |file| {
        tsc(folder.path(), file)
    })
}

/// `tsc` over a file; none where it or the types of the SDK are not there.
fn tsc(folder: &Path, file: &Path) -> io::Result<Option<Command>> {
    let (Ok(tsc), Ok(types)) = (
        Path::new(TSC).canonicalize(),
        Path::new(SDK_TYPES).canonicalize(),
    ) else {
        return Ok(None);
    };
    let node_types = tsc.ancestors().nth(3).map(|modules| modules.join("@types"));
    let project = serde_json::json!({
        "compilerOptions": {
            "strict": true, "noEmit": true, "skipLibCheck": true,
            "target": "es2022", "module": "nodenext",
            "typeRoots": [node_types], "types": ["node"],
            "paths": { "@mvm/sdk": [types] },
        },
        "files": [file],
    });
    let path = folder.join("tsconfig.json");
    fs::write(&path, project.to_string())?;
    fs::write(folder.join("package.json"), r#"{"type": "module"}"#)?;
    let mut command = Command::new(tsc);
    command.arg("-p").arg(path);
    Ok(Some(command))
}

fn beside(
    bench: &mut Bench,
    file: &Path,
    peer_name: &str,
    peer: impl Fn(&Path) -> io::Result<Option<Command>>,
) -> Outcome<()> {
    let text = fs::read_to_string(file)?;
    let (lines, name) = (text.lines().count(), file_name(file));
    let files = [SourceFile {
        path: name.clone(),
        text,
    }];
    let (mut whole, mut own, mut beside) = <(Samples, Samples, Samples)>::default();
    let path = file.display().to_string();
    for _ in 0..bench.sizes.starts {
        bench.rest()?;
        whole.time(|| run(bench.command(&["check", &path])));
        own.time(|| match compile(&files).workload {
            Some(_) => Ok(()),
            None => Err(format!("`{name}` does not compile")),
        });
        if let Some(mut command) = peer(file)? {
            command.stdin(Stdio::null());
            beside.time(|| run(command));
        }
    }
    let report = &mut bench.report;
    let checked = format!("mvmctl check {name}, {lines} lines");
    let peer_name = format!("peer: {peer_name} {name}");
    report.add(&checked, whole);
    report.add(&format!("the compiler alone, {name}"), own);
    if beside.values.is_empty() {
        report.remark(format!(
            "`{peer_name}` is not there: `make check` installs it"
        ));
        return Ok(());
    }
    report.add(&peer_name, beside);
    let ratio = report.median(&checked) / report.median(&peer_name);
    report.figure(&format!("{checked} over {peer_name}"), ratio, "x");
    Ok(())
}

fn file_name(path: &Path) -> String {
    let name = path.file_name().map(PathBuf::from).unwrap_or_default();
    name.display().to_string()
}
