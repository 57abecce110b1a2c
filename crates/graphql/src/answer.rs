//! The answer while it grows: slots for the values of fields, completed against the schema, then written once.
//!
//! Nothing here nests: objects, lists and leaf texts live in four flat tables that refer to one another by number.
//! A failed field only leaves a mark; null propagation happens when the text is written.

use std::sync::Arc;

use apollo_compiler::parser::SourceMap;
use serde_json::Value;

use crate::error::{self, Error, FieldError, PathSegment, code, write_json};
use crate::limits::Limits;
use crate::plan::{Leaf, Planned, Shape, TypePlan};
use crate::resolver::{Resolved, Resolver};
use crate::schema::{Schema, TypeIndex};

/// Value of one field or list item.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Slot {
    Null,
    /// Null because of an error, reported already; propagates where null is not allowed.
    Failed,
    /// Bytes of `Answer::text`.
    Text(u32, u32),
    Object(u32),
    /// Slots of `Answer::items`: first, count.
    List(u32, u32),
}

#[derive(Debug)]
struct Object {
    /// Number of its type plan and of its first slot; set when its level is prepared.
    plan: u32,
    slots: u32,
    /// Where it is: field of an object, and positions in that field's lists.
    parent: u32,
    field: u32,
    positions: Positions,
}

#[derive(Debug, Clone)]
enum Positions {
    None,
    One(u32),
    Many(Box<[u32]>),
}

impl Positions {
    fn new(positions: &[u32]) -> Self {
        match positions {
            [] => Self::None,
            [one] => Self::One(*one),
            many => Self::Many(many.into()),
        }
    }

    fn as_slice(&self) -> &[u32] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Objects of one type that one field produced on one level: resolved together on the next.
pub(crate) struct Bucket<N> {
    /// The field that produced them.
    pub(crate) plan: usize,
    pub(crate) field: usize,
    pub(crate) ty: TypeIndex,
    pub(crate) nodes: Vec<N>,
    pub(crate) objects: Vec<u32>,
}

/// The field whose values are being completed.
pub(crate) struct Column<'c, R: Resolver> {
    pub(crate) resolver: &'c R,
    pub(crate) schema: &'c Schema,
    pub(crate) planned: &'c Planned,
    pub(crate) parent_type: &'c str,
    pub(crate) plan: usize,
    pub(crate) field: usize,
    pub(crate) next: &'c mut Vec<Bucket<R::Node>>,
    /// First bucket of this field in `next`.
    pub(crate) first: usize,
}

pub(crate) struct Answer<'l> {
    limits: &'l Limits,
    sources: &'l SourceMap,
    text: Vec<u8>,
    slots: Vec<Slot>,
    items: Vec<Slot>,
    objects: Vec<Object>,
    plans: Vec<Arc<TypePlan>>,
    pub(crate) errors: Vec<Error>,
    /// A limit was reached: the answer cannot be given.
    pub(crate) too_large: bool,
}

impl<'l> Answer<'l> {
    pub(crate) fn new(limits: &'l Limits, sources: &'l SourceMap) -> Self {
        Self {
            limits,
            sources,
            text: Vec::with_capacity(4096),
            slots: Vec::new(),
            items: Vec::new(),
            objects: vec![Object {
                plan: 0,
                slots: 0,
                parent: u32::MAX,
                field: 0,
                positions: Positions::None,
            }],
            plans: Vec::new(),
            errors: Vec::new(),
            too_large: false,
        }
    }

    /// Adds a type plan and reserves the slots of these objects. Returns the plan's number.
    pub(crate) fn open(&mut self, plan: Arc<TypePlan>, objects: &[u32]) -> usize {
        let number = self.plans.len();
        let width = plan.fields.len();
        self.plans.push(plan);
        let values = self.slots.len() + self.items.len() + objects.len() * width;
        if values > self.limits.max_values.min(u32::MAX as usize) {
            self.too_large = true;
            return number;
        }
        for (i, object) in objects.iter().enumerate() {
            let object = &mut self.objects[*object as usize];
            object.plan = number as u32;
            object.slots = (self.slots.len() + i * width) as u32;
        }
        self.slots
            .resize(self.slots.len() + objects.len() * width, Slot::Null);
        number
    }

