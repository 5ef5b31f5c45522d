//! The rules of one app, but those of its network and entrypoints.

use super::{Report, entrypoint, escaped, is_path_below, network, storage};
use crate::{
    plan::ImageSourceKind,
    spec::validate_variable,
    workload::{
        App, Dependencies, EnvironmentValue, HealthCheck, Hooks, Image, Source, Workload,
        WorkloadFlaw,
    },
};
use std::collections::{BTreeMap, BTreeSet};

/// The longest name of a secret, in bytes.
const MAX_SECRET_NAME: usize = 128;

pub(super) fn check(workload: &Workload, app: &App, at: &str, report: &mut Report) {
    report.name(&format!("{at}/name"), "an app", &app.name);
    if let Some(source) = &app.source {
        check_source(source, &format!("{at}/source"), report);
    }
    check_image(&app.image, &format!("{at}/image"), report);
    entrypoint::check(app, &format!("{at}/entrypoints"), report);
    if let Err(error) = app.resources.validate() {
        report.add(format!("{at}/resources"), error.into());
    }
    check_environment(&app.environment, &format!("{at}/environment"), report);
    storage::check_mounts(workload, &app.mounts, &format!("{at}/mounts"), report);
    network::check(&app.network, &format!("{at}/network"), report);
    check_dependencies(&app.dependencies, &format!("{at}/dependencies"), report);
    check_hooks(&app.hooks, &format!("{at}/hooks"), report);
    if let Some(health) = &app.health_check {
        check_health(health, &format!("{at}/health_check"), report);
    }
    storage::check_files(&app.files, &format!("{at}/files"), report);
    check_order(workload, app, &format!("{at}/depends_on"), report);
}

fn check_source(source: &Source, at: &str, report: &mut Report) {
    let Source::Local {
        path,
        include,
        exclude,
    } = source;
    report.ensure(&format!("{at}/path"), is_path_below(path), || {
        WorkloadFlaw::SourcePath { path: path.clone() }
    });
    report.ensure(&format!("{at}/include"), !include.is_empty(), || {
        WorkloadFlaw::SourceEmpty
    });
    for (list, patterns) in [("include", include), ("exclude", exclude)] {
        for (index, pattern) in patterns.iter().enumerate() {
            report.ensure(
                &format!("{at}/{list}/{index}"),
                is_path_below(pattern),
                || WorkloadFlaw::SourceGlob {
                    pattern: pattern.clone(),
                },
            );
        }
    }
}

fn check_image(image: &Image, at: &str, report: &mut Report) {
    match image {
        Image::Source { reference } => {
            let known = ImageSourceKind::of(reference).is_some()
                && reference.len() <= 1024
                && !reference.contains(char::is_control);
            report.ensure(&format!("{at}/reference"), known, || {
                WorkloadFlaw::ImageReference {
                    reference: reference.clone(),
                }
            });
        }
        Image::Python { version, packages } | Image::Node { version, packages } => {
            report.ensure(&format!("{at}/version"), is_version(version), || {
                WorkloadFlaw::ImageVersion {
                    version: version.clone(),
                }
            });
            check_packages(packages, at, report);
        }
        Image::NixPackages { packages } => {
            report.ensure(&format!("{at}/packages"), !packages.is_empty(), || {
                WorkloadFlaw::ImagePackage {
                    package: String::new(),
                }
            });
            check_packages(packages, at, report);
        }
    }
}

fn check_packages(packages: &[String], at: &str, report: &mut Report) {
    let at = format!("{at}/packages");
    report.distinct(&at, "package", packages.iter().map(String::as_str));
    for (index, package) in packages.iter().enumerate() {
        let valid = (1..=128).contains(&package.len())
            && package.bytes().all(|byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'+')
            });
        report.ensure(&format!("{at}/{index}"), valid, || {
            WorkloadFlaw::ImagePackage {
                package: package.clone(),
            }
        });
    }
}

