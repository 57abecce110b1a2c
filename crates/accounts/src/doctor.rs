//! Set-ups that are dangerous, or not what somebody meant.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use ferrocti_access::{Actor, Capabilities, GroupFacts, Rights, UserFacts, names, rights};
use ferrocti_model::{StixId, clock::Millis};
use ferrocti_store::{AuditQuery, Connector, Snapshot, User};
use serde::Serialize;

use crate::{
    Accounts, Acting,
    boot::ADMINISTRATORS_GROUP,
    error::Result,
    guard,
    ids::importer_id,
    rights::{admitted, all_groups, markings, rights_of_any},
};

/// What was not used for so long was probably forgotten.
const FORGOTTEN_AFTER: Millis = 30 * 24 * 60 * 60 * 1000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Somebody has rights that he should not have.
    Dangerous,
    /// Something is weaker than it could be, or does not work as somebody meant it.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dangerous => "dangerous",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something that an administrator should look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Which rule found it; the name does not change.
    pub code: &'static str,
    /// What it is about: the name of a connector, a user, a token, a group or a marking.
    pub subject: String,
    /// What was found.
    pub text: String,
    /// What to do.
    pub remedy: &'static str,
}

impl Accounts {
    /// Looks for dangerous set-ups; the worst come first. Needs `SETTINGS_SETACCESSES`.
    pub fn doctor(&self, acting: &Acting<'_>) -> Result<Vec<Finding>> {
        guard::may_administer(acting.actor)?;
        self.store.read(|snapshot| {
            let mut findings = Vec::new();
            connectors(snapshot, &mut findings)?;
            forgotten(snapshot, self.clock.now(), &mut findings)?;
            groups(snapshot, &mut findings)?;
            unseen_markings(snapshot, &mut findings)?;
            findings.sort_by_key(|finding| finding.severity);
            Ok(findings)
        })
    }
}

fn finding(
    severity: Severity,
    code: &'static str,
    subject: &str,
    text: String,
    remedy: &'static str,
) -> Finding {
    Finding {
        severity,
        code,
        subject: subject.to_owned(),
        text,
        remedy,
    }
}

fn connectors(snapshot: &Snapshot<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let mut by_user: BTreeMap<i64, Vec<Connector>> = BTreeMap::new();
    for connector in snapshot.connectors()? {
        if let Some(user) = connector.user.filter(|_| !connector.built_in) {
            by_user.entry(user).or_default().push(connector);
        }
    }
    for (row, mut connectors) in by_user {
        let found = match (snapshot.user(row)?, rights_of_any(snapshot, row)?) {
            (Some(user), Some(rights)) => Some((user, rights)),
            _ => None,
        };
        if let Some((user, _)) = &found {
            // what a person imports by hand has that person's rights on purpose, and keeps no token anywhere
            let importer = importer_id(user.id).to_string();
            connectors.retain(|connector| connector.id != importer);
            if connectors.is_empty() {
                continue;
            }
        }
        let list = names_of(&connectors);
        let Some((user, rights)) = found else {
            findings.push(finding(
                Severity::Warning,
                "connector_without_user",
                &list,
                format!("{list}: the account is gone, so that nothing is accepted from it"),
                "Make an account with `ferrocti user add-connector` and give its token to the connector.",
            ));
            continue;
        };
        account(snapshot, &list, &user, &rights, findings);
        if connectors.len() > 1 {
            findings.push(finding(
                Severity::Warning,
                "shared_account",
                &user.email,
                format!(
                    "{list} run under one account, {}: they share its tokens, each may speak for the others, and none can be shut out alone",
                    user.email
                ),
                "Give each connector an account of its own with `ferrocti user add-connector`.",
            ));
        }
    }
    Ok(())
}

/// What is wrong with the account of connectors.
fn account(
    snapshot: &Snapshot<'_>,
    connectors: &str,
    user: &User,
    rights: &Rights,
    findings: &mut Vec<Finding>,
) {
    let mut add = |severity, code, text, remedy| {
        findings.push(finding(severity, code, connectors, text, remedy));
    };
    let own_account = "Give the connector an account of its own with `ferrocti user add-connector` and replace its token.";
    if user.id == Actor::ADMIN_ID {
        add(
            Severity::Dangerous,
            "connector_as_administrator",
            format!(
                "{connectors}: runs with the first administrator's token; whoever reads the connector's configuration owns the platform"
            ),
            own_account,
        );
    } else if rights.actor.bypass() {
        add(
            Severity::Dangerous,
            "connector_with_bypass",
            format!(
                "{connectors}: the account {} has BYPASS: no marking hides anything from it, its data outweighs everybody's, and it may speak in the name of others",
                user.email
            ),
            own_account,
        );
    } else if rights.actor.capabilities.holds(names::SET_ACCESSES) {
        add(
            Severity::Dangerous,
            "connector_administers",
            format!(
                "{connectors}: the account {} may manage users and their tokens",
                user.email
            ),
            own_account,
        );
    }
    if !user.service_account && user.id != Actor::ADMIN_ID {
        add(
            Severity::Warning,
            "connector_as_person",
            format!(
                "{connectors}: runs under the account of a person, {}; it stops when the person leaves, and the person is named for its data",
                user.email
            ),
            own_account,
        );
    }
    if let Err(barred) = admitted(user.status, user.expires_at, snapshot.clock_now()) {
        add(
            Severity::Warning,
            "connector_barred",
            format!(
                "{connectors}: the account {} is not let in ({}), so that nothing is accepted from it",
                user.email,
                barred.to_string().to_lowercase().trim_end_matches('.')
            ),
            "Activate the account, or delete the connector.",
        );
    }
    if rights.level.is_none() {
        add(
            Severity::Warning,
            "connector_without_level",
            format!(
                "{connectors}: the account {} has no maximum confidence, so that everything it sends is refused",
                user.email
            ),
            "Set a maximum confidence on the account or on one of its groups.",
        );
    }
    let of_groups = rights
        .groups
        .iter()
        .filter_map(|group| group.level.max)
        .max();
    if let (Some(own), Some(of_groups)) = (user.max_confidence, of_groups)
        && own > of_groups
        && !rights.actor.bypass()
    {
        add(
            Severity::Warning,
            "confidence_above_group",
            format!(
                "{connectors}: the maximum confidence of the account {} is {own}, that of its groups {of_groups}; its own counts",
                user.email
            ),
            "Lower the account's maximum confidence, or take it away so that the group's counts.",
        );
    }
}

