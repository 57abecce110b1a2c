//! Editing knowledge: from the arguments of an edit to a call of ingestion, and from its row to the answer.

use std::sync::Arc;

use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_ingest::{
    By, Comment, EditError, EditOperation, FieldEdit, IngestError, Linked, Subject,
};
use ferrocti_model::registry::ReferenceType;
use ferrocti_model::{Element, Ident, Registry};
use ferrocti_store::{Iid, RelationshipQuery, Side, Stored};
use serde_json::{Map, Value};

use super::add::from_ingest;
use super::list::texts;
use super::{Answer, Link, Node, Resolution};
use crate::edits::{Edit, Family};
use crate::fault::{Fault, code};

/// What is being edited: the family of objects, empty for any, and the id as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Edited {
    /// Type or ancestor of the object.
    pub(crate) of: &'static str,
    /// Its id.
    pub(crate) id: String,
}

impl Resolution<'_> {
    /// A field of the mutation type that edits objects of one family.
    pub(super) fn edit(&self, edit: Edit, call: &FieldCall<'_>) -> Answer<'static> {
        let edited = |family: &Family| Edited {
            of: family.of,
            id: call.text("id").unwrap_or_default().to_owned(),
        };
        match edit {
            Edit::Fields(family) => Ok(Resolved::Node(Node::Edited(Arc::new(edited(family))))),
            Edit::Verb(family, verb) => self.edit_object(call, &edited(family), verb),
        }
    }

    /// A field of the mutation type that edits objects of any type, or several.
    pub(super) fn edit_mutation(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let of = match call.name {
            "stixRelationshipEdit" => "stix-relationship",
            "stixRefRelationshipEdit" => REFERENCE,
            "stixEdit" => "",
            "stixCoreRelationshipDelete" => return self.delete_between(call),
            _ => return self.delete_several(call),
        };
        let id = call.text("id").unwrap_or_default().to_owned();
        Ok(Resolved::Node(Node::Edited(Arc::new(Edited { of, id }))))
    }

    /// An edit below `…Edit(id)`.
    pub(super) fn edit_field(&self, call: &FieldCall<'_>, edited: &Edited) -> Answer<'static> {
        self.forget()?;
        if edited.of == REFERENCE {
            return self.edit_reference(call, edited);
        }
        self.edit_object(call, edited, call.name)
    }

    /// Who edits, and from where.
    pub(super) fn by(&self) -> Result<By<'_>, Fault> {
        let acting = self.caller.acting()?;
        Ok(By {
            actor: self.actor()?,
            applicant: acting.applicant,
            origin: acting.origin,
        })
    }

    fn edit_object(&self, call: &FieldCall<'_>, edited: &Edited, verb: &str) -> Answer<'static> {
        let by = self.by()?;
        let ingest = &self.state.services().ingest;
        let subject = Subject {
            id: ident(&edited.id, edited.of)?,
            family: edited.of,
        };
        let failed = |error: EditError| from_edit(&error);
        let iid = match verb {
            "delete" => {
                ingest
                    .delete(by, &subject)
                    .map_err(|error| from_delete(&error))?;
                return Ok(Resolved::leaf(edited.id.clone()));
            }
            "fieldPatch" => ingest
                .patch(by, &subject, &edits(call), &comment(call)?)
                .map_err(failed)?,
            "relationAdd" => {
                let linked = self.relation_add(call, edited, &subject)?;
                if call.field_type != "StixRefRelationship" {
                    linked.source
                } else {
                    return self.linked(&linked);
                }
            }
            "relationsAdd" => {
                let input = argument(call);
                let targets = idents(input.get("toIds"))?;
                let name = text(input, "relationship_type");
                ingest
                    .link(by, &subject, name, &targets, &comment(call)?)
                    .map_err(failed)?
                    .source
            }
            "relationDelete" => self.relation_delete(call, edited, &subject)?,
            "merge" => {
                let sources =
                    ["stixObjectsIds", "stixCoreObjectsIds"].map(|name| call.argument(name));
                let sources = idents(sources.into_iter().flatten().next())?;
                ingest.merge(by, &subject, &sources).map_err(failed)?
            }
            "restrictionOrganizationAdd" => {
                let organizations = idents(call.argument("organizationId"))?;
                ingest
                    .link(by, &subject, SHARED, &organizations, &Comment::default())
                    .map_err(failed)?
                    .source
            }
            "restrictionOrganizationDelete" => {
                let organizations = idents(call.argument("organizationId"))?;
                ingest
                    .unlink(by, &subject, SHARED, &organizations, &Comment::default())
                    .map_err(failed)?
            }
            "contextPatch" | "contextClean" => self.edited(edited)?.iid,
            "promote" => self.promote(edited)?.0,
            "promoteToIndicator" => self.promote(edited)?.1.ok_or_else(|| {
                Fault::functional(
                    "No indicator can be made of this observable: its type has no pattern.",
                )
            })?,
            _ => {
                return Err(Fault::unsupported(format!(
                    "{verb} is not served in this release."
                )));
            }
        };
        self.forget()?;
        // what somebody has just marked so that it is hidden from him is answered by nothing
        Ok(Resolved::node(self.object(iid)?.map(Node::Object)))
    }

    /// The object of an edit that changes nothing.
    fn edited(&self, edited: &Edited) -> Result<Arc<Stored>, Fault> {
        self.find_one(&edited.id)?
            .filter(|stored| edited.of.is_empty() || stored.kind.is_a(edited.of))
            .ok_or_else(|| missing(&edited.id, edited.of))
    }

    /// Adds a reference: from the object, or, where the input names who refers, to it.
    fn relation_add(
        &self,
        call: &FieldCall<'_>,
        edited: &Edited,
        subject: &Subject<'_>,
    ) -> Result<Linked, Fault> {
        let input = argument(call);
        let name = text(input, "relationship_type");
        let (source, target) = ends(subject, input.get("toId"), input.get("fromId"))?;
        if source.id != subject.id {
            // the object that is referred to must be what was asked for all the same
            self.edited(edited)?;
        }
        self.state
            .services()
            .ingest
            .link(self.by()?, &source, name, &[target], &Comment::default())
            .map_err(|error| from_edit(&error))
    }

    fn relation_delete(
        &self,
        call: &FieldCall<'_>,
        edited: &Edited,
        subject: &Subject<'_>,
    ) -> Result<Iid, Fault> {
        let name = call.text("relationship_type").unwrap_or_default();
        let (source, target) = ends(subject, call.argument("toId"), call.argument("fromId"))?;
        let own = self.edited(edited)?;
        self.state
            .services()
            .ingest
            .unlink(self.by()?, &source, name, &[target], &comment(call)?)
            .map_err(|error| from_edit(&error))?;
        Ok(own.iid)
    }

    /// A reference as it is answered.
    pub(super) fn linked(&self, linked: &Linked) -> Answer<'static> {
        self.forget()?;
        let mut found = self.objects(&[linked.source, linked.target])?;
        let (target, source) = (found.pop().flatten(), found.pop().flatten());
        let reference = Registry::get().reference_by_code(linked.reference.code);
        let link = |((source, target), reference): ((_, _), &'static ReferenceType)| Link {
            source,
            reference,
            target,
        };
        Ok(Resolved::node(
            source
                .zip(target)
                .zip(reference)
                .map(|parts| Node::Reference(Arc::new(link(parts)))),
        ))
    }

    /// An edit of a reference by the id that `stixRefRelationships` gives it.
    fn edit_reference(&self, call: &FieldCall<'_>, edited: &Edited) -> Answer<'static> {
        let Some(link) = self.link_of(&edited.id)? else {
            return Err(missing(&edited.id, REFERENCE));
        };
        match call.name {
            "delete" => {
                let source = Subject::any(Ident::Internal(link.source.internal));
                let target = [Ident::Internal(link.target.internal)];
                let name = &link.reference.name;
                let ingest = &self.state.services().ingest;
                ingest
                    .unlink(self.by()?, &source, name, &target, &Comment::default())
                    .map_err(|error| from_delete(&error))?;
                Ok(Resolved::leaf(edited.id.clone()))
            }
            "fieldPatch" => Err(Fault::unsupported(
                "References carry no attributes: dates of a reference are not kept. Remove the reference and add another one instead.",
            )),
            _ => Ok(Resolved::Node(Node::Reference(Arc::new(link)))),
        }
    }

    fn delete_between(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let id = |name: &str| ident(call.text(name).unwrap_or_default(), "");
        let name = call.text("relationship_type").unwrap_or_default();
        let ingest = &self.state.services().ingest;
        let deleted = ingest
            .delete_between(self.by()?, id("fromId")?, id("toId")?, name)
            .map_err(|error| from_delete(&error))?;
        Ok(Resolved::leaf(deleted))
    }

    fn delete_several(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let family = "Stix-Domain-Object";
        let ids = texts(call, "id");
        let subjects = ids
            .iter()
            .map(|id| {
                Ok(Subject {
                    id: ident(id, family)?,
                    family,
                })
            })
            .collect::<Result<Vec<_>, Fault>>()?;
        let ingest = &self.state.services().ingest;
        ingest
            .delete_all(self.by()?, &subjects)
            .map_err(|error| from_delete(&error))?;
        Ok(Resolved::leaf(Value::from(ids)))
    }

    /// Makes the indicator of an observable, as if the observable came again with the wish for one. Answers the rows of both.
    fn promote(&self, edited: &Edited) -> Result<(Iid, Option<Iid>), Fault> {
        let stored = self.edited(edited)?;
        let mut element = Element::new(stored.kind);
        element.attributes = stored.attributes.clone();
        element.attributes.shift_remove("creator_id");
        element.stix_ids = vec![stored.standard];
        element.derive = true;
        self.state
            .services()
            .ingest
            .upsert(self.actor()?, element)
            .map_err(|error| from_ingest(&error))?;
        self.forget()?;
        let based_on: Vec<u16> = Registry::get()
            .by_name("based-on")
            .map(|kind| kind.code)
            .into_iter()
            .collect();
        let ties = self.read(|snapshot| {
            Ok(snapshot.relationships_of(&RelationshipQuery {
                iid: stored.iid,
                side: Side::Target,
                types: &based_on,
                visible: &self.visible(),
                after: 0,
                limit: usize::MAX,
            })?)
        })?;
        let ties = self.objects(&ties)?;
        let sources: Vec<Iid> = ties
            .into_iter()
            .flatten()
            .filter_map(|tie| Some(tie.ends?.0))
            .collect();
        let indicators = self.objects(&sources)?.into_iter().flatten();
        let newest = indicators
            .filter(|source| source.kind.name == "Indicator")
            .map(|indicator| indicator.iid)
            .max();
        Ok((stored.iid, newest))
    }
}

/// Family of references, which are no objects.
const REFERENCE: &str = "stix-ref-relationship";
/// The reference by which an object is shared with organizations.
const SHARED: &str = "objectOrganization";

/// The object that refers and the one referred to.
fn ends<'a>(
    subject: &Subject<'a>,
    to: Option<&Value>,
    from: Option<&Value>,
) -> Result<(Subject<'a>, Ident), Fault> {
    let given = |value: Option<&Value>| {
        value
            .and_then(Value::as_str)
            .filter(|id| !id.trim().is_empty())
            .map(|id| ident(id, ""))
            .transpose()
    };
    match (given(to)?, given(from)?) {
        (Some(to), _) => Ok((*subject, to)),
        (None, Some(from)) => Ok((Subject::any(from), subject.id)),
        (None, None) => Err(Fault::functional("A relation needs a toId or a fromId.")),
    }
}

