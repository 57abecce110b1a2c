//! Logging in and out with a password: one way for the routes under `/auth` and for the GraphQL fields `token` and `logout`.

use ferrocti_accounts::{AccountError, LoginRefusal, OpenedSession};
use ferrocti_model::clock::Millis;
use uuid::Uuid;

use crate::AppState;
use crate::caller::Caller;
use crate::fault::{Fault, code};
use crate::http::{CookieChange, Sender};

/// Why nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// A page of another site asked, which would log its visitor in as somebody else, or out.
    #[error(
        "Logging in and out is for the platform's own pages and for programs, not for pages of other sites."
    )]
    Foreign,
    /// A second login in one request.
    #[error(
        "A request logs in once; the other tries were refused without a look at their passwords."
    )]
    Twice,
    /// The account, the password, or the store.
    #[error(transparent)]
    Account(#[from] AccountError),
}

impl Refused {
    /// When logins are accepted again, if there were too many failures.
    pub(crate) fn until(&self) -> Option<Millis> {
        match self {
            Self::Account(AccountError::LoginRefused(LoginRefusal::TooManyFailures { until })) => {
                Some(*until)
            }
            _ => None,
        }
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Account(error) => error.into(),
            Refused::Foreign => Self::new(code::FORBIDDEN, refused.to_string()),
            Refused::Twice => Self::new(code::AUTH_FAILURE, refused.to_string()),
        }
    }
}

/// Logs in: opens a new session, whatever cookie the request came with, and has the answer set its cookie. A session that the request came with
/// ends.
pub(crate) fn log_in(
    state: &AppState,
    caller: &Caller,
    email: &str,
    password: &str,
) -> Result<OpenedSession, Refused> {
    if caller.sender == Sender::Other {
        return Err(Refused::Foreign);
    }
    if !caller.may_log_in() {
        return Err(Refused::Twice);
    }
    let accounts = &state.services().accounts;
    let opened = {
        let _turn = state.login_turn();
        accounts.login(email, password, caller.origin())?
    };
    if let Some(former) = caller.session {
        accounts.close_session(former, caller.origin())?;
    }
    caller.cookie.put(CookieChange::Set {
        secret: opened.secret.clone(),
        lifetime: opened.session.expires_at - state.services().clock.now(),
    });
    Ok(opened)
}

/// Ends the session of a request and has the answer take its cookie away; the session's id, or `None` where the request came with a token.
pub(crate) fn log_out(state: &AppState, caller: &Caller) -> Result<Option<Uuid>, Refused> {
    if caller.sender == Sender::Other {
        return Err(Refused::Foreign);
    }
    caller.cookie.put(CookieChange::Clear);
    if let Some(session) = caller.session {
        state
            .services()
            .accounts
            .close_session(session, caller.origin())?;
    }
    Ok(caller.session)
}
