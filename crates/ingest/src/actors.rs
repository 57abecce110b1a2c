//! On whose behalf what comes from a connector is done.

use std::sync::Arc;

use ferrocti_access::Actor;
use ferrocti_accounts::Barred;
use ferrocti_store::{Snapshot, StoreError};
use uuid::Uuid;

use crate::message::Reason;

/// The actor of a user's row number; `None`: the user does not exist any more, or is not let in.
pub fn of_row(snapshot: &Snapshot<'_>, row: i64) -> Result<Option<Arc<Actor>>, StoreError> {
    let rights = ferrocti_accounts::rights(snapshot, row)?;
    Ok(rights.map(|rights| Arc::clone(&rights.actor)))
}

/// On whose behalf a message is applied.
#[derive(Debug, Clone)]
pub struct Behalf {
    /// Whose rights count.
    pub actor: Arc<Actor>,
    /// The user that the message asks to run as, if its connector may not speak for others.
    pub ignored: Option<Uuid>,
}

/// On whose behalf messages of a connector are applied: on that of its own user, or of the applicant if that user may act for others. A queue is no
/// place to get rights from: whoever else is named is ignored. Accounts that are not let in have their messages refused.
pub fn of_connector(
    snapshot: &Snapshot<'_>,
    connector: &str,
    applicant: Option<Uuid>,
) -> Result<Result<Behalf, Reason>, StoreError> {
    let Some(registered) = snapshot.connector(connector)? else {
        return Ok(Err(Reason::UnknownConnector(connector.to_owned())));
    };
    let Some(row) = registered.user else {
        return Ok(Err(Reason::UnknownUser(connector.to_owned())));
    };
    let Some(own) = of_row(snapshot, row)? else {
        let connector = connector.to_owned();
        return Ok(Err(match barred(snapshot, row)? {
            Some(why) => Reason::Barred { connector, why },
            None => Reason::UnknownUser(connector),
        }));
    };
    let applicant = applicant.filter(|applicant| *applicant != own.user_id);
    let Some(applicant) = applicant.filter(|_| own.may_impersonate()) else {
        return Ok(Ok(Behalf {
            actor: own,
            ignored: applicant,
        }));
    };
    let Some(user) = snapshot.user_by_id(applicant)? else {
        return Ok(Err(Reason::UnknownApplicant(applicant)));
    };
    Ok(match of_row(snapshot, user.row)? {
        Some(actor) => Ok(Behalf {
            actor,
            ignored: None,
        }),
        None => Err(match barred(snapshot, user.row)? {
            Some(why) => Reason::BarredApplicant { applicant, why },
            None => Reason::UnknownApplicant(applicant),
        }),
    })
}

/// Why a user is not let in; `None`: it is, or there is no such user.
fn barred(snapshot: &Snapshot<'_>, row: i64) -> Result<Option<Barred>, StoreError> {
    let now = snapshot.clock_now();
    Ok(snapshot
        .user(row)?
        .and_then(|user| ferrocti_accounts::admitted(user.status, user.expires_at, now).err()))
}
