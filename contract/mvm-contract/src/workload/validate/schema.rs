//! The part of JSON Schema (draft 2020-12) that describes arguments and results. It is closed: a
//! keyword that would not be checked is not taken.

use serde_json::Value;

const TYPES: [&str; 7] = [
    "null", "boolean", "integer", "number", "string", "array", "object",
];

/// Whether a value is a schema of this part.
pub(super) fn is_schema(value: &Value) -> bool {
    let Value::Object(schema) = value else {
        return value.as_bool() == Some(true);
    };
    schema
        .iter()
        .all(|(keyword, value)| match keyword.as_str() {
            "type" => match value {
                Value::String(name) => TYPES.contains(&name.as_str()),
                Value::Array(names) => {
                    !names.is_empty()
                        && names
                            .iter()
                            .all(|name| name.as_str().is_some_and(|name| TYPES.contains(&name)))
                }
                _ => false,
            },
            "properties" => value
                .as_object()
                .is_some_and(|properties| properties.values().all(is_schema)),
            "items" => is_schema(value),
            "additionalProperties" => value.is_boolean() || is_schema(value),
            "prefixItems" | "anyOf" => value
                .as_array()
                .is_some_and(|schemas| !schemas.is_empty() && schemas.iter().all(is_schema)),
            "required" => value
                .as_array()
                .is_some_and(|names| names.iter().all(Value::is_string)),
            "enum" => value.as_array().is_some_and(|values| !values.is_empty()),
            "const" => true,
            "minItems" | "maxItems" => value.is_u64(),
            "description" | "title" | "format" => value.is_string(),
            _ => false,
        })
}
