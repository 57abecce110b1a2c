//! Answers: one [`Resolution`] per request resolves the fields that the engine asks for, a level at a time.

mod add;
mod administer;
mod audit;
mod catalogs;
mod composer;
mod connectors;
mod declared;
mod edit;
mod explain;
mod graph;
mod group_edit;
mod groups;
mod history;
mod leases;
mod links;
mod list;
mod managed;
mod node;
mod object;
mod patch;
mod platform;
mod record;
mod roles;
mod roster;
mod sessions;
mod settings;
mod shown;
mod user_edit;
mod users;
mod works;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use ferrocti_access::Actor;
use ferrocti_connectors::managed::View as Seen;
use ferrocti_graphql::{FieldCall, FieldError, OperationKind, Resolved, Resolver};
use ferrocti_model::ids::PLATFORM_NAMESPACE;
use ferrocti_store::{Iid, Snapshot, Store, Stored, Visibility};
use serde_json::Value;
use uuid::Uuid;

use crate::AppState;
use crate::caller::Caller;
use crate::edits::Edits;
use crate::fault::{Fault, code};
use crate::guard;
use crate::roots::{Read, Roots};
use node::{Connection, Link, Node};

type Answer<'p> = Result<Resolved<'p, Node>, Fault>;

/// Where a request reads.
#[derive(Clone, Copy)]
pub(crate) enum View<'s> {
    /// One snapshot for the whole query.
    Fixed(&'s Snapshot<'s>),
    /// A fresh snapshot each time: below a mutation the change must show.
    Fresh(&'s Store),
}

/// One request on its way.
pub(crate) struct Resolution<'s> {
    state: &'s AppState,
    view: View<'s>,
    caller: &'s Caller,
    deadline: Instant,
    /// Objects that were loaded already; `None` for those that are gone.
    loaded: RefCell<HashMap<Iid, Option<Arc<Stored>>>>,
    /// What the caller may see; a change can make new combinations of markings.
    visible: RefCell<Visibility>,
    /// What is known of managed connectors, by their id.
    views: RefCell<HashMap<String, Option<Arc<Seen>>>>,
    /// What the caller was refused for want of a right, for the audit.
    refused: RefCell<BTreeSet<String>>,
}

impl<'s> Resolution<'s> {
    /// A request of `caller` that must be answered before `deadline`.
    pub(crate) fn new(
        state: &'s AppState,
        view: View<'s>,
        caller: &'s Caller,
        deadline: Instant,
    ) -> Self {
        Self {
            state,
            view,
            caller,
            deadline,
            loaded: RefCell::default(),
            visible: RefCell::new(caller.visible.clone()),
            views: RefCell::default(),
            refused: RefCell::default(),
        }
    }

