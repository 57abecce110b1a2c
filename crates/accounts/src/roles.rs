//! Roles: named sets of capabilities.

use ferrocti_access::{CapabilityInfo, names};
use ferrocti_store::{Role, Snapshot, Tx};
use serde_json::{Value, json};

use crate::{
    Accounts, Acting,
    acting::{Scope, Subject, record},
    change::Changes,
    check,
    error::{AccountError, Result},
    guard, ids,
};

/// Longest description, in bytes.
const MAX_DESCRIPTION: usize = 64 * 1024;
/// What may be given for drafts alone.
const IN_DRAFTS: [&str; 12] = [
    "KNOWLEDGE",
    "KNOWLEDGE_KNPARTICIPATE",
    "KNOWLEDGE_KNUPDATE",
    "KNOWLEDGE_KNUPDATE_KNDELETE",
    "KNOWLEDGE_KNUPDATE_KNMERGE",
    "KNOWLEDGE_KNUPDATE_KNBYPASSREFERENCE",
    "KNOWLEDGE_KNUPDATE_KNBYPASSFIELDS",
    "KNOWLEDGE_KNUPLOAD",
    "KNOWLEDGE_KNASKIMPORT",
    "KNOWLEDGE_KNENRICHMENT",
    "KNOWLEDGE_KNGETEXPORT",
    "SETTINGS_SETLABELS",
];

/// What to change of a role; `None` leaves a part as it is.
#[derive(Clone, Default)]
pub struct RolePatch {
    /// Name.
    pub name: Option<String>,
    /// What it is for; `Some(None)` takes it away.
    pub description: Option<Option<String>>,
    /// May change what is protected.
    pub sensitive: Option<bool>,
}

impl Accounts {
    /// Makes a role, which allows nothing yet.
    pub fn add_role(
        &self,
        acting: &Acting<'_>,
        name: &str,
        description: Option<&str>,
    ) -> Result<Role> {
        guard::may_administer(acting.actor)?;
        let name = check::name("role", name)?;
        let description = description.map(described).transpose()?;
        self.store.write(|tx| {
            free(tx, &name, None)?;
            let mut role = Role::new(tx.new_uuid(), &name, tx.now());
            role.description = description;
            tx.insert_role(&mut role)?;
            let message = format!("creates role `{name}`");
            log(tx, acting, Scope::Create, &role, &message, None)?;
            Ok(role)
        })
    }

    /// Changes a role, by its internal or standard id.
    pub fn edit_role(&self, acting: &Acting<'_>, id: &str, patch: RolePatch) -> Result<Role> {
        self.administer_role(acting, id, |tx, mut role| {
            let mut changes = Changes::default();
            let name = patch
                .name
                .map(|name| check::name("role", &name))
                .transpose()?;
            changes.set("name", &mut role.name, name);
            free(tx, &role.name, Some(role.row))?;
            let description = match patch.description {
                Some(Some(text)) => Some(Some(described(&text)?)),
                other => other,
            };
            changes.set("description", &mut role.description, description);
            changes.set(
                "can_manage_sensitive_config",
                &mut role.sensitive,
                patch.sensitive,
            );
            if changes.has("can_manage_sensitive_config") && role.sensitive {
                guard::may_grant(acting.actor, [names::BYPASS])?;
            }
            if !changes.is_empty() {
                role.updated_at = tx.now();
                tx.update_role(&role)?;
                let message = format!("updates `{}` for role `{}`", changes.keys(), role.name);
                log(
                    tx,
                    acting,
                    Scope::Update,
                    &role,
                    &message,
                    Some(changes.data()),
                )?;
            }
            Ok(role)
        })
    }

    /// Deletes a role; the groups that have it lose what it allowed.
    pub fn delete_role(&self, acting: &Acting<'_>, id: &str) -> Result<Role> {
        self.administer_role(acting, id, |tx, role| {
            guard::keep_an_administrator(tx, |tx| Ok(tx.delete_role(role.row)?))?;
            let message = format!("deletes role `{}`", role.name);
            log(tx, acting, Scope::Delete, &role, &message, None)?;
            Ok(role)
        })
    }