/// Accounts and tokens that nobody uses and that never end.
fn forgotten(snapshot: &Snapshot<'_>, now: Millis, findings: &mut Vec<Finding>) -> Result<()> {
    for user in snapshot.users()? {
        if user.id == Actor::SYSTEM_ID || user.id == Actor::ADMIN_ID {
            continue;
        }
        let tokens = snapshot.tokens_of(user.row)?;
        let logins = snapshot.audit_count(&AuditQuery {
            actors: vec![user.row],
            types: vec!["authentication".to_owned()],
            statuses: vec!["success".to_owned()],
            ..AuditQuery::default()
        })?;
        let unused = logins == 0 && tokens.iter().all(|token| token.last_used.is_none());
        let active = admitted(user.status, user.expires_at, now).is_ok();
        if active && unused && user.expires_at.is_none() && now - user.created_at > FORGOTTEN_AFTER
        {
            findings.push(finding(
                Severity::Warning,
                "account_never_used",
                &user.email,
                format!(
                    "the account {} never expires and was never used",
                    user.email
                ),
                "Delete the account, or let it expire.",
            ));
            continue;
        }
        for token in tokens {
            if token.last_used.is_none()
                && token.expires_at.is_none()
                && now - token.created_at > FORGOTTEN_AFTER
            {
                let text = format!(
                    "the token \"{}\" of {} never expires and was never used",
                    token.name, user.email
                );
                findings.push(finding(
                    Severity::Warning,
                    "token_never_used",
                    &token.name,
                    text,
                    "Revoke the token.",
                ));
            }
        }
    }
    Ok(())
}

fn groups(snapshot: &Snapshot<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    for group in snapshot.groups()? {
        let mut held = Vec::new();
        for role in snapshot.roles_of(group.row)? {
            held.extend(snapshot.role(role)?.map(|role| role.capabilities));
        }
        let held: Capabilities = held.iter().flatten().map(String::as_str).collect();
        if !held.bypass() {
            continue;
        }
        if group.default_assignation {
            findings.push(finding(
                Severity::Dangerous,
                "default_group_with_bypass",
                &group.name,
                format!(
                    "every new user joins the group \"{}\", whose members may do everything",
                    group.name
                ),
                "Take the role with BYPASS from the group, or switch its default membership off.",
            ));
        } else if group.name != ADMINISTRATORS_GROUP {
            findings.push(finding(
                Severity::Warning,
                "group_with_bypass",
                &group.name,
                format!("the members of the group \"{}\" may do everything", group.name),
                "Give the group a role with the capabilities that its members need, and make administrators members of Administrators.",
            ));
        }
    }
    Ok(())
}

/// Markings that nobody may see but who may do everything, and those that everybody sees because nobody gave them a rank.
fn unseen_markings(snapshot: &Snapshot<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let known = markings(snapshot)?;
    let mut seen: HashSet<StixId> = HashSet::new();
    for group in all_groups(snapshot)? {
        let rights = member_of(&group, &known);
        if !rights.actor.bypass() {
            seen.extend(rights.markings.iter().map(|grant| grant.marking));
        }
    }
    for marking in &known {
        if !seen.contains(&marking.id) {
            findings.push(finding(
                Severity::Warning,
                "marking_nobody_sees",
                &marking.definition,
                format!(
                    "no group allows {}: only who may do everything sees what carries it",
                    marking.definition
                ),
                "Allow the marking on a group, or delete it.",
            ));
        }
        let ranked = known
            .iter()
            .any(|other| other.definition_type == marking.definition_type && other.order > 0);
        if ranked && marking.order <= 0 {
            findings.push(finding(
                Severity::Warning,
                "marking_without_rank",
                &marking.definition,
                format!(
                    "{} has no order among the markings of the kind {}: whoever may see any of them sees what carries it",
                    marking.definition, marking.definition_type
                ),
                "Set the order of the marking.",
            ));
        }
    }
    Ok(())
}

/// The rights of somebody who is a member of one group and nothing else.
fn member_of(group: &Arc<GroupFacts>, known: &[ferrocti_access::MarkingFacts]) -> Rights {
    let user = UserFacts {
        id: uuid::Uuid::nil(),
        row: 0,
        name: String::new(),
        email: String::new(),
        level: ferrocti_access::Level::default(),
        service_account: false,
    };
    rights(&user, std::slice::from_ref(group), known)
}

fn names_of(connectors: &[Connector]) -> String {
    let names: Vec<&str> = connectors
        .iter()
        .map(|connector| connector.name.as_str())
        .collect();
    names.join(", ")
}
