//! What a run of `nix` that failed means.

use super::NixError;
use super::program::RunNixError;

pub(super) fn evaluate_failed(flake: &str, source: RunNixError) -> NixError {
    if let Some(error) = fetch_failed(flake, &source) {
        return error;
    }
    NixError::Evaluate {
        flake: flake.into(),
        source,
    }
}

pub(super) fn build_failed(flake: &str, attribute: &str, source: RunNixError) -> NixError {
    if let Some(error) = fetch_failed(flake, &source) {
        return error;
    }
    let (flake, attribute) = (flake.into(), attribute.into());
    match &source {
        RunNixError::Failed { tail, .. } if tail.contains("does not provide attribute") => {
            NixError::NoSuchAttribute {
                flake,
                attribute,
                source,
            }
        }
        _ => NixError::Build {
            flake,
            attribute,
            source,
        },
    }
}

/// What cannot be fetched, if that is why `nix` failed: in its own words, which name the host.
fn fetch_failed(flake: &str, source: &RunNixError) -> Option<NixError> {
    const COMPLAINTS: [&str; 5] = [
        "unable to download",
        "unable to access",
        "Could not resolve host",
        "Couldn't resolve host",
        "in the flake registries",
    ];
    let RunNixError::Failed { tail, .. } = source else {
        return None;
    };
    let complaint = tail.lines().find(|line| {
        // What only slows it down is a warning. What a builder says has its name before it.
        let own = line.starts_with("error: ") || line.starts_with("fatal: ");
        own && COMPLAINTS.iter().any(|complaint| line.contains(complaint))
    })?;
    let input = tail.lines().find_map(|line| {
        let (_, input) = line.split_once("while updating the flake input '")?;
        input.split_once('\'').map(|(input, _)| input.to_owned())
    });
    Some(NixError::Fetch {
        flake: flake.into(),
        input,
        complaint: complaint.into(),
    })
}
