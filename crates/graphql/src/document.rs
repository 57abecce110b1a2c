//! Prepared documents: parsed, checked, validated, with plans that grow as they are used.

use std::sync::Arc;

use apollo_compiler::ast::{Document, OperationType, Value as Literal};
use apollo_compiler::executable::{ExecutableDocument, Operation, Selection};
use apollo_compiler::introspection;
use apollo_compiler::validation::Valid;
use apollo_compiler::{Name, Node};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::error::{self, Error, Refusal, code};
use crate::limits::{self, Limits};
use crate::plan::Plan;
use crate::resolver::OperationKind;
use crate::schema::Schema;

/// A document that is ready to be executed, any number of times.
#[derive(Debug)]
pub struct Prepared {
    text: Box<str>,
    pub(crate) key: u128,
    pub(crate) document: Arc<Valid<ExecutableDocument>>,
    operations: Vec<Prep>,
}

/// One operation of a document.
#[derive(Debug)]
pub(crate) struct Prep {
    pub(crate) operation: Node<Operation>,
    pub(crate) kind: OperationKind,
    /// Variables that decide about `@skip` and `@include`.
    conditions: Vec<Name>,
    /// Variables that occur only once, as an argument of a root field.
    pub(crate) used_once: Vec<String>,
    /// Whether `__schema` or `__type` is among the root fields.
    pub(crate) introspects: bool,
    plans: Mutex<Vec<(u64, Arc<Plan>)>>,
}

/// Plans kept per operation, one for each combination of conditions; more are made anew when needed.
const MAX_PLANS: usize = 16;

impl Prepared {
    pub(crate) fn new(
        text: &str,
        key: u128,
        schema: &Schema,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        limits::scan(text, limits)?;
        let refuse = |code, errors: &_| Refusal {
            status: 400,
            errors: error::diagnostics(errors, code),
        };
        let ast = Document::parser()
            .recursion_limit(limits.max_nesting() * 2)
            .token_limit(limits.max_tokens * 4)
            .parse_ast(text, "query")
            .map_err(|invalid| refuse(code::PARSE, &invalid.errors))?;
        limits::measure(&ast, limits)?;
        // In two steps, because the validator would also complain about what the first step leaves out.
        let document = ast
            .to_executable(schema.definitions())
            .map_err(|invalid| refuse(code::VALIDATION, &invalid.errors))?
            .validate(schema.definitions())
            .map_err(|invalid| refuse(code::VALIDATION, &invalid.errors))?;
        if document.operations.is_empty() {
            return Err(Refusal::validation("The document has no operation."));
        }
        let operations = document
            .operations
            .iter()
            .map(|operation| Prep::new(operation, &document, limits))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            text: text.into(),
            key,
            document: Arc::new(document),
            operations,
        })
    }

    /// The document as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the operation that a request names reads or changes.
    ///
    /// # Errors
    /// There is no such operation, or none is named and there are several.
    pub fn kind(&self, operation_name: Option<&str>) -> Result<OperationKind, Refusal> {
        Ok(self.operation(operation_name)?.kind)
    }

    /// Names of the root fields of an operation, for logs and access rules of the transport.
    ///
    /// # Errors
    /// As [`kind`](Self::kind).
    pub fn root_fields(&self, operation_name: Option<&str>) -> Result<Vec<&str>, Refusal> {
        let prep = self.operation(operation_name)?;
        let mut names: Vec<&str> = Vec::new();
        for field in prep.operation.selection_set.root_fields(&self.document) {
            if !names.contains(&field.name.as_str()) {
                names.push(field.name.as_str());
            }
        }
        Ok(names)
    }

    /// Whether an operation asks for the schema (`__schema`, `__type`).
    ///
    /// # Errors
    /// As [`kind`](Self::kind).
    pub fn introspects(&self, operation_name: Option<&str>) -> Result<bool, Refusal> {
        Ok(self.operation(operation_name)?.introspects)
    }

    pub(crate) fn operation(&self, name: Option<&str>) -> Result<&Prep, Refusal> {
        let named = |prep: &&Prep| prep.operation.name.as_ref().map(Name::as_str) == name;
        match (name, self.operations.as_slice()) {
            (None, [single]) => Ok(single),
            (None, _) => Err(bad_request(
                "The document has several operations; \"operationName\" must say which one to run.",
            )),
            (Some(name), operations) => operations.iter().find(named).ok_or_else(|| {
                bad_request(format!("The document has no operation named \"{name}\"."))
            }),
        }
    }

    pub(crate) fn weight(&self) -> u32 {
        // Measured: a parsed and validated document with its plans takes some twenty times its text.
        u32::try_from(self.text.len() * 24 + 8 * 1024).unwrap_or(u32::MAX)
    }
}

