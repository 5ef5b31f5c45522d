//! The rules, by number. `RULES.md` in this crate is the same list for people.

use std::fmt;

macro_rules! rules {
    ($($(#[$documentation:meta])* $name:ident = $number:literal, $remedy:literal;)*) => {
        /// A rule of admission. Each is described by what holds for every plan that is admitted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[$documentation])* $name,)*
        }

        impl Rule {
            /// Every rule, in the order of their numbers, which is that of checking.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The rule's number, which is never given to another.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self {
                    $(Self::$name => $number,)*
                }
            }

            /// What can be done about a denial under this rule.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self {
                    $(Self::$name => $remedy,)*
                }
            }
        }
    };
}

rules! {
    /// The envelope has no more bytes than are ever looked at (256 KiB).
    EnvelopeSize = 1, "ship less: a plan names things by digest and has no room for contents";
    /// It is one JSON document with the fields of DSSE v1, each once, and no other.
    EnvelopeShape = 2, "write the envelope anew with `mvmctl plan sign` or another DSSE v1 signer";
    /// It has exactly one signature.
    SignatureCount = 3, "sign with one key";
    /// Payload and signature are padded standard base64, the signature of 64 bytes, and `keyid` is 64 lowercase hexadecimal digits.
    EnvelopeEncoding = 4, "use padded standard base64, and the SHA-256 of the public key's DER bytes as `keyid`";
    /// It holds a plan.
    PayloadType = 5, "sign with payload type `application/vnd.mvm.plan.v1+json`";
    /// The key is among the trust roots.
    KeyUnknown = 6, "add the signer's public key to the trust roots, if you trust it";
    /// It is trusted for plans.
    KeyRole = 7, "sign with a key of role `plan` or `host`";
    /// It was not revoked.
    KeyRevoked = 8, "sign with a key that was not revoked";
    /// It is trusted already.
    KeyNotYetValid = 9, "wait, or compare the host's clock with the key's `not_before`";
    /// It is trusted still.
    KeyExpired = 10, "sign with a key that is not expired, or extend its `not_after`";
    /// It signed exactly these bytes as exactly this payload type.
    Signature = 11, "sign the plan again: it was changed after it was signed";
    /// The payload is one JSON document in UTF-8.
    PlanSyntax = 12, "make the plan with `mvmctl plan create`";
    /// It is nested at most 16 deep.
    PlanDepth = 13, "make the plan with `mvmctl plan create`";
    /// No object has a key twice.
    DuplicateKey = 14, "write each field once";
    /// Every number is an integer that a double holds exactly.
    PlanNumber = 15, "write whole numbers below 2^53, without fraction or exponent";
    /// The bytes are the canonical ones (RFC 8785).
    NotCanonical = 16, "sign the canonical bytes: sorted keys, no space, shortest escapes";
    /// The version is one that this host reads.
    PlanVersion = 17, "make the plan in version 1";
    /// Every field is known.
    UnknownField = 18, "leave the field out: this host would not enforce it";
    /// Every field that must be there is there, and every value has its form.
    PlanForm = 19, "compare the plan with `schema/plan-v1.json`";
    /// Fields without a value are left out, all others are written.
    NotOneForm = 20, "leave out `null` and empty fields, and write out defaults";
    /// The nonce has 32 to 128 lowercase hexadecimal digits.
    NonceForm = 21, "use at least 16 random bytes, in lowercase hexadecimal";
    /// The validity begins before it ends.
    ValidityForm = 22, "set `validity.not_after` after `validity.not_before`";
    /// The principal is a word of printable ASCII.
    PrincipalForm = 23, "name the principal by 1 to 128 printable ASCII characters";
    /// Every resource is within what any host can give.
    ResourceRange = 24, "ask for resources within their ranges";
    /// The image's source is of a known kind.
    ImageSourceForm = 25, "name the image as `debian:`, `nix:`, `oci:`, `oci-layout:` or `oci-archive:`";
    /// The agent's version is a word of printable ASCII.
    AgentVersionForm = 26, "take the version that `mvmctl doctor` prints";
    /// Every environment variable has a name that can be one.
    VariableName = 27, "name variables without `=`, NUL and control characters";
    /// The working directory is absolute.
    WorkingDirectoryForm = 28, "begin the working directory with `/`";
    /// The user can be one.
    UserForm = 29, "name the user as the guest's `/etc/passwd` does, or by number";
    /// No limit in time is zero.
    ZeroSeconds = 30, "leave the limit out for none";
    /// A snapshot is named exactly on the launch paths that start from one.
    OriginForm = 31, "name a snapshot with `restore`, `fork` and `resume`, and only with them";
    /// Network grants are given exactly in mode `grants`.
    NetworkForm = 32, "use mode `none` without grants, or mode `grants` with some";
    /// Its validity has begun.
    NotYetValid = 33, "wait, or compare the clocks of signer and host";
    /// Its validity has not ended.
    Expired = 34, "sign a new plan";
    /// Its nonce was not used before.
    Replayed = 35, "sign a new plan with a new nonce: each is good for one launch";
    /// It is for this host, or for any.
    OtherHost = 36, "sign a plan for this host's key, or without `host`";
    /// This host has the image.
    ImageDigest = 37, "materialize the image on this host, or plan the one it has";
    /// The image is what was published.
    ImageSeal = 38, "run `mvmctl image verify`, and materialize the image again";
    /// Its origin was verified as the plan says.
    ImageVerdict = 39, "make the plan with the verdict of this host's store";
    /// The kernel is the one this host boots.
    KernelDigest = 40, "make the plan with this host's kernel, or set the host up with the plan's";
    /// So is the initramfs.
    InitramfsDigest = 41, "make the plan with this host's initramfs, or set the host up with the plan's";
    /// Kernel and initramfs are what was published.
    BootSeal = 42, "prepare this host again: `mvmctl setup`";
    /// The agent is of the version this host has.
    AgentVersion = 43, "make the plan with this host's version of mvm";
    /// This host has the snapshot.
    SnapshotDigest = 44, "import the snapshot on this host, or plan one it has";
    /// The snapshot is what was saved.
    SnapshotSeal = 45, "remove the snapshot: it was changed after it was saved";
    /// The host allows the profile.
    ProfileRefused = 46, "ask for a profile that the host's policy allows";
    /// The policy lets the key launch.
    KeyRefused = 47, "sign with a key that the host's policy names";
    /// The policy lets the principal launch.
    PrincipalRefused = 48, "launch as a principal that the host's policy names";
    /// Memory is within the ceiling.
    MemoryCeiling = 49, "ask for less memory";
    /// So are processors.
    ProcessorCeiling = 50, "ask for fewer processors";
    /// So is the disk.
    DiskCeiling = 51, "ask for a smaller disk";
    /// So is the time to live; having none is more than any ceiling.
    TtlCeiling = 52, "set a time to live within the ceiling";
    /// So is the limit of a command; likewise.
    CommandCeiling = 53, "set a limit for commands within the ceiling";
    /// So is the validity.
    ValidityCeiling = 54, "sign the plan for a shorter time";
    /// The image's source is of an allowed kind.
    ImageSourceRefused = 55, "use a kind of image source that the host's policy allows";
    /// It names a digest where one is required.
    PinRequired = 56, "pin the image: `...@sha256:HEX`";
    /// The guest is not behind an emulator where that is refused.
    EmulatedRefused = 57, "use a host with hardware virtualization, or name the profile in `emulated_profiles` of the host's policy";
    /// There are no environment variables where those are refused.
    EnvironmentRefused = 58, "put the values into the image, or use another profile";
    /// The launch path is allowed.
    LaunchPathRefused = 59, "launch on a path that the profile and the host's policy allow";
    /// Network grants.
    EgressUnsupported = 60, "leave out the grants: this host gives guests no network";
    /// Offered ports.
    IngressUnsupported = 61, "leave out `ingress`";
    /// Secret references.
    SecretsUnsupported = 62, "leave out `secrets`";
    /// Mounts of host directories.
    MountsUnsupported = 63, "leave out `mounts`, and copy files in";
    /// Compiled workloads.
    WorkloadUnsupported = 64, "leave out `workload_digest`";
}

impl fmt::Display for Rule {
    /// `A-` and three digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "A-{:03}", self.number())
    }
}
