//! Standard ids of users, groups, roles and capabilities, which follow from their names and are the same on every platform.

use ferrocti_access::{CAPABILITIES, CapabilityInfo};
use ferrocti_model::ids::PLATFORM_NAMESPACE;
use ferrocti_store::{Group, Role, Snapshot, User};
use serde_json::json;
use uuid::Uuid;

use crate::error::{AccountError, Result};

/// The standard id of a user's address: `user--` and a UUIDv5.
#[must_use]
pub fn user_standard_id(email: &str) -> String {
    standard_id("user", "user_email", email)
}

/// The standard id of a `group`, `role` or `capability` of a name.
#[must_use]
pub fn named_standard_id(kind: &str, name: &str) -> String {
    standard_id(kind, "name", name)
}

fn standard_id(kind: &str, property: &str, value: &str) -> String {
    format!("{kind}--{}", uuid(property, value))
}

fn uuid(property: &str, value: &str) -> Uuid {
    // one property: its JSON is canonical as it is
    let text = json!({ property: value.trim().to_lowercase() }).to_string();
    Uuid::new_v5(&PLATFORM_NAMESPACE, text.as_bytes())
}

/// The internal id of a capability: the UUID of its standard id, for capabilities are the same on every platform.
#[must_use]
pub fn capability_id(name: &str) -> Uuid {
    uuid("name", name)
}

/// The id of the connector under which `ferrocti import` of a user is listed: each user has one of its own.
#[must_use]
pub fn importer_id(user: Uuid) -> Uuid {
    Uuid::new_v5(&user, b"ferrocti import")
}

/// The capability of a name, an internal or a standard id.
#[must_use]
pub fn find_capability(id: &str) -> Option<&'static CapabilityInfo> {
    let uuid: Option<Uuid> = id.strip_prefix("capability--").unwrap_or(id).parse().ok();
    CAPABILITIES.iter().find(|known| {
        known.name == id || uuid.is_some_and(|uuid| capability_id(known.name) == uuid)
    })
}

/// The user of an internal or standard id.
pub fn find_user(snapshot: &Snapshot<'_>, id: &str) -> Result<Option<User>> {
    if let Ok(uuid) = id.parse() {
        return Ok(snapshot.user_by_id(uuid)?);
    }
    if !id.starts_with("user--") {
        return Ok(None);
    }
    let mut users = snapshot.users()?.into_iter();
    Ok(users.find(|user| user_standard_id(&user.email) == id))
}

/// The group of an internal or standard id.
pub fn find_group(snapshot: &Snapshot<'_>, id: &str) -> Result<Option<Group>> {
    if let Ok(uuid) = id.parse() {
        return Ok(snapshot.group_by_id(uuid)?);
    }
    let mut groups = snapshot.groups()?.into_iter();
    Ok(groups.find(|group| named_standard_id("group", &group.name) == id))
}

/// The role of an internal or standard id.
pub fn find_role(snapshot: &Snapshot<'_>, id: &str) -> Result<Option<Role>> {
    if let Ok(uuid) = id.parse() {
        return Ok(snapshot.role_by_id(uuid)?);
    }
    let mut roles = snapshot.roles()?.into_iter();
    Ok(roles.find(|role| named_standard_id("role", &role.name) == id))
}

pub(crate) fn user(snapshot: &Snapshot<'_>, id: &str) -> Result<User> {
    find_user(snapshot, id)?.ok_or_else(|| AccountError::not_found("User", id))
}

pub(crate) fn group(snapshot: &Snapshot<'_>, id: &str) -> Result<Group> {
    find_group(snapshot, id)?.ok_or_else(|| AccountError::not_found("Group", id))
}

pub(crate) fn role(snapshot: &Snapshot<'_>, id: &str) -> Result<Role> {
    find_role(snapshot, id)?.ok_or_else(|| AccountError::not_found("Role", id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_ids_are_those_of_every_platform() {
        for (id, expected) in [
            (
                named_standard_id("capability", "SETTINGS_SETLABELS"),
                "capability--0f78ff7d-7197-568f-ac8c-5d7842c07f0f",
            ),
            (
                named_standard_id("role", "Administrator"),
                "role--22abb1ff-6ea9-5833-8bf1-aea5c4c971ce",
            ),
            (
                named_standard_id("group", "Connectors"),
                "group--599fc7ab-02f4-50c1-94f9-4b68da122010",
            ),
            (
                named_standard_id("group", " default"),
                "group--a7991a4f-6192-59a4-87d3-d006d2c41cc8",
            ),
            (
                user_standard_id("Admin@OpenCTI.io"),
                "user--12ea8141-dc6d-5031-9a1b-c28aeac7198b",
            ),
        ] {
            assert_eq!(id, expected);
        }
    }
}
