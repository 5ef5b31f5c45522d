//! Arguments and results against their JSON Schemas (draft 2020-12).

use jsonschema::Validator;
use mvm_contract::{Coded, ErrorCode};
use serde_json::Value;

/// What a value has that its schema does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} at `{at}`: {flaw}")]
pub struct SchemaMismatch {
    /// What was checked, such as `the arguments`.
    pub what: &'static str,
    /// Where, as a JSON Pointer (RFC 6901); empty for the whole.
    pub at: String,
    /// What is wrong there, without the value.
    pub flaw: String,
}

impl Coded for SchemaMismatch {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }

    fn hint(&self) -> Option<String> {
        Some("the type hints of the function say what it takes and gives".to_owned())
    }
}

/// Checks a value; without a schema any is right.
pub(crate) fn check(
    what: &'static str,
    schema: Option<&Value>,
    value: &Value,
) -> Result<(), SchemaMismatch> {
    let Some(schema) = schema else { return Ok(()) };
    let mismatch = |at: String, flaw: String| SchemaMismatch { what, at, flaw };
    // A workload was validated before; its schemas have no references to anywhere.
    let validator: Validator = jsonschema::draft202012::new(schema)
        .map_err(|_| mismatch(String::new(), "its schema is none".to_owned()))?;
    let Some(error) = validator.iter_errors(value).next() else {
        return Ok(());
    };
    let masked = error.masked_with("the value").to_string();
    Err(mismatch(error.instance_path().to_string(), masked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mismatch_tells_its_place_and_not_its_value() {
        let schema = json!({
            "type": "object",
            "properties": {"items": {"type": "array", "items": {"type": "integer"}}},
            "required": ["items"],
            "additionalProperties": false,
        });
        assert_eq!(
            check("the arguments", Some(&schema), &json!({"items": [1]})),
            Ok(())
        );
        let error = check(
            "the arguments",
            Some(&schema),
            &json!({"items": [1, "s3cret"]}),
        )
        .unwrap_err();
        assert_eq!(error.at, "/items/1");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        let error = check("the arguments", Some(&schema), &json!({})).unwrap_err();
        assert!(error.to_string().contains("items"), "{error}");
        assert_eq!(check("the result", None, &json!("anything")), Ok(()));
    }
}
