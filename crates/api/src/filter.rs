//! Filters as clients write them, understood for one caller.

use ferrocti_access::Actor;
use ferrocti_model::Ident;
use ferrocti_model::clock::Millis;
use ferrocti_model::filter::{Context, Expression, FilterError, FilterGroup};
use serde_json::Value;

use crate::fault::{Fault, code};

/// What the JSON of a filter group means for a caller now; without a group everything fits.
pub(crate) fn expression(
    filters: Option<&Value>,
    actor: &Actor,
    now: Millis,
) -> Result<Expression, Fault> {
    let Some(filters) = filters else {
        return Ok(Expression::Always);
    };
    let context = Context {
        now,
        me: Some(Ident::Internal(actor.user_id)),
    };
    FilterGroup::parse(filters)
        .and_then(|group| group.expression(&context))
        .map_err(|error| refused(&error))
}

/// Both expressions, without needless nesting.
pub(crate) fn and(one: Expression, other: Expression) -> Expression {
    match (one, other) {
        (Expression::Never, _) | (_, Expression::Never) => Expression::Never,
        (Expression::Always, other) => other,
        (one, Expression::Always) => one,
        (Expression::And(mut all), other) => {
            all.push(other);
            Expression::And(all)
        }
        (one, other) => Expression::And(vec![one, other]),
    }
}

/// The refusal of a filter, with upstream's code for what is not supported.
pub(crate) fn refused(error: &FilterError) -> Fault {
    match error {
        FilterError::UnknownKey(_)
        | FilterError::NotSupported(_)
        | FilterError::Operator { .. } => Fault::unsupported(error.to_string()),
        FilterError::Form(_) | FilterError::TooLarge { .. } | FilterError::Value { .. } => {
            Fault::new(code::FUNCTIONAL, error.to_string())
        }
    }
}