    /// Adds a capability to a role, by name or id; with `draft`, only for work inside drafts.
    pub fn add_capability(
        &self,
        acting: &Acting<'_>,
        role: &str,
        capability: &str,
        draft: bool,
    ) -> Result<(Role, &'static CapabilityInfo)> {
        self.administer_role(acting, role, |tx, mut role| {
            let info = capability_of(capability)?;
            guard::may_grant(acting.actor, [info.name])?;
            if draft && !IN_DRAFTS.contains(&info.name) {
                return Err(AccountError::Invalid(format!(
                    "{} cannot be given for drafts alone",
                    info.name
                )));
            }
            let held = held(&mut role, draft);
            if !held.iter().any(|name| name == info.name) {
                held.push(info.name.to_owned());
                write(tx, acting, &mut role, "adds", info)?;
            }
            Ok((role, info))
        })
    }

    /// Takes a capability from a role, by name or id.
    pub fn remove_capability(
        &self,
        acting: &Acting<'_>,
        role: &str,
        capability: &str,
        draft: bool,
    ) -> Result<(Role, &'static CapabilityInfo)> {
        self.administer_role(acting, role, |tx, mut role| {
            let info = capability_of(capability)?;
            let held = held(&mut role, draft);
            let before = held.len();
            held.retain(|name| name != info.name);
            if held.len() != before {
                guard::keep_an_administrator(tx, |tx| {
                    write(tx, acting, &mut role, "removes", info)
                })?;
            }
            Ok((role, info))
        })
    }

    /// Runs a change of a role for somebody who may give what it allows.
    fn administer_role<T>(
        &self,
        acting: &Acting<'_>,
        id: &str,
        change: impl FnOnce(&mut Tx<'_>, Role) -> Result<T>,
    ) -> Result<T> {
        guard::may_administer(acting.actor)?;
        self.store.write(|tx| {
            let role = ids::role(tx, id)?;
            let given = role.capabilities.iter().chain(&role.draft_capabilities);
            guard::may_grant(acting.actor, given.map(String::as_str))?;
            change(tx, role)
        })
    }
}

fn held(role: &mut Role, draft: bool) -> &mut Vec<String> {
    if draft {
        &mut role.draft_capabilities
    } else {
        &mut role.capabilities
    }
}

fn write(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    role: &mut Role,
    verb: &str,
    info: &CapabilityInfo,
) -> Result<()> {
    role.updated_at = tx.now();
    tx.update_role(role)?;
    let message = format!("{verb} Capability `{}` for role `{}`", info.name, role.name);
    let data = Some(json!({ "capability": info.name }));
    log(tx, acting, Scope::Update, role, &message, data)
}

/// The capability of a name, of an internal or of a standard id.
fn capability_of(id: &str) -> Result<&'static CapabilityInfo> {
    ids::find_capability(id).ok_or_else(|| AccountError::not_found("Capability", id))
}

fn described(text: &str) -> Result<String> {
    if text.len() > MAX_DESCRIPTION {
        return Err(AccountError::invalid("the description is too long"));
    }
    Ok(text.to_owned())
}

fn free(snapshot: &Snapshot<'_>, name: &str, own: Option<i64>) -> Result<()> {
    match snapshot.role_by_name(name)? {
        Some(role) if Some(role.row) != own => Err(AccountError::AlreadyExists(format!(
            "There is a role {name:?} already."
        ))),
        _ => Ok(()),
    }
}

fn log(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    scope: Scope,
    role: &Role,
    message: &str,
    data: Option<Value>,
) -> Result<()> {
    let id = role.id.to_string();
    let subject = Subject {
        kind: "Role",
        id: &id,
        name: &role.name,
    };
    Ok(record(tx, acting, scope, Some(subject), message, data)?)
}
