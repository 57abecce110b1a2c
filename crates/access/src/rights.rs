//! From users, groups and roles to rights: what a user may do, see and claim, and which group or role it comes from.
//!
//! A user has no rights of its own but a confidence level; everything else comes through groups, and capabilities through the roles of
//! groups. The rules are stated in `docs/guide/security.md`.

use std::{collections::BTreeMap, sync::Arc};

use ferrocti_model::StixId;
use uuid::Uuid;

use crate::{Actor, Capabilities, Confidence, Level, Markings, confidence::MAX, names};

/// A marking definition, as far as rights depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkingFacts {
    /// Standard id.
    pub id: StixId,
    /// Kind: `TLP`, `PAP`, `statement`, …
    pub definition_type: String,
    /// What it says: `TLP:AMBER`.
    pub definition: String,
    /// Rank within its kind, higher is stricter.
    pub order: i64,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleFacts {
    /// Public id.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// Names of its capabilities.
    pub capabilities: Vec<String>,
}

/// The strictest marking of one kind that members of a group may share with outsiders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shareable {
    /// None of this kind.
    Nothing,
    /// This one and those below it.
    UpTo(StixId),
}

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupFacts {
    /// Public id.
    pub id: Uuid,
    /// Name.
    pub name: String,
    /// Confidence level.
    pub level: Level,
    /// Markings granted to it.
    pub markings: Vec<StixId>,
    /// Its roles.
    pub roles: Vec<Arc<RoleFacts>>,
    /// Its members are not recorded as creators.
    pub no_creators: bool,
    /// Its members delete only what they created.
    pub restrict_delete: bool,
    /// Markings that new objects of its members get, by type of the object (`GLOBAL`: all).
    pub default_markings: BTreeMap<String, Vec<StixId>>,
    /// Limits to sharing, by kind of marking. A kind that is absent has none.
    pub max_shareable: BTreeMap<String, Shareable>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFacts {
    /// Public id.
    pub id: Uuid,
    /// Row in the store.
    pub row: i64,
    /// Name.
    pub name: String,
    /// E-mail address.
    pub email: String,
    /// Its own confidence level, which goes before those of groups.
    pub level: Level,
    /// A program's account.
    pub service_account: bool,
}

/// Where a level comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LevelSource {
    /// Set on the user.
    User,
    /// Set on this group.
    Group(Arc<GroupFacts>),
    /// The user may do everything.
    Bypass,
}

/// The level in force, with where each part comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectiveLevel {
    /// For types without an override.
    pub max: u8,
    /// Where `max` comes from.
    pub source: LevelSource,
    /// For single types.
    pub overrides: BTreeMap<String, (u8, LevelSource)>,
}

/// What a user may do, see and claim.
#[derive(Debug, Clone, PartialEq)]
pub struct Rights {
    /// The user as everything else needs it.
    pub actor: Arc<Actor>,
    /// The groups of the user.
    pub groups: Vec<Arc<GroupFacts>>,
    /// The level in force; `None`: nothing sets one, and the user may write nothing.
    pub level: Option<EffectiveLevel>,
    /// Every allowed marking with what grants it: the group, and the granted marking when a stricter one of its kind implies it.
    pub markings: Vec<MarkingGrant>,
    /// Markings that the user's new objects get, by type of the object (`GLOBAL`: all).
    pub default_markings: BTreeMap<String, Vec<StixId>>,
    /// Allowed markings that may be shared with outsiders.
    pub shareable: Vec<StixId>,
}

/// Why a marking is allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkingGrant {
    /// The marking.
    pub marking: StixId,
    /// What grants it; `None`: the user may do everything.
    pub granted: Option<(Arc<GroupFacts>, StixId)>,
}