    /// Root fields and edits that the caller asked for without the right to.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.refused.borrow().iter().cloned().collect()
    }

    /// Notes a refusal of something that is done, or read at the root.
    fn note(&self, parent: &str, field: &str, fault: &Fault) {
        let edits = parent.strip_suffix("EditMutations");
        let noted = matches!(parent, "Query" | "Mutation") || edits.is_some();
        if noted && fault.is_forbidden() {
            let of = edits.map(|edits| format!("{edits}.")).unwrap_or_default();
            self.refused.borrow_mut().insert(format!("{of}{field}"));
        }
    }

    /// Reads from the request's snapshot, or from a fresh one below a mutation.
    fn read<T>(&self, body: impl FnOnce(&Snapshot<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        match self.view {
            View::Fixed(snapshot) => body(snapshot),
            View::Fresh(store) => store.read(body),
        }
    }

    fn visible(&self) -> Visibility {
        self.visible.borrow().clone()
    }

    fn actor(&self) -> Result<&Arc<Actor>, Fault> {
        self.caller.actor.as_ref().ok_or_else(Fault::login_required)
    }

    /// Loads objects that the caller may see; `None` stands for those that are not there or not visible.
    fn objects(&self, iids: &[Iid]) -> Result<Vec<Option<Arc<Stored>>>, Fault> {
        let mut loaded = self.loaded.borrow_mut();
        let mut missing: Vec<Iid> = iids
            .iter()
            .copied()
            .filter(|iid| !loaded.contains_key(iid))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            let found = self.read(|snapshot| Ok(snapshot.load(&missing)?))?;
            loaded.extend(
                missing
                    .into_iter()
                    .zip(found.into_iter().map(|stored| stored.map(Arc::new))),
            );
        }
        let visible = self.visible();
        Ok(iids
            .iter()
            .map(|iid| {
                loaded
                    .get(iid)
                    .cloned()
                    .flatten()
                    .filter(|stored| visible.allows(stored.marking_set))
            })
            .collect())
    }

    fn object(&self, iid: Iid) -> Result<Option<Arc<Stored>>, Fault> {
        Ok(self.objects(&[iid])?.pop().flatten())
    }

    /// Forgets what was loaded and what may be seen, since a change may have made both stale.
    fn forget(&self) -> Result<(), Fault> {
        self.loaded.borrow_mut().clear();
        self.views.borrow_mut().clear();
        if let Some(actor) = &self.caller.actor {
            let visible =
                self.read(|snapshot| Ok(ferrocti_accounts::visibility(snapshot, actor)?))?;
            self.visible.replace(visible);
        }
        Ok(())
    }

    fn in_time(&self) -> Result<(), Fault> {
        if Instant::now() < self.deadline {
            return Ok(());
        }
        Err(Fault::new(
            code::UNKNOWN,
            "The request took too long and was given up. Ask for fewer objects or fields at a time.",
        ))
    }

    fn root(&self, operation: OperationKind, call: &FieldCall<'_>) -> Answer<'static> {
        self.in_time()?;
        match operation {
            OperationKind::Query => match Roots::get().reads.get(call.name) {
                Some(Read::One(scope)) => self.one(scope, call),
                Some(Read::List(scope)) => self.list(scope, call),
                Some(Read::Contains(kind)) => self.contains(kind, call),
                None => self.query(call),
            },
            OperationKind::Mutation => {
                self.forget()?;
                let answer = match (
                    Roots::get().adds.get(call.name),
                    Edits::get().roots.get(call.name),
                ) {
                    (Some(add), _) => self.add(*add, call),
                    (None, Some(edit)) => self.edit(*edit, call),
                    (None, None) => self.mutation(call),
                };
                self.forget()?;
                answer
            }
        }
    }

    fn query(&self, call: &FieldCall<'_>) -> Answer<'static> {
        match call.name {
            "about" | "platformStatus" | "parkedReferences" => self.platform_query(call),
            "me" | "user" | "users" | "members" | "creators" => self.user_query(call),
            "group" | "groups" => self.group_query(call),
            "role" | "roles" | "capabilities" => self.role_query(call),
            "audit" | "audits" | "auditsNumber" => self.audit_query(call),
            "logs" => self.history(call),
            "sessions" => self.sessions(),
            "accessExplain" | "doctor" => self.access_query(call),
            "settings" => Ok(Resolved::Node(Node::Settings)),
            "stix" => self.stix(call),
            "vocabularyCategories" => Ok(Resolved::nodes(object::categories())),
            "stixRefRelationship" => self.link(call),
            "stixRefRelationships" => self.links(call, false),
            "stixNestedRefRelationships" => self.links(call, true),
            "work" | "works" | "isWorkAlive" => self.work_query(call),
            "catalogs" | "catalog" | "contract" | "contracts" => self.catalog_query(call),
            "connectorManager" | "connectorManagers" | "connectorsForManagers" | "composerWork" => {
                self.composer_query(call)
            }
            "connectorLogs" | "connectorDefinitions" => self.managed_query(call),
            "connectorsPlan" => self.plan_file(call),
            _ => self.connector_query(call),
        }
    }

    fn mutation(&self, call: &FieldCall<'_>) -> Answer<'static> {
        match call.name {
            "registerConnectorsManager"
            | "composerRegister"
            | "updateConnectorManagerStatus"
            | "updateConnectorCurrentStatus"
            | "updateConnectorLogs"
            | "updateConnectorHealth"
            | "composerReport"
            | "composerApproveRemovals"
            | "composerRemove" => self.composer_mutation(call),
            "managedConnectorAdd"
            | "managedConnectorEdit"
            | "updateConnectorRequestedStatus"
            | "managedConnectorDeploy"
            | "managedConnectorConfigure"
            | "managedConnectorUpgrade"
            | "managedConnectorRollback"
            | "managedConnectorRestart" => self.managed_mutation(call),
            "connectorsApply" => self.apply_file(call),
            "catalogsRefresh" => Ok(self.refresh_catalogs()),
            "workAdd" | "workEdit" | "workDelete" | "stixBundlePush" => self.work_mutation(call),
            "connectorAccountAdd"
            | "userAdd"
            | "userEdit"
            | "groupAdd"
            | "groupEdit"
            | "roleAdd"
            | "roleEdit"
            | "settingsEdit"
            | "meEdit"
            | "meTokenRenew"
            | "userTokenAdd"
            | "userTokenRevoke"
            | "userAdminTokenAdd"
            | "userAdminTokenRevoke" => self.administration(call),
            "token" | "logout" | "sessionKill" | "userSessionsKill" => self.session_mutation(call),
            "stixEdit"
            | "stixRelationshipEdit"
            | "stixRefRelationshipEdit"
            | "stixCoreRelationshipDelete"
            | "stixDomainObjectsDelete" => self.edit_mutation(call),
            _ => self.connector_mutation(call),
        }
    }

    fn field<'p>(
        &'p self,
        call: &FieldCall<'_>,
        parents: &[&'p Node],
    ) -> Result<Vec<Answer<'p>>, Fault> {
        self.in_time()?;
        if let Some(objects) = parents
            .iter()
            .map(|node| {
                if let Node::Object(stored) = node {
                    Some(stored)
                } else {
                    None
                }
            })
            .collect::<Option<Vec<_>>>()
        {
            return self.object_field(call, &objects);
        }
        Ok(parents.iter().map(|node| self.single(call, node)).collect())
    }

    fn single<'p>(&'p self, call: &FieldCall<'_>, node: &'p Node) -> Answer<'p> {
        match node {
            Node::Object(stored) => self
                .object_field(call, &[stored])?
                .pop()
                .unwrap_or(Ok(Resolved::Null)),
            Node::Reference(link) => self.link_field(call, link),
            Node::Connection(connection) => Ok(connection_field(call.name, connection)),
            Node::Edge(connection, index) => Ok(edge_field(call.name, connection, *index)),
            Node::PageInfo(connection) => Ok(page_info_field(call.name, connection)),
            Node::Connector(connector) => self.connector_field(call, connector),
            Node::Managed(listed) => self.listed_field(call, listed),
            Node::Composer(composer) => self.composer_field(call, composer),
            Node::Catalog(catalog) => self.catalog_field(call, catalog),
            Node::Work(work) => self.work_field(call, work),
            Node::WorkEdit(id) => self.work_edit(call, id),
            Node::Edited(edited) => self.edit_field(call, edited),
            Node::User(user) => self.user_field(call, user),
            Node::Renewed(_, secret) if call.name == "api_token" => Ok(Resolved::Text(secret)),
            Node::Renewed(user, _) => self.user_field(call, user),
            Node::Group(group) => self.group_field(call, group),
            Node::Role(role) => self.role_field(call, role),
            Node::Settings => self.settings_field(call),
            Node::Administered(what) => self.administer(call, what),
            Node::Record(record) => Ok(record.field(call.name)),
            Node::Data(_, value) => Ok(data_field(call.name, value)),
        }
    }
}