fn ident(id: &str, family: &str) -> Result<Ident, Fault> {
    Ident::parse(id.trim()).map_err(|_| missing(id, family))
}

/// Ids of a list; what is empty is passed over.
fn idents(list: Option<&Value>) -> Result<Vec<Ident>, Fault> {
    let ids = list.and_then(Value::as_array).into_iter().flatten();
    ids.filter_map(Value::as_str)
        .filter(|id| !id.trim().is_empty())
        .map(|id| ident(id, ""))
        .collect()
}

fn missing(id: &str, family: &str) -> Fault {
    from_edit(&EditError::NotFound {
        id: id.to_owned(),
        family: family.to_owned(),
    })
}

fn argument<'a>(call: &FieldCall<'a>) -> &'a Map<String, Value> {
    static EMPTY: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    call.argument("input")
        .and_then(Value::as_object)
        .unwrap_or(&EMPTY)
}

fn text<'a>(input: &'a Map<String, Value>, name: &str) -> &'a str {
    input.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The edits of `fieldPatch`. Clients send single values without a list around them.
fn edits(call: &FieldCall<'_>) -> Vec<FieldEdit> {
    let input = call.argument("input").and_then(Value::as_array);
    let edits = input.into_iter().flatten().filter_map(Value::as_object);
    edits
        .map(|edit| FieldEdit {
            key: text(edit, "key").to_owned(),
            path: edit
                .get("object_path")
                .and_then(Value::as_str)
                .map(str::trim)
                .filter(|path| !path.is_empty())
                .map(str::to_owned),
            operation: match text(edit, "operation") {
                "add" => EditOperation::Add,
                "remove" => EditOperation::Remove,
                _ => EditOperation::Replace,
            },
            values: edit
                .get("value")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default(),
        })
        .collect()
}

fn comment(call: &FieldCall<'_>) -> Result<Comment, Fault> {
    Ok(Comment {
        message: call
            .text("commitMessage")
            .map(str::trim)
            .filter(|message| !message.is_empty())
            .map(str::to_owned),
        references: idents(call.argument("references"))?,
    })
}

/// Why an edit is not done.
pub(super) fn from_edit(error: &EditError) -> Fault {
    match error {
        EditError::Denied(denial) => Fault::denied(denial),
        EditError::Refused(reason) => from_ingest(&IngestError::Refused(reason.clone())),
        EditError::Store(error) => error.clone().into(),
        EditError::Occupied(_) | EditError::Itself(_) => Fault::unsupported(error.to_string()),
        _ => Fault::functional(error.to_string()),
    }
}

/// Why something is not deleted.
fn from_delete(error: &EditError) -> Fault {
    match error {
        EditError::NotFound { .. } => Fault::new(
            code::ALREADY_DELETED,
            format!("Already deleted elements: {error}"),
        ),
        other => from_edit(other),
    }
}
