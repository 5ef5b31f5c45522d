//! Functions that calls decorate: `mvm.app({…})(f)`.

use std::collections::{HashMap, HashSet};

use oxc_ast::ast::{
    BindingPattern, Declaration, ExportDefaultDeclarationKind, Expression as Node,
    ImportDeclarationSpecifier, Program, Statement, VariableDeclarationKind,
};

use super::{expression, function::Callable, span};
use crate::{
    evaluate::is_sdk,
    syntax::{Expression, ExpressionKind, FileId},
};

/// What the names of a file's top level are, before anything is lowered.
#[derive(Default)]
pub(super) struct Names<'a> {
    /// Functions, and constants that are functions.
    pub(super) functions: HashMap<&'a str, Callable<'a>>,
    /// Constants that are what a call gives: `const shared = mvm.app({…})`.
    decorators: HashSet<&'a str>,
    /// Names by which other modules reach those of this file.
    pub(super) exported: HashMap<&'a str, String>,
    /// Names that the SDK is imported by.
    pub(super) sdk: HashSet<&'a str>,
    /// Names of types, those that are imported too.
    pub(super) types: HashSet<String>,
}

impl<'a> Names<'a> {
    pub(super) fn of(program: &'a Program<'a>) -> Self {
        let mut names = Self::default();
        for statement in &program.body {
            names.statement(statement);
        }
        names
    }

    fn statement(&mut self, statement: &'a Statement<'a>) {
        if let Some(declaration) = statement.as_declaration() {
            return self.declaration(declaration, false);
        }
        match statement {
            Statement::ExportDeclaration(export) => self.declaration(&export.declaration, true),
            Statement::ExportNamedDeclaration(export) if export.export_kind.is_value() => {
                for specifier in &export.specifiers {
                    let local = specifier.local.identifier_name();
                    if let (Some(local), true) = (local, specifier.export_kind.is_value()) {
                        let exported = specifier.exported.name().to_string();
                        self.exported.entry(local.as_str()).or_insert(exported);
                    }
                }
            }
            Statement::ExportDefaultDeclaration(export) => match &export.declaration {
                ExportDefaultDeclarationKind::FunctionDeclaration(function) => {
                    if let Some(id) = &function.id {
                        let name = id.name.as_str();
                        self.functions.insert(name, Callable::Function(function));
                        self.exported.insert(name, "default".to_owned());
                    }
                }
                other => {
                    if let Some(Node::Identifier(word)) =
                        other.as_expression().map(Node::get_inner_expression)
                    {
                        let name = word.name.as_str();
                        self.exported
                            .entry(name)
                            .or_insert_with(|| "default".to_owned());
                    }
                }
            },
            Statement::ImportDeclaration(import) => {
                let sdk = is_sdk(
                    mvm_contract::workload::Language::Node,
                    import.source.value.as_str(),
                );
                for specifier in import.specifiers.iter().flatten() {
                    let local = local_of(specifier);
                    self.types.insert(local.to_owned());
                    if sdk {
                        self.sdk.insert(local);
                    }
                }
            }
            _ => {}
        }
    }

    fn declaration(&mut self, declaration: &'a Declaration<'a>, exported: bool) {
        let mut export = |name: &'a str| {
            if exported {
                self.exported.insert(name, name.to_owned());
            }
        };
        match declaration {
            Declaration::VariableDeclaration(variables) => {
                for variable in &variables.declarations {
                    let BindingPattern::BindingIdentifier(id) = &variable.id else {
                        continue;
                    };
                    let name = id.name.as_str();
                    export(name);
                    if variables.kind != VariableDeclarationKind::Const {
                        continue;
                    }
                    let Some(value) = &variable.init else {
                        continue;
                    };
                    match value.get_inner_expression() {
                        Node::CallExpression(_) => {
                            self.decorators.insert(name);
                        }
                        value => {
                            if let Some(callable) = callable(value) {
                                self.functions.insert(name, callable);
                            }
                        }
                    }
                }
            }
            Declaration::FunctionDeclaration(function) => {
                if let (Some(id), Some(_)) = (&function.id, &function.body) {
                    let name = id.name.as_str();
                    export(name);
                    self.functions.insert(name, Callable::Function(function));
                }
            }
            Declaration::ClassDeclaration(class) => {
                self.types
                    .extend(class.id.as_ref().map(|id| id.name.to_string()));
            }
            Declaration::TSTypeAliasDeclaration(alias) => {
                self.types.insert(alias.id.name.to_string());
            }
            Declaration::TSInterfaceDeclaration(interface) => {
                self.types.insert(interface.id.name.to_string());
            }
            Declaration::TSEnumDeclaration(enumeration) => {
                self.types.insert(enumeration.id.name.to_string());
            }
            _ => {}
        }
    }
}

/// The name an import binds.
pub(super) fn local_of<'a>(specifier: &'a ImportDeclarationSpecifier<'a>) -> &'a str {
    match specifier {
        ImportDeclarationSpecifier::ImportSpecifier(it) => it.local.name.as_str(),
        ImportDeclarationSpecifier::ImportDefaultSpecifier(it) => it.local.name.as_str(),
        ImportDeclarationSpecifier::ImportNamespaceSpecifier(it) => it.local.name.as_str(),
    }
}

