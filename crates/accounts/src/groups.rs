//! Groups: what their members may do and see, and how far their data counts.

use ferrocti_access::Level;
use ferrocti_model::Ident;
use ferrocti_store::{DefaultMarkings, Group, MarkingDefinition, MaxShareable, Role, Snapshot, Tx};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    Accounts, Acting,
    acting::{Scope, Subject, record},
    change::Changes,
    check,
    error::{AccountError, Result},
    guard, ids,
};

/// A group to be made.
#[derive(Clone, Default)]
pub struct NewGroup {
    /// Name, at least two characters.
    pub name: String,
    /// Confidence level of members.
    pub level: Level,
    /// New users become members.
    pub default_assignation: bool,
    /// New markings are granted to it.
    pub auto_new_marking: bool,
    /// Accounts that are made for connectors become members.
    pub auto_integration: bool,
    /// What members write names no creator.
    pub no_creators: bool,
    /// Members delete only what they created.
    pub restrict_delete: bool,
    /// What is only shown.
    pub profile: Map<String, Value>,
}

/// What to change of a group; `None` leaves a part as it is.
#[derive(Clone, Default)]
pub struct GroupPatch {
    /// Name.
    pub name: Option<String>,
    /// Confidence level of members.
    pub level: Option<Level>,
    /// New users become members.
    pub default_assignation: Option<bool>,
    /// New markings are granted to it.
    pub auto_new_marking: Option<bool>,
    /// Accounts that are made for connectors become members.
    pub auto_integration: Option<bool>,
    /// What members write names no creator.
    pub no_creators: Option<bool>,
    /// Members delete only what they created.
    pub restrict_delete: Option<bool>,
    /// How far data may be shared: kind of marking, and the strictest one by internal or standard id; `None`: nothing of this kind.
    pub max_shareable: Option<Vec<(String, Option<String>)>>,
    /// What is only shown; `null` takes a value away.
    pub profile: Map<String, Value>,
}

impl Accounts {
    /// Makes a group, which grants nothing yet.
    pub fn add_group(&self, acting: &Acting<'_>, new: NewGroup) -> Result<Group> {
        guard::may_administer(acting.actor)?;
        let name = check::name("group", &new.name)?;
        check::level(&new.level)?;
        check::group_profile(&new.profile)?;
        self.store.write(|tx| {
            free(tx, &name, None)?;
            let mut group = Group::new(tx.new_uuid(), &name, tx.now());
            group.default_assignation = new.default_assignation;
            group.auto_new_marking = new.auto_new_marking;
            group.auto_integration = new.auto_integration;
            group.no_creators = new.no_creators;
            group.restrict_delete = new.restrict_delete;
            group.max_confidence = new.level.max;
            group.overrides = new.level.overrides;
            group.profile = new.profile;
            group.profile.retain(|_, value| !value.is_null());
            tx.insert_group(&mut group)?;
            let data = json!({ "name": name, "max_confidence": group.max_confidence });
            let message = format!("creates group `{name}`");
            log(tx, acting, Scope::Create, &group, &message, Some(data))?;
            Ok(group)
        })
    }

    /// Changes a group, by its internal or standard id.
    pub fn edit_group(&self, acting: &Acting<'_>, id: &str, patch: GroupPatch) -> Result<Group> {
        self.administer_group(acting, id, |tx, mut group| {
            let mut changes = Changes::default();
            let name = patch
                .name
                .map(|name| check::name("group", &name))
                .transpose()?;
            changes.set("name", &mut group.name, name);
            free(tx, &group.name, Some(group.row))?;
            set_level(&mut changes, &mut group, patch.level)?;
            for (key, place, new) in [
                (
                    "default_assignation",
                    &mut group.default_assignation,
                    patch.default_assignation,
                ),
                (
                    "auto_new_marking",
                    &mut group.auto_new_marking,
                    patch.auto_new_marking,
                ),
                (
                    "auto_integration_assignation",
                    &mut group.auto_integration,
                    patch.auto_integration,
                ),
                ("no_creators", &mut group.no_creators, patch.no_creators),
                (
                    "restrict_delete",
                    &mut group.restrict_delete,
                    patch.restrict_delete,
                ),
            ] {
                changes.set(key, place, new);
            }
            let limits = patch
                .max_shareable
                .map(|limits| shareable(tx, limits))
                .transpose()?;
            changes.set("max_shareable_markings", &mut group.max_shareable, limits);
            check::group_profile(&patch.profile)?;
            changes.merge(&mut group.profile, patch.profile);
            store(tx, acting, &mut group, changes)?;
            Ok(group)
        })
    }

