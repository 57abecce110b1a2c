//! Execution, level by level: all objects that one level produced are resolved together on the next.
//!
//! Within a level there is one resolver call per (object type, field, arguments), whatever the number of parents
//! and however many places of the query they come from.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::answer::{Answer, Bucket, Column, Slot};
use crate::coerce::{Coercion, Variables};
use crate::error::{Error, FieldError, code};
use crate::limits::Limits;
use crate::plan::{Arguments, Kind, Plan, Planned, Selection, Set, TypePlan};
use crate::resolver::{FieldCall, OperationKind, Resolver};
use crate::schema::{Schema, TypeIndex};

/// Answers `__schema` and `__type`: the JSON text of the field, or its errors.
pub(crate) type Introspect<'e> = dyn Fn(&Planned, usize) -> Result<Arc<[u8]>, Vec<Error>> + 'e;

/// One execution.
pub(crate) struct Execution<'e, R: Resolver> {
    resolver: &'e R,
    schema: &'e Schema,
    coercion: Coercion<'e>,
    plan: &'e Plan,
    kind: OperationKind,
    variables: Variables<'e>,
    answer: Answer<'e>,
    guards: HashMap<(TypeIndex, usize), Option<FieldError>>,
}

/// Objects of one type below one field, being resolved.
struct Group<'n, N> {
    plan: Arc<TypePlan>,
    /// Number of the plan in the answer.
    number: usize,
    parents: Vec<&'n N>,
    objects: &'n [u32],
}

/// One resolver call, possibly for several groups.
struct Call<'g> {
    arguments: Cow<'g, Map<String, Value>>,
    /// Group and field.
    members: Vec<(usize, usize)>,
}

impl<'e, R: Resolver> Execution<'e, R> {
    pub(crate) fn new(
        resolver: &'e R,
        coercion: Coercion<'e>,
        limits: &'e Limits,
        plan: &'e Plan,
        kind: OperationKind,
        variables: Variables<'e>,
    ) -> Self {
        Self {
            resolver,
            schema: coercion.schema,
            coercion,
            plan,
            kind,
            variables,
            answer: Answer::new(limits, &plan.document.sources),
            guards: HashMap::new(),
        }
    }

    /// Runs the operation. The text of `data`, and the errors; no text when the answer is too large.
    pub(crate) fn run(mut self, introspect: &Introspect<'_>) -> (Option<Vec<u8>>, Vec<Error>) {
        let Some(root) = self.root() else {
            let error = Error::new(code::INTERNAL, "The schema has no type for this operation.");
            return (Some(b"null".to_vec()), vec![error]);
        };
        self.answer.open(root.clone(), &[0]);
        let mut level = Vec::new();
        for (field, planned) in root.fields.iter().enumerate() {
            if self.answer.too_large {
                break;
            }
            let slot = match planned.kind {
                Kind::TypeName => self.answer.string(&root.name),
                Kind::Introspection => match introspect(planned, field) {
                    Ok(text) => self.answer.raw(&text),
                    Err(errors) => {
                        self.answer.errors.extend(errors);
                        Slot::Failed
                    }
                },
                Kind::Ordinary => self.root_field(&root, field, planned, &mut level),
            };
            self.answer.set(0, field, slot);
            if self.kind == OperationKind::Mutation {
                self.drain(std::mem::take(&mut level));
            }
        }
        self.drain(level);
        let mut out = Vec::with_capacity(4096);
        let written = self.answer.write(&mut out);
        (written.map(|()| out), self.answer.errors)
    }

    /// Resolves a single root field and returns the text of its value.
    pub(crate) fn run_field(mut self, field: usize) -> Result<Vec<u8>, Vec<Error>> {
        let planned_root = self.root();
        if let Some((root, planned)) = planned_root
            .as_ref()
            .and_then(|root| Some((root, root.fields.get(field)?)))
        {
            self.answer.open(root.clone(), &[0]);
            let mut level = Vec::new();
            let slot = self.root_field(root, field, planned, &mut level);
            self.answer.set(0, field, slot);
            self.drain(level);
            if self.answer.too_large {
                return Err(vec![too_large()]);
            }
            if let Some(text) = self
                .answer
                .write_slot(self.answer.slot(0, field), &planned.shape)
            {
                return Ok(text);
            }
        }
        Err(self.answer.errors)
    }

