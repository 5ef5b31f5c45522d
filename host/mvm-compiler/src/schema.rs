//! Schemas of arguments and results, from type hints: the part of JSON Schema (draft 2020-12) that a
//! workload may hold.

use std::collections::HashMap;

use mvm_contract::canonical::MAX_DEPTH;
use serde_json::{Map, Value as Json, json};

use crate::{
    Diagnostic,
    declare::json_of,
    evaluate::Evaluator,
    syntax::{Field, FunctionDeclaration, Module, Path, Span, TypeDeclaration, TypeForm, TypeHint},
};

/// Levels of JSON that there are for the schema of an argument: those of a document without the seven
/// around it (document, apps, app, entrypoints, entrypoint, schema, properties).
const ARGUMENT_DEPTH: usize = MAX_DEPTH - 7;
/// Levels of JSON that there are for the schema of a result.
const RESULT_DEPTH: usize = MAX_DEPTH - 5;
/// The most parts of the schemas of one file.
const MAX_PARTS: usize = 20_000;

/// Makes the schemas of one file.
pub(crate) struct Schemas<'a> {
    types: HashMap<&'a str, Vec<&'a TypeDeclaration>>,
    parts: usize,
    /// What is wrong with the hint that is looked at.
    trouble: Option<&'static str>,
    report: Vec<Diagnostic>,
}

/// The schemas of one function.
pub(crate) struct Signature {
    pub(crate) arguments: Json,
    /// Without it, any value.
    pub(crate) result: Option<Json>,
}

impl<'a> Schemas<'a> {
    pub(crate) fn new(module: &'a Module) -> Self {
        let mut types: HashMap<&str, Vec<_>> = HashMap::new();
        for declaration in &module.types {
            types
                .entry(&declaration.name.text)
                .or_default()
                .push(declaration);
        }
        Self {
            types,
            parts: 0,
            trouble: None,
            report: Vec::new(),
        }
    }

    /// The schemas of a function.
    pub(crate) fn of(
        &mut self,
        function: &'a FunctionDeclaration,
        evaluator: &mut Evaluator<'a>,
    ) -> Signature {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for parameter in &function.parameters {
            let name = &parameter.name;
            let schema = match &parameter.hint {
                Some(hint) => self.whole(hint, name.span, ARGUMENT_DEPTH, evaluator),
                None => Json::Bool(true),
            };
            properties.insert(name.text.clone(), schema);
            if !parameter.optional {
                required.push(name.text.as_str());
            }
        }
        let arguments = object(properties, &required, false);
        let result = function.result.as_ref();
        let result =
            result.map(|hint| self.whole(hint, function.name.span, RESULT_DEPTH, evaluator));
        evaluator.report.append(&mut self.report);
        Signature {
            arguments,
            result: result.filter(|schema| *schema != Json::Bool(true)),
        }
    }

    /// The schema of a hint, or `true` where a document has no room for it.
    fn whole(
        &mut self,
        hint: &'a TypeHint,
        at: Span,
        depth: usize,
        evaluator: &mut Evaluator<'a>,
    ) -> Json {
        let mut open = Vec::new();
        self.trouble = None;
        let schema = self.schema(hint, depth, &mut open, evaluator);
        let Some(trouble) = self.trouble.take() else {
            return schema;
        };
        self.report.push(
            Diagnostic::warning("W_SCHEMA_LEFT_OUT", at, format!("this type {trouble}"))
                .hint("any value is taken here; use a type that is less deep to have it checked"),
        );
        Json::Bool(true)
    }

