//! A platform to test on.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ferrocti_access::Actor;
use ferrocti_accounts::{Accounts, Acting, AdminSettings};
use ferrocti_broker::Queues;
use ferrocti_connectors::{Connectors, PlatformKey};
use ferrocti_model::clock::{Clock, ManualClock, SeededEntropy};
use ferrocti_store::{Connector, Durability, Store};
use uuid::Uuid;

/// A platform in a directory of its own, with a clock that only moves when told.
pub struct Fixture {
    pub store: Store,
    pub queues: Queues,
    pub connectors: Connectors,
    pub accounts: Accounts,
    pub clock: Arc<ManualClock>,
    pub admin: Actor,
    _dir: tempfile::TempDir,
}

impl Fixture {
    pub fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_760_000_000_000));
        let entropy = Arc::new(SeededEntropy::new(1));
        let options = ferrocti_store::Options {
            durability: Durability::Off,
            ..ferrocti_store::Options::new(clock.clone(), entropy.clone())
        };
        let store = Store::open(dir.path(), options).unwrap();
        let ticking = clock.clone();
        let queues = Queues::open(
            dir.path().join("queue.db"),
            ferrocti_broker::Options::new(Arc::new(move || ticking.now())),
        )
        .unwrap();
        let accounts = Accounts::new(store.clone(), entropy, clock.clone());
        let settings = AdminSettings {
            email: "admin@example.org".to_owned(),
            password: None,
            token: None,
        };
        let token = accounts
            .ensure_admin(&settings)
            .unwrap()
            .unwrap()
            .token
            .unwrap();
        let admin = Actor::clone(accounts.authenticate(&token).unwrap().unwrap().actor());
        let connectors = Connectors::new(
            store.clone(),
            queues.clone(),
            PlatformKey::new([9; 32]),
            clock.clone(),
        );
        Self {
            store,
            queues,
            connectors,
            accounts,
            clock,
            admin,
            _dir: dir,
        }
    }

    /// A fresh service account for a connector, with the id of its token.
    pub fn instance(&self, name: &str) -> (Actor, Uuid) {
        let (_, token) = self
            .accounts
            .add_connector(&Acting::of(&self.admin), name, Some(60), None)
            .unwrap();
        let found = self.accounts.authenticate(&token).unwrap().unwrap();
        (Actor::clone(found.actor()), found.token)
    }

    /// Another token of a user.
    pub fn token(&self, user: &Actor, name: &str) -> Uuid {
        self.store
            .write(|tx| {
                let acting = Acting::of(&self.admin);
                let account = tx.user(user.user_row)?.unwrap();
                ferrocti_accounts::issue_token(tx, &acting, &account, name, name)
            })
            .unwrap()
            .id
    }

    /// A fresh service account for a connector.
    pub fn service(&self, name: &str) -> Actor {
        let (_, token) = self
            .accounts
            .add_connector(&Acting::of(&self.admin), name, Some(60), None)
            .unwrap();
        Actor::clone(self.accounts.authenticate(&token).unwrap().unwrap().actor())
    }
}

/// The broker password of a connector as it is now.
pub fn password_of(fixture: &Fixture, connector: &Connector) -> String {
    fixture
        .store
        .read(|snapshot| {
            let lease = snapshot.lease(&connector.id)?;
            Ok::<_, ferrocti_store::StoreError>(
                fixture.connectors.broker_password(connector, &lease),
            )
        })
        .unwrap()
}

/// Whether somebody may log in at the broker as a connector.
pub fn logs_in(fixture: &Fixture, id: &str, password: &str) -> bool {
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    fixture
        .connectors
        .broker_login(id, password, peer)
        .is_some()
}
