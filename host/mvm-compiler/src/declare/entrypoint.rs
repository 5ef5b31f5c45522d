//! What can be started.

use mvm_contract::workload::{
    CommandEntrypoint, Entrypoint, FunctionEntrypoint, Language, WarmWorkers,
};
use serde_json::Value as Json;

use super::{Arguments, environment, image::choice};
use crate::{
    Diagnostic,
    syntax::Span,
    value::{Piece, Placed, Places, Value, ValueKind},
};

/// The name of a command that was given none.
pub(super) const COMMAND_NAME: &str = "main";

pub(super) fn command(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let command = match arguments.require("command")? {
        Value {
            kind: ValueKind::Text(_),
            span,
        } => {
            arguments.refuse(
                Diagnostic::error("E_ARGUMENT_TYPE", span, "a command is a list of texts, not a text")
                    .hint("write the program and each argument by itself, as `[\"python3\", \"main.py\"]`"),
            );
            None
        }
        value => arguments.texts_of("command", value),
    };
    let name = arguments.text("name");
    let common = Common::take(arguments);
    let entrypoint = CommandEntrypoint {
        name: name.map_or_else(|| COMMAND_NAME.to_owned(), |name| name.text),
        command: command?,
        primary: false,
        working_directory: common.working_directory,
        environment: common.environment.part,
    };
    let mut places = arguments.places();
    places.graft("/environment", common.environment.places);
    let piece = Piece::Entrypoint(Entrypoint::Command(entrypoint), common.primary);
    Some(Placed::new(piece, places))
}

/// What both kinds of entrypoint say.
pub(crate) struct Common {
    pub(crate) primary: Option<bool>,
    pub(crate) working_directory: Option<String>,
    pub(crate) environment:
        Placed<std::collections::BTreeMap<String, mvm_contract::workload::EnvironmentValue>>,
}

impl Common {
    fn take(arguments: &mut Arguments) -> Self {
        Self {
            primary: arguments.boolean("primary"),
            working_directory: arguments.text("working_directory").map(|it| it.text),
            environment: environment::variables(arguments, "environment"),
        }
    }
}

pub(super) fn function(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let module = arguments.require_text("module");
    let function = arguments.require_text("function");
    let name = arguments.text("name");
    let language = language(arguments);
    format(arguments);
    let schemas = Schemas::take(arguments);
    let warm = warm_of(arguments);
    let common = Common::take(arguments);
    let (module, function, language) = (module?, function?, language?);
    let module = match language {
        Language::Python => module.text,
        Language::Node | Language::Rust => module.text.trim_start_matches("./").to_owned(),
    };
    let entrypoint = FunctionEntrypoint {
        name: name.map_or_else(|| function.text.clone(), |name| name.text),
        language,
        module,
        function: function.text,
        primary: false,
        working_directory: common.working_directory,
        environment: common.environment.part,
        arguments_schema: schemas.arguments,
        result_schema: schemas.result,
        parameters: Vec::new(),
        warm: warm.as_ref().map(|warm| warm.part),
    };
    let mut places = arguments.places();
    places.graft("/environment", common.environment.places);
    if let Some(warm) = warm {
        places.graft("/warm", warm.places);
    }
    let piece = Piece::Entrypoint(Entrypoint::Function(entrypoint), common.primary);
    Some(Placed::new(piece, places))
}

/// The language that an argument says, or that of the file.
pub(crate) fn language(arguments: &mut Arguments) -> Option<Language> {
    let languages = [
        ("python", Language::Python),
        ("node", Language::Node),
        ("typescript", Language::Node),
        ("javascript", Language::Node),
        ("rust", Language::Rust),
    ];
    let default = arguments.language;
    choice(arguments, "language", &languages, default)
}

/// Arguments and results are JSON; another format is refused.
pub(crate) fn format(arguments: &mut Arguments) {
    if let Some(format) = arguments.text("format")
        && format.text != "json"
    {
        let message = format!(
            "arguments and results as `{}` are not supported",
            format.text
        );
        arguments.refuse(
            Diagnostic::error("E_UNSUPPORTED_FORMAT", format.span, message)
                .hint("leave `format` out: they are JSON"),
        );
    }
}

/// The schemas that are given.
pub(crate) struct Schemas {
    pub(crate) arguments: Option<Json>,
    pub(crate) result: Option<Json>,
}

impl Schemas {
    pub(crate) fn take(arguments: &mut Arguments) -> Self {
        let mut one = |name: &str| {
            let value = arguments.take(name)?;
            match json_of(&value) {
                Ok(schema) => Some(schema),
                Err(span) => {
                    let value = Value {
                        kind: value.kind,
                        span: span.unwrap_or(value.span),
                    };
                    arguments.mistyped(
                        name,
                        &value,
                        "a JSON Schema of texts, integers, booleans, lists and maps",
                    );
                    None
                }
            }
        };
        Self {
            arguments: one("arguments_schema"),
            result: one("result_schema"),
        }
    }
}

/// A value as JSON, or where it is none; without a place where that was said.
pub(crate) fn json_of(value: &Value) -> Result<Json, Option<Span>> {
    Ok(match &value.kind {
        ValueKind::Text(text) => Json::from(text.as_str()),
        ValueKind::Integer(integer) => Json::from(*integer),
        ValueKind::Boolean(boolean) => Json::from(*boolean),
        ValueKind::Null => Json::Null,
        ValueKind::List(values) => values.iter().map(json_of).collect::<Result<_, _>>()?,
        ValueKind::Map(entries) => entries
            .iter()
            .map(|(key, value)| Ok((key.text.clone(), json_of(value)?)))
            .collect::<Result<serde_json::Map<_, _>, Option<Span>>>()
            .map(Json::Object)?,
        ValueKind::Failed => return Err(None),
        ValueKind::Number | ValueKind::Piece(_) => return Err(Some(value.span)),
    })
}

/// The warm workers of an argument.
pub(crate) fn warm_of(arguments: &mut Arguments) -> Option<Placed<WarmWorkers>> {
    let value = arguments.take("warm")?;
    arguments.piece_of("warm", value, "`warm_process(…)`", |piece| match piece {
        Piece::Warm(warm) => Some(warm),
        _ => None,
    })
}

pub(super) fn warm_process(arguments: &mut Arguments) -> Option<Placed<Piece>> {
    let max_calls_per_worker = arguments.require_integer("max_calls_per_worker");
    let max_memory_mib = arguments.require_integer("max_memory_mib");
    let pool_size = match arguments.take("pool_size") {
        Some(value) => arguments.integer_of("pool_size", &value)?,
        None => 1,
    };
    if let Some(mode) = arguments.text("in_process")
        && mode.text != "serial"
    {
        arguments.refuse(
            Diagnostic::error(
                "E_UNSUPPORTED_CONCURRENCY_IN_PROCESS_MODE",
                mode.span,
                "a worker answers one call at a time",
            )
            .hint("leave `in_process` out, and keep more workers with `pool_size`"),
        );
        return None;
    }
    let warm = WarmWorkers {
        pool_size,
        max_calls_per_worker: max_calls_per_worker?,
        max_memory_mib: max_memory_mib?,
    };
    let places: Places = arguments.places();
    Some(Placed::new(Piece::Warm(warm), places))
}
