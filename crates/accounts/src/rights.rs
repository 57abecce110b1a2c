//! From stored users, groups, roles and markings to rights, computed once per change.
//!
//! What is kept is valid for one rights version, see `ferrocti_store`: whoever asks compares one number, so that a change counts for the very
//! next request.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ferrocti_access::{
    Actor, GroupFacts, Level, MarkingFacts, Markings, Rights, RoleFacts, Shareable, UserFacts,
};
use ferrocti_model::{StixId, clock::Millis};
use ferrocti_store::{Group, Iid, Snapshot, StoreError, User, UserStatus, Visibility};
use parking_lot::RwLock;
use uuid::Uuid;

/// Everything that rights follow from, but the users.
#[derive(Debug, Default)]
struct Facts {
    markings: Vec<MarkingFacts>,
    /// By row number.
    groups: HashMap<i64, Arc<GroupFacts>>,
}

impl Facts {
    fn read(snapshot: &Snapshot<'_>) -> Result<Self, StoreError> {
        let definitions = snapshot.marking_definitions()?;
        let by_row: HashMap<Iid, StixId> = definitions
            .iter()
            .map(|marking| (marking.iid, marking.standard))
            .collect();
        let by_id: HashMap<Uuid, StixId> = definitions
            .iter()
            .map(|marking| (marking.internal, marking.standard))
            .collect();
        let roles: HashMap<i64, Arc<RoleFacts>> = snapshot
            .roles()?
            .into_iter()
            .map(|role| {
                let facts = RoleFacts {
                    id: role.id,
                    name: role.name,
                    capabilities: role.capabilities,
                };
                (role.row, Arc::new(facts))
            })
            .collect();
        let mut groups = HashMap::new();
        for group in snapshot.groups()? {
            let granted = snapshot.markings_of_group(group.row)?;
            let held = snapshot.roles_of(group.row)?;
            let facts = GroupFacts {
                id: group.id,
                level: level_of(group.max_confidence, &group.overrides),
                markings: granted
                    .iter()
                    .filter_map(|iid| by_row.get(iid).copied())
                    .collect(),
                roles: held
                    .iter()
                    .filter_map(|row| roles.get(row).cloned())
                    .collect(),
                no_creators: group.no_creators,
                restrict_delete: group.restrict_delete,
                default_markings: group
                    .default_markings
                    .iter()
                    .map(|default| {
                        let values = default
                            .values
                            .iter()
                            .filter_map(|id| by_id.get(id).copied());
                        (default.entity_type.clone(), values.collect())
                    })
                    .collect(),
                max_shareable: shareable(&group, &by_id),
                name: group.name,
            };
            groups.insert(group.row, Arc::new(facts));
        }
        let markings = definitions
            .into_iter()
            .map(|marking| MarkingFacts {
                id: marking.standard,
                definition_type: marking.definition_type,
                definition: marking.definition,
                order: marking.order,
            })
            .collect();
        Ok(Self { markings, groups })
    }

    /// The rights of a user.
    fn rights(&self, snapshot: &Snapshot<'_>, user: &User) -> Result<Rights, StoreError> {
        let system = user.id == Actor::SYSTEM_ID;
        let facts = UserFacts {
            // the platform itself may do what the first administrator may, and belongs to no group
            id: if system { Actor::ADMIN_ID } else { user.id },
            row: user.row,
            name: user.name.clone(),
            email: user.email.clone(),
            level: level_of(user.max_confidence, &user.overrides),
            service_account: user.service_account,
        };
        let groups: Vec<Arc<GroupFacts>> = snapshot
            .groups_of(user.row)?
            .iter()
            .filter_map(|row| self.groups.get(row).cloned())
            .collect();
        let mut rights = ferrocti_access::rights(&facts, &groups, &self.markings);
        if system {
            rights.actor = Arc::new(Actor::system(user.row));
        }
        Ok(rights)
    }
}

/// A level as it is set.
pub(crate) fn level_of(max: Option<u8>, overrides: &BTreeMap<String, u8>) -> Level {
    Level {
        max,
        overrides: overrides.clone(),
    }
}

fn shareable(group: &Group, by_id: &HashMap<Uuid, StixId>) -> BTreeMap<String, Shareable> {
    group
        .max_shareable
        .iter()
        .map(|limit| {
            let marking = limit.value.and_then(|id| by_id.get(&id).copied());
            let limit_ = marking.map_or(Shareable::Nothing, Shareable::UpTo);
            (limit.marking_type.clone(), limit_)
        })
        .collect()
}

/// Why an account is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Barred {
    /// Switched off by an administrator.
    #[error("Your account is inactive. Ask an administrator to activate it.")]
    Inactive,
    /// Locked by an administrator.
    #[error("Your account is locked. Ask an administrator to unlock it.")]
    Locked,
    /// Its time is over.
    #[error("Your account has expired. Ask an administrator to extend it.")]
    Expired,
}

/// Whether an account is let in at a time.
pub fn admitted(status: UserStatus, expires_at: Option<Millis>, now: Millis) -> Result<(), Barred> {
    if expires_at.is_some_and(|end| end <= now) {
        return Err(Barred::Expired);
    }
    match status {
        UserStatus::Active => Ok(()),
        UserStatus::Inactive => Err(Barred::Inactive),
        UserStatus::Locked => Err(Barred::Locked),
        UserStatus::Expired => Err(Barred::Expired),
    }
}

