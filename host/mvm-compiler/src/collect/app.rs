//! `app` and `func`: from a call, and the function it decorates, to an app.

use mvm_contract::{
    Resources,
    workload::{App, Dependencies, Hooks, Image, Language, Network, Source},
};

use super::{
    Collection, File,
    draft::{Draft, DraftEntrypoint},
    function::{check_function, check_scope, check_source, function_entrypoint, named_after},
};
use crate::{
    Diagnostic,
    declare::{self, Arguments, Takes},
    syntax::{Call, FunctionDeclaration, Span},
    value::{Piece, Placed, Places, ValueKind},
};

/// What is said of the whole app.
const OF_THE_APP: [&str; 15] = [
    "source",
    "image",
    "resources",
    "environment",
    "mounts",
    "network",
    "dependencies",
    "depends_on",
    "before_build",
    "before_start",
    "after_start",
    "before_stop",
    "health_check",
    "restart",
    "files",
];

/// What `app` and `func` take.
const TAKES: Takes = Takes {
    positional: &[],
    named: &[
        "name",
        "source",
        "image",
        "resources",
        "environment|env",
        "mounts",
        "network",
        "dependencies",
        "depends_on",
        "before_build",
        "before_start",
        "after_start",
        "before_stop",
        "health_check",
        "restart",
        "files",
        "entrypoint",
        "entrypoints",
        "module",
        "function",
        "language",
        "format",
        "primary",
        "working_directory|working_dir",
        "arguments_schema|args_schema",
        "result_schema|return_schema",
        "warm|concurrency",
    ],
};

/// What only a decorated function has.
const OF_A_FUNCTION: [&str; 9] = [
    "module",
    "function",
    "language",
    "format",
    "primary",
    "working_directory",
    "arguments_schema",
    "result_schema",
    "warm",
];

/// An app that decorates nothing: its entrypoints are given.
pub(super) fn stand_alone<'a>(
    collection: &mut Collection,
    file: &mut File<'a>,
    call: &'a Call,
    span: Span,
) {
    let mut arguments = file.evaluator.arguments("app", TAKES, call, span);
    for name in OF_A_FUNCTION {
        if let Some(at) = arguments.is_given(name) {
            let message = format!("`{name}` is of a function, and `app` decorates none here");
            arguments.refuse(
                Diagnostic::error("E_NOTHING_DECORATED", at, message)
                    .hint("give it to the entrypoint"),
            );
        }
    }
    let name = arguments.text("name");
    let (name, at) = match name {
        Some(name) => (name.text, name.span),
        None => ("app".to_owned(), span),
    };
    let entrypoints = given_entrypoints(&mut arguments);
    let app = app_of(collection, &mut arguments, name, at, None);
    collection.report.append(&mut arguments.report);
    collection.drafts.push(Draft {
        app,
        span: at,
        entrypoints: entrypoints.unwrap_or_default(),
        is_open: false,
    });
}

/// An app that decorates a function.
pub(super) fn decorated<'a>(
    collection: &mut Collection,
    file: &mut File<'a>,
    function: &'a FunctionDeclaration,
    helper: &str,
    call: Option<&'a Call>,
    span: Span,
) {
    let is_func = helper == "func";
    let helper = if is_func { "func" } else { "app" };
    let mut arguments = match call {
        Some(call) => file.evaluator.arguments(helper, TAKES, call, span),
        None => Arguments::new(helper, span, file.evaluator.language()),
    };
    if !check_scope(collection, function) {
        return;
    }
    let (name, at) = match arguments.text("name") {
        Some(name) => (name.text, name.span),
        None => match named_after(collection, function) {
            Some(name) => (name, function.name.span),
            None => return,
        },
    };
    let given = given_entrypoints(&mut arguments);
    let explicit = given.is_some();
    let entrypoints = match given {
        Some(entrypoints) => entrypoints,
        None if check_function(collection, function) => {
            vec![function_entrypoint(file, &mut arguments, function)]
        }
        None => Vec::new(),
    };
    let same = collection
        .drafts
        .iter()
        .position(|draft| is_func && draft.is_open && draft.app.part.name == name);
    if let Some(index) = same {
        let first = collection.drafts.get(index).map(|draft| draft.span);
        for keyword in OF_THE_APP {
            if let (Some(at), Some(first)) = (arguments.is_given(keyword), first) {
                let message = format!("`{keyword}` of app `{name}` was to be given once");
                arguments.refuse(
                    Diagnostic::error("E_APP_ARGUMENT_TWICE", at, message)
                        .label(first, "the app is declared here")
                        .hint("give it with the app's first function"),
                );
            }
        }
        collection.report.append(&mut arguments.report);
        if let Some(draft) = collection.drafts.get_mut(index) {
            draft.entrypoints.extend(entrypoints);
        }
        return;
    }
    let default = Some(file.evaluator.language()).filter(|_| !explicit);
    let app = app_of(collection, &mut arguments, name, at, default);
    if !explicit {
        check_source(&app, &mut arguments, &entrypoints);
    }
    collection.report.append(&mut arguments.report);
    collection.drafts.push(Draft {
        app,
        span: at,
        entrypoints,
        is_open: is_func,
    });
}

