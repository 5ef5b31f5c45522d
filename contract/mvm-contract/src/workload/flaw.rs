//! The rules a workload can break, each with its stable code.

use std::fmt;

use crate::SpecError;

/// A broken rule and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatedFlaw {
    /// Where in the document, as a JSON Pointer (RFC 6901).
    pub at: String,
    /// What is wrong there.
    pub flaw: WorkloadFlaw,
}

impl fmt::Display for LocatedFlaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} at {}: {}",
            self.flaw.code(),
            self.at,
            self.flaw
        )
    }
}

macro_rules! flaws {
    ($($(#[$documentation:meta])* $variant:ident $({ $($(#[$field_documentation:meta])* $field:ident: $type:ty),* $(,)? })? = $code:literal, $text:literal, $hint:literal;)*) => {
        /// The rules a workload can break.
        #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
        pub enum WorkloadFlaw {
            $($(#[$documentation])* #[error($text)] $variant $({ $($(#[$field_documentation])* $field: $type),* })?,)*
            /// A resource is out of its range.
            #[error(transparent)]
            Resources(#[from] SpecError),
        }

        impl WorkloadFlaw {
            /// The rule's stable code.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => $code,)*
                    Self::Resources(_) => "E_RESOURCES",
                }
            }

            /// What the author can do about it.
            #[must_use]
            pub fn hint(&self) -> Option<String> {
                match self {
                    $(Self::$variant { .. } => Some($hint.to_owned()),)*
                    Self::Resources(error) => crate::Coded::hint(error),
                }
            }

            /// Every code, in the order of the rules.
            pub const CODES: &[&'static str] = &[$($code,)* "E_RESOURCES"];
        }
    };
}

flaws! {
    /// The version is not this one.
    Version {
        /// What it says.
        version: u32,
    } = "E_UNSUPPORTED_VERSION", "version {version} of Workload IR is not known", "compile the declaration again";
    /// A name does not have the form of one.
    Name {
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
    } = "E_INVALID_ID", "`{name}` cannot name {what}", "use 1 to 63 lowercase letters, digits and `-`, beginning with a letter";
    /// There is no app.
    NoApps = "E_EMPTY_APPS", "the workload has no app", "declare one";
    /// Two things of one kind have one name.
    Duplicate {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
    } = "E_DUPLICATE_NAME", "there are two {what}s named `{name}`", "rename one of them";
    /// A path leads out of the declaration's directory.
    SourcePath {
        /// The path.
        path: String,
    } = "E_SOURCE_PATH", "`{path}` is not a path below the declaration's directory", "use a relative path without `..`";
    /// A pattern is not a glob of relative paths.
    SourceGlob {
        /// The pattern.
        pattern: String,
    } = "E_SOURCE_GLOB_INVALID", "`{pattern}` is not a pattern of paths below the source", "use a relative pattern such as `src/**`";
    /// Nothing is included.
    SourceEmpty = "E_SOURCE_EMPTY", "the source includes nothing", "leave `include` out for everything";
    /// The image is of no known kind.
    ImageReference {
        /// What was given.
        reference: String,
    } = "E_IMAGE_REFERENCE", "`{reference}` is not an image source", "use `debian:NAME`, `oci:HOST/PATH@sha256:…`, `oci-layout:DIR`, `oci-archive:FILE` or `nix:FLAKE#ATTRIBUTE`";
    /// A version of a language cannot be one.
    ImageVersion {
        /// What was given.
        version: String,
    } = "E_IMAGE_VERSION", "`{version}` is not a version", "use digits and dots, such as `3.12`";
    /// A package's name cannot be one, or there is none.
    ImagePackage {
        /// What was given.
        package: String,
    } = "E_IMAGE_PACKAGE", "`{package}` cannot name a package", "use the package's attribute name, such as `python312`";
    /// An app has no entrypoint.
    NoEntrypoints = "E_NO_ENTRYPOINTS", "the app has nothing that can be started", "declare a function or a command";
    /// No entrypoint is primary.
    NoPrimary = "E_NO_PRIMARY_ENTRYPOINT", "no entrypoint of the app is primary", "mark one of them with `primary`";
    /// Two entrypoints are primary.
    SeveralPrimaries = "E_MULTIPLE_PRIMARY_ENTRYPOINTS", "several entrypoints of the app are primary", "mark one of them only";
    /// A command is empty, or holds what cannot be passed.
    Command = "E_INVALID_COMMAND", "the command names no program, or holds a NUL byte", "give the program and its arguments";
    /// A module's name cannot be one.
    Module {
        /// What was given.
        module: String,
    } = "E_INVALID_MODULE", "`{module}` cannot name a module of the source", "use a module below the source directory, not `__main__`";
    /// A function's name cannot be one.
    Function {
        /// What was given.
        function: String,
    } = "E_INVALID_FUNCTION", "`{function}` cannot name a function", "use a function at the top level of its module";
    /// A function has no source to be in.
    FunctionWithoutSource = "E_FUNCTION_WITHOUT_SOURCE", "a function needs the source it is in", "give the app a source, such as `local_path(\".\")`";
    /// A schema is not one.
    Schema {
        /// Which one.
        what: &'static str,
    } = "E_INVALID_SCHEMA", "the {what} is not a JSON Schema of the form this version checks", "leave it out, and any value is taken";
    /// A working directory is not absolute.
    WorkingDirectory {
        /// What was given.
        path: String,
    } = "E_INVALID_WORKING_DIRECTORY", "working directory `{path}` is not an absolute path of the guest", "begin it with `/`";
    /// Warm workers are out of their bounds.
    Warm {
        /// Which bound.
        field: &'static str,
    } = "E_INVALID_CONCURRENCY", "`{field}` of the warm workers is out of its bounds", "1 to 64 workers, 1 or more calls, and at most the app's memory";
    /// Warm workers of something that has none.
    WarmLanguage {
        /// The language.
        language: &'static str,
    } = "E_UNSUPPORTED_CONCURRENCY_FOR_LANGUAGE", "functions in {language} have no warm workers", "leave them out";
    /// A variable's name or value cannot be one.
    Variable {
        /// Its name.
        name: String,
    } = "E_INVALID_VARIABLE", "environment variable `{name}` has a name or a value that cannot be one", "use letters, digits and `_` in the name, and no NUL byte";
    /// A secret is bound to no host.
    SecretWithoutHosts {
        /// The secret.
        name: String,
    } = "E_SECRET_WITHOUT_BINDING", "secret `{name}` is bound to no host", "name the hosts it is sent to";
    /// A secret's name cannot be one.
    SecretName {
        /// What was given.
        name: String,
    } = "E_INVALID_SECRET", "`{name}` cannot name a secret", "use letters, digits, `_`, `-` and `.`, at most 128";
    /// A host is a pattern.
    NetworkWildcard {
        /// What was given.
        host: String,
    } = "E_NETWORK_WILDCARD", "`{host}` is a pattern, not a host", "name each host";
    /// A host's name cannot be one.
    NetworkHost {
        /// What was given.
        host: String,
    } = "E_NETWORK_INVALID_HOST", "`{host}` is not a host's name or address", "use a name such as `api.example.com`, without a scheme or a path";
    /// A port is 0.
    NetworkPort = "E_NETWORK_INVALID_PORT", "0 is not a port", "use 1 to 65535";
    /// Something is granted where there is no network.
    NetworkGrants = "E_NETWORK_GRANTS_WITH_NONE", "the network's mode and what it grants do not go together", "use the mode `grants` with at least one host or port, or none of them";
    /// One port is offered twice.
    IngressDuplicate {
        /// The port.
        port: u16,
    } = "E_INGRESS_DUPLICATE", "port {port} is offered twice", "leave one of them out";
    /// An address to listen on is not one.
    IngressAddress {
        /// What was given.
        address: String,
    } = "E_INGRESS_INVALID_ADDRESS", "`{address}` is not an address of the host", "use an IP address such as `127.0.0.1`";
    /// A path of the guest is not absolute, or not plain.
    GuestPath {
        /// What was given.
        path: String,
    } = "E_INVALID_GUEST_PATH", "`{path}` is not a plain absolute path of the guest", "begin it with `/`, without `..`";
    /// A path of the host is not absolute.
    HostPath {
        /// What was given.
        path: String,
    } = "E_INVALID_HOST_PATH", "`{path}` is not an absolute path of the host", "begin it with `/`, without `..`";
    /// A mount names a volume the workload has not.
    UnknownVolume {
        /// The volume.
        name: String,
    } = "E_UNKNOWN_VOLUME", "the workload has no volume `{name}`", "declare it";
    /// A size is zero.
    ZeroSize = "E_INVALID_SIZE", "a size of 0 MiB holds nothing", "give a size in MiB";
    /// A time is zero, or longer than a year.
    Seconds {
        /// Which one.
        field: &'static str,
    } = "E_INVALID_DURATION", "`{field}` is 0, or more than a year", "give it in seconds";
    /// A health check allows no failure.
    Retries = "E_INVALID_RETRIES", "a health check that allows no failure is never healthy", "allow 1 or more";
    /// The content of a file is not base64.
    FileContent {
        /// The file.
        path: String,
    } = "E_INVALID_FILE_CONTENT", "the content of `{path}` is not base64", "encode it as RFC 4648, section 4, says";
    /// A file's mode has more than permission bits.
    FileMode {
        /// The file.
        path: String,
    } = "E_INVALID_FILE_MODE", "the mode of `{path}` has more than permission bits", "use 0 to 0o777";
    /// An app depends on one the workload has not.
    UnknownApp {
        /// The app.
        name: String,
    } = "E_UNKNOWN_APP", "the workload has no app `{name}`", "declare it";
    /// Apps wait for each other.
    DependencyCycle {
        /// One of them.
        name: String,
    } = "E_DEPENDENCY_CYCLE", "app `{name}` waits for itself", "remove one of the dependencies in the circle";
}