/// What is known of a user.
#[derive(Debug)]
struct Known {
    rights: Arc<Rights>,
    status: UserStatus,
    expires_at: Option<Millis>,
}

/// What an actor sees, and for which sets of markings that was found out.
#[derive(Debug)]
struct Seen {
    version: i64,
    newest_set: i64,
    markings: Vec<StixId>,
    visibility: Visibility,
}

#[derive(Debug, Default)]
struct Kept {
    facts: Option<(i64, Arc<Facts>)>,
    users: HashMap<i64, (i64, Arc<Known>)>,
    seen: HashMap<i64, Seen>,
}

/// The rights of users, computed once per change; one for each store.
#[derive(Debug, Clone, Default)]
struct Cache(Arc<RwLock<Kept>>);

/// The rights of a user that is let in; `None`: there is no such user, or it is switched off, locked or expired.
pub fn rights(snapshot: &Snapshot<'_>, user: i64) -> Result<Option<Arc<Rights>>, StoreError> {
    let known = known(snapshot, user)?;
    Ok(known
        .filter(|known| admitted(known.status, known.expires_at, snapshot.clock_now()).is_ok())
        .map(|known| Arc::clone(&known.rights)))
}

/// The rights that a user has, or would have if it were let in; `None`: there is no such user.
pub fn rights_of_any(
    snapshot: &Snapshot<'_>,
    user: i64,
) -> Result<Option<Arc<Rights>>, StoreError> {
    let known = known(snapshot, user)?;
    Ok(known.map(|known| Arc::clone(&known.rights)))
}

/// The marking definitions that exist, oldest first.
pub fn markings(snapshot: &Snapshot<'_>) -> Result<Vec<MarkingFacts>, StoreError> {
    let version = snapshot.rights_version()?;
    Ok(facts(&snapshot.beside(), snapshot, version)?
        .markings
        .clone())
}

/// The facts of all groups.
pub(crate) fn all_groups(snapshot: &Snapshot<'_>) -> Result<Vec<Arc<GroupFacts>>, StoreError> {
    let version = snapshot.rights_version()?;
    let facts = facts(&snapshot.beside(), snapshot, version)?;
    Ok(facts.groups.values().cloned().collect())
}

/// What an actor may see.
pub fn visibility(snapshot: &Snapshot<'_>, actor: &Actor) -> Result<Visibility, StoreError> {
    let Markings::Only(allowed) = &actor.markings else {
        return Ok(Visibility::All);
    };
    if actor.bypass() {
        return Ok(Visibility::All);
    }
    // numbers of sets of markings that are not committed may be given to other sets later
    if snapshot.is_uncommitted() {
        return allowed_sets(snapshot, allowed);
    }
    let cache: Cache = snapshot.beside();
    let (version, newest_set) = (snapshot.rights_version()?, snapshot.newest_marking_set()?);
    if let Some(seen) = cache.0.read().seen.get(&actor.user_row)
        && (seen.version, seen.newest_set) == (version, newest_set)
        && seen.markings == *allowed
    {
        return Ok(seen.visibility.clone());
    }
    let visibility = allowed_sets(snapshot, allowed)?;
    cache.0.write().seen.insert(
        actor.user_row,
        Seen {
            version,
            newest_set,
            markings: allowed.clone(),
            visibility: visibility.clone(),
        },
    );
    Ok(visibility)
}

fn allowed_sets(snapshot: &Snapshot<'_>, allowed: &[StixId]) -> Result<Visibility, StoreError> {
    let keys: Vec<_> = allowed.iter().map(StixId::key).collect();
    let markings: Vec<_> = snapshot.resolve(&keys)?.into_iter().flatten().collect();
    snapshot.allowed_sets(&markings)
}

fn known(snapshot: &Snapshot<'_>, user: i64) -> Result<Option<Arc<Known>>, StoreError> {
    let cache: Cache = snapshot.beside();
    let version = snapshot.rights_version()?;
    if let Some((kept, known)) = cache.0.read().users.get(&user)
        && *kept == version
    {
        return Ok(Some(Arc::clone(known)));
    }
    let Some(stored) = snapshot.user(user)? else {
        cache.0.write().users.remove(&user);
        return Ok(None);
    };
    let facts = facts(&cache, snapshot, version)?;
    let known = Arc::new(Known {
        rights: Arc::new(facts.rights(snapshot, &stored)?),
        status: stored.status,
        expires_at: stored.expires_at,
    });
    let mut kept = cache.0.write();
    kept.users.insert(user, (version, Arc::clone(&known)));
    Ok(Some(known))
}

fn facts(cache: &Cache, snapshot: &Snapshot<'_>, version: i64) -> Result<Arc<Facts>, StoreError> {
    if let Some((kept, facts)) = &cache.0.read().facts
        && *kept == version
    {
        return Ok(Arc::clone(facts));
    }
    let facts = Arc::new(Facts::read(snapshot)?);
    cache.0.write().facts = Some((version, Arc::clone(&facts)));
    Ok(facts)
}
