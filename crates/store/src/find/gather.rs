//! Many equalities on one attribute as one look into a list: a filter may have tens of thousands of values, and a statement with a comparison for each takes SQLite
//! seconds to compile, since it looks for each among all the others.

use std::collections::HashSet;

use rusqlite::types::Value as Sql;

use super::condition::{Condition, Field, Form, Test};
use crate::fold::fold;

/// Equalities on one attribute, all of them bound to a sort name or none.
struct Group {
    field: Field,
    names: Vec<String>,
    named: bool,
    values: Vec<Sql>,
    /// Values as they are compared.
    known: HashSet<String>,
}

impl Group {
    fn add(&mut self, name: Option<&String>, value: &Sql) {
        self.names.extend(name.cloned());
        if self.known.insert(compared(&self.field, value)) {
            self.values.push(value.clone());
        }
    }

    /// One of the values.
    fn any(self) -> Condition {
        let test = match <[Sql; 1]>::try_from(self.values) {
            Ok([one]) => Test::Compares("=", one),
            Err(values) => Test::Among(values),
        };
        let value = Condition::Value(self.field, test);
        if self.named {
            Condition::And(vec![Condition::Names(self.names), value])
        } else {
            value
        }
    }

    /// All of the values.
    fn every(self) -> Condition {
        if self.values.len() == 1 {
            return self.any();
        }
        let many = matches!(self.field, Field::Attribute { multiple: true, .. });
        if many {
            Condition::HasAll(self.field, self.values)
        } else {
            // a single value is not several
            Condition::Never
        }
    }
}

fn compared(field: &Field, value: &Sql) -> String {
    match (field, value) {
        (
            Field::Attribute {
                form: Form::Text, ..
            },
            Sql::Text(text),
        ) => fold(text).into_owned(),
        (_, Sql::Text(text)) => text.clone(),
        (_, other) => format!("{other:?}"),
    }
}

/// Sort name, attribute and value of an equality.
fn equality(condition: &Condition) -> Option<(Option<&String>, &Field, &Sql)> {
    match condition {
        Condition::Value(field, Test::Compares("=", value)) => Some((None, field, value)),
        Condition::And(parts) => match parts.as_slice() {
            [
                Condition::Names(names),
                Condition::Value(field, Test::Compares("=", value)),
            ] => names.first().map(|name| (Some(name), field, value)),
            _ => None,
        },
        _ => None,
    }
}

/// Splits members into groups of equalities, groups of denied ones, and the rest.
fn groups(members: Vec<Condition>) -> (Vec<Group>, Vec<Group>, Vec<Condition>) {
    let (mut plain, mut denied, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for member in members {
        let (into, found): (&mut Vec<Group>, _) = match &member {
            Condition::Not(inner) => (&mut denied, equality(inner)),
            other => (&mut plain, equality(other)),
        };
        let Some((name, field, value)) = found else {
            rest.push(member);
            continue;
        };
        // the values of one filter come together, so the last group is nearly always the one
        let known = into
            .iter_mut()
            .rev()
            .find(|group| group.named == name.is_some() && group.field == *field);
        match known {
            Some(group) => group.add(name, value),
            None => {
                let mut group = Group {
                    field: field.clone(),
                    names: Vec::new(),
                    named: name.is_some(),
                    values: Vec::new(),
                    known: HashSet::new(),
                };
                group.add(name, value);
                into.push(group);
            }
        }
    }
    (plain, denied, rest)
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

/// One of several conditions. When each of them is bound to a sort name, so is the whole: the index finds the candidates for all at once.
pub(super) fn any(members: Vec<Condition>) -> Condition {
    let (plain, denied, rest) = groups(members);
    let mut members: Vec<Condition> = plain.into_iter().map(Group::any).collect();
    members.extend(denied.into_iter().map(|group| not(group.every())));
    members.extend(rest);
    if members.len() == 1 {
        return members.swap_remove(0);
    }
    match bound_names(&members) {
        Some(names) => Condition::And(vec![Condition::Names(names), Condition::Or(members)]),
        None => Condition::Or(members),
    }
}

/// The sort names that conditions are bound to; `None` when one of them is not.
fn bound_names(members: &[Condition]) -> Option<Vec<String>> {
    let mut all = Vec::new();
    for member in members {
        match member {
            Condition::And(parts) => match parts.first() {
                Some(Condition::Names(names)) => all.extend(names.iter().cloned()),
                _ => return None,
            },
            _ => return None,
        }
    }
    (!all.is_empty()).then_some(all)
}

/// All of several conditions.
pub(super) fn every(members: Vec<Condition>) -> Condition {
    let (plain, denied, rest) = groups(members);
    let mut members: Vec<Condition> = plain.into_iter().map(Group::every).collect();
    members.extend(denied.into_iter().map(|group| not(group.any())));
    members.extend(rest);
    Condition::And(members)
}