    pub(crate) fn plan(&self, number: usize) -> Arc<TypePlan> {
        self.plans[number].clone()
    }

    pub(crate) fn set(&mut self, object: u32, field: usize, slot: Slot) {
        let slots = self.objects[object as usize].slots as usize;
        self.slots[slots + field] = slot;
    }

    pub(crate) fn slot(&self, object: u32, field: usize) -> Slot {
        self.slots[self.objects[object as usize].slots as usize + field]
    }

    /// Text that is JSON already.
    pub(crate) fn raw(&mut self, text: &[u8]) -> Slot {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        self.text_from(start)
    }

    pub(crate) fn string(&mut self, text: &str) -> Slot {
        let start = self.text.len();
        write_json(&mut self.text, text);
        self.text_from(start)
    }

    fn text_from(&mut self, start: usize) -> Slot {
        if self.text.len() > self.limits.max_response_bytes.min(u32::MAX as usize) {
            self.too_large = true;
            self.text.truncate(start);
            return Slot::Null;
        }
        Slot::Text(start as u32, (self.text.len() - start) as u32)
    }

    /// Reports the error of a field of an object.
    pub(crate) fn fail(
        &mut self,
        object: u32,
        field: usize,
        planned: &Planned,
        error: FieldError,
    ) -> Slot {
        self.fail_at(object, field, planned, &[], error)
    }

    fn fail_at(
        &mut self,
        object: u32,
        field: usize,
        planned: &Planned,
        positions: &[u32],
        error: FieldError,
    ) -> Slot {
        if self.errors.len() < self.limits.max_errors.max(1) {
            let mut error = Error::from(error);
            error.path = self.path(object, field, positions);
            error.locations = planned
                .set
                .occurrences()
                .iter()
                .filter_map(|field| error::location(field.location(), self.sources))
                .collect();
            self.errors.push(error);
        }
        Slot::Failed
    }

    fn path(&self, object: u32, field: usize, positions: &[u32]) -> Vec<PathSegment> {
        let mut path = Vec::new();
        let mut here = (object, field, Positions::new(positions));
        loop {
            let (number, field, positions) = here;
            let Some(object) = self.objects.get(number as usize) else {
                break;
            };
            path.extend(
                positions
                    .as_slice()
                    .iter()
                    .rev()
                    .map(|position| PathSegment::Index(*position as usize)),
            );
            if let Some(planned) = self
                .plans
                .get(object.plan as usize)
                .and_then(|plan| plan.fields.get(field))
            {
                path.push(PathSegment::Key(planned.key.to_string()));
            }
            here = (
                object.parent,
                object.field as usize,
                object.positions.clone(),
            );
        }
        path.reverse();
        path
    }

    /// The specification's CompleteValue: a resolved value as slot, objects queued for the next level.
    pub(crate) fn complete<R: Resolver>(
        &mut self,
        column: &mut Column<'_, R>,
        object: u32,
        resolved: Result<Resolved<'_, R::Node>, FieldError>,
    ) -> Slot {
        match resolved {
            Ok(resolved) => {
                let shape = &column.planned.shape;
                self.value(column, object, shape, resolved, &mut Vec::new())
            }
            Err(error) => self.fail(object, column.field, column.planned, error),
        }
    }