impl Resolver for Resolution<'_> {
    type Node = Node;

    fn type_of<'n>(&'n self, node: &'n Node) -> &'n str {
        match node {
            Node::Object(stored) => &stored.kind.graphql,
            Node::Reference(_) => "StixRefRelationship",
            Node::User(_) | Node::Renewed(..) => "User",
            Node::Group(_) => "Group",
            Node::Role(_) => "Role",
            Node::Connector(_) => "Connector",
            Node::Managed(_) => "ManagedConnector",
            Node::Composer(_) => "ConnectorManager",
            Node::Catalog(_) => "Catalog",
            Node::Work(_) => "Work",
            Node::WorkEdit(_) => "WorkEditMutations",
            Node::Data(name, _) => name,
            Node::Connection(_)
            | Node::Edge(..)
            | Node::PageInfo(_)
            | Node::Edited(_)
            | Node::Settings
            | Node::Administered(_)
            | Node::Record(_) => "",
        }
    }

    fn guard(&self, parent_type: &str, field: &str) -> Result<(), FieldError> {
        guard::check(self.caller.actor.as_deref(), parent_type, field).map_err(|fault| {
            self.note(parent_type, field, &fault);
            fault.into_inner()
        })
    }

    fn resolve_root<'p>(
        &'p self,
        operation: OperationKind,
        call: &FieldCall<'_>,
    ) -> Result<Resolved<'p, Node>, FieldError> {
        self.root(operation, call).map_err(|fault| {
            self.note(call.parent_type, call.name, &fault);
            fault.into_inner()
        })
    }

    fn resolve<'p>(
        &'p self,
        call: &FieldCall<'_>,
        parents: &[&'p Node],
    ) -> Vec<Result<Resolved<'p, Node>, FieldError>> {
        match self.field(call, parents) {
            Ok(answers) => answers
                .into_iter()
                .map(|answer| {
                    answer.map_err(|fault| {
                        self.note(call.parent_type, call.name, &fault);
                        fault.into_inner()
                    })
                })
                .collect(),
            Err(fault) => {
                let error = fault.into_inner();
                parents.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }
}