/// A function that stands where it is used.
pub(super) fn callable<'a>(value: &'a Node<'a>) -> Option<Callable<'a>> {
    match value.get_inner_expression() {
        Node::ArrowFunctionExpression(arrow) => Some(Callable::Arrow(arrow)),
        Node::FunctionExpression(function) => Some(Callable::Function(function)),
        _ => None,
    }
}

/// A decorated value.
pub(super) struct Wrapped<'a> {
    /// What decorates it, the outermost first.
    pub(super) decorators: Vec<Expression>,
    /// What is decorated.
    pub(super) target: &'a Node<'a>,
    /// The function it is, if it is one of this file.
    pub(super) callable: Option<Callable<'a>>,
    /// What it is instead.
    pub(super) unsupported: Option<&'static str>,
}

/// Takes the calls off a function that they decorate.
pub(super) fn unwrap<'a>(
    file: FileId,
    names: &Names<'a>,
    value: &'a Node<'a>,
) -> Option<Wrapped<'a>> {
    let mut decorators = Vec::new();
    let mut target = value.get_inner_expression();
    let mut unsupported = None;
    while let Node::CallExpression(call) = target {
        if call.optional {
            break;
        }
        let decorator = match call.callee.get_inner_expression() {
            Node::CallExpression(decorator) => expression::call(file, decorator),
            Node::Identifier(word) if names.decorators.contains(word.name.as_str()) => {
                expression::path(file, &call.callee).map(|path| {
                    let at = span(file, call.callee.get_inner_expression());
                    Expression::new(ExpressionKind::Path(path), at)
                })
            }
            _ => None,
        };
        let Some(decorator) = decorator else {
            break;
        };
        decorators.push(decorator);
        match call.arguments.as_slice() {
            [argument] => match argument.as_expression() {
                Some(argument) => target = argument.get_inner_expression(),
                None => {
                    unsupported = Some("a spread");
                    break;
                }
            },
            _ => {
                unsupported = Some("decorated by a call with other than one argument");
                break;
            }
        }
    }
    if decorators.is_empty() {
        return None;
    }
    let callable = match target {
        Node::Identifier(word) => names.functions.get(word.name.as_str()).copied(),
        target => callable(target),
    };
    let what = match target {
        Node::Identifier(_) => "a name that is no function of this file",
        Node::ClassExpression(_) => "a class",
        _ => "a value",
    };
    let unsupported = unsupported.or(match callable {
        Some(callable) => callable.unsupported(),
        None => Some(what),
    });
    Some(Wrapped {
        decorators,
        target,
        callable,
        unsupported,
    })
}

/// How deep an expression is searched for decorated functions.
const MAX_SEARCH: usize = 16;

/// A call of the SDK that decorates a function somewhere in an expression, where nothing can call
/// the function by a name.
pub(super) fn stray<'a>(names: &Names<'a>, value: &'a Node<'a>) -> Option<&'a Node<'a>> {
    let mut open = vec![(value, MAX_SEARCH)];
    while let Some((value, depth)) = open.pop() {
        let value = value.get_inner_expression();
        let Some(depth) = depth.checked_sub(1) else {
            continue;
        };
        match value {
            Node::CallExpression(call) => {
                if let Node::CallExpression(decorator) = call.callee.get_inner_expression()
                    && is_of_sdk(names, &decorator.callee)
                {
                    return Some(value);
                }
                open.push((&call.callee, depth));
                for argument in &call.arguments {
                    open.extend(argument.as_expression().map(|it| (it, depth)));
                }
            }
            Node::ObjectExpression(object) => {
                for property in &object.properties {
                    if let oxc_ast::ast::ObjectPropertyKind::ObjectProperty(property) = property {
                        open.push((&property.value, depth));
                    }
                }
            }
            Node::ArrayExpression(array) => {
                for element in &array.elements {
                    open.extend(element.as_expression().map(|it| (it, depth)));
                }
            }
            Node::AssignmentExpression(assign) => open.push((&assign.right, depth)),
            Node::AwaitExpression(inner) => open.push((&inner.argument, depth)),
            Node::ConditionalExpression(choice) => {
                open.push((&choice.consequent, depth));
                open.push((&choice.alternate, depth));
            }
            Node::LogicalExpression(choice) => {
                open.push((&choice.left, depth));
                open.push((&choice.right, depth));
            }
            Node::SequenceExpression(sequence) => {
                open.extend(sequence.expressions.iter().map(|it| (it, depth)));
            }
            _ => {}
        }
    }
    None
}

fn is_of_sdk(names: &Names<'_>, callee: &Node<'_>) -> bool {
    let mut rest = callee.get_inner_expression();
    while let Node::StaticMemberExpression(member) = rest {
        rest = member.object.get_inner_expression();
    }
    matches!(rest, Node::Identifier(word) if names.sdk.contains(word.name.as_str()))
}
