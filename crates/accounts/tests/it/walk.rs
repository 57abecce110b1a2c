//! A random walk over everything that gives and takes rights.

use ferrocti_access::{CAPABILITIES, names};
use ferrocti_accounts::{Acting, GroupPatch, Lifetime, NewGroup, NewUser, UserPatch};
use ferrocti_model::clock::{Entropy, SeededEntropy};
use ferrocti_store::UserStatus;

use crate::support::{Fixture, person};

#[test]
fn no_sequence_of_allowed_changes_leads_to_bypass_or_away_from_it() {
    for seed in 0..4 {
        let fixture = Fixture::new();
        let manager = fixture.user_with("Manager", &[names::SET_ACCESSES, names::USE_TOKEN], &[]);
        let manager = fixture.actor(&manager);
        let chosen = fixture.user_with("Chosen", &["BYPASS"], &[]);
        let everybody = || fixture.store.read(|s| fixture.accounts.users(s)).unwrap();
        let mighty = || -> Vec<i64> {
            let mut rows: Vec<i64> = everybody()
                .iter()
                .filter(|user| {
                    let rights = fixture.read(|s| ferrocti_accounts::rights_of_any(s, user.row));
                    rights.unwrap().actor.bypass()
                })
                .map(|user| user.row)
                .collect();
            rows.sort_unstable();
            rows
        };
        let before = mighty();
        assert_eq!(before.len(), 2);
        let random = SeededEntropy::new(seed);
        let pick = |below: usize| {
            let mut bytes = [0; 8];
            random.fill(&mut bytes);
            usize::try_from(u64::from_le_bytes(bytes) % below.max(1) as u64).unwrap()
        };
        let acting = Acting::of(&manager);
        let accounts = &fixture.accounts;
        let mut done = 0;
        for step in 0..150 {
            let (users, groups, roles) = (
                everybody(),
                fixture.read(|s| s.groups()),
                fixture.read(|s| s.roles()),
            );
            let user = users[pick(users.len())].id.to_string();
            let group = groups
                .get(pick(groups.len()))
                .map(|group| group.id.to_string())
                .unwrap_or_default();
            let role = roles
                .get(pick(roles.len()))
                .map(|role| role.id.to_string())
                .unwrap_or_default();
            let capability = CAPABILITIES[pick(CAPABILITIES.len())].name;
            let flag = pick(2) == 0;
            let result = match pick(14) {
                0 => {
                    let new = NewUser {
                        groups: vec![group],
                        prevent_default_groups: flag,
                        service_account: true,
                        ..person(&format!("user {step}"))
                    };
                    accounts.add_user(&acting, new).map(drop)
                }
                1 => accounts.add_member(&acting, &user, &group).map(drop),
                2 => accounts.remove_member(&acting, &user, &group).map(drop),
                3 => accounts.add_group_role(&acting, &group, &role).map(drop),
                4 => accounts.remove_group_role(&acting, &group, &role).map(drop),
                5 => accounts
                    .add_capability(
                        &acting,
                        &role,
                        if flag { "BYPASS" } else { capability },
                        false,
                    )
                    .map(drop),
                6 => accounts
                    .add_capability(&acting, &role, capability, true)
                    .map(drop),
                7 => accounts
                    .remove_capability(&acting, &role, capability, false)
                    .map(drop),
                8 => {
                    let patch = GroupPatch {
                        default_assignation: Some(flag),
                        auto_integration: Some(!flag),
                        ..GroupPatch::default()
                    };
                    accounts.edit_group(&acting, &group, patch).map(drop)
                }
                9 => {
                    let status = UserStatus::ALL[pick(4)];
                    accounts
                        .edit_user(
                            &acting,
                            &user,
                            UserPatch {
                                status: Some(status),
                                ..UserPatch::default()
                            },
                        )
                        .map(drop)
                }
                10 => accounts
                    .add_connector(
                        &acting,
                        &format!("feed {step}"),
                        None,
                        flag.then_some("TLP:GREEN"),
                    )
                    .map(drop),
                11 => accounts
                    .add_token(
                        &acting,
                        &user,
                        &format!("token {step}"),
                        Lifetime::Unlimited,
                    )
                    .map(drop),
                12 => accounts
                    .add_role(&acting, &format!("role {step}"), None)
                    .map(drop),
                _ => accounts
                    .add_group(
                        &acting,
                        NewGroup {
                            name: format!("group {step}"),
                            default_assignation: flag,
                            ..NewGroup::default()
                        },
                    )
                    .map(drop),
            };
            done += usize::from(result.is_ok());
            assert_eq!(mighty(), before, "seed {seed}, step {step}");
        }
        assert!(done > 40, "most of it was allowed: {done}");
        for token in fixture.read(|s| s.tokens_of(chosen.row)) {
            assert_ne!(
                token.created_by,
                Some(manager.user_row),
                "no token of who may do everything"
            );
        }
    }
}
