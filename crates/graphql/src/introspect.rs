//! Introspection, as a resolver over the schema itself: it shares the limits and the order of execution.

use apollo_compiler::Node;
use apollo_compiler::ast::{
    DirectiveDefinition, DirectiveList, EnumValueDefinition, FieldDefinition, InputValueDefinition,
    Type, Value as Literal,
};
use apollo_compiler::schema::ExtendedType;
use serde_json::Value;

use crate::error::{FieldError, code};
use crate::resolver::{FieldCall, OperationKind, Resolved, Resolver};
use crate::schema::Schema;

/// Resolves `__schema` and `__type`.
pub(crate) struct Introspector<'s> {
    schema: &'s Schema,
}

/// What an introspection type stands for.
#[derive(Clone, Copy)]
pub(crate) enum Meta<'s> {
    Schema,
    Named(&'s ExtendedType),
    /// A list or non-null type.
    Wrapped(&'s Type),
    /// The same type without its non-null.
    Nullable(&'s Type),
    Directive(&'s DirectiveDefinition),
    Field(&'s FieldDefinition),
    Input(&'s InputValueDefinition),
    EnumValue(&'s EnumValueDefinition),
}

type Answer<'s> = Resolved<'s, Meta<'s>>;

impl<'s> Introspector<'s> {
    pub(crate) fn new(schema: &'s Schema) -> Self {
        Self { schema }
    }

    fn named(&self, name: &str) -> Answer<'s> {
        Resolved::node(self.schema.definitions().types.get(name).map(Meta::Named))
    }

    fn named_list<'n>(&self, names: impl Iterator<Item = &'n str>) -> Answer<'s> {
        Resolved::List(names.map(|name| self.named(name)).collect())
    }

    fn ty(&self, ty: &'s Type) -> Answer<'s> {
        match ty {
            Type::Named(name) => self.named(name),
            wrapped => Resolved::Node(Meta::Wrapped(wrapped)),
        }
    }

    fn field(&self, meta: Meta<'s>, call: &FieldCall<'_>) -> Answer<'s> {
        let deprecated = call.arguments.get("includeDeprecated") == Some(&Value::Bool(true));
        match meta {
            Meta::Schema => self.of_schema(call.name),
            Meta::Named(definition) => self.of_type(definition, call.name, deprecated),
            Meta::Wrapped(ty) => match (call.name, ty) {
                ("kind", Type::List(_)) => Resolved::Text("LIST"),
                ("kind", _) => Resolved::Text("NON_NULL"),
                ("ofType", Type::List(inner)) => self.ty(inner),
                ("ofType", Type::NonNullNamed(name)) => self.named(name),
                ("ofType", Type::NonNullList(_)) => Resolved::Node(Meta::Nullable(ty)),
                _ => Resolved::Null,
            },
            Meta::Nullable(ty) => match call.name {
                "kind" => Resolved::Text("LIST"),
                "ofType" => self.ty(ty.item_type()),
                _ => Resolved::Null,
            },
            Meta::Directive(definition) => match call.name {
                "name" => Resolved::Text(&definition.name),
                "description" => text(definition.description.as_ref()),
                "locations" => Resolved::List(
                    definition
                        .locations
                        .iter()
                        .map(|location| Resolved::Text(location.name()))
                        .collect(),
                ),
                "args" => inputs(&definition.arguments, deprecated),
                "isRepeatable" => Resolved::leaf(definition.repeatable),
                _ => Resolved::Null,
            },
            Meta::Field(definition) => match call.name {
                "name" => Resolved::Text(&definition.name),
                "description" => text(definition.description.as_ref()),
                "args" => inputs(&definition.arguments, deprecated),
                "type" => self.ty(&definition.ty),
                name => self.deprecation(&definition.directives, name),
            },
            Meta::Input(definition) => match call.name {
                "name" => Resolved::Text(&definition.name),
                "description" => text(definition.description.as_ref()),
                "type" => self.ty(&definition.ty),
                "defaultValue" => match &definition.default_value {
                    Some(value) => Resolved::leaf(value.serialize().no_indent().to_string()),
                    None => Resolved::Null,
                },
                name => self.deprecation(&definition.directives, name),
            },
            Meta::EnumValue(definition) => match call.name {
                "name" => Resolved::Text(&definition.value),
                "description" => text(definition.description.as_ref()),
                name => self.deprecation(&definition.directives, name),
            },
        }
    }

    fn of_schema(&self, field: &str) -> Answer<'s> {
        let definitions = self.schema.definitions();
        let roots = &definitions.schema_definition;
        let root = |name: Option<&str>| name.map_or(Resolved::Null, |name| self.named(name));
        match field {
            "description" => text(roots.description.as_ref()),
            "types" => Resolved::nodes(definitions.types.values().map(Meta::Named)),
            "queryType" => root(roots.query.as_ref().map(|name| name.as_str())),
            "mutationType" => root(roots.mutation.as_ref().map(|name| name.as_str())),
            "subscriptionType" => root(roots.subscription.as_ref().map(|name| name.as_str())),
            "directives" => Resolved::nodes(
                definitions
                    .directive_definitions
                    .values()
                    .map(|definition| Meta::Directive(definition)),
            ),
            _ => Resolved::Null,
        }
    }

    fn of_type(&self, definition: &'s ExtendedType, field: &str, deprecated: bool) -> Answer<'s> {
        let shown = |directives: &DirectiveList| deprecated || !directives.has("deprecated");
        match (field, definition) {
            ("kind", _) => Resolved::Text(match definition {
                ExtendedType::Scalar(_) => "SCALAR",
                ExtendedType::Object(_) => "OBJECT",
                ExtendedType::Interface(_) => "INTERFACE",
                ExtendedType::Union(_) => "UNION",
                ExtendedType::Enum(_) => "ENUM",
                ExtendedType::InputObject(_) => "INPUT_OBJECT",
            }),
            ("name", _) => Resolved::Text(definition.name()),
            ("description", _) => text(definition.description()),
            ("fields", ExtendedType::Object(_) | ExtendedType::Interface(_)) => {
                let fields = match definition {
                    ExtendedType::Object(object) => &object.fields,
                    ExtendedType::Interface(interface) => &interface.fields,
                    _ => return Resolved::Null,
                };
                Resolved::nodes(
                    fields
                        .values()
                        .filter(|field| shown(&field.directives))
                        .map(|field| Meta::Field(field)),
                )
            }
            ("interfaces", ExtendedType::Object(object)) => self.named_list(
                object
                    .implements_interfaces
                    .iter()
                    .map(|name| name.as_str()),
            ),
            ("interfaces", ExtendedType::Interface(interface)) => self.named_list(
                interface
                    .implements_interfaces
                    .iter()
                    .map(|name| name.as_str()),
            ),
            ("possibleTypes", ExtendedType::Interface(_) | ExtendedType::Union(_)) => {
                self.named_list(self.schema.possible_types(definition.name()).into_iter())
            }
            ("enumValues", ExtendedType::Enum(definition)) => Resolved::nodes(
                definition
                    .values
                    .values()
                    .filter(|value| shown(&value.directives))
                    .map(|value| Meta::EnumValue(value)),
            ),
            ("inputFields", ExtendedType::InputObject(definition)) => Resolved::nodes(
                definition
                    .fields
                    .values()
                    .filter(|field| shown(&field.directives))
                    .map(|field| Meta::Input(field)),
            ),
            ("specifiedByURL", ExtendedType::Scalar(definition)) => definition
                .directives
                .get("specifiedBy")
                .and_then(|directive| directive.specified_argument_by_name("url"))
                .and_then(|url| url.as_str())
                .into(),
            _ => Resolved::Null,
        }
    }

    fn deprecation(&self, directives: &'s DirectiveList, field: &str) -> Answer<'s> {
        let directive = directives.get("deprecated");
        match (field, directive) {
            ("isDeprecated", directive) => Resolved::leaf(directive.is_some()),
            ("deprecationReason", Some(directive)) => directive
                .argument_by_name("reason", self.schema.definitions())
                .ok()
                .and_then(|reason| match reason.as_ref() {
                    Literal::String(reason) => Some(Resolved::leaf(reason.clone())),
                    _ => None,
                })
                .unwrap_or(Resolved::Null),
            _ => Resolved::Null,
        }
    }
}

fn text<'s>(description: Option<&'s Node<str>>) -> Answer<'s> {
    description.map(|text| &**text).into()
}

fn inputs(definitions: &[Node<InputValueDefinition>], deprecated: bool) -> Resolved<'_, Meta<'_>> {
    Resolved::nodes(
        definitions
            .iter()
            .filter(|definition| deprecated || !definition.directives.has("deprecated"))
            .map(|definition| Meta::Input(definition)),
    )
}

impl<'s> Resolver for Introspector<'s> {
    type Node = Meta<'s>;

    /// Introspection has no interfaces and no unions.
    fn type_of<'n>(&'n self, _: &'n Meta<'s>) -> &'n str {
        ""
    }

    fn resolve_root<'p>(
        &'p self,
        _: OperationKind,
        call: &FieldCall<'_>,
    ) -> Result<Resolved<'p, Meta<'s>>, FieldError> {
        match call.name {
            "__schema" => Ok(Resolved::Node(Meta::Schema)),
            "__type" => Ok(self.named(call.text("name").unwrap_or_default())),
            name => Err(FieldError::new(
                code::INTERNAL,
                format!("{name} is not part of introspection."),
            )),
        }
    }

    fn resolve<'p>(
        &'p self,
        call: &FieldCall<'_>,
        parents: &[&'p Meta<'s>],
    ) -> Vec<Result<Resolved<'p, Meta<'s>>, FieldError>> {
        parents
            .iter()
            .map(|parent| Ok(self.field(**parent, call)))
            .collect()
    }
}
