//! TypeScript to the JavaScript that Node.js runs: types are taken away, and what TypeScript has
//! beside types (enumerations, namespaces, parameter properties, JSX) is written out. Everything
//! else stays as it is, and nothing is checked: a type that does not fit is no error here.

use std::path::{Path, PathBuf};

use oxc_allocator::Allocator;
use oxc_codegen::{Codegen, CodegenOptions};
use oxc_parser::Parser;
use oxc_semantic::SemanticBuilder;
use oxc_transformer::{TransformOptions, Transformer};

use super::{measured, source_type, syntax_errors};
use crate::{
    Diagnostic, SourceFile,
    syntax::{FileId, Span},
};

/// Writes a TypeScript file as JavaScript, with a source map at its end: tracebacks name the lines
/// of the TypeScript. Each file is looked at alone, as TypeScript's own `isolatedModules` has it.
///
/// Time and memory are bounded by the file's size, whatever it holds.
///
/// # Errors
///
/// What is wrong with the file, at its places.
pub fn to_javascript(file: &SourceFile) -> Result<String, Vec<Diagnostic>> {
    let id = FileId(0);
    measured(id, &file.text, || written(id, file)).map_err(|report| vec![report])?
}

fn written(id: FileId, file: &SourceFile) -> Result<String, Vec<Diagnostic>> {
    let path = Path::new(&file.path);
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, &file.text, source_type(&file.path)).parse();
    refuse(id, file, &parsed.diagnostics)?;
    let mut program = parsed.program;
    let semantic = SemanticBuilder::new().with_enum_eval(true).build(&program);
    refuse(id, file, &semantic.diagnostics)?;
    let scoping = semantic.semantic.into_scoping();
    let transformed = Transformer::new(&allocator, path, &TransformOptions::default())
        .build_with_scoping(scoping, &mut program);
    refuse(id, file, &transformed.diagnostics)?;
    let name = path.file_name().map(PathBuf::from);
    let options = CodegenOptions {
        source_map_path: Some(name.unwrap_or_default()),
        ..CodegenOptions::default()
    };
    let printed = Codegen::new().with_options(options).build(&program);
    let map = printed.map.ok_or_else(|| {
        let message = "no source map was made of this file";
        vec![Diagnostic::error("E_INTERNAL", Span::start_of(id), message)]
    })?;
    let url = map.to_data_url();
    Ok(format!("{}//# sourceMappingURL={url}\n", printed.code))
}

fn refuse(
    id: FileId,
    file: &SourceFile,
    found: &[oxc_diagnostics::OxcDiagnostic],
) -> Result<(), Vec<Diagnostic>> {
    if found.is_empty() {
        return Ok(());
    }
    Err(syntax_errors(id, &file.text, found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &str, text: &str) -> Result<String, Vec<Diagnostic>> {
        to_javascript(&SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        })
    }

    /// What is written, without the source map.
    fn code(path: &str, text: &str) -> String {
        let written = of(path, text).unwrap();
        let (code, map) = written.rsplit_once("//# sourceMappingURL=").unwrap();
        assert!(map.starts_with("data:application/json"), "{map}");
        code.to_owned()
    }

    #[test]
    fn types_are_taken_away() {
        let text = "import { A, b } from './a';\nimport type C from './c';\n\
            export const d = (e: A, f?: C): e is A => b<number>(e!) as unknown satisfies any;\n";
        assert_eq!(
            code("a.ts", text),
            "import { b } from \"./a\";\nexport const d = (e, f) => b(e);\n"
        );
        assert_eq!(
            code("a.mts", "interface A {}\nexport type B = A;"),
            "export {};\n"
        );
    }

    #[test]
    fn what_is_more_than_types_is_written_out() {
        let written = code(
            "a.ts",
            "export enum A { B, C = 5 }\nclass D { constructor(public e: A) {} }",
        );
        for part in [
            "A[A[\"B\"] = 0] = \"B\"",
            "A[A[\"C\"] = 5] = \"C\"",
            "this.e = e",
        ] {
            assert!(written.contains(part), "{part}: {written}");
        }
    }

    #[test]
    fn what_is_wrong_is_found_at_its_place() {
        let found = of("a.ts", "let a: = 1;").unwrap_err();
        assert_eq!((found[0].code, found[0].span.start), ("E_SYNTAX", 7));
        let found = of("a.ts", "let a = 1; let a = 2;").unwrap_err();
        assert_eq!(found[0].code, "E_SYNTAX");
    }

    #[test]
    fn the_same_file_gives_the_same_bytes_in_any_directory() {
        let text = "export const a: number = 1;";
        assert_eq!(of("x/a.ts", text).unwrap(), of("y/z/a.ts", text).unwrap());
    }
}