/// `entrypoint` or `entrypoints`, if one of them is given.
fn given_entrypoints(arguments: &mut Arguments) -> Option<Vec<DraftEntrypoint>> {
    let one = arguments.take("entrypoint");
    let at = arguments.is_given("entrypoints");
    let several = arguments.take("entrypoints");
    if let (Some(one), Some(at)) = (&one, at) {
        arguments.refuse(
            Diagnostic::error(
                "E_ARGUMENT_TWICE",
                at,
                "`entrypoint` and `entrypoints` are both given",
            )
            .label(one.span, "`entrypoint` is here")
            .hint("leave one of them out"),
        );
    }
    let values = match (one, several) {
        (None, None) => return None,
        (Some(one), _) => vec![one],
        (None, Some(several)) => match several.kind {
            ValueKind::List(values) => values,
            _ => {
                arguments.mistyped("entrypoints", &several, "a list of entrypoints");
                Vec::new()
            }
        },
    };
    let mut entrypoints = Vec::new();
    for value in values {
        let span = value.span;
        let piece = arguments.piece_of("entrypoint", value, "an entrypoint", |piece| match piece {
            Piece::Entrypoint(entrypoint, primary) => Some((entrypoint, primary)),
            _ => None,
        });
        if let Some(Placed { part, places }) = piece {
            let (entrypoint, primary) = part;
            entrypoints.push(DraftEntrypoint {
                entrypoint: Placed::new(entrypoint, places),
                primary,
                span,
            });
        }
    }
    Some(entrypoints)
}

