//! A platform's accounts to test on.

use std::{net::IpAddr, sync::Arc};

use ferrocti_access::{Actor, Rights};
use ferrocti_accounts::{
    AccountError, Accounts, Acting, AdminSettings, GroupPatch, NewGroup, NewUser, Origin,
};
use ferrocti_model::{
    Registry, StixId,
    clock::{ManualClock, SeededEntropy},
};
use ferrocti_store::{
    AuditEntry, AuditQuery, Durability, Iid, NewObject, Role, Snapshot, Store, StoreError, Tx, User,
};
use serde_json::{Value, json};
use uuid::Uuid;

pub const START: i64 = 1_760_000_000_000;
pub const DAY: i64 = 24 * 60 * 60 * 1000;
/// The administrator's password and token, as configured.
pub const PASSWORD: &str = "correct horse battery";
pub const TOKEN: &str = "d434ce02-e58e-4cac-8b4c-42bf16748e84";
/// The markings that the platform has, with their order.
pub const MARKINGS: [(&str, &str, i64); 6] = [
    ("TLP", "TLP:CLEAR", 1),
    ("TLP", "TLP:GREEN", 2),
    ("TLP", "TLP:AMBER", 3),
    ("TLP", "TLP:RED", 5),
    ("PAP", "PAP:GREEN", 2),
    ("PAP", "PAP:RED", 4),
];

/// A platform in a directory of its own, with a clock that only moves when told.
pub struct Fixture {
    pub store: Store,
    pub accounts: Accounts,
    pub clock: Arc<ManualClock>,
    pub admin: Arc<Actor>,
    _dir: tempfile::TempDir,
}

pub fn settings(password: Option<&str>, token: Option<&str>) -> AdminSettings {
    AdminSettings {
        email: "admin@example.org".to_owned(),
        password: password.map(str::to_owned),
        token: token.map(str::to_owned),
    }
}

