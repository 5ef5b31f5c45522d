//! Feeds the compiler sources that are bent in every way. See `README.md`.
#![forbid(unsafe_code)]

mod bend;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use bend::{Random, bend, pieces};
use mvm_compiler::{Severity, SourceFile, compile, to_javascript};

const MAX_TIME: Duration = Duration::from_secs(10);
const MAX_MEMORY_KIB: u64 = 200 * 1024;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [language, seconds, seed @ ..] = arguments.as_slice() else {
        return Err("usage: mvm-compiler-fuzz python|typescript|rust SECONDS [SEED]".into());
    };
    let names: &[&str] = match language.as_str() {
        "python" => &["app.py"],
        "typescript" => &["app.ts", "app.tsx", "app.js", "app.cjs"],
        "rust" => &["app.rs"],
        other => return Err(format!("`{other}` is no language of the compiler").into()),
    };
    let corpus = corpus(language)?;
    let pieces = pieces(&corpus);
    let mut random = Random::new(seed.first().map_or(Ok(1), |it| it.parse())?);
    let at_hand = at_hand(language)?;
    let until = Instant::now() + Duration::from_secs(seconds.parse()?);
    let (mut count, mut workloads, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    while Instant::now() < until {
        let text = bend(&mut random, &corpus, &pieces);
        let name = names[random.below(names.len())];
        fs::write(&at_hand, &text)?;
        let begun = Instant::now();
        let source = SourceFile {
            path: name.to_owned(),
            text,
        };
        let compiled = compile(std::slice::from_ref(&source));
        let javascript = (language == "typescript").then(|| to_javascript(&source));
        let took = begun.elapsed();
        let said = &compiled.diagnostics;
        if said.iter().any(|it| it.code == "E_INTERNAL") {
            return Err(format!("the compiler failed on {} ({name})", at_hand.display()).into());
        }
        let refused = javascript.and_then(Result::err).unwrap_or_default();
        if refused.iter().any(|it| it.code == "E_INTERNAL") {
            return Err(format!("no JavaScript of {} ({name})", at_hand.display()).into());
        }
        let failed = said.iter().any(|it| it.severity == Severity::Error);
        if failed == compiled.workload.is_some() {
            return Err(format!("an error and a workload from {}", at_hand.display()).into());
        }
        if took > MAX_TIME {
            return Err(format!("{took:?} for {} ({name})", at_hand.display()).into());
        }
        let memory = peak_memory_kib()?;
        if memory > MAX_MEMORY_KIB {
            return Err(format!("{memory} KiB for {} ({name})", at_hand.display()).into());
        }
        count += 1;
        workloads += u64::from(compiled.workload.is_some());
        slowest = slowest.max(took);
    }
    println!(
        "{language}: {count} texts, {workloads} of them workloads, slowest {} ms, peak {} MiB",
        slowest.as_millis(),
        peak_memory_kib()? / 1024
    );
    fs::remove_file(&at_hand)?;
    Ok(())
}

fn at_hand(language: &str) -> Result<PathBuf, Box<dyn Error>> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    fs::create_dir_all(&target)?;
    Ok(target.join(format!("fuzz-{language}.txt")))
}

/// The sources of one language in the case suite.
fn corpus(language: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let cases =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../host/mvm-compiler/tests/cases");
    let mut paths: Vec<_> = fs::read_dir(cases)?
        .map(|entry| entry.map(|it| it.path()))
        .collect::<Result<_, _>>()?;
    paths.sort();
    let start = format!("\n```{language}\n");
    let mut sources = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path)?;
        for block in text.split(&start).skip(1) {
            let end = block.find("\n```").unwrap_or(block.len());
            sources.extend(block.get(..end).map(str::to_owned));
        }
    }
    if sources.is_empty() {
        return Err("there are no cases".into());
    }
    Ok(sources)
}

/// The most memory this process had, in KiB.
fn peak_memory_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.ok_or("the kernel does not say how much memory was used")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}