/// All of an app but its entrypoints. `default` is the language of the function it decorates: then
/// it has a source, and an image where none is given.
fn app_of(
    collection: &mut Collection,
    arguments: &mut Arguments,
    name: String,
    at: Span,
    default: Option<Language>,
) -> Placed<App> {
    let mut places = Places::NONE.with("", at).with("/name", at);
    let source = arguments.take("source").and_then(|value| {
        arguments.piece_of("source", value, "`local_path(…)`", |piece| match piece {
            Piece::Source(source) => Some(source),
            _ => None,
        })
    });
    let source = source.map(|source| {
        places.graft("/source", source.places);
        source.part
    });
    let source = source.or_else(|| {
        default.map(|_| Source::Local {
            path: ".".to_owned(),
            include: vec!["**".to_owned()],
            exclude: Vec::new(),
        })
    });
    let image = match arguments.take("image") {
        Some(value) => declare::image_of(arguments, value),
        None => default_image(arguments, default).map(|image| Placed::new(image, Places::NONE)),
    };
    let image = image.unwrap_or_else(|| {
        // Without an image there is no workload; what is missing was said.
        Placed::new(default_of(Language::Python), Places::NONE)
    });
    places.graft("/image", image.places);
    let resources = arguments.take("resources").and_then(|value| {
        arguments.piece_of("resources", value, "`resources(…)`", |piece| match piece {
            Piece::Resources(resources) => Some(resources),
            _ => None,
        })
    });
    let resources = resources.map_or_else(Resources::default, |resources| {
        places.graft("/resources", resources.places);
        resources.part
    });
    let environment = declare::variables(arguments, "environment");
    places.graft("/environment", environment.places);
    let mounts = declare::mounts_of(arguments);
    let mut declared = Vec::new();
    for (index, (mount, volume)) in mounts.part.into_iter().enumerate() {
        if let Some(volume) = volume {
            let at = mounts.places.find(&format!("/{index}/source"));
            let at = at.unwrap_or(arguments.span);
            collection.add_volume(volume, Places::NONE.with("", at));
        }
        declared.push(mount);
    }
    places.graft("/mounts", mounts.places);
    let network = arguments.take("network").and_then(|value| {
        arguments.piece_of("network", value, "`network(…)`", |piece| match piece {
            Piece::Network(network) => Some(network),
            _ => None,
        })
    });
    let network = network.map_or(Network::NONE, |network| {
        places.graft("/network", network.places);
        network.part
    });
    let dependencies = arguments.take("dependencies").and_then(|value| {
        let expected = "`python_deps(…)`, `node_deps(…)` or `no_deps()`";
        arguments.piece_of("dependencies", value, expected, |piece| match piece {
            Piece::Dependencies(dependencies) => Some(dependencies),
            _ => None,
        })
    });
    let dependencies = dependencies.map_or(Dependencies::None, |dependencies| {
        places.graft("/dependencies", dependencies.places);
        dependencies.part
    });
    if let Some(at) = arguments.is_given("depends_on") {
        places.set("/depends_on", at);
    }
    let depends_on = arguments.texts("depends_on").unwrap_or_default();
    let mut hooks = Hooks::default();
    for (name, list) in [
        ("before_build", &mut hooks.before_build),
        ("before_start", &mut hooks.before_start),
        ("after_start", &mut hooks.after_start),
        ("before_stop", &mut hooks.before_stop),
    ] {
        let found = declare::hooks_of(arguments, name);
        places.graft(&format!("/hooks/{name}"), found.places);
        *list = found.part;
    }
    let health_check = arguments.take("health_check").and_then(|value| {
        arguments.piece_of(
            "health_check",
            value,
            "`health_check(…)`",
            |piece| match piece {
                Piece::HealthCheck(check) => Some(check),
                _ => None,
            },
        )
    });
    let health_check = health_check.map(|check| {
        places.graft("/health_check", check.places);
        check.part
    });
    let restart = declare::restart_of(arguments).unwrap_or_default();
    let files = files_of(arguments, &mut places);
    let app = App {
        name,
        source,
        image: image.part,
        entrypoints: Vec::new(),
        resources,
        environment: environment.part,
        mounts: declared,
        network,
        dependencies,
        hooks,
        health_check,
        restart,
        files,
        depends_on,
    };
    Placed::new(app, places)
}

fn files_of(
    arguments: &mut Arguments,
    places: &mut Places,
) -> Vec<mvm_contract::workload::EmbeddedFile> {
    let mut files = Vec::new();
    let Some(value) = arguments.take("files") else {
        return files;
    };
    places.set("/files", value.span);
    let ValueKind::List(values) = value.kind else {
        arguments.mistyped("files", &value, "a list of files");
        return files;
    };
    for value in values {
        let file = arguments.piece_of("files", value, "`file(…)`", |piece| match piece {
            Piece::File(file) => Some(file),
            _ => None,
        });
        if let Some(file) = file {
            places.graft(&format!("/files/{}", files.len()), file.places);
            files.push(file.part);
        }
    }
    files
}

/// The image of a function that names none, so that a first run needs nothing else.
fn default_image(arguments: &mut Arguments, language: Option<Language>) -> Option<Image> {
    match language {
        Some(language @ (Language::Python | Language::Node)) => Some(default_of(language)),
        Some(Language::Rust) | None => {
            arguments.require("image");
            None
        }
    }
}

fn default_of(language: Language) -> Image {
    let name = match language {
        Language::Node => "node",
        Language::Python | Language::Rust => "python",
    };
    Image::Source {
        reference: format!("debian:{name}"),
    }
}
