//! Settings of the platform: what clients read of them, and the few that can be changed.

use std::sync::Arc;

use ferrocti_access::{Action, Actor, may, names, password::Policy};
use ferrocti_accounts::{Acting, Barred, Scope, Subject, record};
use ferrocti_graphql::{FieldCall, Resolved};
use ferrocti_model::clock::format_date;
use ferrocti_store::{Snapshot, Tx, UserStatus};
use serde_json::{Map, Value, json};
use uuid::{Uuid, uuid};

use super::patch;
use super::record::{Record, Shown, value};
use super::users::{internal_parents, is_platform};
use super::{Answer, Node, Resolution};
use crate::fault::Fault;

/// Id of the settings, which every platform has once.
const ID: Uuid = uuid!("7dcbb0f5-9d4b-5a2a-8d2c-3f1c7d1f8a01");
/// Where the values are kept.
const STORED: &str = "platform.settings";
/// Where the messages are kept.
const MESSAGES: &str = "platform.messages";
/// Longest text of a setting, in characters.
const MAX_TEXT: usize = 20_000;
/// Most messages.
const MAX_MESSAGES: usize = 100;
/// Settings that are texts.
const TEXTS: [&str; 10] = [
    "platform_title",
    "platform_favicon",
    "platform_email",
    "platform_language",
    "platform_login_message",
    "platform_consent_message",
    "platform_consent_confirm_text",
    "platform_banner_text",
    "platform_banner_level",
    "analytics_google_analytics_v4",
];
/// Rules of the policy for passwords.
const POLICY: [&str; 7] = [
    "password_policy_min_length",
    "password_policy_max_length",
    "password_policy_min_symbols",
    "password_policy_min_numbers",
    "password_policy_min_words",
    "password_policy_min_lowercase",
    "password_policy_min_uppercase",
];

