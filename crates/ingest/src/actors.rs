//! From a stored user to the actor on whose behalf things are done.

use std::sync::Arc;

use ferrocti_access::{Actor, Capabilities, Confidence, Markings};
use ferrocti_model::Key;
use ferrocti_store::{Snapshot, StoreError, User};
use uuid::Uuid;

use crate::message::Reason;

/// The actor that a user is.
pub fn of_user(snapshot: &Snapshot<'_>, user: &User) -> Result<Actor, StoreError> {
    let markings = match &user.markings {
        None => Markings::All,
        Some(ids) => {
            let keys: Vec<Key> = ids.iter().map(|id| Key::internal(*id)).collect();
            let mut allowed = Vec::with_capacity(keys.len());
            for iid in snapshot.resolve(&keys)?.into_iter().flatten() {
                allowed.extend(snapshot.head(iid)?.map(|(_, standard)| standard));
            }
            Markings::Only(allowed)
        }
    };
    Ok(Actor {
        user_id: user.id,
        user_row: user.row,
        name: user.name.clone(),
        capabilities: user
            .capabilities
            .iter()
            .map(String::as_str)
            .collect::<Capabilities>(),
        markings,
        email: user.email.clone(),
        confidence: Some(Confidence::of(user.max_confidence)),
        no_creators: false,
        restrict_delete: false,
        service_account: user.service_account,
    })
}

/// The actor of a user's row number; `None`: the user does not exist any more.
pub fn of_row(snapshot: &Snapshot<'_>, row: i64) -> Result<Option<Arc<Actor>>, StoreError> {
    match snapshot.user(row)? {
        Some(user) => Ok(Some(Arc::new(of_user(snapshot, &user)?))),
        None => Ok(None),
    }
}

/// The actor for messages of a connector: its own user, or the applicant if that user may act for others.
pub fn of_connector(
    snapshot: &Snapshot<'_>,
    connector: &str,
    applicant: Option<Uuid>,
) -> Result<Result<Arc<Actor>, Reason>, StoreError> {
    let Some(registered) = snapshot.connector(connector)? else {
        return Ok(Err(Reason::UnknownConnector(connector.to_owned())));
    };
    let Some(own) = registered
        .user
        .map(|row| of_row(snapshot, row))
        .transpose()?
        .flatten()
    else {
        return Ok(Err(Reason::UnknownUser(connector.to_owned())));
    };
    match applicant {
        Some(applicant) if applicant != own.user_id && own.may_impersonate() => {
            let user = snapshot.user_by_id(applicant)?;
            Ok(Ok(match user {
                Some(user) => Arc::new(of_user(snapshot, &user)?),
                None => own,
            }))
        }
        _ => Ok(Ok(own)),
    }
}
