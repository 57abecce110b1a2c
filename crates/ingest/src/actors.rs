//! On whose behalf what comes from a connector is done.

use std::sync::Arc;

use ferrocti_access::Actor;
use ferrocti_accounts::Barred;
use ferrocti_store::{Snapshot, StoreError};
use uuid::Uuid;

use crate::{message::Reason, prepare::Parcel};

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

/// On whose behalf a message is applied: what somebody pushed through the API on that of who did, other messages as [`of_connector`] says.
pub(crate) fn of_parcel(
    snapshot: &Snapshot<'_>,
    parcel: &Parcel,
) -> Result<Result<Behalf, Reason>, StoreError> {
    match parcel.pusher {
        Some(row) => Ok(of_user(snapshot, row)?.map_err(|why| match why {
            Some((applicant, why)) => Reason::BarredApplicant { applicant, why },
            None => Reason::UnknownPusher,
        })),
        None => of_connector(snapshot, &parcel.connector, parcel.applicant),
    }
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
    let own = match of_user(snapshot, row)? {
        Ok(own) => own,
        Err(why) => {
            let connector = connector.to_owned();
            return Ok(Err(match why {
                Some((_, why)) => Reason::Barred { connector, why },
                None => Reason::UnknownUser(connector),
            }));
        }
    };
    let applicant = applicant.filter(|applicant| *applicant != own.actor.user_id);
    let Some(applicant) = applicant.filter(|_| own.actor.may_impersonate()) else {
        return Ok(Ok(Behalf {
            ignored: applicant,
            ..own
        }));
    };
    let Some(user) = snapshot.user_by_id(applicant)? else {
        return Ok(Err(Reason::UnknownApplicant(applicant)));
    };
    Ok(of_user(snapshot, user.row)?.map_err(|why| match why {
        Some((applicant, why)) => Reason::BarredApplicant { applicant, why },
        None => Reason::UnknownApplicant(applicant),
    }))
}

/// On behalf of a user, or who is not let in and why; `None`: there is no such user.
fn of_user(
    snapshot: &Snapshot<'_>,
    row: i64,
) -> Result<Result<Behalf, Option<(Uuid, Barred)>>, StoreError> {
    if let Some(actor) = of_row(snapshot, row)? {
        return Ok(Ok(Behalf {
            actor,
            ignored: None,
        }));
    }
    let now = snapshot.clock_now();
    let barred = snapshot.user(row)?.and_then(|user| {
        let why = ferrocti_accounts::admitted(user.status, user.expires_at, now).err()?;
        Some((user.id, why))
    });
    Ok(Err(barred))
}
