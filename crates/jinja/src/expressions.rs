//! Parser of expressions, with jinja2's precedence.

use super::ast::{Arguments, Binary, Comparison, Expression, Kind};
use super::error::Error;
use super::lexer::Token;
use super::parser::Parser;
use super::value::Value;

impl Parser {
    pub(super) fn expression(&mut self) -> Result<Expression, Error> {
        self.nested(Self::conditional)
    }

    /// An expression, or a tuple without parentheses; `conditional` allows `a if b else c`.
    pub(super) fn tuple(&mut self, conditional: bool, ends: &[&str], explicit: bool) -> Result<Expression, Error> {
        let line = self.line();
        let parts =
            self.tuple_of(
                ends,
                explicit,
                |parser| {
                    if conditional { parser.expression() } else { parser.nested(Self::or) }
                },
            )?;
        parts.map_or_else(|parts| self.build(Kind::Tuple(parts), line), Ok)
    }

    fn conditional(&mut self) -> Result<Expression, Error> {
        let mut value = self.or()?;
        while self.is_name("if") {
            let line = self.line();
            self.next();
            let test = Box::new(self.or()?);
            let otherwise = if self.skip_name("else") { Some(Box::new(self.expression()?)) } else { None };
            value = self.build(Kind::Condition { test, then: Box::new(value), otherwise }, line)?;
        }
        Ok(value)
    }