    /// Sets the markings that new objects of members get, of a type or of all (`GLOBAL`): of those given, the strictest of each kind.
    pub fn set_default_markings(
        &self,
        acting: &Acting<'_>,
        id: &str,
        entity_type: &str,
        markings: &[String],
    ) -> Result<Group> {
        self.administer_group(acting, id, |tx, mut group| {
            let known = entity_type == "GLOBAL"
                || ferrocti_model::Registry::get()
                    .by_name(entity_type)
                    .is_some();
            if !known {
                return Err(AccountError::Invalid(format!(
                    "there is no entity type {entity_type:?}"
                )));
            }
            let given = markings
                .iter()
                .map(|id| marking(tx, id))
                .collect::<Result<Vec<_>>>()?;
            let strictest: Vec<Uuid> = given
                .iter()
                .filter(|one| {
                    !given.iter().any(|other| {
                        other.definition_type == one.definition_type && other.order > one.order
                    })
                })
                .map(|marking| marking.internal)
                .collect();
            let mut defaults = group.default_markings.clone();
            defaults.retain(|default| default.entity_type != entity_type);
            defaults.push(DefaultMarkings {
                entity_type: entity_type.to_owned(),
                values: strictest,
            });
            let mut changes = Changes::default();
            changes.set(
                "default_marking",
                &mut group.default_markings,
                Some(defaults),
            );
            store(tx, acting, &mut group, changes)?;
            Ok(group)
        })
    }

    /// Deletes a group; its members lose what it gave them.
    pub fn delete_group(&self, acting: &Acting<'_>, id: &str) -> Result<Group> {
        self.administer_group(acting, id, |tx, group| {
            guard::keep_an_administrator(tx, |tx| Ok(tx.delete_group(group.row)?))?;
            let message = format!("deletes group `{}`", group.name);
            log(tx, acting, Scope::Delete, &group, &message, None)?;
            Ok(group)
        })
    }

    /// Gives a role to a group.
    pub fn add_group_role(
        &self,
        acting: &Acting<'_>,
        group: &str,
        role: &str,
    ) -> Result<(Group, Role)> {
        self.administer_group(acting, group, |tx, group| {
            let role = ids::role(tx, role)?;
            let given = role.capabilities.iter().chain(&role.draft_capabilities);
            guard::may_grant(acting.actor, given.map(String::as_str))?;
            if tx.add_group_role(group.row, role.row)? {
                let message = format!("adds Role `{}` for group `{}`", role.name, group.name);
                let data = Some(json!({ "role": role.id }));
                log(tx, acting, Scope::Update, &group, &message, data)?;
            }
            Ok((group, role))
        })
    }

    /// Takes a role from a group.
    pub fn remove_group_role(
        &self,
        acting: &Acting<'_>,
        group: &str,
        role: &str,
    ) -> Result<(Group, Role)> {
        self.administer_group(acting, group, |tx, group| {
            let role = ids::role(tx, role)?;
            let removed = guard::keep_an_administrator(tx, |tx| {
                Ok(tx.remove_group_role(group.row, role.row)?)
            })?;
            if removed {
                let message = format!("removes Role `{}` for group `{}`", role.name, group.name);
                let data = Some(json!({ "role": role.id }));
                log(tx, acting, Scope::Update, &group, &message, data)?;
            }
            Ok((group, role))
        })
    }

    /// Grants a marking to a group; its members may see and use it, and milder ones of its kind.
    pub fn grant_marking(
        &self,
        acting: &Acting<'_>,
        group: &str,
        id: &str,
    ) -> Result<(Group, MarkingDefinition)> {
        self.granting(acting, group, id, true)
    }

    /// Takes a marking from a group.
    pub fn revoke_marking(
        &self,
        acting: &Acting<'_>,
        group: &str,
        id: &str,
    ) -> Result<(Group, MarkingDefinition)> {
        self.granting(acting, group, id, false)
    }