    fn value<R: Resolver>(
        &mut self,
        column: &mut Column<'_, R>,
        object: u32,
        shape: &Shape,
        resolved: Resolved<'_, R::Node>,
        positions: &mut Vec<u32>,
    ) -> Slot {
        match (shape, resolved) {
            (_, Resolved::Null) => self.null(column, object, shape, positions),
            (Shape::Leaf { .. } | Shape::List { .. }, Resolved::Leaf(value)) => {
                self.json(column, object, shape, &value, positions)
            }
            (Shape::Leaf { .. } | Shape::List { .. }, Resolved::Ref(value)) => {
                self.json(column, object, shape, value, positions)
            }
            (Shape::Leaf { leaf, .. }, Resolved::Text(text)) => match leaf {
                Leaf::String | Leaf::Id | Leaf::Any => self.string(text),
                Leaf::Enum(definition) if definition.values.contains_key(text) => self.string(text),
                _ => self.wrong(column, object, positions, "a string"),
            },
            (Shape::List { item, .. }, Resolved::List(values)) => {
                let mut slots = Vec::with_capacity(values.len());
                for (i, value) in values.into_iter().enumerate() {
                    positions.push(i as u32);
                    slots.push(self.value(column, object, item, value, positions));
                    positions.pop();
                    if self.too_large {
                        break;
                    }
                }
                self.list(&slots)
            }
            (
                Shape::Object {
                    declared,
                    is_abstract,
                    ..
                },
                Resolved::Node(node),
            ) => self.object(column, object, (*declared, *is_abstract), node, positions),
            // A row that holds null for an object.
            (Shape::Object { .. }, Resolved::Leaf(Value::Null) | Resolved::Ref(Value::Null)) => {
                self.null(column, object, shape, positions)
            }
            (_, Resolved::Node(_)) => self.wrong(column, object, positions, "an object"),
            (_, Resolved::List(_)) => self.wrong(column, object, positions, "a list"),
            (_, Resolved::Leaf(_) | Resolved::Ref(_) | Resolved::Text(_)) => {
                self.wrong(column, object, positions, "a scalar")
            }
        }
    }

    fn null<R: Resolver>(
        &mut self,
        column: &Column<'_, R>,
        object: u32,
        shape: &Shape,
        positions: &[u32],
    ) -> Slot {
        if !shape.non_null() {
            return Slot::Null;
        }
        let error = FieldError::new(
            code::INTERNAL,
            format!(
                "Cannot return null for non-nullable field {}.{}.",
                column.parent_type, column.planned.definition.name
            ),
        );
        self.fail_at(object, column.field, column.planned, positions, error)
    }

    fn wrong<R: Resolver>(
        &mut self,
        column: &Column<'_, R>,
        object: u32,
        positions: &[u32],
        found: &str,
    ) -> Slot {
        let error = FieldError::new(
            code::INTERNAL,
            format!(
                "Field {}.{} of type {} cannot represent {found}.",
                column.parent_type, column.planned.definition.name, column.planned.definition.ty
            ),
        );
        self.fail_at(object, column.field, column.planned, positions, error)
    }

    fn list(&mut self, slots: &[Slot]) -> Slot {
        let first = self.items.len();
        if self.slots.len() + first + slots.len() > self.limits.max_values.min(u32::MAX as usize) {
            self.too_large = true;
            return Slot::Null;
        }
        self.items.extend_from_slice(slots);
        Slot::List(first as u32, slots.len() as u32)
    }

    fn object<R: Resolver>(
        &mut self,
        column: &mut Column<'_, R>,
        owner: u32,
        (declared, is_abstract): (TypeIndex, bool),
        node: R::Node,
        positions: &[u32],
    ) -> Slot {
        let ty = if is_abstract {
            let name = column.resolver.type_of(&node);
            match column.schema.index(name) {
                Some(ty) if column.schema.applies(declared, ty) && ty != declared => ty,
                _ => {
                    let found = format!("an object of type \"{name}\"");
                    return self.wrong(column, owner, positions, &found);
                }
            }
        } else {
            declared
        };
        let number = self.objects.len() as u32;
        self.objects.push(Object {
            plan: 0,
            slots: 0,
            parent: owner,
            field: column.field as u32,
            positions: Positions::new(positions),
        });
        let first = column.first;
        match column.next[first..]
            .iter_mut()
            .find(|bucket| bucket.ty == ty)
        {
            Some(bucket) => {
                bucket.nodes.push(node);
                bucket.objects.push(number);
            }
            None => column.next.push(Bucket {
                plan: column.plan,
                field: column.field,
                ty,
                nodes: vec![node],
                objects: vec![number],
            }),
        }
        Slot::Object(number)
    }

    fn json<R: Resolver>(
        &mut self,
        column: &Column<'_, R>,
        object: u32,
        shape: &Shape,
        value: &Value,
        positions: &mut Vec<u32>,
    ) -> Slot {
        match (shape, value) {
            (_, Value::Null) => self.null(column, object, shape, positions),
            (Shape::Leaf { leaf, .. }, value) => match self.leaf(leaf, value) {
                Some(slot) => slot,
                None => self.wrong(column, object, positions, kind(value)),
            },
            (Shape::List { item, .. }, Value::Array(values)) => {
                let mut slots = Vec::with_capacity(values.len());
                for (i, value) in values.iter().enumerate() {
                    positions.push(i as u32);
                    slots.push(self.json(column, object, item, value, positions));
                    positions.pop();
                }
                self.list(&slots)
            }
            (_, value) => self.wrong(column, object, positions, kind(value)),
        }
    }