    fn or(&mut self) -> Result<Expression, Error> {
        let mut left = self.and()?;
        while self.is_name("or") {
            let line = self.line();
            self.next();
            let right = self.and()?;
            left = self.build(Kind::Or(Box::new(left), Box::new(right)), line)?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, Error> {
        let mut left = self.not()?;
        while self.is_name("and") {
            let line = self.line();
            self.next();
            let right = self.not()?;
            left = self.build(Kind::And(Box::new(left), Box::new(right)), line)?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expression, Error> {
        let line = self.line();
        if self.skip_name("not") {
            let inner = self.nested(Self::not)?;
            return self.build(Kind::Not(Box::new(inner)), line);
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<Expression, Error> {
        let line = self.line();
        let first = self.sum()?;
        let mut others = Vec::new();
        loop {
            let comparison = match self.peek() {
                Token::Operator("==") => Comparison::Equal,
                Token::Operator("!=") => Comparison::NotEqual,
                Token::Operator("<") => Comparison::Less,
                Token::Operator("<=") => Comparison::LessEqual,
                Token::Operator(">") => Comparison::Greater,
                Token::Operator(">=") => Comparison::GreaterEqual,
                Token::Name(name) if **name == *"in" => Comparison::In,
                Token::Name(name) if **name == *"not" => {
                    if !matches!(self.peek_second(), Token::Name(second) if **second == *"in") {
                        break;
                    }
                    self.next();
                    Comparison::NotIn
                }
                _ => break,
            };
            self.next();
            others.push((comparison, self.sum()?));
        }
        if others.is_empty() { Ok(first) } else { self.build(Kind::Compare(Box::new(first), others), line) }
    }

    fn binary(
        &mut self,
        operators: &[(&str, Binary)],
        operand: fn(&mut Self) -> Result<Expression, Error>,
    ) -> Result<Expression, Error> {
        let mut left = operand(self)?;
        while let Some((_, binary)) = operators.iter().find(|(operator, _)| self.is_operator(operator)) {
            let line = self.line();
            self.next();
            let right = operand(self)?;
            left = self.build(Kind::Binary(*binary, Box::new(left), Box::new(right)), line)?;
        }
        Ok(left)
    }

    fn sum(&mut self) -> Result<Expression, Error> {
        self.binary(&[("+", Binary::Add), ("-", Binary::Subtract)], Self::concatenation)
    }

    fn concatenation(&mut self) -> Result<Expression, Error> {
        let line = self.line();
        let mut parts = vec![self.product()?];
        while self.skip_operator("~") {
            parts.push(self.product()?);
        }
        if parts.len() > 1 {
            return self.build(Kind::Concatenate(parts), line);
        }
        parts.pop().map_or_else(|| self.unexpected("an expression"), Ok)
    }

    fn product(&mut self) -> Result<Expression, Error> {
        let operators =
            [("*", Binary::Multiply), ("/", Binary::Divide), ("//", Binary::FloorDivide), ("%", Binary::Remainder)];
        self.binary(&operators, Self::power)
    }

    fn power(&mut self) -> Result<Expression, Error> {
        self.binary(&[("**", Binary::Power)], |parser| parser.unary(true))
    }

    fn unary(&mut self, with_filter: bool) -> Result<Expression, Error> {
        let line = self.line();
        let mut value = if self.skip_operator("-") {
            let inner = self.nested(|parser| parser.unary(false))?;
            self.build(Kind::Negate(Box::new(inner)), line)?
        } else if self.skip_operator("+") {
            let inner = self.nested(|parser| parser.unary(false))?;
            self.build(Kind::Plus(Box::new(inner)), line)?
        } else {
            self.primary()?
        };
        value = self.postfix(value)?;
        if with_filter { self.filters_and_tests(value) } else { Ok(value) }
    }

    fn primary(&mut self) -> Result<Expression, Error> {
        let line = self.line();
        let kind = match self.peek().clone() {
            Token::Name(name) => {
                self.next();
                match &*name {
                    "true" | "True" => Kind::Constant(Value::Bool(true)),
                    "false" | "False" => Kind::Constant(Value::Bool(false)),
                    "none" | "None" => Kind::Constant(Value::None),
                    _ => {
                        self.names.push(name.clone());
                        Kind::Name(name)
                    }
                }
            }
            Token::Text(_) => {
                let mut text = String::new();
                while let Token::Text(part) = self.peek() {
                    text.push_str(part);
                    self.next();
                }
                Kind::Constant(Value::from(text))
            }
            Token::Integer(number) => {
                self.next();
                Kind::Constant(Value::Int(number))
            }
            Token::Float(number) => {
                self.next();
                Kind::Constant(Value::Float(number))
            }
            Token::Operator("(") => {
                self.next();
                let inner = self.tuple(true, &[], true)?;
                self.expect_operator(")")?;
                return Ok(inner);
            }
            Token::Operator("[") => Kind::List(self.list()?),
            Token::Operator("{") => self.dict()?,
            _ => return self.unexpected("an expression"),
        };
        self.build(kind, line)
    }

    fn list(&mut self) -> Result<Vec<Expression>, Error> {
        self.expect_operator("[")?;
        let mut items = Vec::new();
        while !self.is_operator("]") {
            if !items.is_empty() {
                self.expect_operator(",")?;
            }
            if self.is_operator("]") {
                break;
            }
            items.push(self.expression()?);
        }
        self.expect_operator("]")?;
        Ok(items)
    }

    fn dict(&mut self) -> Result<Kind, Error> {
        self.expect_operator("{")?;
        let mut pairs = Vec::new();
        while !self.is_operator("}") {
            if !pairs.is_empty() {
                self.expect_operator(",")?;
            }
            if self.is_operator("}") {
                break;
            }
            let key = self.expression()?;
            self.expect_operator(":")?;
            pairs.push((key, self.expression()?));
        }
        self.expect_operator("}")?;
        Ok(Kind::Dict(pairs))
    }

    fn postfix(&mut self, mut value: Expression) -> Result<Expression, Error> {
        loop {
            value = match self.peek() {
                Token::Operator("." | "[") => self.subscript(value)?,
                Token::Operator("(") => self.call(value)?,
                _ => return Ok(value),
            };
        }
    }

    fn filters_and_tests(&mut self, mut value: Expression) -> Result<Expression, Error> {
        loop {
            if self.is_operator("|") {
                let Some(filtered) = self.filter(Some(value), false)? else { return self.unexpected("a filter") };
                value = filtered;
            } else if self.is_name("is") {
                value = self.test(value)?;
            } else if self.is_operator("(") {
                value = self.call(value)?;
            } else {
                return Ok(value);
            }
        }
    }

    fn call(&mut self, function: Expression) -> Result<Expression, Error> {
        let line = self.line();
        let arguments = self.arguments()?;
        self.build(Kind::Call(Box::new(function), arguments), line)
    }

    fn subscript(&mut self, value: Expression) -> Result<Expression, Error> {
        let line = self.line();
        if self.skip_operator(".") {
            return match self.next() {
                Token::Name(name) => self.build(Kind::Attribute(Box::new(value), name), line),
                Token::Integer(number) => {
                    let index = self.build(Kind::Constant(Value::Int(number)), line)?;
                    self.build(Kind::Item(Box::new(value), Box::new(index)), line)
                }
                _ => self.fail("expected a name or a number after '.'"),
            };
        }
        self.expect_operator("[")?;
        let mut parts = Vec::new();
        while !self.is_operator("]") {
            if !parts.is_empty() {
                self.expect_operator(",")?;
            }
            let first = if self.is_operator(":") { None } else { Some(Box::new(self.expression()?)) };
            if !self.skip_operator(":") {
                parts.push(first);
                continue;
            }
            let ends = |parser: &Self| parser.is_operator("]") || parser.is_operator(",") || parser.is_operator(":");
            let second = if ends(self) { None } else { Some(Box::new(self.expression()?)) };
            let third = self.skip_operator(":") && !ends(self);
            let third = if third { Some(Box::new(self.expression()?)) } else { None };
            if !parts.is_empty() || !self.is_operator("]") {
                return self.fail("a slice among several indices is not supported in templates");
            }
            self.expect_operator("]")?;
            return self.build(Kind::Slice(Box::new(value), [first, second, third]), line);
        }
        self.expect_operator("]")?;
        let mut parts: Vec<Expression> = parts.into_iter().flatten().map(|part| *part).collect();
        let single = if parts.len() == 1 { parts.pop() } else { None };
        let index = match single {
            Some(index) => index,
            None => self.build(Kind::Tuple(parts), line)?,
        };
        self.build(Kind::Item(Box::new(value), Box::new(index)), line)
    }

    fn arguments(&mut self) -> Result<Arguments, Error> {
        self.expect_operator("(")?;
        let mut arguments = Arguments::default();
        let mut first = true;
        while !self.is_operator(")") {
            if !first {
                self.expect_operator(",")?;
                if self.is_operator(")") {
                    break;
                }
            }
            first = false;
            let misplaced = "invalid syntax for function call expression";
            if self.skip_operator("**") {
                if arguments.keyword_rest.is_some() {
                    return self.fail(misplaced);
                }
                arguments.keyword_rest = Some(Box::new(self.expression()?));
            } else if arguments.keyword_rest.is_some() {
                return self.fail(misplaced);
            } else if self.skip_operator("*") {
                if arguments.rest.is_some() {
                    return self.fail(misplaced);
                }
                arguments.rest = Some(Box::new(self.expression()?));
            } else if let (Token::Name(name), Token::Operator("=")) = (self.peek().clone(), self.peek_second()) {
                self.next();
                self.next();
                arguments.keyword.push((name, self.expression()?));
            } else if arguments.rest.is_some() || !arguments.keyword.is_empty() {
                return self.fail(misplaced);
            } else {
                arguments.positional.push(self.expression()?);
            }
        }
        self.expect_operator(")")?;
        Ok(arguments)
    }

    fn dotted_name(&mut self) -> Result<std::sync::Arc<str>, Error> {
        let mut name = self.expect_name()?;
        while self.skip_operator(".") {
            name = format!("{name}.{}", self.expect_name()?).into();
        }
        Ok(name)
    }

    /// A chain of filters on `value`; with `inline` the first has no `|` before it.
    pub(super) fn filter(
        &mut self,
        mut value: Option<Expression>,
        mut inline: bool,
    ) -> Result<Option<Expression>, Error> {
        while inline || self.is_operator("|") {
            if !inline {
                self.next();
            }
            inline = false;
            let line = self.line();
            let name = self.dotted_name()?;
            let arguments = if self.is_operator("(") { self.arguments()? } else { Arguments::default() };
            value = Some(self.build(Kind::Filter(value.map(Box::new), name, arguments), line)?);
        }
        Ok(value)
    }

    fn test(&mut self, value: Expression) -> Result<Expression, Error> {
        let line = self.line();
        self.next();
        let negated = self.skip_name("not");
        let name = self.dotted_name()?;
        let mut arguments = Arguments::default();
        let takes = match self.peek() {
            Token::Name(name) => !matches!(&**name, "else" | "or" | "and"),
            Token::Text(_) | Token::Integer(_) | Token::Float(_) | Token::Operator("[" | "{") => true,
            _ => false,
        };
        if self.is_operator("(") {
            arguments = self.arguments()?;
        } else if takes {
            if self.is_name("is") {
                return self.fail("tests with `is` cannot be chained");
            }
            let argument = self.primary()?;
            arguments.positional.push(self.postfix(argument)?);
        }
        let test = self.build(Kind::Test(Box::new(value), name, arguments), line)?;
        if negated { self.build(Kind::Not(Box::new(test)), line) } else { Ok(test) }
    }
}