/// Computes the rights of a user from its groups and the marking definitions that exist.
#[must_use]
pub fn rights(user: &UserFacts, groups: &[Arc<GroupFacts>], markings: &[MarkingFacts]) -> Rights {
    let mut capabilities: Capabilities = groups
        .iter()
        .flat_map(|group| &group.roles)
        .flat_map(|role| &role.capabilities)
        .map(String::as_str)
        .collect();
    // nothing locks the first administrator out
    if user.id == Actor::ADMIN_ID {
        capabilities = capabilities.iter().chain([names::BYPASS]).collect();
    }
    let bypass = capabilities.bypass();
    let level = level(user, groups, bypass);
    let granted = grants(groups, markings, bypass);
    let every = |flag: fn(&GroupFacts) -> bool| {
        !bypass && !groups.is_empty() && groups.iter().all(|group| flag(group))
    };
    let actor = Actor {
        user_id: user.id,
        user_row: user.row,
        name: user.name.clone(),
        email: user.email.clone(),
        markings: if bypass {
            Markings::All
        } else {
            Markings::Only(granted.iter().map(|grant| grant.marking).collect())
        },
        confidence: level.as_ref().map(|level| Confidence {
            max: level.max,
            overrides: level
                .overrides
                .iter()
                .map(|(name, (max, _))| (name.clone(), *max))
                .collect(),
        }),
        no_creators: every(|group| group.no_creators),
        restrict_delete: every(|group| group.restrict_delete),
        service_account: user.service_account,
        capabilities,
    };
    Rights {
        default_markings: defaults(groups, markings),
        shareable: shareable(groups, markings, &granted, bypass),
        actor: Arc::new(actor),
        groups: groups.to_vec(),
        level,
        markings: granted,
    }
}

/// The level in force: the highest of the groups, unless the user has one; overrides of a user go before those of its groups.
fn level(user: &UserFacts, groups: &[Arc<GroupFacts>], bypass: bool) -> Option<EffectiveLevel> {
    if bypass {
        return Some(EffectiveLevel {
            max: MAX,
            source: LevelSource::Bypass,
            overrides: BTreeMap::new(),
        });
    }
    let mut best: Option<(u8, LevelSource)> = None;
    let mut overrides: BTreeMap<String, (u8, LevelSource)> = BTreeMap::new();
    match user.level.max {
        Some(max) => best = Some((max, LevelSource::User)),
        None => {
            for group in groups {
                let source = || LevelSource::Group(Arc::clone(group));
                if let Some(max) = group.level.max
                    && best.as_ref().is_none_or(|(known, _)| max > *known)
                {
                    best = Some((max, source()));
                }
                for (name, max) in &group.level.overrides {
                    if overrides.get(name).is_none_or(|(known, _)| max > known) {
                        overrides.insert(name.clone(), ((*max).min(MAX), source()));
                    }
                }
            }
        }
    }
    for (name, max) in &user.level.overrides {
        overrides.insert(name.clone(), ((*max).min(MAX), LevelSource::User));
    }
    best.map(|(max, source)| EffectiveLevel {
        max: max.min(MAX),
        source,
        overrides,
    })
}

/// Which markings are allowed: those granted, and those of the same kind whose order is not higher.
fn grants(
    groups: &[Arc<GroupFacts>],
    markings: &[MarkingFacts],
    bypass: bool,
) -> Vec<MarkingGrant> {
    let find = |id: &StixId| markings.iter().find(|known| known.id == *id);
    markings
        .iter()
        .filter_map(|marking| {
            let by = |direct: bool| {
                groups.iter().find_map(|group| {
                    let grant = group.markings.iter().find(|id| {
                        if direct {
                            **id == marking.id
                        } else {
                            find(id).is_some_and(|granted| {
                                granted.definition_type == marking.definition_type
                                    && granted.order >= marking.order
                            })
                        }
                    })?;
                    Some((Arc::clone(group), *grant))
                })
            };
            let granted = by(true).or_else(|| by(false));
            (bypass || granted.is_some()).then_some(MarkingGrant {
                marking: marking.id,
                granted,
            })
        })
        .collect()
}

/// Default markings of all groups; of each kind only the strictest.
fn defaults(
    groups: &[Arc<GroupFacts>],
    markings: &[MarkingFacts],
) -> BTreeMap<String, Vec<StixId>> {
    let mut united: BTreeMap<String, Vec<&MarkingFacts>> = BTreeMap::new();
    for (name, values) in groups.iter().flat_map(|group| &group.default_markings) {
        let known = united.entry(name.clone()).or_default();
        for marking in markings
            .iter()
            .filter(|marking| values.contains(&marking.id))
        {
            if !known.contains(&marking) {
                known.push(marking);
            }
        }
    }
    united
        .into_iter()
        .map(|(name, values)| {
            let strictest = |marking: &&&MarkingFacts| {
                !values.iter().any(|other| {
                    other.definition_type == marking.definition_type && other.order > marking.order
                })
            };
            let kept = values.iter().filter(strictest).map(|marking| marking.id);
            (name, kept.collect())
        })
        .collect()
}

