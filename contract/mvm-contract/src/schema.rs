//! JSON Schemas (draft 2020-12) of the documents that leave this program. They are frozen: the
//! files in `schema/` change only together with a document's version.

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};

use crate::{
    audit::SignedRecord, plan::Plan, policy::HostPolicy, receipt::ReceiptPredicate,
    trust::TrustRoots, workload::Workload,
};

/// The schema of a type that is a text of one form in JSON.
macro_rules! text_schema {
    ($type:ident, $pattern:literal) => {
        impl ::schemars::JsonSchema for $type {
            fn schema_name() -> ::std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut ::schemars::SchemaGenerator) -> ::schemars::Schema {
                ::schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}
pub(crate) use text_schema;

/// Every published schema: the name of its file, and its text.
///
/// # Errors
///
/// Never with the types of this crate: what is written is a tree of plain values.
pub fn documents() -> Result<Vec<(&'static str, String)>, serde_json::Error> {
    let draft = SchemaSettings::draft2020_12;
    // What is signed has one form, the one that is written; files that people write may leave out
    // what has a default.
    let signed = || draft().for_serialize().into_generator();
    let edited = || draft().into_generator();
    Ok(vec![
        ("plan-v1.json", text::<Plan>(signed())?),
        ("receipt-v1.json", text::<ReceiptPredicate>(signed())?),
        ("audit-record-v1.json", text::<SignedRecord>(signed())?),
        ("host-policy-v1.json", text::<HostPolicy>(edited())?),
        ("trust-roots-v1.json", text::<TrustRoots>(edited())?),
        ("workload-v1.json", text::<Workload>(edited())?),
    ])
}

fn text<T: JsonSchema>(generator: SchemaGenerator) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(&generator.into_root_schema_for::<T>())?;
    text.push('\n');
    Ok(text)
}