impl Resolution<'_> {
    /// A field of the settings.
    pub(super) fn settings_field<'p>(&'p self, call: &FieldCall<'_>) -> Answer<'p> {
        let off = || json!({ "enabled": false, "protected_ids": [] });
        if TEXTS.contains(&call.name) || call.name == "platform_whitemark" {
            let stored = self.read(stored)?;
            let whitemark = call.name == "platform_whitemark";
            let missing = || {
                if whitemark {
                    Value::Bool(false)
                } else {
                    Value::Null
                }
            };
            return Ok(Resolved::leaf(
                stored.get(call.name).cloned().unwrap_or_else(missing),
            ));
        }
        if POLICY.contains(&call.name) {
            let policy = self.read(|snapshot| Ok(ferrocti_accounts::password_policy(snapshot)?))?;
            return Ok(Resolved::leaf(rule(&policy, call.name)));
        }
        Ok(match call.name {
            "id" => Resolved::leaf(ID.to_string()),
            "standard_id" => Resolved::leaf(format!("settings--{ID}")),
            "entity_type" => Resolved::Text("Settings"),
            "parent_types" => internal_parents(),
            "platform_cluster" => Resolved::Node(Node::Data("", json!({ "instances_number": 1 }))),
            "platform_modules" | "platform_feature_flags" | "activity_listeners" => {
                Resolved::List(Vec::new())
            }
            "platform_providers" => Resolved::nodes([Node::Data(
                "Provider",
                json!({ "name": "local", "type": "FORM", "strategy": "LocalStrategy", "provider": "local" }),
            )]),
            "platform_user_statuses" => {
                Resolved::nodes(UserStatus::ALL.into_iter().map(|status| {
                    let data = json!({ "status": status.name(), "message": told(status) });
                    Node::Data("UserStatus", data)
                }))
            }
            "platform_ai_enabled"
            | "platform_ai_has_token"
            | "platform_demo"
            | "platform_reference_attachment"
            | "platform_trash_enabled"
            | "otp_mandatory" => Resolved::leaf(false),
            "platform_session_idle_timeout" => {
                Resolved::leaf(self.state.services().accounts.session_idle())
            }
            "platform_session_timeout" => {
                Resolved::leaf(self.state.services().accounts.session_lifetime())
            }
            "platform_critical_alerts" => self.alerts()?,
            "platform_protected_sensitive_config" => Resolved::Node(Node::Data(
                "",
                json!({
                    "enabled": false, "markings": off(), "groups": off(), "roles": off(), "rules": off(), "ce_ee_toggle": off(),
                    "file_indexing": off(), "platform_organization": off(),
                }),
            )),
            "platform_enterprise_edition" => Resolved::Node(Node::Data(
                "",
                json!({
                    "license_enterprise": false, "license_by_configuration": false, "license_validated": false, "license_valid_cert": false,
                    "license_expired": false, "license_expiration_prevention": false, "license_platform_match": false, "license_global": false,
                }),
            )),
            "platform_messages" => self.messages(false)?,
            "messages_administration" => {
                if self.actor()?.capabilities.holds(names::SET_PARAMETERS) {
                    self.messages(true)?
                } else {
                    Resolved::Null
                }
            }
            "created_at" | "updated_at" => {
                let made = self.read(|snapshot| Ok(snapshot.user_by_id(Actor::SYSTEM_ID)?))?;
                let made = made.map(|user| user.created_at);
                let changed = self.read(stored)?;
                match changed
                    .get("updated_at")
                    .filter(|_| call.name == "updated_at")
                {
                    Some(changed) => Resolved::leaf(changed.clone()),
                    None => {
                        Resolved::leaf(format_date(made.unwrap_or_else(|| self.state.started_at())))
                    }
                }
            }
            _ => Resolved::Null,
        })
    }

    /// What is done with the settings.
    pub(super) fn edit_settings(&self, call: &FieldCall<'_>) -> Answer<'static> {
        match call.name {
            "fieldPatch" => self.patch_settings(call)?,
            "editMessage" => self.edit_message(call)?,
            "deleteMessage" => {
                let id = call.text("input").unwrap_or_default();
                self.change_messages("deletes a message", |messages, _| {
                    let before = messages.len();
                    messages.retain(|message| message["id"] != id);
                    if messages.len() == before {
                        return Err(Fault::functional(format!("There is no message {id}.")));
                    }
                    Ok(())
                })?;
            }
            // where somebody's cursor is, is not kept
            _ => {}
        }
        Ok(Resolved::Node(Node::Settings))
    }

    fn patch_settings(&self, call: &FieldCall<'_>) -> Result<(), Fault> {
        let changes = patch::changes(call)?;
        let acting = self.caller.acting()?;
        self.state.services().store.write(|tx| {
            let mut policy = ferrocti_accounts::password_policy(tx)?;
            let former = policy;
            let mut values = stored(tx)?;
            let mut changed = Vec::new();
            for change in &changes {
                match change.key {
                    key if POLICY.contains(&key) => *rule_mut(&mut policy, key) = change.number()?,
                    key if TEXTS.contains(&key) => {
                        let text = change.text()?;
                        if text.is_some_and(|text| text.chars().count() > MAX_TEXT) {
                            return Err(Fault::functional(format!(
                                "\"{key}\" has at most {MAX_TEXT} characters."
                            )));
                        }
                        values.insert(key.to_owned(), text.map_or(Value::Null, Value::from));
                        changed.push(key);
                    }
                    "platform_whitemark" => {
                        values.insert(change.key.to_owned(), Value::Bool(change.truth()?));
                        changed.push(change.key);
                    }
                    other => {
                        return Err(Fault::unsupported(format!(
                            "The setting \"{other}\" cannot be changed; there are {}, platform_whitemark and {}.",
                            TEXTS.join(", "),
                            POLICY.join(", ")
                        )));
                    }
                }
            }
            if policy != former {
                ferrocti_accounts::set_password_policy(tx, &acting, &policy)?;
            }
            if !changed.is_empty() {
                may(acting.actor, Action::Use(names::SET_PARAMETERS))
                    .map_err(|denial| Fault::denied(&denial))?;
                values.insert("updated_at".to_owned(), Value::from(format_date(tx.now())));
                tx.put_setting(STORED, &Value::Object(values))?;
                log(tx, &acting, &format!("updates `{}` for setting `Settings`", changed.join(", ")))?;
            }
            Ok(())
        })
    }

    fn edit_message(&self, call: &FieldCall<'_>) -> Result<(), Fault> {
        let input = call.argument("input");
        let given = |name: &str| input.and_then(|input| input.get(name)).cloned();
        let text = given("message").unwrap_or_default();
        let too_long = text
            .as_str()
            .is_none_or(|text| text.trim().is_empty() || text.chars().count() > MAX_TEXT);
        if too_long {
            return Err(Fault::functional(format!(
                "A message has 1 to {MAX_TEXT} characters."
            )));
        }
        self.change_messages("edits a message", |messages, tx| {
            let id = given("id").unwrap_or_default();
            let fresh = Value::from(tx.new_uuid().to_string());
            let message = json!({
                "id": if id.is_null() { &fresh } else { &id },
                "message": text,
                "activated": given("activated"),
                "dismissible": given("dismissible"),
                "color": given("color"),
                "recipients": given("recipients").unwrap_or_else(|| json!([])),
                "updated_at": format_date(tx.now()),
            });
            match messages.iter().position(|known| known["id"] == id) {
                Some(place) => messages[place] = message,
                None if !id.is_null() => {
                    return Err(Fault::functional("There is no message of this id."));
                }
                None if messages.len() >= MAX_MESSAGES => {
                    return Err(Fault::functional(format!(
                        "There are {MAX_MESSAGES} messages already; delete some."
                    )));
                }
                None => messages.push(message),
            }
            Ok(())
        })
    }

    fn change_messages(
        &self,
        what: &str,
        change: impl FnOnce(&mut Vec<Value>, &mut Tx<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let acting = self.caller.acting()?;
        may(acting.actor, Action::Use(names::SET_PARAMETERS))
            .map_err(|denial| Fault::denied(&denial))?;
        self.state.services().store.write(|tx| {
            let mut messages = messages(tx)?;
            change(&mut messages, tx)?;
            tx.put_setting(MESSAGES, &Value::from(messages))?;
            log(tx, &acting, &format!("{what} for setting `Settings`"))
        })
    }

    /// The messages to everybody and to the caller that are switched on; or all of them.
    fn messages(&self, all: bool) -> Answer<'static> {
        let actor = self.actor()?;
        let (stored, mine) = self.read(|snapshot| {
            let mut mine = vec![actor.user_id.to_string()];
            for group in snapshot.groups_of(actor.user_row)? {
                mine.extend(snapshot.group(group)?.map(|group| group.id.to_string()));
            }
            Ok((messages(snapshot)?, mine))
        })?;
        let is_shown = |message: &Value| {
            let recipients = message["recipients"].as_array();
            let to_me = recipients.is_none_or(|recipients| {
                recipients.is_empty()
                    || recipients
                        .iter()
                        .any(|id| mine.iter().any(|mine| id == mine.as_str()))
            });
            all || (message["activated"] == true && to_me)
        };
        let mut nodes = Vec::new();
        for message in stored.iter().filter(|message| is_shown(message)) {
            let recipients = message["recipients"].as_array();
            let ids = recipients.into_iter().flatten().filter_map(Value::as_str);
            nodes.push(Record::node(vec![
                ("id", value(message["id"].clone())),
                ("message", value(message["message"].clone())),
                ("activated", value(message["activated"] == true)),
                ("dismissible", value(message["dismissible"] == true)),
                ("color", value(message["color"].clone())),
                ("updated_at", value(message["updated_at"].clone())),
                ("recipients", Shown::Nodes(self.named(ids)?)),
            ]));
        }
        Ok(Resolved::nodes(nodes))
    }

    /// Users and groups by id, as members.
    fn named<'a>(&self, ids: impl Iterator<Item = &'a str>) -> Result<Vec<Node>, Fault> {
        let mut named = Vec::new();
        for id in ids.filter_map(|id| id.parse().ok()) {
            let found = self.read(|snapshot| {
                let user = snapshot.user_by_id(id)?.filter(|user| !is_platform(user));
                Ok(match user {
                    Some(user) => Some(("User", user.name)),
                    None => snapshot.group_by_id(id)?.map(|group| ("Group", group.name)),
                })
            })?;
            named.extend(found.map(|(kind, name)| {
                let data = json!({ "id": id, "entity_type": kind, "name": name });
                Node::Data("Member", data)
            }));
        }
        Ok(named)
    }

    /// What keeps users from working: groups without a maximum confidence.
    fn alerts(&self) -> Answer<'static> {
        let groups = self.read(|snapshot| Ok(snapshot.groups()?))?;
        let without: Vec<Node> = groups
            .into_iter()
            .filter(|group| group.max_confidence.is_none())
            .map(|group| Node::Group(Arc::new(group)))
            .collect();
        if without.is_empty() {
            return Ok(Resolved::List(Vec::new()));
        }
        let details = Record::node(vec![("groups", Shown::Nodes(without))]);
        Ok(Resolved::nodes([Record::node(vec![
            (
                "message",
                value(
                    "Some groups have no maximum confidence; whoever is in no other group writes nothing.",
                ),
            ),
            ("type", value("GROUP_WITH_NULL_CONFIDENCE_LEVEL")),
            ("details", Shown::Node(Some(details))),
        ])]))
    }
}