    fn granting(
        &self,
        acting: &Acting<'_>,
        group: &str,
        id: &str,
        grant: bool,
    ) -> Result<(Group, MarkingDefinition)> {
        self.administer_group(acting, group, |tx, group| {
            let marking = marking(tx, id)?;
            let (changed, verb) = if grant {
                (tx.grant_marking(group.row, marking.iid)?, "adds")
            } else {
                (tx.revoke_marking(group.row, marking.iid)?, "removes")
            };
            if changed {
                let message = format!(
                    "{verb} Marking-Definition `{}` for group `{}`",
                    marking.definition, group.name
                );
                let data = Some(json!({ "marking": marking.standard.to_string() }));
                log(tx, acting, Scope::Update, &group, &message, data)?;
            }
            Ok((group, marking))
        })
    }

    /// Runs a change of a group for somebody who may decide what it gives.
    fn administer_group<T>(
        &self,
        acting: &Acting<'_>,
        id: &str,
        change: impl FnOnce(&mut Tx<'_>, Group) -> Result<T>,
    ) -> Result<T> {
        guard::may_administer(acting.actor)?;
        self.store.write(|tx| {
            let group = ids::group(tx, id)?;
            guard::may_grant_group(tx, acting.actor, group.row)?;
            change(tx, group)
        })
    }
}

/// The marking definition of an internal or standard id.
fn marking(snapshot: &Snapshot<'_>, id: &str) -> Result<MarkingDefinition> {
    let unknown = || AccountError::not_found("Marking-Definition", id);
    let ident = Ident::parse(id).map_err(|_| unknown())?;
    let iid = snapshot.resolve_one(&ident.key())?.ok_or_else(unknown)?;
    let mut known = snapshot.marking_definitions()?.into_iter();
    known.find(|marking| marking.iid == iid).ok_or_else(unknown)
}

fn shareable(
    snapshot: &Snapshot<'_>,
    limits: Vec<(String, Option<String>)>,
) -> Result<Vec<MaxShareable>> {
    let mut kept: Vec<MaxShareable> = Vec::new();
    for (marking_type, id) in limits {
        let value = match id {
            Some(id) => {
                let limit = marking(snapshot, &id)?;
                if limit.definition_type != marking_type {
                    return Err(AccountError::Invalid(format!(
                        "{} is a marking of the kind {}, not {marking_type}",
                        limit.definition, limit.definition_type
                    )));
                }
                Some(limit.internal)
            }
            None => None,
        };
        kept.retain(|known| known.marking_type != marking_type);
        kept.push(MaxShareable {
            marking_type,
            value,
        });
    }
    Ok(kept)
}

fn free(snapshot: &Snapshot<'_>, name: &str, own: Option<i64>) -> Result<()> {
    match snapshot.group_by_name(name)? {
        Some(group) if Some(group.row) != own => Err(AccountError::AlreadyExists(format!(
            "There is a group {name:?} already."
        ))),
        _ => Ok(()),
    }
}

fn set_level(changes: &mut Changes, group: &mut Group, level: Option<Level>) -> Result<()> {
    let Some(level) = level else {
        return Ok(());
    };
    check::level(&level)?;
    let before = json!({ "max_confidence": group.max_confidence, "overrides": group.overrides });
    let after = json!({ "max_confidence": level.max, "overrides": level.overrides });
    if changes.note("group_confidence_level", before, after) {
        group.max_confidence = level.max;
        group.overrides = level.overrides;
    }
    Ok(())
}

/// Writes what changed, if anything did.
fn store(tx: &mut Tx<'_>, acting: &Acting<'_>, group: &mut Group, changes: Changes) -> Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    group.updated_at = tx.now();
    tx.update_group(group)?;
    let message = format!("updates `{}` for group `{}`", changes.keys(), group.name);
    log(
        tx,
        acting,
        Scope::Update,
        group,
        &message,
        Some(changes.data()),
    )
}

fn log(
    tx: &mut Tx<'_>,
    acting: &Acting<'_>,
    scope: Scope,
    group: &Group,
    message: &str,
    data: Option<Value>,
) -> Result<()> {
    let id = group.id.to_string();
    let subject = Subject {
        kind: "Group",
        id: &id,
        name: &group.name,
    };
    Ok(record(tx, acting, scope, Some(subject), message, data)?)
}
