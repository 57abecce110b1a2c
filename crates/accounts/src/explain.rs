//! Why a user may or may not do something with an object of the store.

use ferrocti_access::{
    Target,
    explain::{Explanation, Reason, Subject, Verb, explain},
};
use ferrocti_model::{Ident, StixId};
use ferrocti_store::{Snapshot, Stored, User};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    Accounts, Acting,
    error::{AccountError, Result},
    guard, ids,
    rights::{admitted, markings, rights_of_any, visibility},
};

/// The answer to why somebody may or may not do something.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// Whom it is about.
    pub user: User,
    /// The object, by its standard id.
    pub object: StixId,
    /// Its type.
    pub entity_type: &'static str,
    /// Whether and why.
    pub explanation: Explanation,
}

impl Accounts {
    /// Explains whether a user, oneself when none is named, may do something with an object.
    ///
    /// # Errors
    /// [`AccountError::Denied`] without `SETTINGS_SETACCESSES` for somebody else; [`AccountError::NotFound`] for an object that who asks does
    /// not see: an explanation tells nobody that it exists.
    pub fn explain(
        &self,
        acting: &Acting<'_>,
        user: Option<&str>,
        verb: Verb,
        object: &str,
    ) -> Result<Explained> {
        self.store.read(|snapshot| {
            let actor = acting.actor;
            let user = match user {
                Some(id) => ids::user(snapshot, id)?,
                None => snapshot
                    .user(actor.user_row)?
                    .ok_or_else(|| AccountError::not_found("User", actor.user_id))?,
            };
            if user.row != actor.user_row {
                guard::may_administer(actor)?;
            }
            let stored = object_of(snapshot, object)?;
            if !visibility(snapshot, actor)?.allows(stored.marking_set) {
                return Err(AccountError::not_found("Object", object));
            }
            let rights = rights_of_any(snapshot, user.row)?
                .ok_or_else(|| AccountError::not_found("User", user.id))?;
            let carried = carried(snapshot, &stored)?;
            let creators = creators(&stored);
            let subject = Subject {
                target: Target {
                    entity_type: &stored.kind.name,
                    has_confidence: stored.kind.attribute("confidence").is_some(),
                    confidence: stored.confidence,
                    creators: &creators,
                },
                markings: &carried,
            };
            let mut explanation = explain(&rights, verb, &subject);
            if let Err(barred) = admitted(user.status, user.expires_at, snapshot.clock_now()) {
                explanation.allowed = false;
                explanation.reasons.insert(
                    0,
                    Reason {
                        rule: "account",
                        allowed: false,
                        text: format!(
                            "the account is not let in: {}",
                            barred.to_string().to_lowercase()
                        ),
                    },
                );
            }
            Ok(Explained {
                object: stored.standard,
                entity_type: &stored.kind.name,
                explanation,
                user,
            })
        })
    }
}

fn object_of(snapshot: &Snapshot<'_>, id: &str) -> Result<Stored> {
    let unknown = || AccountError::not_found("Object", id);
    let ident = Ident::parse(id).map_err(|_| unknown())?;
    let iid = snapshot.resolve_one(&ident.key())?.ok_or_else(unknown)?;
    snapshot.load_one(iid)?.ok_or_else(unknown)
}

/// The markings that decide who sees an object, with their texts.
fn carried(snapshot: &Snapshot<'_>, stored: &Stored) -> Result<Vec<(StixId, String)>> {
    let known = markings(snapshot)?;
    let mut carried = Vec::new();
    for iid in snapshot.marking_members(stored.marking_set)? {
        let Some((_, id)) = snapshot.head(iid)? else {
            continue;
        };
        let text = known
            .iter()
            .find(|marking| marking.id == id)
            .map_or_else(|| id.to_string(), |marking| marking.definition.clone());
        carried.push((id, text));
    }
    Ok(carried)
}

/// Who is recorded as creator of an object.
fn creators(stored: &Stored) -> Vec<Uuid> {
    let recorded = stored.attributes.get("creator_id");
    recorded
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|id| id.as_str()?.parse().ok())
        .collect()
}
