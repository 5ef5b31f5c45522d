//! What expressions come to.

use std::collections::BTreeMap;

use mvm_contract::{
    Resources,
    plan::{EgressGrant, IngressPort},
    workload::{
        Dependencies, Dns, EmbeddedFile, Entrypoint, EnvironmentValue, HealthCheck, Hook, Image,
        MountSource, Network, Restart, Source, Volume, WarmWorkers,
    },
};

use crate::syntax::{Name, Span};

/// A value with the place it was written at.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) kind: ValueKind,
    pub(crate) span: Span,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum ValueKind {
    Text(String),
    Integer(i64),
    Number,
    Boolean(bool),
    Null,
    List(Vec<Value>),
    Map(Vec<(Name, Value)>),
    /// What a call of a helper gave.
    Piece(Box<Placed<Piece>>),
    /// It could not be known, which was said already.
    Failed,
}

/// A part of a workload with the places its own parts were written at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placed<T> {
    pub(crate) part: T,
    pub(crate) places: Places,
}

impl<T> Placed<T> {
    pub(crate) const fn new(part: T, places: Places) -> Self {
        Self { part, places }
    }

    pub(crate) fn map<U>(self, with: impl FnOnce(T) -> U) -> Placed<U> {
        Placed::new(with(self.part), self.places)
    }
}

/// Parts of a workload, one for each kind of helper.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Source(Source),
    Image(Image),
    Resources(Resources),
    Network(Network),
    Egress(Vec<EgressGrant>),
    Grant(EgressGrant),
    Port(IngressPort),
    Dns(Dns),
    /// With the variable that the helper was told.
    Variable(EnvironmentValue, Option<Name>),
    Hook(Hook),
    /// With what was said of `primary`.
    Entrypoint(Entrypoint, Option<bool>),
    Dependencies(Dependencies),
    /// A volume that is declared here.
    Volume(Volume),
    MountSource(MountSource),
    /// With the volume it declares, if it does.
    Mount(mvm_contract::workload::Mount, Option<Volume>),
    HealthCheck(HealthCheck),
    Warm(WarmWorkers),
    Restart(Restart),
    File(EmbeddedFile),
}

impl Piece {
    /// What it is, with its article.
    pub(crate) const fn noun(&self) -> &'static str {
        match self {
            Self::Source(_) => "a source",
            Self::Image(_) => "an image",
            Self::Resources(_) => "resources",
            Self::Network(_) => "a network",
            Self::Egress(_) => "egress",
            Self::Grant(_) => "a host with its port",
            Self::Port(_) => "a port",
            Self::Dns(_) => "a resolver",
            Self::Variable(..) => "a variable's value",
            Self::Hook(_) => "a hook",
            Self::Entrypoint(..) => "an entrypoint",
            Self::Dependencies(_) => "dependencies",
            Self::Volume(_) => "a volume",
            Self::MountSource(_) => "something to mount",
            Self::Mount(..) => "a mount",
            Self::HealthCheck(_) => "a health check",
            Self::Warm(_) => "warm workers",
            Self::Restart(_) => "a restart policy",
            Self::File(_) => "a file",
        }
    }
}

impl ValueKind {
    /// What it is, with its article.
    pub(crate) const fn noun(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "an integer",
            Self::Number => "a number",
            Self::Boolean(_) => "a boolean",
            Self::Null => "nothing",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Piece(piece) => piece.part.noun(),
            Self::Failed => "unknown",
        }
    }
}

impl Value {
    /// A value that could not be known.
    pub(crate) const fn failed(span: Span) -> Self {
        Self {
            kind: ValueKind::Failed,
            span,
        }
    }

    /// How much it holds, as a measure of work.
    pub(crate) fn size(&self) -> usize {
        match &self.kind {
            ValueKind::Text(text) => 1 + text.len() / 16,
            ValueKind::List(values) => 1 + values.iter().map(Self::size).sum::<usize>(),
            ValueKind::Map(entries) => {
                let size = |(key, value): &(Name, Self)| 1 + key.text.len() / 16 + value.size();
                1 + entries.iter().map(size).sum::<usize>()
            }
            // A helper's result holds about what its arguments did, each with its place.
            ValueKind::Piece(piece) => 1 + 2 * piece.places.0.len(),
            _ => 1,
        }
    }
}

/// Where the parts of a document were written, by JSON Pointer (RFC 6901).
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(BTreeMap<String, Span>);

impl Places {
    /// None yet.
    pub(crate) const NONE: Self = Self(BTreeMap::new());

    /// Says where a part was written.
    pub(crate) fn set(&mut self, pointer: impl Into<String>, span: Span) {
        self.0.insert(pointer.into(), span);
    }

    /// As [`Self::set`], in a chain.
    pub(crate) fn with(mut self, pointer: &str, span: Span) -> Self {
        self.set(pointer, span);
        self
    }

    /// Takes in the places of a part that now is at a pointer.
    pub(crate) fn graft(&mut self, pointer: &str, part: Self) {
        for (below, span) in part.0 {
            self.0.insert(format!("{pointer}{below}"), span);
        }
    }

    /// Whether it is known where this very part was written.
    pub(crate) fn has(&self, pointer: &str) -> bool {
        self.0.contains_key(pointer)
    }

    /// Where a part was written, or the nearest that holds it.
    pub(crate) fn find(&self, pointer: &str) -> Option<Span> {
        let mut pointer = pointer;
        loop {
            if let Some(span) = self.0.get(pointer) {
                return Some(*span);
            }
            (pointer, _) = pointer.rsplit_once('/')?;
        }
    }
}

/// One part of a JSON Pointer.
pub(crate) fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}
