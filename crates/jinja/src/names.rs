//! Names of filters and tests, checked at compile time.

use super::ast::{Expression, Kind, Macro, Statement};
use super::error::Error;
use super::{filters, tests};

/// Refuses unknown filters and tests. As in jinja2, those inside conditions (`soft`) are refused only when they run.
pub(super) fn check(statements: &[Statement], soft: bool) -> Result<(), Error> {
    for statement in statements {
        match statement {
            Statement::Data(_) | Statement::Break | Statement::Continue => {}
            Statement::Emit(value) | Statement::Set(_, value) => check_expression(value, soft)?,
            Statement::SetBlock { filter, body, .. } => {
                filter.iter().try_for_each(|filter| check_expression(filter, false))?;
                check(body, false)?;
            }
            Statement::If { branches, otherwise } => {
                for (test, body) in branches {
                    check_expression(test, true)?;
                    check(body, true)?;
                }
                check(otherwise, true)?;
            }
            Statement::For(node) => {
                check_expression(&node.items, soft)?;
                node.test.iter().try_for_each(|test| check_expression(test, false))?;
                check(&node.body, false)?;
                check(&node.otherwise, false)?;
            }
            Statement::Macro(node) => check_macro(node)?,
            Statement::CallBlock { call, body } => {
                check_expression(call, soft)?;
                check_macro(body)?;
            }
            Statement::FilterBlock { filter, body } => {
                check_expression(filter, false)?;
                check(body, false)?;
            }
            Statement::With { bindings, body } => {
                bindings.iter().try_for_each(|(_, value)| check_expression(value, soft))?;
                check(body, false)?;
            }
            Statement::Block(body) | Statement::Generation(body) => check(body, false)?,
        }
    }
    Ok(())
}

fn check_macro(node: &Macro) -> Result<(), Error> {
    let mut defaults = node.parameters.iter().filter_map(|(_, default)| default.as_ref());
    defaults.try_for_each(|default| check_expression(default, false))?;
    check(&node.body, false)
}

fn check_expression(expression: &Expression, soft: bool) -> Result<(), Error> {
    let arguments = match &expression.kind {
        Kind::Filter(_, name, arguments) => {
            if !soft && !filters::exists(name) {
                return Err(Error::syntax(format!("no filter named '{name}'"), expression.line));
            }
            Some(arguments)
        }
        Kind::Test(_, name, arguments) => {
            if !soft && !tests::exists(name) {
                return Err(Error::syntax(format!("no test named '{name}'"), expression.line));
            }
            Some(arguments)
        }
        Kind::Call(_, arguments) => Some(arguments),
        _ => None,
    };
    arguments
        .into_iter()
        .flat_map(|arguments| arguments.expressions())
        .try_for_each(|it| check_expression(it, soft))?;
    match &expression.kind {
        Kind::Constant(_) | Kind::Name(_) => Ok(()),
        Kind::List(items) | Kind::Tuple(items) | Kind::Concatenate(items) => {
            items.iter().try_for_each(|item| check_expression(item, soft))
        }
        Kind::Dict(pairs) => pairs.iter().try_for_each(|(key, value)| {
            check_expression(key, soft)?;
            check_expression(value, soft)
        }),
        Kind::Filter(inner, ..) => inner.iter().try_for_each(|inner| check_expression(inner, soft)),
        Kind::Attribute(inner, _)
        | Kind::Not(inner)
        | Kind::Negate(inner)
        | Kind::Plus(inner)
        | Kind::Call(inner, _)
        | Kind::Test(inner, ..) => check_expression(inner, soft),
        Kind::Item(left, right) | Kind::And(left, right) | Kind::Or(left, right) | Kind::Binary(_, left, right) => {
            check_expression(left, soft)?;
            check_expression(right, soft)
        }
        Kind::Slice(inner, bounds) => {
            check_expression(inner, soft)?;
            bounds.iter().flatten().try_for_each(|bound| check_expression(bound, soft))
        }
        Kind::Compare(first, others) => {
            check_expression(first, soft)?;
            others.iter().try_for_each(|(_, other)| check_expression(other, soft))
        }
        Kind::Condition { test, then, otherwise } => {
            check_expression(test, true)?;
            check_expression(then, true)?;
            otherwise.iter().try_for_each(|otherwise| check_expression(otherwise, true))
        }
    }
}
