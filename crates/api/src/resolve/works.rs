//! Works: what connectors announce, and what has become of it.

use std::sync::Arc;

use ferrocti_access::{Action, Actor, may, names};
use ferrocti_connectors::lease::Call;
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_ingest::partial::Partial;
use ferrocti_ingest::works::{self, ExpectError, Failure, NewWork};
use ferrocti_model::StixId;
use ferrocti_model::clock::format_date;
use ferrocti_store::{NoteKind, Snapshot, Tx, Work, WorkOrder, WorkQuery, WorkStatus};
use serde_json::{Value, json};

use super::graph::{behind, cursor, first};
use super::{Answer, Connection, Node, Resolution};
use crate::fault::Fault;

/// Works on a page when the client does not say.
const PAGE: usize = 500;

impl Resolution<'_> {
    pub(super) fn work_query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let id = call.text("id").unwrap_or_default();
        match call.name {
            "work" => {
                let work = self.read(|snapshot| Ok(snapshot.work(id)?))?;
                Ok(Resolved::node(work.map(|work| Node::Work(Arc::new(work)))))
            }
            "isWorkAlive" => Ok(Resolved::leaf(
                self.read(|snapshot| Ok(snapshot.work_exists(id)?))?,
            )),
            _ => self.work_list(call),
        }
    }

    fn work_list(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let limit = first(call, PAGE)?;
        let offset = behind(call)?.unwrap_or(0);
        let offset = usize::try_from(offset).unwrap_or(0);
        let mut query = WorkQuery {
            limit,
            offset,
            ..WorkQuery::default()
        };
        query.order = if call.text("orderBy") == Some("status") {
            WorkOrder::Status
        } else {
            WorkOrder::Created
        };
        query.descending = call.text("orderMode").unwrap_or("desc") == "desc";
        self.narrow(&mut query, call.argument("filters"))?;
        let (works, total) = self.read(|snapshot| Ok(snapshot.works(&query)?))?;
        let has_next = (offset + works.len()) < usize::try_from(total).unwrap_or(usize::MAX);
        let items = works
            .into_iter()
            .enumerate()
            .map(|(index, work)| {
                (
                    Node::Work(Arc::new(work)),
                    cursor(i64::try_from(offset + index + 1).unwrap_or(i64::MAX)),
                )
            })
            .collect();
        Ok(Resolved::Node(Node::Connection(Arc::new(Connection {
            items,
            has_next,
            has_previous: offset > 0,
            total,
        }))))
    }

    /// Works are filtered by a handful of keys with `eq`, all of which must hold.
    fn narrow(&self, query: &mut WorkQuery, filters: Option<&Value>) -> Result<(), Fault> {
        let Some(filters) = filters else {
            return Ok(());
        };
        let group = ferrocti_model::filter::FilterGroup::parse(filters)
            .map_err(|error| crate::filter::refused(&error))?;
        if !group.groups.is_empty() {
            return Err(Fault::unsupported(
                "Works cannot be filtered by nested groups.",
            ));
        }
        for filter in &group.filters {
            let texts = || {
                filter
                    .values
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
            };
            for key in &filter.keys {
                match key.as_str() {
                    "connector_id" => query.connectors.extend(texts()),
                    "event_source_id" => query.sources.extend(texts()),
                    "status" => {
                        for text in texts() {
                            query.statuses.push(match text.as_str() {
                                "wait" => WorkStatus::Wait,
                                "progress" => WorkStatus::Progress,
                                "complete" => WorkStatus::Complete,
                                other => {
                                    return Err(Fault::functional(format!(
                                        "\"{other}\" is no status of a work."
                                    )));
                                }
                            });
                        }
                    }
                    "user_id" => {
                        let ids: Vec<_> = texts().filter_map(|id| id.parse().ok()).collect();
                        query
                            .users
                            .extend(self.users(&ids)?.iter().map(|user| user.row));
                    }
                    "name" => query.search = texts().next(),
                    other => {
                        return Err(Fault::unsupported(format!(
                            "Works cannot be filtered by \"{other}\"; there are connector_id, event_source_id, status, user_id and name."
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn work_mutation(&self, call: &FieldCall<'_>) -> Answer<'static> {
        match call.name {
            "workAdd" => self.work_add(call),
            "workEdit" => {
                // The id is checked by the step that is taken with it: a work that is gone is no error there.
                Ok(Resolved::Node(Node::WorkEdit(
                    call.text("id").unwrap_or_default().into(),
                )))
            }
            "workDelete" => {
                let connector = call.text("connectorId").unwrap_or_default();
                self.write(|tx| {
                    self.may_speak_for(tx, connector)?;
                    self.may_clear(tx, connector)?;
                    works::delete_all(tx, connector)?;
                    Ok(Resolved::leaf(true))
                })
            }
            _ => self.push(call),
        }
    }

    fn write<T>(&self, body: impl FnOnce(&mut Tx<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.state.services().store.write(body)
    }

    /// Refuses whoever may not speak for a connector; a connector that nobody registered belongs to everybody who may use the protocol.
    fn may_speak_for(&self, snapshot: &Snapshot<'_>, connector: &str) -> Result<(), Fault> {
        let actor = self.actor()?;
        let owner = snapshot
            .connector(connector)?
            .and_then(|connector| connector.user);
        let action = owner.map_or(Action::Use(names::CONNECTOR_API), |owner| {
            Action::SpeakForConnector { owner }
        });
        may(actor, action).map_err(|denial| Fault::denied(&denial))
    }

    /// Refuses what does not act as a connector any more.
    fn acts_as(&self, snapshot: &Snapshot<'_>, connector: &str, call: Call) -> Result<(), Fault> {
        let connectors = &self.state.services().connectors;
        connectors.admit(snapshot, &self.caller.acting()?, connector, call)?;
        Ok(())
    }

    /// Refuses to clear away the works of a connector what formerly acted as it.
    fn may_clear(&self, snapshot: &Snapshot<'_>, connector: &str) -> Result<(), Fault> {
        let connectors = &self.state.services().connectors;
        Ok(connectors.admit_operator(snapshot, &self.caller.acting()?, connector)?)
    }

    fn work_add(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let actor = self.actor()?;
        let id = call.text("connectorId").unwrap_or_default();
        let multipart = call
            .argument("isMultiPartWork")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        self.read(|snapshot| self.acts_as(snapshot, id, Call::Work))?;
        let work = self.write(|tx| {
            self.may_speak_for(tx, id)?;
            self.acts_as(tx, id, Call::Work)?;
            let Some(connector) = tx.connector(id)? else {
                return Err(Fault::functional(format!(
                    "Connector {id} is not registered; a connector registers when it starts."
                )));
            };
            let name = call.text("friendlyName").unwrap_or(&connector.name);
            let new = NewWork {
                connector: id,
                connector_type: &connector.kind,
                name,
                multipart,
                event_source: None,
                status: WorkStatus::Progress,
            };
            Ok(works::add(tx, actor, &new)?)
        })?;
        Ok(Resolved::Node(Node::Work(Arc::new(work))))
    }

    /// A step of a work. Works that are gone answer their id all the same, so that a connector goes on.
    pub(super) fn work_edit<'p>(&self, call: &FieldCall<'_>, id: &'p Arc<str>) -> Answer<'p> {
        let text = |name: &str| call.text(name).unwrap_or_default();
        let check = |snapshot: &Snapshot<'_>| {
            let Some(work) = snapshot.work(id)? else {
                return Ok(());
            };
            // The user that asked for a work may end it, whoever's connector does it.
            if work.user != Some(self.actor()?.user_row) {
                self.may_speak_for(snapshot, &work.connector)?;
            }
            match call.name {
                "delete" => self.may_clear(snapshot, &work.connector),
                _ => self.acts_as(snapshot, &work.connector, Call::Work),
            }
        };
        // who is refused costs no transaction
        self.read(check)?;
        self.write(|tx| {
            check(tx)?;
            match call.name {
                "ping" => works::ping(tx, id)?,
                "toReceived" => works::to_received(tx, id, text("message"))?,
                "toProcessed" => {
                    let in_error = call
                        .argument("inError")
                        .and_then(Value::as_bool)
                        .unwrap_or(false);
                    works::to_processed(tx, id, text("message"), in_error)?
                }
                "addExpectations" => works::expect(
                    tx,
                    id,
                    call.argument("expectations")
                        .and_then(Value::as_i64)
                        .unwrap_or(0),
                )
                .map_err(|error| match error {
                    ExpectError::Store(error) => error.into(),
                    too_many @ ExpectError::TooMany { .. } => {
                        Fault::functional(too_many.to_string())
                    }
                })?,
                "addDraftContext" => works::add_draft_context(tx, id, text("draftContext"))?,
                "reportExpectation" => works::report(tx, id, 1, &failures(call.argument("error")))?,
                _ => works::delete(tx, id)?,
            };
            Ok::<_, Fault>(())
        })?;
        Ok(Resolved::Text(id))
    }

    fn push(&self, call: &FieldCall<'_>) -> Answer<'static> {
        let connector = call.text("connectorId").unwrap_or_default();
        let bundle = call.text("bundle").unwrap_or_default();
        self.read(|snapshot| {
            self.may_speak_for(snapshot, connector)?;
            self.acts_as(snapshot, connector, Call::Push)
        })?;
        self.state
            .services()
            .ingest
            .push_bundle(
                self.caller.acting()?,
                connector,
                bundle,
                call.text("work_id").filter(|id| !id.is_empty()),
            )
            .map_err(|error| super::add::from_push(&error))?;
        Ok(Resolved::leaf(true))
    }

    /// A field of a work.
    pub(super) fn work_field<'p>(&self, call: &FieldCall<'_>, work: &'p Work) -> Answer<'p> {
        let date =
            |at: Option<i64>| at.map_or(Resolved::Null, |at| Resolved::leaf(format_date(at)));
        Ok(match call.name {
            "id" => Resolved::Text(&work.id),
            "name" => Resolved::Text(&work.name),
            "user" => match work.user {
                Some(row) => Resolved::node(
                    self.read(|snapshot| Ok(snapshot.user(row)?))?
                        .map(|user| Node::User(Arc::new(user))),
                ),
                None => Resolved::Null,
            },
            "connector" => {
                let connector = self.read(|snapshot| Ok(snapshot.connector(&work.connector)?))?;
                Resolved::node(connector.map(|connector| Node::Connector(Arc::new(connector))))
            }
            "timestamp" => date(Some(work.created_at)),
            "status" => Resolved::Text(match work.status {
                WorkStatus::Wait => "wait",
                WorkStatus::Progress => "progress",
                WorkStatus::Complete => "complete",
            }),
            "event_source_id" => Resolved::from(work.event_source.as_deref()),
            "received_time" => date(work.received_at),
            "processed_time" => date(work.processed_at),
            "completed_time" => date(work.completed_at),
            "completed_number" => work.completed_number.map_or(Resolved::Null, Resolved::leaf),
            "messages" | "errors" | "partially_applied" if !self.may_read_notes(work)? => {
                Resolved::nodes(std::iter::empty())
            }
            "messages" => self.notes(work, NoteKind::Message)?,
            "errors" => self.notes(work, NoteKind::Error)?,
            "partially_applied" => self.partially_applied(work)?,
            "tracking" => {
                // a complete work in which nothing was announced shows what it is counted as
                let counted = work.completed_number.filter(|_| work.expected == 0);
                let data = json!({
                    "import_expected_number": counted.unwrap_or(work.expected),
                    "import_processed_number": counted.unwrap_or(work.processed),
                    "import_partial_number": work.partial,
                    "import_last_processed": work.last_processed.map(format_date),
                });
                Resolved::Node(Node::Data("WorkTracking", data))
            }
            "draft_context" => Resolved::from(work.draft_context.as_deref()),
            _ => Resolved::Null,
        })
    }

    /// Whether the caller may read what is told about single objects of a work. It holds what was delivered, whatever its markings: it is for those
    /// whose work or connector it is, and for those who manage connectors and may see every marking.
    fn may_read_notes(&self, work: &Work) -> Result<bool, Fault> {
        let actor = self.actor()?;
        self.read(|snapshot| {
            let owner = snapshot
                .connector(&work.connector)?
                .and_then(|connector| connector.user);
            if [work.user, owner].contains(&Some(actor.user_row)) {
                return Ok(true);
            }
            Ok(may(actor, Action::Use(names::MODULES_MANAGE)).is_ok()
                && sees_every_marking(snapshot, actor)?)
        })
    }

    fn partially_applied<'p>(&self, work: &Work) -> Answer<'p> {
        let notes = self.read(|snapshot| Ok(snapshot.work_notes(work.row, NoteKind::Partial)?))?;
        Ok(Resolved::nodes(notes.into_iter().map(|note| {
            let partial = Partial::parse(&note.source).unwrap_or_default();
            let data = json!({
                "timestamp": format_date(note.at),
                "sequence": note.sequence,
                "message": note.message,
                "object_id": partial.object_id,
                "object_name": partial.object_name,
                "entity_type": partial.entity_type,
                "parts": partial.parts,
            });
            Node::Data("WorkPartial", data)
        })))
    }

    fn notes<'p>(&self, work: &Work, kind: NoteKind) -> Answer<'p> {
        let notes = self.read(|snapshot| Ok(snapshot.work_notes(work.row, kind)?))?;
        Ok(Resolved::nodes(notes.into_iter().map(|note| {
            let data = json!({ "timestamp": format_date(note.at), "message": note.message, "sequence": note.sequence, "source": note.source });
            Node::Data("WorkMessage", data)
        })))
    }
}

/// Whether a user may see what carries any marking, and so also what was delivered and not looked into.
pub(super) fn sees_every_marking(snapshot: &Snapshot<'_>, actor: &Actor) -> Result<bool, Fault> {
    let markings: Vec<StixId> = ferrocti_accounts::markings(snapshot)?
        .into_iter()
        .map(|marking| marking.id)
        .collect();
    let all = Action::See {
        markings: &markings,
    };
    Ok(may(actor, all).is_ok())
}

fn failures(error: Option<&Value>) -> Vec<Failure> {
    let text = |name: &str| {
        error
            .and_then(|error| error.get(name))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    if error.is_none() || (text("error").is_empty() && text("source").is_empty()) {
        return Vec::new();
    }
    vec![Failure {
        error: text("error"),
        source: text("source"),
    }]
}