    fn root(&self) -> Option<Arc<TypePlan>> {
        let name = self.schema.root_type(self.kind)?;
        let index = self.schema.index(name)?;
        Some(self.plan.for_type(&self.plan.root, index, &self.coercion))
    }

    fn root_field(
        &mut self,
        root: &TypePlan,
        field: usize,
        planned: &Planned,
        next: &mut Vec<Bucket<R::Node>>,
    ) -> Slot {
        let resolver = self.resolver;
        if let Err(error) = self.guard(root, planned) {
            return self.answer.fail(0, field, planned, error);
        }
        let arguments = match &planned.arguments {
            Arguments::Fixed(Ok(arguments)) => Cow::Borrowed(arguments),
            Arguments::Fixed(Err(error)) => {
                return self.answer.fail(0, field, planned, error.clone());
            }
            Arguments::Variable => match self.arguments(planned) {
                Ok(arguments) => Cow::Owned(arguments),
                Err(error) => return self.answer.fail(0, field, planned, error),
            },
        };
        let sets = [&planned.set];
        let call = FieldCall {
            parent_type: &root.name,
            name: &planned.definition.name,
            arguments: &arguments,
            field_type: planned.definition.ty.inner_named_type(),
            selection: Selection {
                plan: self.plan,
                sets: &sets,
            },
        };
        let resolved = resolver.resolve_root(self.kind, &call);
        let first = next.len();
        let mut column = Column {
            resolver,
            schema: self.schema,
            planned,
            parent_type: &root.name,
            plan: 0,
            field,
            next,
            first,
        };
        self.answer.complete(&mut column, 0, resolved)
    }

    fn arguments(&mut self, planned: &Planned) -> Result<Map<String, Value>, FieldError> {
        let given = planned
            .set
            .occurrences()
            .first()
            .map_or(&[] as &[_], |field| &field.arguments);
        self.coercion
            .arguments(&planned.definition.arguments, given, &mut self.variables)
    }

    fn guard(&mut self, plan: &TypePlan, planned: &Planned) -> Result<(), FieldError> {
        self.guards
            .entry((plan.ty, planned.position))
            .or_insert_with(|| {
                self.resolver
                    .guard(&plan.name, &planned.definition.name)
                    .err()
            })
            .clone()
            .map_or(Ok(()), Err)
    }

    fn drain(&mut self, mut level: Vec<Bucket<R::Node>>) {
        while !level.is_empty() && !self.answer.too_large {
            level = self.level(&level);
        }
    }

    /// Resolves one level and returns the next.
    fn level(&mut self, buckets: &[Bucket<R::Node>]) -> Vec<Bucket<R::Node>> {
        let mut groups = Vec::with_capacity(buckets.len());
        for bucket in buckets {
            let above = self.answer.plan(bucket.plan);
            let plan = match above.fields.get(bucket.field) {
                Some(planned) => self.plan.for_type(&planned.set, bucket.ty, &self.coercion),
                None => continue,
            };
            let number = self.answer.open(plan.clone(), &bucket.objects);
            groups.push(Group {
                plan,
                number,
                parents: bucket.nodes.iter().collect(),
                objects: &bucket.objects,
            });
        }
        if self.answer.too_large {
            return Vec::new();
        }
        let mut next = Vec::new();
        for call in self.calls(&groups) {
            self.call(&call, &groups, &mut next);
            if self.answer.too_large {
                break;
            }
        }
        next
    }

