//! What stands behind the objects of an answer.

use std::sync::Arc;

use ferrocti_connectors::catalogs::Loaded;
use ferrocti_connectors::managed::Listed;
use ferrocti_model::registry::ReferenceType;
use ferrocti_store::{Composer, Connector, Group, Role, Stored, User, Work};
use serde_json::Value;

use super::edit::Edited;
use super::record::Record;

/// An object of an answer.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// A knowledge object, relationship or sighting.
    Object(Arc<Stored>),
    /// A reference between two objects.
    Reference(Arc<Link>),
    /// A page.
    Connection(Arc<Connection>),
    /// One place of a page.
    Edge(Arc<Connection>, usize),
    /// About a page.
    PageInfo(Arc<Connection>),
    /// A connector, registered or managed.
    Connector(Arc<Connector>),
    /// A managed connector as its composer meets it.
    Managed(Arc<Listed>),
    /// A composer.
    Composer(Arc<Composer>),
    /// A catalog of connectors.
    Catalog(Arc<Loaded>),
    /// A work.
    Work(Arc<Work>),
    /// The id of a work that is being edited.
    WorkEdit(Arc<str>),
    /// An object that is being edited.
    Edited(Arc<Edited>),
    /// A user; as `Creator` only name and id are shown, as `MeUser` what it may know of itself.
    User(Arc<User>),
    /// A user with a token that was made just now and is shown in this answer alone.
    Renewed(Arc<User>, Arc<str>),
    /// A group.
    Group(Arc<Group>),
    /// A role.
    Role(Arc<Role>),
    /// The settings of the platform.
    Settings,
    /// A user, a group, a role or the settings being edited.
    Administered(Administered),
    /// Values and nodes put together.
    Record(Arc<Record>),
    /// Plain data: the GraphQL type for interfaces and unions, and the fields as members.
    Data(&'static str, Value),
}

/// What is being edited, by the id that the client gave.
#[derive(Debug, Clone)]
pub(crate) enum Administered {
    /// A user.
    User(Arc<str>),
    /// A group.
    Group(Arc<str>),
    /// A role.
    Role(Arc<str>),
    /// The settings.
    Settings,
}

/// A reference between two objects.
#[derive(Debug)]
pub(crate) struct Link {
    /// The object that refers.
    pub(crate) source: Arc<Stored>,
    /// How.
    pub(crate) reference: &'static ReferenceType,
    /// The object referred to.
    pub(crate) target: Arc<Stored>,
}

/// A page of a list.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// What is on it, with the cursor of each place. Nothing stands for an object that the reader may not see.
    pub(crate) items: Vec<(Node, String)>,
    /// Whether there is a page behind it.
    pub(crate) has_next: bool,
    /// Whether there is a page before it.
    pub(crate) has_previous: bool,
    /// Number of objects on all pages; 0 when nobody asked.
    pub(crate) total: u64,
}
