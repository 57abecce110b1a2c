//! From a filter's expression to conditions on rows: identifiers are resolved, attributes placed, values brought into stored form.

use ferrocti_model::{
    clock,
    filter::{AttributeKey, Expression, Operand, Test as ModelTest},
    id::Ident,
    registry::{Kind, Registry},
};
use rusqlite::types::Value as Sql;

use super::{
    condition::{Condition, Field, Form, Test},
    gather,
};
use crate::{Iid, Snapshot, Visibility, error::Result, fold::name_key};

/// Name of the reference from an object to its author.
const AUTHOR_REFERENCE: &str = "created-by";

/// Attributes that the sort name is taken from; see [`crate::NewObject::name`].
pub(super) const NAME_ATTRIBUTES: [&str; 2] = ["name", "value"];

impl Snapshot<'_> {
    /// What a reader may not see is like what is not known: no condition finds anything by it.
    pub(super) fn lower(&self, expression: &Expression, visible: &Visibility) -> Result<Condition> {
        let all = |members: &[Expression]| {
            members
                .iter()
                .map(|member| self.lower(member, visible))
                .collect::<Result<Vec<_>>>()
        };
        Ok(match expression {
            Expression::Always => Condition::Always,
            Expression::Never => Condition::Never,
            Expression::And(members) => gather::every(all(members)?),
            Expression::Or(members) => gather::any(all(members)?),
            Expression::Not(inner) => Condition::Not(Box::new(self.lower(inner, visible)?)),
            Expression::Ids(idents) => Condition::Ids(self.known(idents, visible)?),
            Expression::Types(types) => Condition::Types(types.clone()),
            Expression::Refers { reference, targets } => {
                Condition::Refers(*reference, self.known_or_any(targets.as_deref(), visible)?)
            }
            Expression::ReferredBy { reference, sources } => {
                Condition::ReferredBy(*reference, self.known_or_any(sources.as_deref(), visible)?)
            }
            Expression::Related {
                types,
                others,
                side,
            } => Condition::Related(
                types.clone(),
                self.known_or_any(others.as_deref(), visible)?,
                *side,
            ),
            Expression::Ends(side, idents) => Condition::Ends(*side, self.known(idents, visible)?),
            Expression::EndTypes(side, types) => Condition::EndTypes(*side, types.clone()),
            Expression::Author(inner) => {
                let reference = Registry::get()
                    .reference_type(AUTHOR_REFERENCE)
                    .map_or(0, |reference| reference.code);
                Condition::Author(reference, Box::new(self.lower(inner, visible)?))
            }
            Expression::Value(key, test) => value(key, test),
        })
    }

    fn known_or_any(
        &self,
        idents: Option<&[Ident]>,
        visible: &Visibility,
    ) -> Result<Option<Vec<Iid>>> {
        idents.map(|idents| self.known(idents, visible)).transpose()
    }

    /// The objects of those identifiers that are known and visible.
    fn known(&self, idents: &[Ident], visible: &Visibility) -> Result<Vec<Iid>> {
        let mut iids = Vec::with_capacity(idents.len());
        for ident in idents {
            let Some(iid) = self.resolve_one(&ident.key())? else {
                continue;
            };
            if *visible == Visibility::All || visible.allows(self.marking_set_of(iid)?) {
                iids.push(iid);
            }
        }
        iids.sort_unstable();
        iids.dedup();
        Ok(iids)
    }
}

/// Where an attribute is and how it is compared.
pub(super) fn field(key: &AttributeKey) -> Field {
    match (key.name.as_str(), &key.inner) {
        ("created_at", None) => Field::CreatedAt,
        ("updated_at", None) => Field::UpdatedAt,
        ("confidence", None) => Field::Confidence,
        _ => Field::Attribute {
            name: key.name.clone(),
            inner: key.inner.clone(),
            multiple: key.multiple,
            form: form(key.kind),
        },
    }
}

fn form(kind: Kind) -> Form {
    match kind {
        Kind::String | Kind::Text | Kind::Enum | Kind::Vocabulary => Form::Text,
        Kind::Id => Form::Exact,
        Kind::Date => Form::Date,
        Kind::Int
        | Kind::Long
        | Kind::Float
        | Kind::Bool
        | Kind::Json
        | Kind::Dict
        | Kind::Object
        | Kind::Nested => Form::Number,
    }
}

fn value(key: &AttributeKey, test: &ModelTest) -> Condition {
    let field = field(key);
    let in_column = matches!(field, Field::CreatedAt | Field::UpdatedAt);
    let operand = |operand: &Operand| match operand {
        Operand::Text(text) => Sql::Text(text.clone()),
        Operand::Number(number) => Sql::Real(*number),
        Operand::Bool(truth) => Sql::Integer((*truth).into()),
        Operand::Date(at) if in_column => Sql::Integer(*at),
        Operand::Date(at) => Sql::Text(clock::format_date(*at)),
    };
    let test = match test {
        ModelTest::Equals(with) => Test::Compares("=", operand(with)),
        ModelTest::Above(with) => Test::Compares(">", operand(with)),
        ModelTest::AtLeast(with) => Test::Compares(">=", operand(with)),
        ModelTest::Below(with) => Test::Compares("<", operand(with)),
        ModelTest::AtMost(with) => Test::Compares("<=", operand(with)),
        ModelTest::Contains(text) => Test::Contains(text.clone()),
        ModelTest::StartsWith(text) => Test::StartsWith(text.clone()),
        ModelTest::EndsWith(text) => Test::EndsWith(text.clone()),
        ModelTest::Words(text) => Test::Words(text.clone()),
        ModelTest::Pattern(text) => Test::Pattern(text.clone()),
        ModelTest::Present => Test::Present,
    };
    let name = match &test {
        Test::Compares("=", Sql::Text(text))
            if key.inner.is_none() && NAME_ATTRIBUTES.contains(&key.name.as_str()) =>
        {
            name_key(text)
        }
        _ => None,
    };
    match name {
        // the sort name is indexed; the value itself still decides, since sort names are cut
        Some(name) => Condition::And(vec![
            Condition::Names(vec![name.into_owned()]),
            Condition::Value(field, test),
        ]),
        None => Condition::Value(field, test),
    }
}