/// The values that were set.
fn stored(snapshot: &Snapshot<'_>) -> Result<Map<String, Value>, Fault> {
    Ok(match snapshot.setting(STORED)? {
        Some(Value::Object(values)) => values,
        _ => Map::new(),
    })
}

fn messages(snapshot: &Snapshot<'_>) -> Result<Vec<Value>, Fault> {
    Ok(match snapshot.setting(MESSAGES)? {
        Some(Value::Array(messages)) => messages,
        _ => Vec::new(),
    })
}

fn log(tx: &mut Tx<'_>, acting: &Acting<'_>, message: &str) -> Result<(), Fault> {
    let id = ID.to_string();
    let subject = Subject {
        kind: "Settings",
        id: &id,
        name: "Settings",
    };
    Ok(record(
        tx,
        acting,
        Scope::Update,
        Some(subject),
        message,
        None,
    )?)
}

/// What a user of a status is told at the login.
fn told(status: UserStatus) -> String {
    let barred = match status {
        UserStatus::Active => return "The account is active.".to_owned(),
        UserStatus::Inactive => Barred::Inactive,
        UserStatus::Locked => Barred::Locked,
        UserStatus::Expired => Barred::Expired,
    };
    barred.to_string()
}

fn rule(policy: &Policy, key: &str) -> u32 {
    *rule_mut(&mut policy.clone(), key)
}

/// The rule of a setting of [`POLICY`].
fn rule_mut<'a>(policy: &'a mut Policy, key: &str) -> &'a mut u32 {
    match key {
        "password_policy_max_length" => &mut policy.max_length,
        "password_policy_min_symbols" => &mut policy.min_symbols,
        "password_policy_min_numbers" => &mut policy.min_numbers,
        "password_policy_min_words" => &mut policy.min_words,
        "password_policy_min_lowercase" => &mut policy.min_lowercase,
        "password_policy_min_uppercase" => &mut policy.min_uppercase,
        _ => &mut policy.min_length,
    }
}
