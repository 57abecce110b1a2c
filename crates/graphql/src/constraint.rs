//! The schema directive `@constraint(minLength, maxLength, min, max, format)` on arguments and input fields.
//!
//! Lengths count characters. The only format is `not-blank`. Arguments of the directive that are not listed here
//! describe the schema to readers and are not checked.

use apollo_compiler::ast::{Directive, DirectiveList, Value as Literal};
use serde_json::Value;

/// What a value lacks, as a sentence; `Ok` when there is no such directive or the value obeys it. Lists are
/// checked item by item.
pub(crate) fn check(directives: &DirectiveList, value: &Value) -> Result<(), String> {
    match directives.get("constraint") {
        Some(directive) => one(directive, value),
        None => Ok(()),
    }
}

fn one(directive: &Directive, value: &Value) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| one(directive, item)),
        Value::String(text) => string(directive, text),
        Value::Number(number) => {
            let number = number.as_f64().unwrap_or_default();
            if let Some(min) = bound(directive, "min")
                && number < min
            {
                return Err(format!("Must be at least {min}"));
            }
            if let Some(max) = bound(directive, "max")
                && number > max
            {
                return Err(format!("Must be no greater than {max}"));
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn string(directive: &Directive, text: &str) -> Result<(), String> {
    let length = text.chars().count() as f64;
    if let Some(min) = bound(directive, "minLength")
        && length < min
    {
        return Err(format!("Must be at least {min} characters in length"));
    }
    if let Some(max) = bound(directive, "maxLength")
        && length > max
    {
        return Err(format!("Must be no more than {max} characters in length"));
    }
    let not_blank = directive
        .specified_argument_by_name("format")
        .is_some_and(|format| format.as_str() == Some("not-blank"));
    if not_blank && text.trim().is_empty() {
        return Err("Must not be blank".to_owned());
    }
    Ok(())
}

fn bound(directive: &Directive, name: &str) -> Option<f64> {
    match directive.specified_argument_by_name(name)?.as_ref() {
        Literal::Int(number) => number.as_str().parse().ok(),
        Literal::Float(number) => number.as_str().parse().ok(),
        _ => None,
    }
}