impl Fixture {
    /// An empty platform, without an administrator.
    pub fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(START));
        let entropy = Arc::new(SeededEntropy::new(1));
        let options = ferrocti_store::Options {
            durability: Durability::Off,
            ..ferrocti_store::Options::new(clock.clone(), entropy.clone())
        };
        let store = Store::open(dir.path(), options).unwrap();
        let accounts = Accounts::new(store.clone(), entropy, clock.clone());
        Self {
            store,
            accounts,
            clock,
            admin: Arc::new(Actor::system(0)),
            _dir: dir,
        }
    }

    /// A platform after its first start.
    pub fn new() -> Self {
        let mut fixture = Self::empty();
        fixture
            .accounts
            .ensure_admin(&settings(Some(PASSWORD), Some(TOKEN)))
            .unwrap();
        for (kind, definition, order) in MARKINGS {
            fixture.add_marking(kind, definition, order);
        }
        fixture.admin = fixture.actor_of_token(TOKEN).unwrap();
        fixture
    }

    pub fn acting(&self) -> Acting<'_> {
        Acting::of(&self.admin)
    }

    pub fn read<T>(&self, body: impl FnOnce(&Snapshot<'_>) -> Result<T, StoreError>) -> T {
        self.store.read(body).unwrap()
    }

    pub fn write<T>(&self, body: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>) -> T {
        self.store.write(body).unwrap()
    }

    pub fn actor_of_token(&self, secret: &str) -> Option<Arc<Actor>> {
        let found = self.accounts.authenticate(secret).unwrap();
        found.map(|found| Arc::clone(found.actor()))
    }

    /// What a user may do now; `None`: it is not let in.
    pub fn rights(&self, user: &User) -> Option<Arc<Rights>> {
        self.read(|snapshot| ferrocti_accounts::rights(snapshot, user.row))
    }

    pub fn actor(&self, user: &User) -> Arc<Actor> {
        Arc::clone(&self.rights(user).unwrap().actor)
    }

    /// A person in no group.
    pub fn person(&self, name: &str) -> User {
        self.accounts
            .add_user(&self.acting(), person(name))
            .unwrap()
    }

    /// A user whose own group has a role with these capabilities and grants these markings.
    pub fn user_with(&self, name: &str, capabilities: &[&str], markings: &[&str]) -> User {
        let user = self.person(name);
        let group = self.group(name, capabilities, markings);
        self.accounts
            .add_member(&self.acting(), &user.id.to_string(), &group)
            .unwrap();
        user
    }

    /// A group with a role of the same name. Returns its id.
    pub fn group(&self, name: &str, capabilities: &[&str], markings: &[&str]) -> String {
        let acting = self.acting();
        let group = self
            .accounts
            .add_group(
                &acting,
                NewGroup {
                    name: name.to_owned(),
                    ..NewGroup::default()
                },
            )
            .unwrap();
        let id = group.id.to_string();
        let level = Some(ferrocti_access::Level::of(100));
        self.accounts
            .edit_group(
                &acting,
                &id,
                GroupPatch {
                    level,
                    ..GroupPatch::default()
                },
            )
            .unwrap();
        let role = self.role(name, capabilities);
        self.accounts
            .add_group_role(&acting, &id, &role.id.to_string())
            .unwrap();
        for definition in markings {
            self.accounts
                .grant_marking(&acting, &id, &self.marking(definition).to_string())
                .unwrap();
        }
        id
    }

    pub fn role(&self, name: &str, capabilities: &[&str]) -> Role {
        let acting = self.acting();
        let mut role = self.accounts.add_role(&acting, name, None).unwrap();
        for capability in capabilities {
            let id = role.id.to_string();
            role = self
                .accounts
                .add_capability(&acting, &id, capability, false)
                .unwrap()
                .0;
        }
        role
    }

    pub fn group_named(&self, name: &str) -> ferrocti_store::Group {
        self.read(|snapshot| snapshot.group_by_name(name)).unwrap()
    }

    pub fn role_named(&self, name: &str) -> Role {
        self.read(|snapshot| snapshot.role_by_name(name)).unwrap()
    }

    pub fn add_marking(&self, kind: &str, definition: &str, order: i64) -> Iid {
        let attributes =
            json!({"definition_type": kind, "definition": definition, "x_opencti_order": order});
        self.add_object("Marking-Definition", definition, attributes, None, &[])
    }

    pub fn add_object(
        &self,
        kind: &str,
        name: &str,
        attributes: Value,
        confidence: Option<u8>,
        markings: &[&str],
    ) -> Iid {
        let kind = Registry::get().by_name(kind).unwrap();
        let reference = Registry::get()
            .reference_type("object-marking")
            .unwrap()
            .code;
        let definitions = self.read(|snapshot| snapshot.marking_definitions());
        let edges: Vec<(u16, Iid)> = markings
            .iter()
            .map(|wanted| {
                let found = definitions
                    .iter()
                    .find(|marking| marking.definition == **wanted);
                (reference, found.unwrap().iid)
            })
            .collect();
        self.write(|tx| {
            tx.insert(&NewObject {
                kind,
                internal: None,
                standard: StixId {
                    type_code: kind.stix_code,
                    uuid: Uuid::new_v5(&Uuid::nil(), name.as_bytes()),
                },
                keys: &[],
                attributes: attributes.as_object().unwrap(),
                confidence,
                ends: None,
                edges: &edges,
                name,
                text: "",
                inputs: None,
            })
        })
    }

    /// The standard id of a marking.
    pub fn marking(&self, definition: &str) -> StixId {
        let definitions = self.read(|snapshot| snapshot.marking_definitions());
        definitions
            .iter()
            .find(|marking| marking.definition == definition)
            .unwrap()
            .standard
    }

    /// The audit log, oldest first.
    pub fn audit(&self) -> Vec<AuditEntry> {
        let query = AuditQuery {
            ascending: true,
            limit: 1_000_000,
            ..AuditQuery::default()
        };
        self.read(|snapshot| snapshot.audits(&query))
    }

    /// The newest message of the audit log.
    pub fn last_audit(&self) -> AuditEntry {
        self.audit().pop().unwrap()
    }

    /// Logs in from an address.
    pub fn login(&self, email: &str, password: &str) -> Result<String, AccountError> {
        self.login_from(email, password, [192, 0, 2, 1].into())
    }

    pub fn login_from(
        &self,
        email: &str,
        password: &str,
        address: IpAddr,
    ) -> Result<String, AccountError> {
        let origin = Origin {
            address: Some(address),
            agent: Some("test"),
        };
        Ok(self.accounts.login(email, password, origin)?.secret)
    }
}

/// A person of a name, with its address and password made of it.
pub fn person(name: &str) -> NewUser {
    NewUser {
        name: name.to_owned(),
        email: Some(mail(name)),
        password: Some(secret(name)),
        prevent_default_groups: true,
        ..NewUser::default()
    }
}

pub fn mail(name: &str) -> String {
    format!("{}@example.org", name.to_lowercase().replace(' ', "."))
}

pub fn secret(name: &str) -> String {
    format!("the password of {name}")
}

pub fn id(user: &User) -> String {
    user.id.to_string()
}