/// Which of the allowed markings may leave the platform: of several groups the most permissive limit counts, and a group without a
/// limit for a kind has none.
fn shareable(
    groups: &[Arc<GroupFacts>],
    markings: &[MarkingFacts],
    granted: &[MarkingGrant],
    bypass: bool,
) -> Vec<StixId> {
    let order = |id: StixId| {
        markings
            .iter()
            .find(|known| known.id == id)
            .map(|known| known.order)
    };
    let may = |marking: &MarkingFacts| {
        bypass
            || groups.iter().any(
                |group| match group.max_shareable.get(&marking.definition_type) {
                    None => true,
                    Some(Shareable::Nothing) => false,
                    Some(Shareable::UpTo(limit)) => {
                        order(*limit).is_some_and(|limit| marking.order <= limit)
                    }
                },
            )
    };
    markings
        .iter()
        .filter(|marking| granted.iter().any(|grant| grant.marking == marking.id) && may(marking))
        .map(|marking| marking.id)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marking(text: &str, kind: &str, order: i64) -> MarkingFacts {
        let mut bytes = [0; 16];
        for (slot, byte) in bytes.iter_mut().zip(text.bytes()) {
            *slot = byte;
        }
        let uuid = Uuid::from_bytes(bytes);
        MarkingFacts {
            id: StixId::parse(&format!("marking-definition--{uuid}")).unwrap(),
            definition_type: kind.to_owned(),
            definition: text.to_owned(),
            order,
        }
    }

    fn group(name: &str, max: Option<u8>, overrides: &[(&str, u8)]) -> GroupFacts {
        GroupFacts {
            id: Uuid::nil(),
            name: name.to_owned(),
            level: Level {
                max,
                overrides: own(overrides),
            },
            markings: Vec::new(),
            roles: Vec::new(),
            no_creators: false,
            restrict_delete: false,
            default_markings: BTreeMap::new(),
            max_shareable: BTreeMap::new(),
        }
    }

    fn own(overrides: &[(&str, u8)]) -> BTreeMap<String, u8> {
        overrides
            .iter()
            .map(|(name, max)| ((*name).to_owned(), *max))
            .collect()
    }

    fn user(max: Option<u8>, overrides: &[(&str, u8)]) -> UserFacts {
        UserFacts {
            id: Uuid::from_u128(1),
            row: 1,
            name: "u".to_owned(),
            email: "u@example.org".to_owned(),
            level: Level {
                max,
                overrides: own(overrides),
            },
            service_account: false,
        }
    }

    /// Level with the name of its source, then each override in the same form.
    fn told(rights: &Rights) -> Option<String> {
        let source = |source: &LevelSource| match source {
            LevelSource::User => "user".to_owned(),
            LevelSource::Group(group) => group.name.clone(),
            LevelSource::Bypass => "bypass".to_owned(),
        };
        let level = rights.level.as_ref()?;
        let mut text = format!("{} {}", level.max, source(&level.source));
        for (name, (max, from)) in &level.overrides {
            text += &format!(", {name} {max} {}", source(from));
        }
        Some(text)
    }

    #[test]
    fn the_level_in_force_follows_the_table() {
        let g = |name: &str, max, overrides: &[(&str, u8)]| Arc::new(group(name, max, overrides));
        let cases = [
            (
                user(None, &[]),
                vec![g("a", Some(70), &[]), g("b", Some(80), &[])],
                Some("80 b"),
            ),
            (
                user(Some(30), &[("Malware", 70)]),
                vec![g("a", Some(70), &[]), g("b", Some(80), &[])],
                Some("30 user, Malware 70 user"),
            ),
            (
                user(Some(30), &[]),
                vec![g("a", Some(40), &[("Report", 90)])],
                Some("30 user"),
            ),
            (
                user(None, &[]),
                vec![g("a", Some(40), &[("Report", 90)])],
                Some("40 a, Report 90 a"),
            ),
            (
                user(None, &[]),
                vec![g("a", None, &[]), g("b", Some(70), &[]), g("c", None, &[])],
                Some("70 b"),
            ),
            (
                user(None, &[("Report", 50), ("Malware", 35)]),
                vec![
                    g("a", Some(70), &[]),
                    g("b", Some(40), &[("Report", 90), ("Case-Rfi", 20)]),
                ],
                Some("70 a, Case-Rfi 20 b, Malware 35 user, Report 50 user"),
            ),
            (user(None, &[("Report", 50)]), vec![g("a", None, &[])], None),
            (user(None, &[]), vec![], None),
            (
                user(None, &[]),
                vec![
                    g("a", Some(50), &[("Report", 10)]),
                    g("b", Some(20), &[("Report", 60)]),
                ],
                Some("50 a, Report 60 b"),
            ),
            (
                user(Some(0), &[]),
                vec![g("a", Some(50), &[])],
                Some("0 user"),
            ),
            (user(Some(120), &[]), vec![], Some("100 user")),
        ];
        for (user, groups, expected) in cases {
            assert_eq!(
                told(&rights(&user, &groups, &[])).as_deref(),
                expected,
                "{user:?}"
            );
        }
    }

    #[test]
    fn bypass_goes_before_every_level() {
        let mut all = group("a", Some(70), &[("Report", 10)]);
        all.roles.push(Arc::new(RoleFacts {
            id: Uuid::nil(),
            name: "Administrator".to_owned(),
            capabilities: vec!["BYPASS".to_owned()],
        }));
        let found = rights(&user(Some(30), &[]), &[Arc::new(all)], &[]);
        assert_eq!(told(&found).as_deref(), Some("100 bypass"));
        assert_eq!(found.actor.markings, Markings::All);
    }

    #[test]
    fn the_first_administrator_needs_no_group() {
        let mut admin = user(None, &[]);
        admin.id = Actor::ADMIN_ID;
        assert!(rights(&admin, &[], &[]).actor.bypass());
    }

    #[test]
    fn a_granted_marking_grants_those_of_its_kind_that_are_not_stricter() {
        let markings = [
            marking("clear", "TLP", 1),
            marking("amber", "TLP", 3),
            marking("strict", "TLP", 4),
            marking("pap", "PAP", 1),
            marking("s1", "statement", 0),
            marking("s2", "statement", 0),
        ];
        let mut granting = group("a", Some(1), &[]);
        granting.markings = vec![markings[1].id, markings[4].id];
        let found = rights(&user(None, &[]), &[Arc::new(granting)], &markings);
        let allowed: Vec<_> = markings
            .iter()
            .filter(|marking| found.actor.may_use_marking(marking.id))
            .map(|marking| marking.definition.as_str())
            .collect();
        assert_eq!(allowed, ["clear", "amber", "s1", "s2"]);
    }

    #[test]
    fn restrictions_hold_only_when_every_group_has_them() {
        let restricted = GroupFacts {
            no_creators: true,
            restrict_delete: true,
            ..group("a", Some(1), &[])
        };
        let free = Arc::new(group("b", Some(1), &[]));
        let restricted = Arc::new(restricted);
        let alone = rights(&user(None, &[]), &[Arc::clone(&restricted)], &[]).actor;
        assert!(alone.no_creators && alone.restrict_delete);
        let both = rights(&user(None, &[]), &[restricted, free], &[]).actor;
        assert!(!both.no_creators && !both.restrict_delete);
        let none = rights(&user(None, &[]), &[], &[]).actor;
        assert!(!none.no_creators && !none.restrict_delete);
    }

    #[test]
    fn defaults_keep_the_strictest_of_each_kind() {
        let markings = [
            marking("green", "TLP", 2),
            marking("amber", "TLP", 3),
            marking("pap", "PAP", 1),
        ];
        let mut one = group("a", Some(1), &[]);
        one.default_markings
            .insert("GLOBAL".to_owned(), vec![markings[0].id, markings[2].id]);
        let mut other = group("b", Some(1), &[]);
        other
            .default_markings
            .insert("GLOBAL".to_owned(), vec![markings[1].id]);
        let found = rights(
            &user(None, &[]),
            &[Arc::new(one), Arc::new(other)],
            &markings,
        );
        assert_eq!(
            found.default_markings["GLOBAL"],
            [markings[2].id, markings[1].id]
        );
    }

    #[test]
    fn sharing_is_limited_by_the_most_permissive_group() {
        let markings = [
            marking("green", "TLP", 2),
            marking("red", "TLP", 5),
            marking("s1", "statement", 0),
        ];
        let mut one = group("a", Some(1), &[]);
        one.markings = markings.iter().map(|marking| marking.id).collect();
        one.max_shareable
            .insert("TLP".to_owned(), Shareable::UpTo(markings[0].id));
        one.max_shareable
            .insert("statement".to_owned(), Shareable::Nothing);
        let one = Arc::new(one);
        let limited = rights(&user(None, &[]), &[Arc::clone(&one)], &markings);
        assert_eq!(limited.shareable, [markings[0].id]);
        let other = Arc::new(group("b", Some(1), &[]));
        let both = rights(&user(None, &[]), &[one, other], &markings);
        assert_eq!(both.shareable.len(), 3);
    }
}
