//! Syntax tree of a template.

use std::sync::Arc;

use super::value::Value;

/// Maximum depth of an expression: evaluating and dropping it recurses.
pub(super) const MAX_EXPRESSION_DEPTH: u16 = 160;

#[derive(Debug)]
pub(super) struct Expression {
    pub(super) kind: Kind,
    pub(super) line: u32,
    /// Height of the tree.
    pub(super) depth: u16,
}

#[derive(Debug)]
pub(super) enum Kind {
    Constant(Value),
    Name(Arc<str>),
    List(Vec<Expression>),
    Tuple(Vec<Expression>),
    Dict(Vec<(Expression, Expression)>),
    Attribute(Box<Expression>, Arc<str>),
    Item(Box<Expression>, Box<Expression>),
    Slice(Box<Expression>, [Option<Box<Expression>>; 3]),
    Call(Box<Expression>, Arguments),
    /// The operand is `None` in a `filter` or `set` block: the block's text.
    Filter(Option<Box<Expression>>, Arc<str>, Arguments),
    Test(Box<Expression>, Arc<str>, Arguments),
    Not(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Negate(Box<Expression>),
    Plus(Box<Expression>),
    Binary(Binary, Box<Expression>, Box<Expression>),
    Concatenate(Vec<Expression>),
    Compare(Box<Expression>, Vec<(Comparison, Expression)>),
    Condition {
        test: Box<Expression>,
        then: Box<Expression>,
        otherwise: Option<Box<Expression>>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

impl Binary {
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::FloorDivide => "//",
            Self::Remainder => "%",
            Self::Power => "**",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

#[derive(Debug, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expression>,
    pub(super) keyword: Vec<(Arc<str>, Expression)>,
    /// `*values`.
    pub(super) rest: Option<Box<Expression>>,
    /// `**values`.
    pub(super) keyword_rest: Option<Box<Expression>>,
}

impl Arguments {
    pub(super) fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let named = self.keyword.iter().map(|(_, value)| value);
        self.positional.iter().chain(named).chain(self.rest.as_deref()).chain(self.keyword_rest.as_deref())
    }
}

impl Expression {
    pub(super) fn new(kind: Kind, line: u32) -> Self {
        let below = match &kind {
            Kind::Constant(_) | Kind::Name(_) => 0,
            Kind::List(items) | Kind::Tuple(items) | Kind::Concatenate(items) => deepest(items),
            Kind::Dict(pairs) => pairs.iter().map(|(key, value)| key.depth.max(value.depth)).max().unwrap_or(0),
            Kind::Attribute(inner, _) | Kind::Not(inner) | Kind::Negate(inner) | Kind::Plus(inner) => inner.depth,
            Kind::Item(left, right) | Kind::And(left, right) | Kind::Or(left, right) | Kind::Binary(_, left, right) => {
                left.depth.max(right.depth)
            }
            Kind::Slice(inner, bounds) => {
                let bounds = bounds.iter().flatten().map(|bound| bound.depth).max().unwrap_or(0);
                inner.depth.max(bounds)
            }
            Kind::Call(inner, arguments) | Kind::Test(inner, _, arguments) => {
                inner.depth.max(deepest(arguments.expressions()))
            }
            Kind::Filter(inner, _, arguments) => {
                inner.as_ref().map_or(0, |inner| inner.depth).max(deepest(arguments.expressions()))
            }
            Kind::Compare(first, others) => {
                first.depth.max(others.iter().map(|(_, other)| other.depth).max().unwrap_or(0))
            }
            Kind::Condition { test, then, otherwise } => {
                let otherwise = otherwise.as_ref().map_or(0, |otherwise| otherwise.depth);
                test.depth.max(then.depth).max(otherwise)
            }
        };
        Self { kind, line, depth: below.saturating_add(1) }
    }
}

impl Expression {
    /// Whether jinja2 folds it at compile time: it has no name and no call.
    pub(super) fn is_constant(&self) -> bool {
        let all = |items: &[Self]| items.iter().all(Self::is_constant);
        match &self.kind {
            Kind::Constant(_) => true,
            Kind::Name(_) | Kind::Call(..) => false,
            Kind::List(items) | Kind::Tuple(items) | Kind::Concatenate(items) => all(items),
            Kind::Dict(pairs) => pairs.iter().all(|(key, value)| key.is_constant() && value.is_constant()),
            Kind::Attribute(inner, _) | Kind::Not(inner) | Kind::Negate(inner) | Kind::Plus(inner) => {
                inner.is_constant()
            }
            Kind::Item(left, right) | Kind::And(left, right) | Kind::Or(left, right) | Kind::Binary(_, left, right) => {
                left.is_constant() && right.is_constant()
            }
            Kind::Slice(inner, bounds) => {
                inner.is_constant() && bounds.iter().flatten().all(|bound| bound.is_constant())
            }
            Kind::Filter(inner, _, arguments) => {
                inner.as_ref().is_some_and(|inner| inner.is_constant())
                    && arguments.expressions().all(Self::is_constant)
            }
            Kind::Test(inner, _, arguments) => inner.is_constant() && arguments.expressions().all(Self::is_constant),
            Kind::Compare(first, others) => first.is_constant() && others.iter().all(|(_, other)| other.is_constant()),
            Kind::Condition { test, then, otherwise } => {
                let otherwise = otherwise.as_ref().is_none_or(|otherwise| otherwise.is_constant());
                test.is_constant() && then.is_constant() && otherwise
            }
        }
    }
}

fn deepest<'a>(expressions: impl IntoIterator<Item = &'a Expression>) -> u16 {
    expressions.into_iter().map(|expression| expression.depth).max().unwrap_or(0)
}

#[derive(Debug)]
pub(super) enum Target {
    Name(Arc<str>),
    /// `namespace.attribute`.
    Attribute(Arc<str>, Arc<str>),
    Tuple(Vec<Target>),
}

#[derive(Debug)]
pub(super) enum Statement {
    Data(Arc<str>),
    Emit(Expression),
    Set(Target, Expression),
    SetBlock {
        target: Target,
        filter: Option<Expression>,
        body: Vec<Statement>,
        line: u32,
    },
    If {
        branches: Vec<(Expression, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    For(Arc<Loop>),
    Macro(Arc<Macro>),
    CallBlock {
        call: Expression,
        body: Arc<Macro>,
    },
    FilterBlock {
        filter: Expression,
        body: Vec<Statement>,
    },
    With {
        bindings: Vec<(Target, Expression)>,
        body: Vec<Statement>,
    },
    Block(Vec<Statement>),
    /// `{% generation %}`: a scope of its own.
    Generation(Vec<Statement>),
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct Loop {
    pub(super) target: Target,
    pub(super) items: Expression,
    pub(super) test: Option<Expression>,
    pub(super) recursive: bool,
    pub(super) body: Vec<Statement>,
    pub(super) otherwise: Vec<Statement>,
    pub(super) line: u32,
}

#[derive(Debug)]
pub(super) struct Macro {
    /// `None` for the body of a `call` block.
    pub(super) name: Option<Arc<str>>,
    pub(super) parameters: Vec<(Arc<str>, Option<Expression>)>,
    pub(super) body: Vec<Statement>,
    pub(super) uses_caller: bool,
    pub(super) uses_rest: bool,
    pub(super) uses_keyword_rest: bool,
}