/// Digits between dots.
fn is_version(text: &str) -> bool {
    text.len() <= 32
        && text
            .split('.')
            .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

pub(super) fn check_environment(
    environment: &BTreeMap<String, EnvironmentValue>,
    at: &str,
    report: &mut Report,
) {
    for (name, value) in environment {
        let at = format!("{at}/{}", escaped(name));
        let text = match value {
            EnvironmentValue::Literal { value } => value.as_str(),
            EnvironmentValue::Secret { .. } => "",
        };
        let valid = validate_variable(name, text).is_ok() && !name.contains(char::is_control);
        report.ensure(&at, valid, || WorkloadFlaw::Variable { name: name.clone() });
        if let EnvironmentValue::Secret { name, hosts, .. } = value {
            let named = (1..=MAX_SECRET_NAME).contains(&name.len())
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
            report.ensure(&format!("{at}/name"), named, || WorkloadFlaw::SecretName {
                name: name.clone(),
            });
            report.ensure(&format!("{at}/hosts"), !hosts.is_empty(), || {
                WorkloadFlaw::SecretWithoutHosts { name: name.clone() }
            });
            for (index, host) in hosts.iter().enumerate() {
                network::check_host(host, &format!("{at}/hosts/{index}"), report);
            }
        }
    }
}

fn check_dependencies(dependencies: &Dependencies, at: &str, report: &mut Report) {
    let (Dependencies::Python { lockfile, .. } | Dependencies::Node { lockfile, .. }) =
        dependencies
    else {
        return;
    };
    let valid = is_path_below(lockfile) && lockfile != ".";
    report.ensure(&format!("{at}/lockfile"), valid, || {
        WorkloadFlaw::SourcePath {
            path: lockfile.clone(),
        }
    });
}

fn check_hooks(hooks: &Hooks, at: &str, report: &mut Report) {
    for (name, list) in hooks.lists() {
        for (index, hook) in list.iter().enumerate() {
            let at = format!("{at}/{name}/{index}");
            let arguments = hook.run.arguments();
            // The line of a shell hook stands last; an empty one runs nothing.
            let runs = arguments.last().is_some_and(|last| !last.is_empty())
                || arguments.len() > 1 && arguments[0] != "/bin/sh";
            report.ensure(&format!("{at}/run"), runs, || WorkloadFlaw::Command);
            report.command(&format!("{at}/run"), &arguments);
            if let Some(directory) = &hook.working_directory {
                entrypoint::check_directory(directory, &at, report);
            }
            check_environment(&hook.environment, &format!("{at}/environment"), report);
            report.seconds(&at, "timeout_seconds", hook.timeout_seconds);
        }
    }
}

fn check_health(health: &HealthCheck, at: &str, report: &mut Report) {
    report.command(&format!("{at}/command"), &health.command);
    report.seconds(at, "interval_seconds", health.interval_seconds);
    report.seconds(at, "timeout_seconds", health.timeout_seconds);
    report.ensure(&format!("{at}/retries"), health.retries > 0, || {
        WorkloadFlaw::Retries
    });
    if health.start_period_seconds > 0 {
        report.seconds(at, "start_period_seconds", health.start_period_seconds);
    }
}

/// What an app waits for is there, and does not wait for the app.
fn check_order(workload: &Workload, app: &App, at: &str, report: &mut Report) {
    for (index, name) in app.depends_on.iter().enumerate() {
        report.ensure(
            &format!("{at}/{index}"),
            workload.app(name).is_some(),
            || WorkloadFlaw::UnknownApp { name: name.clone() },
        );
    }
    let mut reached = BTreeSet::new();
    let mut ahead: Vec<&String> = app.depends_on.iter().collect();
    while let Some(name) = ahead.pop() {
        if *name == app.name {
            report.add(at, WorkloadFlaw::DependencyCycle { name: name.clone() });
            return;
        }
        if reached.insert(name)
            && let Some(next) = workload.app(name)
        {
            ahead.extend(&next.depends_on);
        }
    }
}