    /// The specification's result coercion; `None` when the value does not fit.
    fn leaf(&mut self, leaf: &Leaf, value: &Value) -> Option<Slot> {
        let start = self.text.len();
        match (leaf, value) {
            (Leaf::Any, value) => write_json(&mut self.text, value),
            (Leaf::String | Leaf::Id, Value::String(text)) => write_json(&mut self.text, text),
            (Leaf::String | Leaf::Id, Value::Number(number)) => {
                write_json(&mut self.text, &number.to_string());
            }
            (Leaf::String, Value::Bool(flag)) => write_json(&mut self.text, &flag.to_string()),
            (Leaf::Enum(definition), Value::String(text))
                if definition.values.contains_key(text.as_str()) =>
            {
                write_json(&mut self.text, text);
            }
            (Leaf::Boolean, Value::Bool(_)) | (Leaf::Float, Value::Number(_)) => {
                write_json(&mut self.text, value);
            }
            (Leaf::Int, Value::Number(number)) => {
                let whole = number.as_i64().or_else(|| {
                    number
                        .as_f64()
                        .filter(|float| float.fract() == 0.0)
                        .map(|float| float as i64)
                });
                let whole = i32::try_from(whole?).ok()?;
                write_json(&mut self.text, &whole);
            }
            _ => return None,
        }
        Some(self.text_from(start))
    }

    /// The text of the whole answer's data. `None` when the answer is too large.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>) -> Option<()> {
        // Objects of a level that was not run have no slots: then there is nothing to write.
        if self.too_large {
            return None;
        }
        let fits = self.write_object(out, 0);
        if out.len() > self.limits.max_response_bytes {
            self.too_large = true;
            return None;
        }
        if !fits {
            out.extend_from_slice(b"null");
        }
        Some(())
    }

    /// The text of a single value, as [`write`](Self::write).
    pub(crate) fn write_slot(&self, slot: Slot, shape: &Shape) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        self.write_value(&mut out, slot, shape).then_some(out)
    }

    /// False when the object cannot be given because of a null in it; then nothing has been written.
    fn write_object(&self, out: &mut Vec<u8>, number: u32) -> bool {
        if out.len() > self.limits.max_response_bytes {
            // Found by the caller of the outermost call.
            return true;
        }
        let object = &self.objects[number as usize];
        let start = out.len();
        out.push(b'{');
        for (i, planned) in self.plans[object.plan as usize].fields.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&planned.key_text);
            if !self.write_value(out, self.slots[object.slots as usize + i], &planned.shape) {
                out.truncate(start);
                return false;
            }
        }
        out.push(b'}');
        true
    }

    fn write_value(&self, out: &mut Vec<u8>, slot: Slot, shape: &Shape) -> bool {
        let written = match slot {
            Slot::Text(start, length) => {
                let start = start as usize;
                out.extend_from_slice(&self.text[start..start + length as usize]);
                true
            }
            Slot::Null => {
                out.extend_from_slice(b"null");
                return true;
            }
            Slot::Failed => false,
            Slot::Object(number) => self.write_object(out, number),
            Slot::List(first, count) => self.write_list(out, first, count, shape),
        };
        if !written && !shape.non_null() {
            out.extend_from_slice(b"null");
            return true;
        }
        written
    }

    fn write_list(&self, out: &mut Vec<u8>, first: u32, count: u32, shape: &Shape) -> bool {
        let Shape::List { item, .. } = shape else {
            return false;
        };
        let start = out.len();
        out.push(b'[');
        let first = first as usize;
        for (i, slot) in self.items[first..first + count as usize].iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            if !self.write_value(out, *slot, item) {
                out.truncate(start);
                return false;
            }
        }
        out.push(b']');
        true
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "this boolean",
        Value::Number(_) => "this number",
        Value::String(_) => "this string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a JSON object",
    }
}