    /// The calls of a level. Fields that need no call, or must not have one, are answered at once.
    fn calls<'g>(&mut self, groups: &'g [Group<'_, R::Node>]) -> Vec<Call<'g>> {
        let mut calls: Vec<Call<'g>> = Vec::new();
        // Only when one type turns up at several places, or one field under several keys, can calls be shared.
        let mut types: Vec<TypeIndex> = groups.iter().map(|group| group.plan.ty).collect();
        types.sort_unstable();
        let shared = types.windows(2).any(|pair| pair[0] == pair[1])
            || groups.iter().any(|group| group.plan.repeats);
        let mut known: HashMap<(TypeIndex, usize), Vec<usize>> = HashMap::new();
        for (g, group) in groups.iter().enumerate() {
            for (f, planned) in group.plan.fields.iter().enumerate() {
                if planned.kind == Kind::TypeName {
                    let slot = self.answer.string(&group.plan.name);
                    for object in group.objects {
                        self.answer.set(*object, f, slot);
                    }
                    continue;
                }
                let arguments =
                    self.guard(&group.plan, planned)
                        .and_then(|()| match &planned.arguments {
                            Arguments::Fixed(Ok(arguments)) => Ok(Cow::Borrowed(arguments)),
                            Arguments::Fixed(Err(error)) => Err(error.clone()),
                            Arguments::Variable => self.arguments(planned).map(Cow::Owned),
                        });
                let arguments = match arguments {
                    Ok(arguments) => arguments,
                    Err(error) => {
                        for object in group.objects {
                            let slot = self.answer.fail(*object, f, planned, error.clone());
                            self.answer.set(*object, f, slot);
                        }
                        continue;
                    }
                };
                if shared {
                    let same = known.entry((group.plan.ty, planned.position)).or_default();
                    if let Some(call) = same
                        .iter()
                        .find(|call| calls[**call].arguments == arguments)
                    {
                        calls[*call].members.push((g, f));
                        continue;
                    }
                    same.push(calls.len());
                }
                calls.push(Call {
                    arguments,
                    members: vec![(g, f)],
                });
            }
        }
        calls
    }

    fn call(
        &mut self,
        call: &Call<'_>,
        groups: &[Group<'_, R::Node>],
        next: &mut Vec<Bucket<R::Node>>,
    ) {
        let resolver = self.resolver;
        let (first_group, first_field) = call.members[0];
        let plan = &groups[first_group].plan;
        let planned = &plan.fields[first_field];
        let sets: Vec<&Set> = call
            .members
            .iter()
            .map(|(g, f)| &groups[*g].plan.fields[*f].set)
            .collect();
        let field_call = FieldCall {
            parent_type: &plan.name,
            name: &planned.definition.name,
            arguments: &call.arguments,
            field_type: planned.definition.ty.inner_named_type(),
            selection: Selection {
                plan: self.plan,
                sets: &sets,
            },
        };
        let together: Vec<&R::Node>;
        let parents: &[&R::Node] = if let [(group, _)] = call.members.as_slice() {
            &groups[*group].parents
        } else {
            together = call
                .members
                .iter()
                .flat_map(|(group, _)| groups[*group].parents.iter().copied())
                .collect();
            &together
        };
        let resolved = resolver.resolve(&field_call, parents);
        let complete = resolved.len() == parents.len();
        let mut resolved = resolved.into_iter();
        for (g, f) in &call.members {
            let group = &groups[*g];
            let planned = &group.plan.fields[*f];
            let mut column = Column {
                resolver,
                schema: self.schema,
                planned,
                parent_type: &group.plan.name,
                plan: group.number,
                field: *f,
                first: next.len(),
                next: &mut *next,
            };
            for object in group.objects {
                let slot = match resolved.next() {
                    Some(value) if complete => self.answer.complete(&mut column, *object, value),
                    _ => {
                        let error = FieldError::new(
                            code::INTERNAL,
                            format!(
                                "The resolver of {}.{} did not answer for every parent.",
                                group.plan.name, planned.definition.name
                            ),
                        );
                        self.answer.fail(*object, *f, planned, error)
                    }
                };
                self.answer.set(*object, *f, slot);
            }
        }
    }
}

/// Why there is no answer.
pub(crate) fn too_large() -> Error {
    Error::new(
        code::TOO_LARGE,
        "The answer is too large. Ask for smaller pages or fewer fields.",
    )
}
