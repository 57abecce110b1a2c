//! On whose behalf what comes from a connector is done.

use std::sync::Arc;

use ferrocti_access::Actor;
use ferrocti_store::{Snapshot, StoreError};
use uuid::Uuid;

use crate::message::Reason;

/// The actor of a user's row number; `None`: the user does not exist any more, or is not let in.
pub fn of_row(snapshot: &Snapshot<'_>, row: i64) -> Result<Option<Arc<Actor>>, StoreError> {
    let rights = ferrocti_accounts::rights(snapshot, row)?;
    Ok(rights.map(|rights| Arc::clone(&rights.actor)))
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
            let actor = user
                .map(|user| of_row(snapshot, user.row))
                .transpose()?
                .flatten();
            Ok(Ok(actor.unwrap_or(own)))
        }
        _ => Ok(Ok(own)),
    }
}
