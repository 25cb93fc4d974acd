//! Parser of statements: jinja2's grammar with transformers' extensions.

use std::sync::Arc;

use super::ast::{Expression, Kind, Loop, MAX_EXPRESSION_DEPTH, Macro, Statement, Target};
use super::error::Error;
use super::lexer::Token;
use super::names;

/// Maximum nesting of statements and parentheses.
const MAX_NESTING: u16 = 60;

pub(super) struct Parser {
    tokens: Vec<(Token, u32)>,
    position: usize,
    /// Current nesting of statements and parentheses.
    nesting: u16,
    /// Every name read so far; shows whether a macro's body uses `caller`, `varargs` or `kwargs`.
    pub(super) names: Vec<Arc<str>>,
}

/// The statements of a tokenized template.
pub(super) fn parse(tokens: Vec<(Token, u32)>) -> Result<Vec<Statement>, Error> {
    let mut parser = Parser { tokens, position: 0, nesting: 0, names: Vec::new() };
    let statements = parser.statements(&[])?;
    names::check(&statements, false)?;
    Ok(statements)
}

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        self.tokens.get(self.position).map_or(&Token::End, |(token, _)| token)
    }

    pub(super) fn peek_second(&self) -> &Token {
        self.tokens.get(self.position + 1).map_or(&Token::End, |(token, _)| token)
    }

    pub(super) fn line(&self) -> u32 {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens.get(self.position.min(last)).map_or(0, |(_, line)| *line)
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Result<T, Error> {
        Err(Error::syntax(message, self.line()))
    }

    pub(super) fn unexpected<T>(&self, wanted: &str) -> Result<T, Error> {
        let found = match self.peek() {
            Token::Data(_) => "text".to_owned(),
            Token::VariableBegin => "'{{'".to_owned(),
            Token::VariableEnd => "'}}'".to_owned(),
            Token::BlockBegin => "'{%'".to_owned(),
            Token::BlockEnd => "'%}'".to_owned(),
            Token::Name(name) => format!("'{name}'"),
            Token::Text(text) => format!("the string {text:?}"),
            Token::Integer(number) => number.to_string(),
            Token::Float(number) => number.to_string(),
            Token::Operator(operator) => format!("'{operator}'"),
            Token::End => "the end of the template".to_owned(),
        };
        self.fail(format!("expected {wanted}, found {found}"))
    }

    pub(super) fn is_operator(&self, operator: &str) -> bool {
        matches!(self.peek(), Token::Operator(found) if *found == operator)
    }

    pub(super) fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Token::Name(found) if **found == *name)
    }

    pub(super) fn skip_operator(&mut self, operator: &str) -> bool {
        let found = self.is_operator(operator);
        self.position += usize::from(found);
        found
    }

    pub(super) fn skip_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        self.position += usize::from(found);
        found
    }

    pub(super) fn expect_operator(&mut self, operator: &str) -> Result<(), Error> {
        if self.skip_operator(operator) { Ok(()) } else { self.unexpected(&format!("'{operator}'")) }
    }

    pub(super) fn expect_name(&mut self) -> Result<Arc<str>, Error> {
        let Token::Name(name) = self.peek().clone() else { return self.unexpected("a name") };
        self.position += 1;
        Ok(name)
    }

    fn expect(&mut self, token: &Token, name: &str) -> Result<(), Error> {
        if self.peek() != token {
            return self.unexpected(name);
        }
        self.position += 1;
        Ok(())
    }

    /// Runs `inside` one nesting level deeper.
    pub(super) fn nested<T>(&mut self, inside: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return self.fail(format!("nested deeper than {MAX_NESTING} levels"));
        }
        let result = inside(self);
        self.nesting -= 1;
        result
    }

    pub(super) fn build(&self, kind: Kind, line: u32) -> Result<Expression, Error> {
        let expression = Expression::new(kind, line);
        if expression.depth > MAX_EXPRESSION_DEPTH {
            return Err(Error::syntax(format!("an expression is deeper than {MAX_EXPRESSION_DEPTH} operations"), line));
        }
        Ok(expression)
    }

    /// Statements up to the tag of one of `ends`, whose name is the next token; to the end of the template where `ends` is empty.
    fn statements(&mut self, ends: &[&str]) -> Result<Vec<Statement>, Error> {
        self.nested(|parser| {
            let mut statements = Vec::new();
            loop {
                match parser.next() {
                    Token::Data(text) => statements.push(Statement::Data(text)),
                    Token::VariableBegin => {
                        statements.push(Statement::Emit(parser.tuple(true, &[], false)?));
                        parser.expect(&Token::VariableEnd, "'}}'")?;
                    }
                    Token::BlockBegin => {
                        if matches!(parser.peek(), Token::Name(name) if ends.contains(&&**name)) {
                            return Ok(statements);
                        }
                        parser.statement(&mut statements)?;
                        parser.expect(&Token::BlockEnd, "'%}'")?;
                    }
                    Token::End if ends.is_empty() => return Ok(statements),
                    _ => return parser.fail(format!("the template ends without {}", ends.join(" or "))),
                }
            }
        })
    }

    /// A tag's body after an optional colon, up to one of `ends`.
    fn body(&mut self, ends: &[&str]) -> Result<Vec<Statement>, Error> {
        self.skip_operator(":");
        self.expect(&Token::BlockEnd, "'%}'")?;
        self.statements(ends)
    }

    /// A tag's body up to `end`, consumed.
    fn whole_body(&mut self, end: &str) -> Result<Vec<Statement>, Error> {
        let body = self.body(&[end])?;
        self.position += 1;
        Ok(body)
    }

    fn statement(&mut self, into: &mut Vec<Statement>) -> Result<(), Error> {
        let line = self.line();
        let Token::Name(tag) = self.peek().clone() else { return self.unexpected("a tag's name") };
        self.position += 1;
        into.push(match &*tag {
            "set" => self.set(line)?,
            "if" => self.condition()?,
            "for" => self.for_loop(line)?,
            "macro" => {
                let name = self.expect_name()?;
                Statement::Macro(Arc::new(self.macro_body(Some(name), true, "endmacro")?.0))
            }
            "call" => {
                let (body, call) = self.macro_body(None, self.is_operator("("), "endcall")?;
                let Some(call) = call else { return self.fail("expected call") };
                Statement::CallBlock { call, body: Arc::new(body) }
            }
            "filter" => {
                let filter = self.filter(None, true)?;
                let Some(filter) = filter else { return self.unexpected("a filter") };
                Statement::FilterBlock { filter, body: self.whole_body("endfilter")? }
            }
            "with" => self.with()?,
            "block" => self.block()?,
            "print" => return self.print(into),
            "generation" => Statement::Generation(self.whole_body("endgeneration")?),
            "break" => Statement::Break,
            "continue" => Statement::Continue,
            "include" | "import" | "from" | "extends" | "autoescape" => {
                return Err(Error::syntax(format!("`{tag}` is not supported in templates"), line));
            }
            _ => return Err(Error::syntax(format!("unknown tag '{tag}'"), line)),
        });
        Ok(())
    }

    fn print(&mut self, into: &mut Vec<Statement>) -> Result<(), Error> {
        let mut first = true;
        while *self.peek() != Token::BlockEnd {
            if !first {
                self.expect_operator(",")?;
            }
            first = false;
            into.push(Statement::Emit(self.expression()?));
        }
        Ok(())
    }

    fn set(&mut self, line: u32) -> Result<Statement, Error> {
        let target = self.target(&[], true)?;
        if self.skip_operator("=") {
            return Ok(Statement::Set(target, self.tuple(true, &[], false)?));
        }
        let filter = self.filter(None, false)?;
        Ok(Statement::SetBlock { target, filter, body: self.whole_body("endset")?, line })
    }

    fn condition(&mut self) -> Result<Statement, Error> {
        let mut branches = Vec::new();
        loop {
            let test = self.tuple(false, &[], false)?;
            branches.push((test, self.body(&["elif", "else", "endif"])?));
            match self.expect_name()?.as_ref() {
                "elif" => {}
                "else" => return Ok(Statement::If { branches, otherwise: self.whole_body("endif")? }),
                _ => return Ok(Statement::If { branches, otherwise: Vec::new() }),
            }
        }
    }

    fn for_loop(&mut self, line: u32) -> Result<Statement, Error> {
        let target = self.target(&["in"], false)?;
        if stores(&target, "loop") {
            return Err(Error::syntax("cannot assign to the loop's own variable `loop`", line));
        }
        if !self.skip_name("in") {
            return self.unexpected("'in'");
        }
        let items = self.tuple(false, &["recursive"], false)?;
        let test = if self.skip_name("if") { Some(self.expression()?) } else { None };
        let recursive = self.skip_name("recursive");
        let body = self.body(&["endfor", "else"])?;
        let otherwise = if self.expect_name()?.as_ref() == "else" { self.whole_body("endfor")? } else { Vec::new() };
        Ok(Statement::For(Arc::new(Loop { target, items, test, recursive, body, otherwise, line })))
    }

    /// Parameters and body of a macro or `call` block; a `call` block has its call expression between them.
    fn macro_body(
        &mut self,
        name: Option<Arc<str>>,
        has_parameters: bool,
        end: &str,
    ) -> Result<(Macro, Option<Expression>), Error> {
        let mut parameters: Vec<(Arc<str>, Option<Expression>)> = Vec::new();
        if has_parameters {
            self.expect_operator("(")?;
            while !self.is_operator(")") {
                if !parameters.is_empty() {
                    self.expect_operator(",")?;
                }
                let parameter = self.expect_name()?;
                let default = if self.skip_operator("=") { Some(self.expression()?) } else { None };
                if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                    return self.fail("non-default argument follows default argument");
                }
                parameters.push((parameter, default));
            }
            self.expect_operator(")")?;
        }
        let call = if name.is_none() { Some(self.expression()?) } else { None };
        if call.as_ref().is_some_and(|call| !matches!(call.kind, Kind::Call(..))) {
            return self.fail("expected call");
        }
        let before = self.names.len();
        let body = self.whole_body(end)?;
        let uses = |special: &str| {
            let named = parameters.iter().any(|(parameter, _)| **parameter == *special);
            !named && self.names[before..].iter().any(|used| **used == *special)
        };
        let (caller, rest, keyword_rest) = (uses("caller"), uses("varargs"), uses("kwargs"));
        let body =
            Macro { name, parameters, body, uses_caller: caller, uses_rest: rest, uses_keyword_rest: keyword_rest };
        Ok((body, call))
    }

    fn with(&mut self) -> Result<Statement, Error> {
        let mut bindings = Vec::new();
        while *self.peek() != Token::BlockEnd {
            if !bindings.is_empty() {
                self.expect_operator(",")?;
            }
            let target = self.target(&[], false)?;
            self.expect_operator("=")?;
            bindings.push((target, self.expression()?));
        }
        Ok(Statement::With { bindings, body: self.whole_body("endwith")? })
    }

    fn block(&mut self) -> Result<Statement, Error> {
        let name = self.expect_name()?;
        if self.is_name("scoped") || self.is_name("required") {
            return self.fail("a `scoped` or `required` block is not supported in templates");
        }
        let body = self.whole_body("endblock")?;
        self.skip_name(&name);
        Ok(Statement::Block(body))
    }

    fn target(&mut self, ends: &[&str], with_namespace: bool) -> Result<Target, Error> {
        let expression = self.tuple_of(ends, false, |parser| parser.target_part(with_namespace))?;
        match expression {
            Ok(single) => Ok(single),
            Err(parts) => Ok(Target::Tuple(parts)),
        }
    }

    fn target_part(&mut self, with_namespace: bool) -> Result<Target, Error> {
        if self.skip_operator("(") {
            let inner =
                self.nested(|parser| parser.tuple_of(&[], true, |parser| parser.target_part(with_namespace)))?;
            self.expect_operator(")")?;
            return Ok(inner.unwrap_or_else(Target::Tuple));
        }
        let name = self.expect_name()?;
        if matches!(&*name, "true" | "false" | "True" | "False" | "none" | "None") {
            return self.fail("can't assign to 'const'");
        }
        if with_namespace && self.skip_operator(".") {
            return Ok(Target::Attribute(name, self.expect_name()?));
        }
        Ok(Target::Name(name))
    }

    /// One part (`Ok`), or a comma-separated tuple (`Err`).
    pub(super) fn tuple_of<T>(
        &mut self,
        ends: &[&str],
        explicit: bool,
        mut part: impl FnMut(&mut Self) -> Result<T, Error>,
    ) -> Result<Result<T, Vec<T>>, Error> {
        let mut parts = Vec::new();
        let mut is_tuple = false;
        loop {
            if !parts.is_empty() {
                self.expect_operator(",")?;
            }
            let ended = matches!(self.peek(), Token::VariableEnd | Token::BlockEnd)
                || self.is_operator(")")
                || ends.iter().any(|end| self.is_name(end));
            if ended {
                break;
            }
            parts.push(part(self)?);
            if !self.is_operator(",") {
                break;
            }
            is_tuple = true;
        }
        if !is_tuple {
            if let Some(single) = parts.pop() {
                return Ok(Ok(single));
            }
            if !explicit {
                return self.unexpected("an expression");
            }
        }
        Ok(Err(parts))
    }
}

fn stores(target: &Target, name: &str) -> bool {
    match target {
        Target::Name(stored) => **stored == *name,
        Target::Attribute(..) => false,
        Target::Tuple(parts) => parts.iter().any(|part| stores(part, name)),
    }
}
