//! A decorated function as an entrypoint: its name, its module, its schemas, and whether it can be one.

use mvm_contract::workload::{App, Entrypoint, FunctionEntrypoint, Language, Source};

use super::{Collection, DraftEntrypoint, File, name};
use crate::{
    Diagnostic,
    declare::{self, Arguments},
    syntax::{FunctionDeclaration, ParameterKind, Scope},
    value::{Placed, Places},
};

/// The name of an app that was given none.
pub(super) fn named_after(
    collection: &mut Collection,
    function: &FunctionDeclaration,
) -> Option<String> {
    let text = &function.name.text;
    let Some(made) = name::name_from(text) else {
        let message = format!("`{text}` makes no name for the app");
        collection.report.push(
            Diagnostic::error("E_NO_APP_NAME", function.name.span, message)
                .hint("name it with `name`"),
        );
        return None;
    };
    if made != *text {
        let message = format!("the app is named `{made}` after `{text}`");
        collection.report.push(
            Diagnostic::note("N_APP_NAME", function.name.span, message).hint("name it with `name`"),
        );
    }
    Some(made)
}

pub(super) fn check_scope(collection: &mut Collection, function: &FunctionDeclaration) -> bool {
    let (code, what) = match function.scope {
        Scope::Module => return true,
        Scope::Conditional => ("E_CONDITIONAL", "below a condition"),
        Scope::Function => ("E_NESTED", "in a function"),
        Scope::Class => ("E_NESTED", "in a class"),
        Scope::Namespace => ("E_NESTED", "in a namespace"),
    };
    let message = format!("`{}` is declared {what}", function.name.text);
    collection.report.push(
        Diagnostic::error(code, function.name.span, message)
            .hint("move it to the top level of the file"),
    );
    false
}

/// Whether a function can be an entrypoint.
pub(super) fn check_function(collection: &mut Collection, function: &FunctionDeclaration) -> bool {
    let (name, before) = (&function.name, collection.report.len());
    if let Some(what) = function.unsupported {
        let message = format!(
            "`{}` is {what}, not a function that answers once",
            name.text
        );
        collection.report.push(
            Diagnostic::error("E_UNSUPPORTED_FUNCTION", name.span, message)
                .hint("decorate a plain or an asynchronous function"),
        );
    }
    if !function.exported {
        let message = format!("`{}` is not exported", name.text);
        collection.report.push(
            Diagnostic::error("E_NOT_EXPORTED", name.span, message)
                .hint("export it, so that it can be called"),
        );
    }
    for parameter in &function.parameters {
        if let ParameterKind::Unsupported { what } = parameter.kind {
            let message = format!("{what} cannot be given as JSON by name");
            collection.report.push(
                Diagnostic::error("E_UNSUPPORTED_PARAMETER", parameter.name.span, message)
                    .hint("name each parameter"),
            );
        }
    }
    collection.report.len() == before
}

pub(super) fn function_entrypoint<'a>(
    file: &mut File<'a>,
    arguments: &mut Arguments,
    function: &'a FunctionDeclaration,
) -> DraftEntrypoint {
    let mut places = Places::NONE.with("", function.name.span);
    let written = file.evaluator.language();
    let at = arguments.is_given("language");
    if let (Some(said), Some(at)) = (declare::language(arguments), at)
        && said != written
    {
        let message = format!(
            "`{}` is written in {}",
            function.name.text,
            written.as_str()
        );
        arguments.refuse(Diagnostic::error("E_LANGUAGE", at, message).hint("leave `language` out"));
    }
    declare::format(arguments);
    let text = |name: &str, arguments: &mut Arguments, places: &mut Places| {
        let text = arguments.text(name)?;
        places.set(format!("/{name}"), text.span);
        Some(text.text)
    };
    let module = text("module", arguments, &mut places).unwrap_or_else(|| match written {
        Language::Python => {
            let stem = file.name.strip_suffix(".py");
            stem.unwrap_or(file.name).to_owned()
        }
        Language::Node | Language::Rust => file.name.to_owned(),
    });
    let called = text("function", arguments, &mut places);
    let working_directory = text("working_directory", arguments, &mut places);
    let primary = arguments.boolean("primary");
    let warm = declare::warm_of(arguments);
    if let Some(warm) = &warm {
        places.graft("/warm", warm.places.clone());
    }
    for name in ["arguments_schema", "result_schema"] {
        if let Some(span) = arguments.is_given(name) {
            places.set(format!("/{name}"), span);
        }
    }
    let given = declare::Schemas::take(arguments);
    let signature = file.schemas.of(function, &mut file.evaluator);
    let parameters = function.parameters.iter();
    let entrypoint = FunctionEntrypoint {
        name: function.name.text.clone(),
        language: written,
        module,
        function: called.unwrap_or_else(|| {
            let reached = function.called.as_ref();
            reached.unwrap_or(&function.name.text).clone()
        }),
        primary: false,
        working_directory,
        environment: Default::default(),
        arguments_schema: Some(given.arguments.unwrap_or(signature.arguments)),
        result_schema: given.result.or(signature.result),
        parameters: parameters.map(|it| it.name.text.clone()).collect(),
        warm: warm.map(|warm| warm.part),
    };
    DraftEntrypoint {
        entrypoint: Placed::new(Entrypoint::Function(entrypoint), places),
        primary,
        span: function.name.span,
    }
}

/// A function's own file must be in the source, or its module must be named.
pub(super) fn check_source(
    app: &Placed<App>,
    arguments: &mut Arguments,
    entrypoints: &[DraftEntrypoint],
) {
    let Some(Source::Local { path, .. }) = &app.part.source else {
        return;
    };
    let names_module = entrypoints
        .iter()
        .all(|it| it.entrypoint.places.has("/module"));
    if path == "." || names_module {
        return;
    }
    let at = app.places.find("/source").unwrap_or(arguments.span);
    let message = format!("the source is `{path}`, and this file is not in it");
    arguments.refuse(
        Diagnostic::error("E_FILE_OUTSIDE_SOURCE", at, message)
            .hint("use `local_path(\".\")` with `include`, or name the function's `module`"),
    );
}