    /// `depth` is how many levels of JSON there is room for; `open` are the names that are looked
    /// into.
    fn schema(
        &mut self,
        hint: &'a TypeHint,
        depth: usize,
        open: &mut Vec<&'a str>,
        evaluator: &mut Evaluator<'a>,
    ) -> Json {
        self.parts += 1;
        if self.parts > MAX_PARTS {
            self.trouble = Some("makes the file's schemas too large");
        }
        let levels = match hint {
            TypeHint::Literal(_)
            | TypeHint::Tuple(_)
            | TypeHint::AnyOf(_)
            | TypeHint::Record(_) => 2,
            _ => 1,
        };
        if depth < levels {
            self.trouble = Some("nests too deeply");
        }
        if self.trouble.is_some() {
            return Json::Bool(true);
        }
        match hint {
            TypeHint::Any => Json::Bool(true),
            TypeHint::Null => json!({"type": "null"}),
            TypeHint::Boolean => json!({"type": "boolean"}),
            TypeHint::Integer => json!({"type": "integer"}),
            TypeHint::Number => json!({"type": "number"}),
            TypeHint::Text => json!({"type": "string"}),
            TypeHint::Bytes(span) => {
                self.report.push(
                    Diagnostic::error(
                        "E_UNSUPPORTED_BYTES",
                        *span,
                        "bytes cannot be passed as JSON",
                    )
                    .hint("pass a text, for example in base64"),
                );
                Json::Bool(true)
            }
            TypeHint::Refused {
                what,
                instead,
                span,
            } => {
                self.report.push(
                    Diagnostic::error(
                        "E_UNSUPPORTED_TYPE",
                        *span,
                        format!("{what} cannot be passed as JSON"),
                    )
                    .hint(*instead),
                );
                Json::Bool(true)
            }
            TypeHint::Literal(values) => {
                let mut found = Vec::new();
                for value in values {
                    let value = evaluator.evaluate(value);
                    match json_of(&value) {
                        Ok(value) if !value.is_array() && !value.is_object() => found.push(value),
                        Err(None) => {}
                        Ok(_) | Err(Some(_)) => self.report.push(Diagnostic::error(
                            "E_ARGUMENT_TYPE",
                            value.span,
                            format!("a literal type is {}, not a text, an integer, a boolean or nothing", value.kind.noun()),
                        )),
                    }
                }
                if found.is_empty() {
                    return Json::Bool(true);
                }
                json!({ "enum": found })
            }
            TypeHint::List(inner) => match self.schema(inner, depth - 1, open, evaluator) {
                Json::Bool(_) => json!({"type": "array"}),
                items => json!({"type": "array", "items": items}),
            },
            TypeHint::Tuple(parts) => {
                let count = parts.len();
                if count == 0 {
                    return json!({"type": "array", "maxItems": 0});
                }
                let items: Vec<_> = parts
                    .iter()
                    .map(|part| self.schema(part, depth - 2, open, evaluator))
                    .collect();
                json!({"type": "array", "prefixItems": items, "minItems": count, "maxItems": count})
            }
            TypeHint::Map(inner) => match self.schema(inner, depth - 1, open, evaluator) {
                Json::Bool(_) => json!({"type": "object"}),
                values => json!({"type": "object", "additionalProperties": values}),
            },
            TypeHint::AnyOf(parts) => {
                let mut schemas = Vec::new();
                for part in parts {
                    let schema = self.schema(part, depth - 2, open, evaluator);
                    match schema {
                        Json::Bool(_) => return schema,
                        // A union in a union is one.
                        Json::Object(ref inner)
                            if inner.len() == 1 && inner.contains_key("anyOf") =>
                        {
                            let inner = inner.get("anyOf").and_then(Json::as_array);
                            for schema in inner.into_iter().flatten() {
                                push_new(&mut schemas, schema.clone());
                            }
                        }
                        schema => push_new(&mut schemas, schema),
                    }
                }
                match schemas.len() {
                    0 => Json::Bool(true),
                    1 => schemas.swap_remove(0),
                    _ => json!({ "anyOf": schemas }),
                }
            }
            TypeHint::Record(fields) => self.record(fields, false, depth, open, evaluator),
            TypeHint::Named(path) => self.named(path, depth, open, evaluator),
            TypeHint::Unknown { text, span } => {
                self.unknown(&format!("type `{text}`"), *span);
                Json::Bool(true)
            }
        }
    }

    fn record(
        &mut self,
        fields: &'a [Field],
        is_open: bool,
        depth: usize,
        open: &mut Vec<&'a str>,
        evaluator: &mut Evaluator<'a>,
    ) -> Json {
        if depth < 2 {
            self.trouble = Some("nests too deeply");
            return Json::Bool(true);
        }
        let mut properties = Map::new();
        let mut required = Vec::new();
        for field in fields {
            let schema = self.schema(&field.hint, depth - 2, open, evaluator);
            properties.insert(field.name.text.clone(), schema);
            if field.required {
                required.push(field.name.text.as_str());
            }
        }
        object(properties, &required, is_open)
    }

    fn named(
        &mut self,
        path: &'a Path,
        depth: usize,
        open: &mut Vec<&'a str>,
        evaluator: &mut Evaluator<'a>,
    ) -> Json {
        let found = match path.segments.as_slice() {
            [name] => self.types.get(name.text.as_str()),
            _ => None,
        };
        let declaration = match found.map(Vec::as_slice) {
            Some([declaration]) => *declaration,
            _ => {
                self.unknown(&format!("type `{}`", path.dotted()), path.span);
                return Json::Bool(true);
            }
        };
        let name = declaration.name.text.as_str();
        if open.contains(&name) {
            self.trouble = Some("is made of itself");
            return Json::Bool(true);
        }
        open.push(name);
        let schema = match &declaration.form {
            TypeForm::Record { fields, open: more } => {
                self.record(fields, *more, depth, open, evaluator)
            }
            TypeForm::Alias(hint) => self.schema(hint, depth, open, evaluator),
            TypeForm::Opaque { what } => {
                self.unknown(&format!("`{name}`, {what},"), path.span);
                Json::Bool(true)
            }
        };
        open.pop();
        schema
    }

    fn unknown(&mut self, what: &str, at: Span) {
        self.report.push(
            Diagnostic::warning(
                "W_UNKNOWN_HINT",
                at,
                format!("{what} has no form in JSON that is known"),
            )
            .hint("any value is taken here"),
        );
    }
}

fn push_new(schemas: &mut Vec<Json>, schema: Json) {
    if !schemas.contains(&schema) {
        schemas.push(schema);
    }
}

fn object(properties: Map<String, Json>, required: &[&str], open: bool) -> Json {
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("properties".to_owned(), Json::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    if !open {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    Json::Object(schema)
}
