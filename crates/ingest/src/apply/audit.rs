//! What the audit keeps of knowledge: changes of marking definitions, since these decide who sees what.

use ferrocti_access::Actor;
use ferrocti_accounts::{Acting, Origin, Scope, Subject, record};
use ferrocti_model::registry::EntityType;
use ferrocti_store::{StoreError, Stored, Tx};
use serde_json::{Map, Value, json};

use super::engine::Source;

/// From where something comes that is not a message of a connector.
#[derive(Debug, Clone, Copy, Default)]
pub struct From<'a> {
    /// Who spoke in the name of the user (`User.row`), if somebody else did.
    pub applicant: Option<i64>,
    /// Address and client.
    pub origin: Origin<'a>,
}

/// Whether the audit keeps changes of objects of a type by somebody. What the platform itself begins with is not told.
pub fn is_audited(kind: &EntityType, actor: &Actor) -> bool {
    kind.name == "Marking-Definition" && actor.user_id != Actor::SYSTEM_ID
}

/// Records a change of an object of an audited type. `before` holds the former values of what has changed.
pub fn tell(
    tx: &mut Tx<'_>,
    source: &Source,
    from: From<'_>,
    scope: Scope,
    stored: &Stored,
    before: &Map<String, Value>,
) -> Result<(), StoreError> {
    let attributes = &stored.attributes;
    let name = attributes.get("definition").and_then(Value::as_str);
    let (kind, name) = (stored.kind.name.as_str(), name.unwrap_or_default());
    let keys: Vec<&str> = before.keys().map(String::as_str).collect();
    let message = match scope {
        Scope::Create => format!("creates {kind} `{name}`"),
        Scope::Delete => format!("deletes {kind} `{name}`"),
        _ => format!("updates `{}` for {kind} `{name}`", keys.join(", ")),
    };
    let after: Map<String, Value> = before
        .keys()
        .map(|key| {
            (
                key.clone(),
                attributes.get(key).cloned().unwrap_or_default(),
            )
        })
        .collect();
    let data = match scope {
        Scope::Create | Scope::Delete => json!({"attributes": attributes}),
        _ => json!({"before": before, "after": after}),
    };
    let acting = Acting {
        actor: &source.actor,
        applicant: from.applicant,
        token: None,
        origin: from.origin,
    };
    let id = stored.internal.to_string();
    let subject = Subject {
        kind,
        id: &id,
        name,
    };
    record(tx, &acting, scope, Some(subject), &message, Some(data))
}