fn bad_request(message: impl Into<String>) -> Refusal {
    Refusal::new(400, Error::new(code::BAD_REQUEST, message))
}

impl Prep {
    fn new(
        operation: &Node<Operation>,
        document: &Valid<ExecutableDocument>,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let kind = match operation.operation_type {
            OperationType::Query => OperationKind::Query,
            OperationType::Mutation => OperationKind::Mutation,
            OperationType::Subscription => {
                return Err(Refusal::validation(
                    "Subscriptions cannot be executed as a request.",
                ));
            }
        };
        introspection::check_max_depth(document, operation)
            .map_err(|error| Refusal::validation(error.message().to_string()))?;
        let root_fields = operation.selection_set.root_fields(document).count();
        if root_fields > limits.max_root_fields {
            return Err(Refusal::validation(format!(
                "The operation has {root_fields} root fields; at most {} are accepted. Split it into several requests.",
                limits.max_root_fields
            )));
        }
        let mut uses = Uses::default();
        uses.selections(&operation.selection_set.selections, true);
        for fragment in document.fragments.values() {
            uses.selections(&fragment.selection_set.selections, false);
        }
        let declared = |name: &Name| {
            operation
                .variables
                .iter()
                .any(|definition| definition.name == *name)
        };
        uses.conditions.retain(declared);
        if uses.conditions.len() > 64 {
            return Err(Refusal::validation(
                "At most 64 variables may be used in @skip and @include.",
            ));
        }
        let used_once = uses
            .at_root
            .iter()
            .filter(|name| uses.all.iter().filter(|other| other == name).count() == 1)
            .map(|name| name.to_string())
            .collect();
        let introspects = operation
            .selection_set
            .root_fields(document)
            .any(|field| matches!(field.name.as_str(), "__schema" | "__type"));
        Ok(Self {
            operation: operation.clone(),
            kind,
            introspects,
            conditions: uses.conditions,
            used_once,
            plans: Mutex::default(),
        })
    }

    /// The plan for these variables.
    pub(crate) fn plan(
        &self,
        document: &Arc<Valid<ExecutableDocument>>,
        variables: &Map<String, Value>,
    ) -> Result<Arc<Plan>, Refusal> {
        let mut mask = 0_u64;
        for (bit, name) in self.conditions.iter().enumerate() {
            match variables.get(name.as_str()) {
                Some(Value::Bool(value)) => mask |= u64::from(*value) << bit,
                _ => {
                    return Err(Refusal::new(
                        200,
                        Error::new(
                            code::BAD_INPUT,
                            format!(
                                "Variable \"${name}\" decides about @skip or @include and must not be null."
                            ),
                        ),
                    ));
                }
            }
        }
        let mut plans = self.plans.lock();
        if let Some((_, plan)) = plans.iter().find(|(known, _)| *known == mask) {
            return Ok(plan.clone());
        }
        let conditions = self
            .conditions
            .iter()
            .enumerate()
            .map(|(bit, name)| (name.clone(), mask >> bit & 1 == 1))
            .collect();
        let plan = Arc::new(Plan::new(
            document.clone(),
            self.operation.clone(),
            conditions,
        ));
        if plans.len() == MAX_PLANS {
            plans.remove(0);
        }
        plans.push((mask, plan.clone()));
        Ok(plan)
    }
}

/// Where a document uses its variables.
#[derive(Default)]
struct Uses<'d> {
    all: Vec<&'d Name>,
    /// As the whole value of an argument of a root field.
    at_root: Vec<&'d Name>,
    conditions: Vec<Name>,
}

impl<'d> Uses<'d> {
    fn selections(&mut self, selections: &'d [Selection], root: bool) {
        for selection in selections {
            for directive in &selection.directives().0 {
                for argument in &directive.arguments {
                    self.value(&argument.value);
                    if let Literal::Variable(name) = argument.value.as_ref()
                        && !self.conditions.contains(name)
                    {
                        self.conditions.push(name.clone());
                    }
                }
            }
            match selection {
                Selection::Field(field) => {
                    for argument in &field.arguments {
                        self.value(&argument.value);
                        if let (true, Literal::Variable(name)) = (root, argument.value.as_ref()) {
                            self.at_root.push(name);
                        }
                    }
                    self.selections(&field.selection_set.selections, false);
                }
                Selection::InlineFragment(inline) => {
                    self.selections(&inline.selection_set.selections, false);
                }
                Selection::FragmentSpread(_) => {}
            }
        }
    }

    fn value(&mut self, value: &'d Literal) {
        match value {
            Literal::Variable(name) => self.all.push(name),
            Literal::List(items) => items.iter().for_each(|item| self.value(item)),
            Literal::Object(members) => members.iter().for_each(|(_, member)| self.value(member)),
            _ => {}
        }
    }
}
