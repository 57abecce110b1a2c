//! Leases: who acts as a connector, and who does not any more.

mod calls;
mod hands;
mod history;

use ferrocti_access::Actor;
use ferrocti_accounts::Acting;
use ferrocti_connectors::lease::Holder;
use ferrocti_connectors::{ConnectorError, Registration};
use ferrocti_store::{Connector, Lease};
use uuid::Uuid;

use crate::support::Fixture;

pub const ID: &str = "feed";
pub const STATE: &str = r#"{"last_run": 100}"#;

pub fn registration() -> Registration {
    Registration {
        id: ID.to_owned(),
        name: "Feed".to_owned(),
        connector_type: "EXTERNAL_IMPORT".to_owned(),
        ..Registration::default()
    }
}

/// A connector that ran with one token and moved to another one of the same user.
pub struct Moved {
    pub fixture: Fixture,
    pub user: Actor,
    pub old: Uuid,
    pub new: Uuid,
}

impl Moved {
    /// It ran by itself, and has a state.
    pub fn before() -> Self {
        let fixture = Fixture::open();
        let (user, old) = fixture.instance("Feed");
        let new = fixture.token(&user, "new");
        let moved = Self {
            fixture,
            user,
            old,
            new,
        };
        moved.register(old).unwrap();
        moved.ping(old, Some(STATE)).unwrap();
        moved
    }

    /// The lease is the new token's.
    pub fn after() -> Self {
        let moved = Self::before();
        moved.fence(0, &moved.to_new()).unwrap();
        moved
    }

    pub fn to_new(&self) -> Holder {
        Holder::Token {
            token: self.new,
            name: "the composer `here`".to_owned(),
        }
    }

    pub fn by(&self, token: Uuid) -> Acting<'_> {
        Acting::of(&self.user).with_token(token)
    }

    pub fn register(&self, token: Uuid) -> Result<Connector, ConnectorError> {
        self.fixture
            .connectors
            .register(self.by(token), registration())
    }

    pub fn ping(&self, token: Uuid, state: Option<&str>) -> Result<Connector, ConnectorError> {
        self.fixture
            .connectors
            .ping(self.by(token), ID, state, None)
    }

    /// Moves the lease, and answers its epoch.
    pub fn fence(&self, from: i64, to: &Holder) -> Result<i64, ConnectorError> {
        let acting = Acting::of(&self.fixture.admin);
        let fence = self
            .fixture
            .store
            .write(|tx| self.fixture.connectors.fence(tx, &acting, ID, from, to))?;
        Ok(fence.epoch)
    }

    pub fn lease(&self) -> Lease {
        self.fixture
            .store
            .read(|snapshot| self.fixture.connectors.lease(snapshot, ID))
            .unwrap()
    }

    pub fn stored(&self) -> Connector {
        self.fixture
            .store
            .read(|snapshot| snapshot.connector(ID))
            .unwrap()
            .unwrap()
    }
}

/// Whether something was refused because it does not act as the connector any more.
pub fn is_fenced<T: std::fmt::Debug>(result: Result<T, ConnectorError>) -> bool {
    matches!(result, Err(ConnectorError::Fenced(_)))
}