fn connection_field(field: &str, connection: &Arc<Connection>) -> Resolved<'static, Node> {
    match field {
        "edges" => Resolved::nodes(
            (0..connection.items.len()).map(|index| Node::Edge(Arc::clone(connection), index)),
        ),
        _ => Resolved::Node(Node::PageInfo(Arc::clone(connection))),
    }
}

fn edge_field<'p>(field: &str, connection: &'p Connection, index: usize) -> Resolved<'p, Node> {
    let Some((node, cursor)) = connection.items.get(index) else {
        return Resolved::Null;
    };
    match field {
        "node" => Resolved::Node(node.clone()),
        "cursor" => Resolved::Text(cursor),
        "types" => Resolved::leaf(Value::from(vec!["manual"])),
        _ => Resolved::Null,
    }
}

fn page_info_field<'p>(field: &str, connection: &'p Connection) -> Resolved<'p, Node> {
    let cursor =
        |item: Option<&'p (Node, String)>| Resolved::Text(item.map_or("", |(_, cursor)| cursor));
    match field {
        "startCursor" => cursor(connection.items.first()),
        "endCursor" => cursor(connection.items.last()),
        "hasNextPage" => Resolved::leaf(connection.has_next),
        "hasPreviousPage" => Resolved::leaf(connection.has_previous),
        "globalCount" => Resolved::leaf(connection.total),
        _ => Resolved::Null,
    }
}

/// A member of plain data: objects become nodes, anything else is a leaf.
fn data_field<'p>(field: &str, value: &'p Value) -> Resolved<'p, Node> {
    data(value.get(field))
}

/// The standard id of what is known by an internal id alone.
fn standard_id(kind: &str, id: &str) -> String {
    // one property: its JSON is canonical as it is
    let text = serde_json::json!({ "internal_id": id }).to_string();
    format!(
        "{kind}--{}",
        Uuid::new_v5(&PLATFORM_NAMESPACE, text.as_bytes())
    )
}

fn data(value: Option<&Value>) -> Resolved<'_, Node> {
    match value {
        None | Some(Value::Null) => Resolved::Null,
        Some(object @ Value::Object(_)) => Resolved::Node(Node::Data("", object.clone())),
        Some(Value::Array(items)) if items.first().is_some_and(Value::is_object) => {
            Resolved::nodes(items.iter().map(|item| Node::Data("", item.clone())))
        }
        Some(leaf) => Resolved::Ref(leaf),
    }
}
